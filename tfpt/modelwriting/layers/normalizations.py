"""Normalizations, with the epsilon of the Keras layer."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError, Settings


def _axes(settings: Settings, rank: int) -> list[int]:
    given = settings.values.get("axis", -1)
    listed = given if isinstance(given, list | tuple) else [given]
    axes = [Settings({"axis": each}).integer("axis") for each in listed]
    if not all(-rank <= axis < rank for axis in axes):
        raise GapError(f"axis is {given!r}")
    return sorted(axis % rank for axis in axes)


def _last_axis(settings: Settings, rank: int) -> None:
    if _axes(settings, rank) != [rank - 1]:
        raise GapError(f"it normalizes along the axis {settings.values.get('axis')!r}, not the last one")


@writes("BatchNormalization", order="first", mask="pass")
def batch_normalization(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    rank = len(x.shape)
    _last_axis(settings, rank)
    if settings.flag("renorm"):
        raise GapError("it has renorm=True")
    if rank not in (2, 3, 4, 5):
        raise GapError(f"its input has {rank} axes")
    x = block.first(x)
    scale, center = settings.flag("scale", True), settings.flag("center", True)
    eps = settings.number("epsilon", default=1e-3)
    momentum = round(1 - settings.number("momentum", default=0.99), 9)
    module = block.module(
        layer,
        call(
            f"nn.BatchNorm{max(rank - 2, 1)}d",
            x.channels,
            eps=eps,
            momentum=momentum if momentum != 0.1 else None,
            affine=None if scale or center else False,
        ),
    )
    use = {
        (True, True): "batch_norm",
        (False, True): "batch_norm_without_scale",
        (True, False): "batch_norm_without_center",
        (False, False): "batch_statistics",
    }[scale, center]
    block.scope(layer, f"keras/{use}", eps=eps)
    value = block.add(f"{module}({{0}})", x, shape=x.shape, layer=layer, kind="wrap")
    block.endpoint(layer, value)
    return value


def _scale_and_center(block: Block, layer: Layer, use: str, eps: float) -> None:
    """The weights of a normalization; torch's layer has both of them, so one that Keras lacks is constant."""
    scale, center = layer.settings.flag("scale", True), layer.settings.flag("center", True)
    name = block.attribute(layer)
    if scale == center or (scale and use == "keras/layer_norm"):
        block.scope(layer, use, eps=eps)
    elif scale:
        block.row(layer, "gamma", f"{name}.weight", 'layout: "c -> c"')
        block.row(layer, "", f"{name}.bias", "fill: 0")
    else:
        block.row(layer, "beta", f"{name}.bias", 'layout: "c -> c"')
        block.row(layer, "", f"{name}.weight", "fill: 1")


