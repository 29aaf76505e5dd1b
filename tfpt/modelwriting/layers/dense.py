"""Dense layers, on the last axis of an activation, and embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, call
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.layers.activations import activate, activated_endpoint
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError, Settings


@writes("Dense", order="last", mask="pass")
def dense(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    if settings.get("lora_rank", "quantization_config"):
        raise GapError("it is quantized, or has low-rank weights beside its own")
    units, bias = settings.integer("units"), settings.flag("use_bias", True)
    flat = x.flat
    if flat is None:
        x = block.last(x)
    module = block.module(layer, call("nn.Linear", x.channels, units, bias=None if bias else False))
    if flat is None:
        block.scope(layer, "keras/dense")
    else:
        _flattened(block, layer, flat, bias)
    value = block.add(f"{module}({{0}})", x, shape=(*x.shape[:-1], units), layer=layer, order="last")
    activated_endpoint(block, layer, value)
    return activate(block, layer, value)


def _flattened(block: Block, layer: Layer, flat: tuple[int, ...], bias: bool) -> None:
    """The weights after a flatten: Keras flattens channels last, torch channels first."""
    letters = {1: "w", 2: "hw", 3: "thw"}[len(flat) - 1]
    sizes = ", ".join(f"{letter}: {size}" for letter, size in zip(letters, flat, strict=False))
    spatial = " ".join(letters)
    name = block.attribute(layer)
    layout = f'layout: "({spatial} c) o -> o (c {spatial})", axes: {{{sizes}}}'
    block.row(layer, "kernel", f"{name}.weight", layout)
    if bias:
        block.row(layer, "bias", f"{name}.bias", 'layout: "o -> o"')


@writes("TimeDistributed", order="last", mask="use")
def time_distributed(block: Block, layer: Layer, inputs: Sequence[Value], given: Call) -> Value:
    inner = layer.settings.get("layer")
    if not isinstance(inner, dict) or inner.get("class_name") != "Dense":
        kind = inner.get("class_name") if isinstance(inner, dict) else "nothing"
        raise GapError(f"it applies {kind} to each step; only Dense is written")
    settings = inner.get("config") or {}
    prefix = f"{layer.name}/{settings.get('name')}"
    if not block.variables(layer, f"{settings.get('name')}/"):
        prefix = layer.name  # older files do not name the layer inside
    wrapped = Layer(layer.name, "Dense", "", Settings(settings), layer.calls)
    (x,) = (block.last(inputs[0]),)
    units, bias = wrapped.settings.integer("units"), wrapped.settings.flag("use_bias", True)
    module = block.module(layer, call("nn.Linear", x.channels, units, bias=None if bias else False))
    block.scope(layer, "keras/dense", below=prefix.removeprefix(layer.name))
    value = block.add(f"{module}({{0}})", x, shape=(*x.shape[:-1], units), layer=layer)
    activated_endpoint(block, wrapped, value)
    return activate(block, wrapped, value)


@writes("Embedding", order="last")
def embedding(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    settings = layer.settings
    if settings.get("lora_rank", "quantization_config"):
        raise GapError("it is quantized, or has low-rank weights beside its own")
    rows, size = settings.integer("input_dim"), settings.integer("output_dim")
    module = block.module(layer, call("nn.Embedding", rows, size))
    block.scope(layer, "keras/embedding")
    text = f"{module}({{0}})" if x.integer else f"{module}({{0}}.long())"
    x.rows = min(rows, x.rows or rows)
    value = block.add(text, x, shape=(*x.shape, size), layer=layer)
    value.masked = settings.flag("mask_zero")
    block.endpoint(layer, value)
    return value
