"""Convolutions in one to three dimensions: plain, grouped, dilated, causal, depthwise and separable."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.activations import activate, activated_endpoint
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError, Settings, Shape
from tfpt.nn.padding import output_size, span


def channels_last(settings: Settings) -> None:
    """Check that a layer's channels are last.

    Raises:
        GapError: They are not.
    """
    if settings.get("data_format") not in (None, "channels_last"):
        raise GapError("its channels are first")


def window_shape(
    shape: Shape,
    channels: int,
    padding: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Shape:
    """The output shape of a convolution or a pool.

    Raises:
        GapError: The window is larger than the input.

    Example:
        >>> window_shape((None, 7, None, 3), 5, "same", (3, 3), (2, 2), (1, 1))
        (None, 4, None, 5)
    """
    rule = "valid" if padding == "valid" else "same"
    sizes = [
        None if size is None else output_size(rule, size, k, s, d)
        for size, k, s, d in zip(shape[1:-1], kernel, stride, dilation, strict=True)
    ]
    if any(size is not None and size < 1 for size in sizes):
        raise GapError("its window is larger than its input")
    return (shape[0], *sizes, channels)


class Window:
    """Kernel, stride, dilation and padding of a convolution, and the module that computes it."""

    def __init__(self, settings: Settings, dimensions: int) -> None:
        channels_last(settings)
        self.dimensions = dimensions
        self.kernel = settings.sizes("kernel_size", dimensions)
        self.stride = settings.sizes("strides", dimensions, 1)
        self.dilation = settings.sizes("dilation_rate", dimensions, 1)
        self.padding = settings.text("padding", "valid", ("valid", "same", "causal"))
        if self.padding == "causal" and dimensions != 1:
            raise GapError("its padding is causal")
        if min(*self.kernel, *self.stride, *self.dilation) < 1:
            raise GapError("its kernel, strides and dilation are not all positive")

    def module(self, inputs: int, outputs: int, *, groups: int = 1, bias: bool = True) -> str:
        """The convolution in Python: of torch, or of `tfpt.nn` where TensorFlow pads in a way that torch cannot."""
        name = f"Conv{self.dimensions}d"
        padding: object = None
        if self.padding == "same" and max(self.kernel) > 1:
            if max(self.stride) == 1 and all(
                span(k, d) % 2 for k, d in zip(self.kernel, self.dilation, strict=True)
            ):
                padding = tuple(span(k, d) // 2 for k, d in zip(self.kernel, self.dilation, strict=True))
                name = f"nn.{name}"
            else:
                padding, name = "same", f"tfnn.{name}"
        else:
            name = f"nn.{name}"
        return call(
            name,
            inputs,
            outputs,
            self.kernel,
            stride=self.stride if max(self.stride) > 1 else None,
            padding=padding,
            dilation=self.dilation if max(self.dilation) > 1 else None,
            groups=groups if groups > 1 else None,
            bias=None if bias else False,
        )

    def padded(self, block: Block, x: Value) -> Value:
        """The input, with the padding of a causal convolution."""
        before = (self.kernel[0] - 1) * self.dilation[0]
        if self.padding != "causal" or not before:
            return x
        size = x.shape[1]
        shape = (x.shape[0], None if size is None else size + before, x.shape[2])
        return block.add(f"F.pad({{0}}, ({before}, 0))", x, shape=shape, kind="change")

    def output(self, x: Value, channels: int) -> Shape:
        return window_shape(x.shape, channels, self.padding, self.kernel, self.stride, self.dilation)


def _spatial(layer: Layer, x: Value) -> int:
    dimensions = int(next(each for each in layer.kind if each.isdigit()))
    if len(x.shape) != dimensions + 2:
        raise GapError(f"its input has {len(x.shape)} axes")
    return dimensions


@writes(*(f"Conv{n}D" for n in (1, 2, 3)), *(f"Convolution{n}D" for n in (1, 2, 3)), order="first")
def convolution(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    dimensions = _spatial(layer, x)
    window = Window(settings, dimensions)
    if settings.get("lora_rank", "quantization_config"):
        raise GapError("it is quantized, or has low-rank weights beside its own")
    filters, groups = settings.integer("filters"), settings.integer("groups", 1)
    bias = settings.flag("use_bias", True)
    x = block.first(x)
    module = block.module(layer, window.module(x.channels, filters, groups=groups, bias=bias))
    block.scope(layer, f"keras/conv{dimensions}d")
    shape = window.output(x, filters)
    value = block.add(f"{module}({{0}})", window.padded(block, x), shape=shape, layer=layer)
    activated_endpoint(block, layer, value)
    return activate(block, layer, value)


@writes("DepthwiseConv1D", "DepthwiseConv2D", order="first")
def depthwise(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    dimensions = _spatial(layer, x)
    window = Window(settings, dimensions)
    bias = settings.flag("use_bias", True)
    x = block.first(x)
    channels = x.channels * settings.integer("depth_multiplier", 1)
    module = block.module(layer, window.module(x.channels, channels, groups=x.channels, bias=bias))
    block.scope(layer, f"keras/depthwise_conv{dimensions}d")
    shape = window.output(x, channels)
    value = block.add(f"{module}({{0}})", window.padded(block, x), shape=shape, layer=layer)
    activated_endpoint(block, layer, value)
    return activate(block, layer, value)


@writes(
    "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D", order="first"
)
def separable(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    """A depthwise convolution and a 1×1 convolution, the parts of an `nn.Sequential`."""
    (x,) = inputs
    settings = layer.settings
    dimensions = _spatial(layer, x)
    window = Window(settings, dimensions)
    filters, bias = settings.integer("filters"), settings.flag("use_bias", True)
    x = block.first(x)
    channels = x.channels * settings.integer("depth_multiplier", 1)
    first = window.module(x.channels, channels, groups=x.channels, bias=False)
    second = call(f"nn.Conv{dimensions}d", channels, filters, 1, bias=None if bias else False)
    module = block.module(layer, f"nn.Sequential(OrderedDict(depthwise={first}, pointwise={second}))")
    block.scope(layer, f"keras/separable_conv{dimensions}d")
    shape = window.output(x, filters)
    value = block.add(f"{module}({{0}})", window.padded(block, x), shape=shape, layer=layer)
    activated_endpoint(block, layer, value)
    return activate(block, layer, value)
