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
    divisor = round(1 / scale[0]) if len(scale) == 1 and scale[0] > 0 else 0
    if scale == (1,):
        text = "{0}"
    elif divisor > 1 and abs(1 / scale[0] - divisor) < 1e-9 * divisor:
        text = f"{{0}} / {divisor}"
    else:
        text = f"{{0}} * {constants(block, layer, '_scale', scale, x)}"
    if len(offset) == 1 and offset[0] < 0:
        text += f" - {-offset[0]!r}"
    elif any(offset):
        text += f" + {constants(block, layer, '_offset', offset, x)}"
    return x if text == "{0}" else block.add(text, x, shape=x.shape, layer=layer, operator=True)
