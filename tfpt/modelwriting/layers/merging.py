"""Layers and operations that combine activations."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Order, Value
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError, Settings, Shape

_OPERATORS = {
    "Add": "+",
    "Subtract": "-",
    "Multiply": "*",
    "Divide": "/",
    "TrueDivide": "/",
    # Of Keras 2, by the function that TFOpLambda calls.
    "__operators__.add": "+",
    "math.add": "+",
    "math.subtract": "-",
    "math.multiply": "*",
    "math.truediv": "/",
    "math.divide": "/",
}


def aligned(block: Block, values: Sequence[Value]) -> list[Value]:
    """The activations with their channels at the same place.

    Raises:
        GapError: They have different numbers of axes.
    """
    if len({len(value.shape) for value in values}) != 1:
        raise GapError("its inputs have different numbers of axes")
    if len({value.flat for value in values}) != 1:
        raise GapError("one of its inputs is flattened in torch's order")
    order: Order = "first" if any(value.order == "first" for value in values) else "last"
    return [block.ordered(value, order) if value.flat is None else value for value in values]


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape of an element-wise result.

    Example:
        >>> broadcast([(None, 7, 1), (None, 1, 5)])
        (None, 7, 5)
    """
    result = []
    for sizes in zip(*shapes, strict=True):
        larger = [size for size in sizes if size != 1]
        result.append(1 if not larger else next((size for size in larger if size is not None), None))
    return tuple(result)


@writes("Add", "Subtract", "Multiply", "Divide", "TrueDivide", neutral=True, mask="pass", inputs=None)
def arithmetic(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    return _arithmetic(block, layer, inputs, call, _OPERATORS[layer.kind])


@writes("TFOpLambda", neutral=True, mask="pass", inputs=None)
def operation(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    """An operator of Keras 2, such as ``x + y`` or ``x * 0.5``."""
    function = str(layer.settings.get("function"))
    if function not in _OPERATORS:
        raise GapError(f"it calls TensorFlow's {function}")
    return _arithmetic(block, layer, inputs, call, _OPERATORS[function])


def _arithmetic(block: Block, layer: Layer, inputs: Sequence[Value], call: Call, operator: str) -> Value:
    given = [*call.args, *(call.kwargs[key] for key in ("x", "y", "x1", "x2") if key in call.kwargs)]
    if len(given) == 1 and isinstance(given[0], list):
        given = given[0]
    numbers = [each for each in given if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(given) != len(inputs) + len(numbers) or len(given) < 2 or not inputs:
        raise GapError("it combines something other than activations and numbers")
    values = iter(enumerate(aligned(block, inputs)))
    parts, operands = [], []
    for each in given:
        if isinstance(each, int | float):
            parts.append(f"({Settings({'n': each}).number('n')!r})" if each < 0 else repr(each))
        else:
            number, value = next(values)
            parts.append(f"{{{number}}}")
            operands.append(value)
    shape = broadcast([value.shape for value in operands])
    found = block.add(f" {operator} ".join(parts), *operands, shape=shape, layer=layer, operator=True)
    found.flat = operands[0].flat
    return found


@writes("Average", neutral=True, mask="pass", inputs=None)
def average(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    values = aligned(block, inputs)
    total = " + ".join(f"{{{number}}}" for number in range(len(values)))
    shape = broadcast([value.shape for value in values])
    return block.add(f"({total}) / {len(values)}", *values, shape=shape, layer=layer, operator=True)


@writes("Maximum", "Minimum", neutral=True, mask="pass", inputs=None)
def extreme(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    values = aligned(block, inputs)
    text = "{0}"
    for number in range(1, len(values)):
        text = f"torch.{layer.kind.lower()}({text}, {{{number}}})"
    return block.add(text, *values, shape=broadcast([value.shape for value in values]), layer=layer)


@writes("Concatenate", neutral=True, mask="pass", inputs=None)
def concatenate(block: Block, layer: Layer, inputs: Sequence[Value], call: Call) -> Value:
    axis = layer.settings.integer("axis", -1)
    if len(inputs) == 1:
        return inputs[0]
    values = aligned(block, inputs)
    if values[0].flat is not None:
        raise GapError("its input is flattened in torch's order")
    dim = values[0].axis(axis)
    shape = list(broadcast([value.shape for value in values]))
    sizes = [value.shape[axis] for value in values]
    shape[axis] = None if None in sizes else sum(size for size in sizes if size is not None)
    listed = ", ".join(f"{{{number}}}" for number in range(len(values)))
    return block.add(f"torch.cat([{listed}], dim={dim})", *values, shape=tuple(shape), layer=layer)
