"""Pools over windows, and over everything."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.convolutions import channels_last, window_shape
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError


@writes(
    *(f"{kind}{n}D" for n in (1, 2, 3) for kind in ("MaxPooling", "MaxPool", "AveragePooling", "AvgPool")),
    order="first",
)
def pool(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    channels_last(settings)
    dimensions = int(next(each for each in layer.kind if each.isdigit()))
    if len(x.shape) != dimensions + 2:
        raise GapError(f"its input has {len(x.shape)} axes")
    kernel = settings.sizes("pool_size", dimensions, 2)
    stride = kernel if settings.get("strides") is None else settings.sizes("strides", dimensions)
    padding = settings.text("padding", "valid", ("valid", "same"))
    x = block.first(x)
    same = padding == "same" and max(kernel) > 1
    kind = "MaxPool" if layer.kind.startswith("Max") else "AvgPool"
    name = f"{'tfnn' if same else 'nn'}.{kind}{dimensions}d"
    module = block.module(
        layer,
        call(name, kernel, stride=stride if stride != kernel else None, padding="same" if same else None),
    )
    shape = window_shape(x.shape, x.channels, padding, kernel, stride, (1,) * dimensions)
    value = block.add(f"{module}({{0}})", x, shape=shape, layer=layer)
    block.endpoint(layer, value)
    return value


def _reduction(block: Block, layer: Layer, x: Value, method: str) -> Value:
    channels_last(layer.settings)
    rank = len(x.shape)
    if rank != int(next(each for each in layer.kind if each.isdigit())) + 2:
        raise GapError(f"its input has {rank} axes")
    keep = layer.settings.flag("keepdims")
    axes = tuple(sorted(x.axis(axis) for axis in range(1, rank - 1)))
    dims = repr(axes) if len(axes) > 1 else str(axes[0])
    shape = (x.shape[0], *[1] * (rank - 2), x.shape[-1]) if keep else (x.shape[0], x.shape[-1])
    text = f"{{0}}.{method}({dims}{', keepdim=True' if keep else ''})"
    order = x.order if keep else "last"
    return block.add(text, x, shape=shape, layer=layer, order=order, kind="change")


@writes("GlobalAveragePooling1D", "GlobalAvgPool1D", mask="use")
@writes(*(f"{kind}{n}D" for n in (2, 3) for kind in ("GlobalAveragePooling", "GlobalAvgPool")))
def global_average(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    return _reduction(block, layer, inputs[0], "mean")


@writes(*(f"{kind}{n}D" for n in (1, 2, 3) for kind in ("GlobalMaxPooling", "GlobalMaxPool")))
def global_max(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    return _reduction(block, layer, inputs[0], "amax")
