"""Layers that change the shape of an activation: flattening, padding, cropping, resizing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer, Ref
from tfpt.modelwriting.layers.convolutions import channels_last
from tfpt.modelwriting.order import preference
from tfpt.modelwriting.registry import KINDS, writes
from tfpt.modelwriting.settings import GapError, Settings, shape_of


@writes("Flatten")
def flatten(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    channels_last(layer.settings)
    rank = len(x.shape)
    if rank == 2:
        return x
    if rank == 1:
        return block.add("{0}[:, None]", x, shape=(x.shape[0], 1), layer=layer)
    sizes = x.shape[1:]
    count = None if None in sizes else math.prod(size for size in sizes if size is not None)
    flat = None
    if x.order == "first":
        if count is not None and rank <= 5 and _only_dense(block, layer):
            flat = tuple(size for size in sizes if size is not None)
        elif any(size != 1 for size in sizes[:-1]):
            x = block.last(x)
    found = block.add("{0}.flatten(1)", x, shape=(x.shape[0], count), layer=layer, order="last")
    if flat is not None and any(size != 1 for size in flat[:-1]) and flat[-1] != 1:
        found.flat = flat
    return found


def _only_dense(block: Block, layer: Layer) -> bool:
    """Whether all that is computed from a flattened activation goes through a dense layer first."""
    graph = block.graph
    work = [Ref(layer.name, node, 0) for node in range(len(layer.calls))]
    if len(work) > 1:
        return False
    while work:
        ref = work.pop()
        if ref in graph.outputs:
            return False
        for consumer, node in graph.consumers(ref):
            kind = KINDS.get(consumer.kind)
            if consumer.kind == "Dense" and len(consumer.calls) == 1:
                continue
            if kind is None or not kind.neutral or kind.inputs != 1 or consumer.kind == "UnitNormalization":
                return False
            if consumer.kind == "Activation" and "max" in str(consumer.settings.get("activation")):
                return False
            if consumer.settings.get("noise_shape") or consumer.kind in ("Rescaling", "ReLU6"):
                return False
            work.append(Ref(consumer.name, node, 0))
    return True


@writes("Reshape")
def reshape(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    (x,) = inputs
    target = shape_of([None if each == -1 else each for each in layer.settings.get("target_shape") or ()])
    if target is None or target.count(None) > 1:
        raise GapError("its target shape cannot be read")
    sizes = x.shape[1:]
    known = None not in sizes
    total = math.prod(size for size in sizes if size is not None)
    rest = math.prod(size for size in target if size is not None)
    if known and None in target and rest:
        if total % rest:
            raise GapError("its target shape does not fit its input")
        target = tuple(total // rest if size is None else size for size in target)
    shape = (x.shape[0], *target)
    order = preference(block.graph, Ref(layer.name, 0, 0)) or "last"
    single = len(target) > 1 and all(size == 1 for size in target[:-1])
    if len(sizes) == 1 and single:
        kept = _kept(block, call.refs[0], x, len(target)) if order == "first" else None
        if kept is not None:
            return kept
        where = ", ".join(
            [":", ":", *["None"] * (len(target) - 1)]
            if order == "first"
            else [":", *["None"] * (len(target) - 1), ":"]
        )
        return block.add(f"{{0}}[{where}]", x, shape=shape, layer=layer, order=order, kind="change")
    x = block.last(x)
    listed = ["-1" if size is None else str(size) for size in target]
    if None not in target:
        text = f"{{0}}.reshape(-1, {', '.join(listed)})"
    elif len(sizes) == 1:
        text = f"{{0}}.unflatten(1, ({', '.join(listed)}))"
    else:
        text = f"{{0}}.flatten(1).unflatten(1, ({', '.join(listed)}{',' * (len(listed) == 1)}))"
    return block.add(text, x, shape=shape, layer=layer, order="last")


def _kept(block: Block, ref: Ref, x: Value, axes: int) -> Value | None:
    """The mean or maximum that was computed just before, with the axes that a reshape would add again."""
    last = block.statements[-1] if block.statements else None
    if last is None or last.outputs != (x,) or last.operands[0].order != "first":
        return None
    found = re.fullmatch(r"\{0\}\.(mean|amax)\((\(2, 3\)|\(2, 3, 4\)|2)\)", last.text)
    source = last.operands[0]
    used = [found for each in block.graph.layers.values() for call in each.calls for found in call.refs]
    if found is None or len(source.shape) != axes + 1 or used.count(ref) != 1:
        return None
    if ref in block.graph.outputs:
        return None
    block.statements.pop()
    shape = (x.shape[0], *[1] * (axes - 1), x.shape[-1])
    text = f"{{0}}.{found[1]}({found[2]}, keepdim=True)"
    return block.add(text, source, shape=shape, order="first", kind="change")


@writes("Permute")
def permute(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    x = block.last(inputs[0])
    axes = layer.settings.sizes("dims", len(x.shape) - 1)
    if sorted(axes) != list(range(1, len(x.shape))):
        raise GapError(f"dims is {list(axes)}")
    shape = (x.shape[0], *(x.shape[axis] for axis in axes))
    if axes == (2, 1):
        return block.add("{0}.transpose(1, 2)", x, shape=shape, layer=layer)
    return block.add(f"{{0}}.permute(0, {', '.join(map(str, axes))})", x, shape=shape, layer=layer)


@writes("RepeatVector")
def repeat_vector(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    count = layer.settings.integer("n")
    shape = (x.shape[0], count, *x.shape[1:])
    return block.add(f"{{0}}[:, None].expand(-1, {count}, -1)", x, shape=shape, layer=layer)


@writes("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", order="first")
def zero_padding(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    channels_last(layer.settings)
    x = block.first(inputs[0])
    pads = layer.settings.pairs("padding", len(x.shape) - 2)
    sizes = [
        None if size is None else size + sum(pair) for size, pair in zip(x.shape[1:-1], pads, strict=True)
    ]
    listed = ", ".join(str(each) for pair in reversed(pads) for each in pair)
    shape = (x.shape[0], *sizes, x.shape[-1])
    return block.add(f"F.pad({{0}}, ({listed}))", x, shape=shape, layer=layer, kind="change")


@writes("Cropping1D", "Cropping2D", "Cropping3D", order="first")
def cropping(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    channels_last(layer.settings)
    x = block.first(inputs[0])
    crops = layer.settings.pairs("cropping", len(x.shape) - 2)
    sizes = [
        None if size is None else size - sum(pair) for size, pair in zip(x.shape[1:-1], crops, strict=True)
    ]
    parts = [f"{before or ''}:{-after if after else ''}" for before, after in crops]
    shape = (x.shape[0], *sizes, x.shape[-1])
    return block.add(f"{{0}}[:, :, {', '.join(parts)}]", x, shape=shape, layer=layer)


_INTERPOLATIONS = (
    "nearest",
    "bilinear",
    "bicubic",
    "area",
    "lanczos3",
    "lanczos5",
    "gaussian",
    "mitchellcubic",
)


@writes("UpSampling1D", "UpSampling2D", "UpSampling3D", order="first")
def upsampling(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    settings = layer.settings
    channels_last(settings)
    mode = settings.text("interpolation", "nearest", _INTERPOLATIONS)
    x = block.first(inputs[0])
    factors = settings.sizes("size", len(x.shape) - 2, 2)
    sizes = [
        None if size is None else size * factor for size, factor in zip(x.shape[1:-1], factors, strict=True)
    ]
    factor = repr(factors[0] if len(set(factors)) == 1 else factors)
    more = ', mode="bilinear"' if mode == "bilinear" else ""
    shape = (x.shape[0], *sizes, x.shape[-1])
    if mode not in ("nearest", "bilinear"):
        module = block.module(layer, call("tfnn.Resize", scale=factors, mode=mode))
        value = block.add(f"{module}({{0}})", x, shape=shape, layer=layer)
        block.endpoint(layer, value)
        return value
    return block.add(f"F.interpolate({{0}}, scale_factor={factor}{more})", x, shape=shape, layer=layer)


@writes("Resizing", order="first")
def resizing(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    settings = layer.settings
    channels_last(settings)
    mode = settings.text("interpolation", "bilinear", _INTERPOLATIONS)
    for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if settings.flag(key):
            raise GapError(f"it has {key}=True")
    x = block.first(inputs[0])
    if len(x.shape) != 4:
        raise GapError(f"its input has {len(x.shape)} axes")
    size = (settings.integer("height"), settings.integer("width"))
    shape = (x.shape[0], *size, x.shape[-1])
    antialias = settings.flag("antialias") and mode not in ("nearest", "area")
    torch_mode = {"nearest": "nearest-exact", "bilinear": "bilinear"}.get(mode)
    if antialias or torch_mode is None:
        text = call("tfnn.Resize", size, mode=mode, antialias=True if antialias else None)
        module = block.module(layer, text)
        value = block.add(f"{module}({{0}})", x, shape=shape, layer=layer)
        block.endpoint(layer, value)
        return value
    text = f'F.interpolate({{0}}, size={size}, mode="{torch_mode}")'
    return block.add(text, x, shape=shape, layer=layer)


@writes("Identity", neutral=True, mask="pass")
def identity(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    return inputs[0]


def axis_of(settings: Settings, value: Value, default: int = -1) -> int:
    """The axis of the written module that a layer's setting ``axis`` names."""
    return value.axis(settings.integer("axis", default))
