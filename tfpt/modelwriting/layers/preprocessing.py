"""Scaling of inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.normalizations import constants
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError


@writes("Rescaling", neutral=True, mask="pass")
def rescaling(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    scale, offset = layer.settings.numbers("scale"), layer.settings.numbers("offset")
    if any(len(each) not in (1, x.shape[-1]) for each in (scale, offset)) or x.flat is not None:
        raise GapError("its scale or offset does not have one value for each channel")
    divisor = _divisor(scale[0]) if len(scale) == 1 else None
    if scale == (1,):
        text = "{0}"
    elif divisor is not None:
        text = f"{{0}} / {divisor}"
    else:
        text = f"{{0}} * {constants(block, layer, '_scale', scale, x)}"
    if len(offset) == 1 and offset[0] < 0:
        text += f" - {-offset[0]!r}"
    elif any(offset):
        text += f" + {constants(block, layer, '_offset', offset, x)}"
    return x if text == "{0}" else block.add(text, x, shape=x.shape, layer=layer, operator=True)


def _divisor(scale: float) -> str | None:
    """The number to divide by, if that is what was meant: 1/255, 1/127.5.

    Example:
        >>> _divisor(1 / 255), _divisor(1 / 127.5), _divisor(2.0), _divisor(0.3)
        ('255', '127.5', None, None)
    """
    if scale <= 0:
        return None
    inverse = float(f"{1 / scale:.6g}")
    text = repr(int(inverse)) if inverse == int(inverse) else repr(inverse)
    exact = abs(inverse * scale - 1) < 1e-12
    return text if exact and inverse > 1 and len(text) < len(repr(scale)) else None
