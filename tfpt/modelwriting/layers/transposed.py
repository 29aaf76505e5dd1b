"""Transposed convolutions: of torch where it can cut off what TensorFlow does, else of `tfpt.nn`."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.activations import activate, activated_endpoint
from tfpt.modelwriting.layers.convolutions import Window
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError
from tfpt.nn.padding import span
from tfpt.nn.transposed import crop, extent, extents


@writes(
    *(f"Conv{n}DTranspose" for n in (1, 2, 3)),
    *(f"Convolution{n}DTranspose" for n in (1, 2, 3)),
    order="first",
)
def transposed(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    dimensions = int(next(each for each in layer.kind if each.isdigit()))
    window = Window(settings, dimensions)
    if window.padding == "causal":
        raise GapError("its padding is causal")
    more: tuple[int | None, ...] = (None,) * dimensions
    if settings.get("output_padding") is not None:
        more = settings.sizes("output_padding", dimensions)
    if settings.integer("groups", 1) != 1:
        raise GapError("it has groups")
    filters, bias = settings.integer("filters"), settings.flag("use_bias", True)
    if len(x.shape) != dimensions + 2:
        raise GapError(f"its input has {len(x.shape)} axes")
    x = block.first(x)
    along = tuple(zip(window.kernel, window.stride, window.dilation, strict=True))
    kept = [extent(window.padding, *each, given) for each, given in zip(along, more, strict=True)]
    if any(each not in extents(window.padding, *one) for each, one in zip(kept, along, strict=True)):
        raise GapError(f"its output_padding is {settings.get('output_padding')!r}, with which Keras fails")
    module = block.module(layer, _module(window, x.channels, filters, bias, kept, more))
    block.scope(layer, f"keras/conv{dimensions}d_transpose")
    sizes = [
        None if size is None else (size - 1) * s + each
        for size, s, each in zip(x.shape[1:-1], window.stride, kept, strict=True)
    ]
    value = block.add(f"{module}({{0}})", x, shape=(x.shape[0], *sizes, filters), layer=layer)
    activated_endpoint(block, layer, value)
    return activate(block, layer, value)


def _module(
    window: Window, inputs: int, filters: int, bias: bool, kept: Sequence[int], more: Sequence[int | None]
) -> str:
    """The module in Python; `kept` are the extents of the output beyond ``(size - 1) * stride``."""
    along = tuple(zip(window.kernel, window.dilation, kept, strict=True))
    crops = tuple(crop(window.padding, *each) for each in along)
    # Torch cuts off as much at the end as at the start, less its output_padding.
    lacking = tuple(each - span(k, d) + 2 * c for (k, d, each), c in zip(along, crops, strict=True))
    dilation = window.dilation if max(window.dilation) > 1 else None
    stride = window.stride if max(window.stride) > 1 else None
    if min(lacking) >= 0:
        return call(
            f"nn.ConvTranspose{window.dimensions}d",
            inputs,
            filters,
            window.kernel,
            stride=stride,
            padding=crops if max(crops) else None,
            output_padding=lacking if max(lacking) else None,
            bias=None if bias else False,
            dilation=dilation,
        )
    return call(
        f"tfnn.ConvTranspose{window.dimensions}d",
        inputs,
        filters,
        window.kernel,
        stride=stride,
        padding=window.padding,
        output_padding=None if None in more else tuple(more),
        bias=None if bias else False,
        dilation=dilation,
    )
