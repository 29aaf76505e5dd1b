"""Transposed convolutions, with the part of the output that TensorFlow cuts off.

A transposed convolution of `size` positions yields ``(size - 1) * stride + kernel``. With SAME, TensorFlow keeps
``size * stride`` of them: it cuts off ``kernel - stride``, half at the start, and the odd one at the end. With VALID it
keeps all, and ``size * stride`` if the kernel is smaller than the stride.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.activations import activate, activated_endpoint
from tfpt.modelwriting.layers.convolutions import Window
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError


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
    if settings.get("output_padding") is not None or max(window.dilation) > 1 or window.padding == "causal":
        raise GapError("it has an output padding or a dilation of its own")
    if settings.integer("groups", 1) != 1:
        raise GapError("it has groups")
    filters, bias = settings.integer("filters"), settings.flag("use_bias", True)
    if len(x.shape) != dimensions + 2:
        raise GapError(f"its input has {len(x.shape)} axes")
    x = block.first(x)
    excess = [k - s for k, s in zip(window.kernel, window.stride, strict=True)]
    same = window.padding == "same"
    padding = tuple(max(each, 0) // 2 if same else 0 for each in excess)
    longer = tuple(max(-each, 0) for each in excess)
    shorter = [max(each, 0) % 2 if same else 0 for each in excess]
    module = block.module(
        layer,
        call(
            f"nn.ConvTranspose{dimensions}d",
            x.channels,
            filters,
            window.kernel,
            stride=window.stride if max(window.stride) > 1 else None,
            padding=padding if max(padding) else None,
            output_padding=longer if max(longer) else None,
            bias=None if bias else False,
        ),
    )
    block.scope(layer, f"keras/conv{dimensions}d_transpose")
    sizes = [
        None if size is None else size * s + (0 if same else max(each, 0))
        for size, s, each in zip(x.shape[1:-1], window.stride, excess, strict=True)
    ]
    shape = (x.shape[0], *sizes, filters)
    more, cut = "", ""
    if any(shorter):
        letters = {1: "t", 2: "hw", 3: "thw"}[dimensions]
        axes = [f'{letter}: ":-1"' for letter, each in zip(letters, shorter, strict=True) if each]
        more = f", slice: {{{', '.join(axes)}}}"
        cut = f"[:, :, {', '.join(':-1' if each else ':' for each in shorter)}]"
    comment = "With SAME, TensorFlow cuts off the last position too." if cut else ""
    value = block.add(f"{module}({{0}}){cut}", x, shape=shape, layer=layer, comment=comment)
    activated_endpoint(block, layer, value, more=more)
    return activate(block, layer, value)
