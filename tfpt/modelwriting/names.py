"""Python names for the layers of a model: readable, unique, and never something that Python or torch already uses."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection

# What the written file imports and uses.
RESERVED = frozenset({"F", "OrderedDict", "Tensor", "forward", "nn", "self", "tfnn", "torch", "x"})


def identifier(text: str, taken: Collection[str] = ()) -> str:
    """A name for a layer: its own, with `_` for what a name cannot have.

    Args:
        text: The layer's name, from a file.
        taken: Names that are in use.

    Example:
        >>> identifier("block1/conv-2"), identifier("1x1"), identifier("class"), identifier("conv", {"conv"})
        ('block1_conv_2', 'layer_1x1', 'class_', 'conv_2')
    """
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[:60] or "layer"
    if name[0].isdigit():
        name = f"layer_{name}"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name) or name in RESERVED:
        name = f"{name}_"
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def class_name(text: str, taken: Collection[str] = ()) -> str:
    """A name for a class.

    Example:
        >>> class_name("resnet_block-2"), class_name("U-Net"), class_name("sequential"), class_name("3d")
        ('ResnetBlock2', 'UNet', 'Sequential', 'Net3d')
    """
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[0].upper() + word[1:] for word in words)[:60]
    if not name or name[0].isdigit():
        name = f"Net{name}"
    if keyword.iskeyword(name) or name in RESERVED:
        name = f"{name}Net"
    found, number = name, 2
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found
