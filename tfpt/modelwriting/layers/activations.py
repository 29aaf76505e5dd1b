"""Activation functions, by name and as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfpt.modelwriting.block import Block, Value
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError, Settings

# Keras' name → the expression. Those along an axis have {axis}.
_FUNCTIONS = {
    "celu": "F.celu({0})",
    "elu": "F.elu({0})",
    "exponential": "torch.exp({0})",
    "gelu": "F.gelu({0})",
    "glu": "F.glu({0}, dim={axis})",
    "hard_shrink": "F.hardshrink({0})",
    "hard_sigmoid": "F.hardsigmoid({0})",
    "hard_silu": "F.hardswish({0})",
    "hard_swish": "F.hardswish({0})",
    "hard_tanh": "F.hardtanh({0})",
    "leaky_relu": "F.leaky_relu({0}, 0.2)",
    "log_sigmoid": "F.logsigmoid({0})",
    "log_softmax": "F.log_softmax({0}, dim={axis})",
    "mish": "F.mish({0})",
    "relu": "F.relu({0})",
    "relu6": "F.relu6({0})",
    "selu": "F.selu({0})",
    "sigmoid": "torch.sigmoid({0})",
    "silu": "F.silu({0})",
    "soft_shrink": "F.softshrink({0})",
    "softmax": "F.softmax({0}, dim={axis})",
    "softplus": "F.softplus({0})",
    "softsign": "F.softsign({0})",
    "sparse_plus": "sparse_plus({0})",
    "sparse_sigmoid": "(({0} + 1) / 2).clamp(0, 1)",
    "sparsemax": "sparsemax({0}, dim={axis})",
    "squareplus": "squareplus({0})",
    "swish": "F.silu({0})",
    "tanh": "torch.tanh({0})",
    "tanh_shrink": "F.tanhshrink({0})",
}

_HELPERS = {
    "sparse_plus": '''
def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, x from 1, and a parabola between them."""
    return torch.where(x < 1, (x + 1).clamp(min=0) ** 2 / 4, x)
''',
    "sparsemax": '''
def sparsemax(x: Tensor, dim: int) -> Tensor:
    """Keras' sparsemax, whose threshold adds up the cumulative sums, unlike arXiv:1602.02068."""
    ordered = x.sort(dim=dim, descending=True).values.movedim(dim, -1)
    count = torch.arange(1, ordered.shape[-1] + 1, device=x.device)
    sums = ordered.cumsum(-1)
    support = ordered * count > sums - 1
    threshold = ((sums * support).sum(-1, keepdim=True) - 1) / support.sum(-1, keepdim=True)
    return (x - threshold.movedim(-1, dim)).clamp(min=0)
''',
    "squareplus": '''
def squareplus(x: Tensor) -> Tensor:
    """A smooth ReLU that consists of algebra only."""
    return (x + torch.sqrt(x * x + 4)) / 2