@writes("LayerNormalization", order="last", mask="pass")
def layer_normalization(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    rank = len(x.shape)
    axes = _axes(settings, rank)
    if axes != list(range(rank - len(axes), rank)) or axes[0] == 0:
        raise GapError(f"it normalizes along the axes {axes}, which are not the last ones")
    if settings.flag("rms_scaling"):
        raise GapError("it has rms_scaling=True")
    x = block.last(x)
    sizes = x.shape[axes[0] :]
    if any(size is None for size in sizes):
        raise GapError("the sizes of its axes are not known")
    scale, center = settings.flag("scale", True), settings.flag("center", True)
    eps = settings.number("epsilon", default=1e-3)
    affine = None if scale or center else False
    listed = ", ".join(map(str, sizes))
    text = call("", eps=eps, elementwise_affine=affine, bias=False if scale and not center else None)
    module = block.module(layer, f"nn.LayerNorm({listed if len(sizes) == 1 else f'({listed})'}, {text[1:]}")
    if len(sizes) == 1 and (scale or center):
        _scale_and_center(block, layer, "keras/layer_norm", eps)
    elif scale or center:
        name = block.attribute(layer)
        for own, other, is_there, constant in (("gamma", "weight", scale, 1), ("beta", "bias", center, 0)):
            if is_there:
                block.row(layer, own, f"{name}.{other}")
            elif other == "weight":
                block.row(layer, "", f"{name}.{other}", f"fill: {constant}")
    value = block.add(f"{module}({{0}})", x, shape=x.shape, layer=layer, kind="wrap")
    block.endpoint(layer, value)
    return value


@writes("GroupNormalization", order="first", mask="pass")
def group_normalization(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    _last_axis(settings, len(x.shape))
    x = block.first(x)
    groups = settings.integer("groups", 32)
    groups = x.channels if groups == -1 else groups
    scale, center = settings.flag("scale", True), settings.flag("center", True)
    eps = settings.number("epsilon", default=1e-3)
    affine = None if scale or center else False
    module = block.module(layer, call("nn.GroupNorm", groups, x.channels, eps=eps, affine=affine))
    if scale or center:
        _scale_and_center(block, layer, "keras/group_norm", eps)
    value = block.add(f"{module}({{0}})", x, shape=x.shape, layer=layer, kind="wrap")
    block.endpoint(layer, value)
    return value


@writes("RMSNormalization", order="last", mask="pass")
def rms_normalization(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    _last_axis(layer.settings, len(x.shape))
    x = block.last(x)
    eps = layer.settings.number("epsilon", default=1e-6)
    module = block.module(layer, call("nn.RMSNorm", x.channels, eps=eps))
    block.scope(layer, "keras/rms_norm", eps=eps)
    value = block.add(f"{module}({{0}})", x, shape=x.shape, layer=layer, kind="wrap")
    block.endpoint(layer, value)
    return value


@writes("UnitNormalization", neutral=True, mask="pass")
def unit_normalization(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    axes = _axes(layer.settings, len(x.shape))
    if len(axes) != 1:
        raise GapError("it normalizes along several axes")
    if x.flat is not None:
        raise GapError("its input is flattened in torch's order")
    return block.add(f"F.normalize({{0}}, dim={x.axis(axes[0])})", x, shape=x.shape, layer=layer, kind="wrap")


_NORMALIZATION = '''
class Normalization(nn.Module):
    """Subtracts a mean and divides by a standard deviation, as Keras does.

    `spatial` is the number of axes after the channels.
    """

    def __init__(self, shape: tuple[int, ...], spatial: int = 0) -> None:
        super().__init__()
        self.spatial = spatial
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        size = (-1, *[1] * self.spatial)
        deviation = self.variance.sqrt().clamp(min=1e-7)
        return (x - self.mean.view(size)) / deviation.view(size)
'''


@writes("Normalization", neutral=True)
def normalization(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    if settings.flag("invert"):
        raise GapError("it has invert=True")
    if x.flat is not None:
        raise GapError("its input is flattened in torch's order")
    if settings.get("mean") is not None:
        means, variances = settings.numbers("mean"), settings.numbers("variance")
        if len(means) != len(variances) or len(means) not in (1, x.shape[-1]):
            raise GapError("its mean and variance do not have one value for each channel")
        deviations = tuple(max(variance**0.5, 1e-7) for variance in variances)
        mean = constants(block, layer, "_mean", means, x)
        deviation = constants(block, layer, "_deviation", deviations, x)
        return block.add(f"({{0}} - {mean}) / {deviation}", x, shape=x.shape, layer=layer, operator=True)
    found = {name.rpartition("/")[2]: name for name in block.variables(layer)}
    if not {"mean", "variance"} <= found.keys():
        raise GapError("the file does not have its mean and variance")
    shape = block.written.specs[found["mean"]].shape
    if len(shape) > 1 or (shape and _axes(settings, len(x.shape)) != [len(x.shape) - 1]):
        raise GapError(f"its statistics have the shape {list(shape)}")
    block.helper("Normalization", _NORMALIZATION)
    spatial = len(x.shape) - 2 if x.order == "first" and shape else 0
    module = block.module(layer, f"Normalization({shape!r}{f', spatial={spatial}' if spatial else ''})")
    name = block.attribute(layer)
    block.row(layer, "mean", f"{name}.mean")
    block.row(layer, "variance", f"{name}.variance")
    if "count" in found:
        block.written.ignored[found["count"]] = "number of values that the statistics are from"
    value = block.add(f"{module}({{0}})", x, shape=x.shape, layer=layer, kind="wrap")
    block.endpoint(layer, value)
    return value


def constants(block: Block, layer: Layer, suffix: str, numbers: Sequence[float], x: Value) -> str:
    """A number in Python, or a buffer for several of them, along the channels of an activation."""
    if len(numbers) == 1:
        return repr(numbers[0]) if numbers[0] >= 0 else f"({numbers[0]!r})"
    name = block.attribute(layer, suffix)
    listed = ", ".join(repr(each) for each in numbers)
    spatial = len(x.shape) - 2 if x.order == "first" else 0
    view = f".view(-1{', 1' * spatial})" if spatial else ""
    line = f'self.register_buffer("{name}", torch.tensor([{listed}]){view}, persistent=False)'
    if line not in block.buffers:
        block.buffers.append(line)
    return f"self.{name}"