''',
}

# Functions that the mapping can apply to a module's output before it is compared with that of Keras.
_COMPARABLE = ("relu", "sigmoid", "tanh")


def function_name(settings: Settings, key: str = "activation") -> str:
    """The name of the activation function of a layer; ``linear`` if it has none.

    Raises:
        GapError: It is not one of Keras' own functions.

    Example:
        >>> function_name(Settings({"activation": {"class_name": "function", "config": "relu"}}))
        'relu'
    """
    value: Any = settings.values.get(key)
    if isinstance(value, dict):
        package = str(value.get("registered_name") or "").rpartition(">")[0]
        inner = value.get("config")
        value = inner if value.get("class_name") == "function" and not package else value.get("class_name")
    if value is None:
        return "linear"
    if not isinstance(value, str) or (value != "linear" and value not in _FUNCTIONS):
        raise GapError(f"its activation {value!r} is not one of Keras' functions"[:100])
    return value


def activate(block: Block, layer: Layer, value: Value, key: str = "activation") -> Value:
    """Apply the activation function of a layer, if it has one."""
    name = function_name(layer.settings, key)
    if name == "linear":
        return value
    text = _FUNCTIONS[name]
    if name == "hard_sigmoid" and block.written.generation != 3:  # Keras 3 has the slope of torch, 1/6
        if block.written.generation is None:
            raise GapError(
                "hard_sigmoid of Keras 2 differs from that of Keras 3, and the file does not say which"
            )
        text = "(0.2 * {0} + 0.5).clamp(0, 1)"
    shape = value.shape
    if "{axis}" in text:
        if value.flat is not None:
            raise GapError("its input is flattened in torch's order")
        text = text.replace("{axis}", str(value.axis(-1)))
    if name == "glu":
        shape = (*shape[:-1], value.channels // 2)
    if name in _HELPERS:
        block.helper(name, _HELPERS[name])
    found = block.add(text, value, shape=shape, layer=layer, kind="wrap")
    found.flat = value.flat
    return found


def activated_endpoint(block: Block, layer: Layer, value: Value, suffix: str = "", more: str = "") -> None:
    """The endpoint of a module that an activation function follows, if the mapping can apply that function."""
    name = function_name(layer.settings)
    if name == "linear":
        block.endpoint(layer, value, suffix, more)
    elif name in _COMPARABLE:
        block.endpoint(layer, value, suffix, f"{more}, apply: {name}")
    elif name == "softmax" and len(value.shape) > 1:
        block.endpoint(layer, value, suffix, f"{more}, apply: {{softmax: c}}")


def _simple(block: Block, layer: Layer, x: Value, text: str) -> Value:
    found = block.add(text, x, shape=x.shape, layer=layer, kind="wrap")
    found.flat = x.flat
    return found


@writes("Activation", neutral=True, mask="pass")
def activation(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    return activate(block, layer, inputs[0])


@writes("ReLU", neutral=True, mask="pass")
def relu(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    slope = layer.settings.number("negative_slope", default=0.0)
    limit = layer.settings.get("max_value")
    if layer.settings.number("threshold", default=0.0):
        raise GapError("its threshold is not 0")
    text = f"F.leaky_relu({{0}}, {slope!r})" if slope else "F.relu({0})"
    if limit is not None:
        limit = layer.settings.number("max_value")
        text = "F.relu6({0})" if limit == 6 and not slope else f"{text}.clamp(max={limit!r})"
    return _simple(block, layer, inputs[0], text)


@writes("LeakyReLU", neutral=True, mask="pass")
def leaky_relu(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    slope = layer.settings.number("negative_slope", "alpha", default=0.3)
    return _simple(block, layer, inputs[0], f"F.leaky_relu({{0}}, {slope!r})")


@writes("ELU", neutral=True, mask="pass")
def elu(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    alpha = layer.settings.number("alpha", default=1.0)
    return _simple(block, layer, inputs[0], f"F.elu({{0}}, {alpha!r})" if alpha != 1 else "F.elu({0})")


@writes("Softmax", mask="use")
def softmax(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    (x,) = inputs
    given = layer.settings.values.get("axis", -1)
    axes = given if isinstance(given, list) else [given]
    if len(axes) != 1:
        raise GapError("it has several axes")
    axis = x.axis(Settings({"axis": axes[0]}).integer("axis"))
    return block.add(f"F.softmax({{0}}, dim={axis})", x, shape=x.shape, layer=layer, kind="wrap")


@writes("PReLU", mask="pass")
def prelu(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    (x,) = inputs
    found = block.variables(layer)
    shape = block.written.specs[found[0]].shape if len(found) == 1 else ()
    if not shape or any(size != 1 for size in shape[:-1]):
        raise GapError(f"its slopes have the shape {list(shape)}; torch has one for each channel")
    x = block.first(x)
    module = block.module(layer, f"nn.PReLU({shape[-1]})")
    block.row(layer, "alpha", f"{block.attribute(layer)}.weight", 'layout: "... c -> c"')
    value = block.add(f"{module}({{0}})", x, shape=x.shape, layer=layer, kind="wrap")
    block.endpoint(layer, value)
    return value
