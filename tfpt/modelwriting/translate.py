"""Writes a model's graph call by call: each layer by the function for its kind, and what cannot be written as a gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfpt.errors import SourceError
from tfpt.modelwriting import layers
from tfpt.modelwriting.block import Block, Missing, Statement, Value, Written
from tfpt.modelwriting.configuration import MODELS, Call, Graph, Layer, Ref, read_graph
from tfpt.modelwriting.names import class_name, identifier
from tfpt.modelwriting.order import preference
from tfpt.modelwriting.registry import KINDS
from tfpt.modelwriting.settings import GapError, Shape, shape_of
from tfpt.visible import visible

assert layers  # importing it registers the kinds of layers

_INTEGERS = ("int", "uint", "bool")


def write_block(
    graph: Graph,
    written: Written,
    name: str,
    *,
    tf: str = "",
    pt: str = "",
    given: Sequence[Value] | None = None,
) -> Block:
    """Write a model as a class, and the models inside it as classes before it.

    Args:
        graph: The model.
        written: What the classes of the file share; the class is added to it.
        name: The name of the class.
        tf, pt: The path of the model on both sides, if it is nested.
        given: The inputs of a nested model.
    """
    block = Block(graph, written, name, tf, pt)
    values = _inputs(block, given)
    for layer_name, node in graph.order:
        layer = graph.layers[layer_name]
        call = layer.calls[node]
        inputs = [values[ref] for ref in call.refs]
        written.count += 1
        before = _State(block)
        try:
            outputs = _write(block, layer, call, inputs)
        except GapError as gap:
            before.restore()
            outputs = _missing(block, layer, node, inputs, str(gap))
        for number, value in enumerate(outputs):
            values[Ref(layer_name, node, number)] = value
    block.outputs = [values[ref] for ref in graph.outputs]
    written.classes.append(block)
    return block


class _State:
    """What a layer that turns out to be a gap has added so far."""

    def __init__(self, block: Block) -> None:
        written = block.written
        self.dictionaries: list[tuple[dict[Any, Any], dict[Any, Any]]] = [
            (each, dict(each))
            for each in (block.modules, block._attributes, block._converted, written.helpers, written.ignored)
        ]
        self.lists: list[tuple[list[Any], int]] = [
            (each, len(each))
            for each in (block.statements, block.buffers, written.scopes, written.endpoints, written.notes)
        ]

    def restore(self) -> None:
        for dictionary, before in self.dictionaries:
            dictionary.clear()
            dictionary.update(before)
        for added, length in self.lists:
            del added[length:]


def _inputs(block: Block, given: Sequence[Value] | None) -> dict[Ref, Value]:
    graph = block.graph
    values: list[Value] = []
    for number, ref in enumerate(graph.inputs):
        settings = graph.layers[ref.layer].settings
        shape = shape_of(settings.get("batch_shape", "batch_input_shape"))
        if shape is None:
            raise SourceError(
                "the file does not say which shape the model's input has",
                expected=f"a batch_shape of the input {visible(ref.layer)}",
                hint="build the model with keras.Input(shape=…) as its first layer, and save it again",
            )
        value = Value(shape, preference(graph, ref) or "last")
        value.integer = str(settings.get("dtype") or "").startswith(_INTEGERS)
        if given is not None and number < len(given):
            value.shape = given[number].shape
            value.masked, value.integer = given[number].masked, given[number].integer
        values.append(value)
    if given is None and len(values) > 1:
        for value in values:  # a mapping describes the axes of a single input only
            value.order = "last"
    for ref, value in zip(graph.inputs, values, strict=True):
        block.inputs[ref.layer] = value
    return dict(zip(graph.inputs, values, strict=True))


def _write(block: Block, layer: Layer, call: Call, inputs: Sequence[Value]) -> Sequence[Value]:
    if any(value.shape == () for value in inputs):
        raise GapError("the shape of its input is not known")
    if call.kwargs.get("training") is True:
        raise GapError("it is called with training=True")
    if any(isinstance(call.kwargs.get(key), Ref) for key in ("mask", "training")):
        raise GapError("it is called with a mask")
    if layer.kind in MODELS:
        return _nested(block, layer, inputs)
    kind = KINDS.get(layer.kind)
    if kind is None or not layer.of_keras:
        raise GapError(
            "its code is not in the file"
            if not layer.of_keras or layer.kind == "Lambda"
            else f"tfpt cannot write a {visible(layer.kind)[:60]}"
        )
    if kind.inputs is not None and len(inputs) != kind.inputs:
        raise GapError(f"it has {len(inputs)} inputs")
    masked = any(value.masked for value in inputs)
    if masked and kind.mask == "use":
        raise GapError(
            "its input has a mask (mask_zero=True of an embedding), which torch's layers do not take"
        )
    if not kind.neutral and layer.kind != "Dense" and any(value.flat is not None for value in inputs):
        raise GapError("its input is flattened in torch's order")
    found = kind.write(block, layer, inputs, call)
    outputs = [found] if isinstance(found, Value) else list(found)
    if masked and kind.mask == "pass":
        for value in outputs:
            value.masked = True
    return outputs


def _nested(block: Block, layer: Layer, inputs: Sequence[Value]) -> Sequence[Value]:
    """A call of a model inside the model."""
    inner = block.nested.get(layer.name)
    attribute = block.attribute(layer)
    if inner is None:
        try:
            graph = read_graph(layer.settings.get("model"), layer.name)
            if len(graph.inputs) != len(inputs):
                raise GapError(f"it is called with {len(inputs)} inputs, and has {len(graph.inputs)}")
            name = class_name(layer.name, block.written.class_names)
            block.written.class_names.add(name)
            inner = write_block(
                graph,
                block.written,
                name,
                tf=f"{block.path(layer)}/",
                pt=f"{block.pt}{attribute}.",
                given=inputs,
            )
        except SourceError as error:
            raise GapError(error.what) from None
        block.nested[layer.name] = inner
    if any(value.flat is not None for value in inputs):
        raise GapError("its input is flattened in torch's order")
    module = block.module(layer, f"{inner.name}()")
    wanted = [value.order for value in inner.inputs.values()]
    operands = [block.ordered(value, order) for value, order in zip(inputs, wanted, strict=True)]
    outputs = tuple(
        Value(_batched(value.shape, inputs[0].shape), value.order, None, value.masked, value.integer)
        for value in inner.outputs
    )
    text = f"{module}({', '.join(f'{{{number}}}' for number in range(len(operands)))})"
    block.statements.append(Statement(outputs, text, tuple(operands), hint=identifier(layer.name)))
    for ref, value in zip(inner.graph.inputs, inner.inputs.values(), strict=True):
        outer = inputs[list(inner.graph.inputs).index(ref)]
        if value.rows is not None:
            outer.rows = min(value.rows, outer.rows or value.rows)
    if len(outputs) == 1 and inner.outputs[0].flat is None:
        block.endpoint(layer, outputs[0])
    return outputs


def _batched(shape: Shape, like: Shape) -> Shape:
    return (like[0], *shape[1:]) if shape and like else shape


def _missing(block: Block, layer: Layer, node: int, inputs: Sequence[Value], reason: str) -> Sequence[Value]:
    """A gap: a module that raises NotImplementedError, with the shapes that it has to have."""
    written = block.written
    count = 1 + max(
        (ref.tensor for ref in _tensors(block.graph) if (ref.layer, ref.node) == (layer.name, node)),
        default=0,
    )
    operands = [value if value.flat is not None else block.last(value) for value in inputs]
    outputs = []
    for number in range(count):
        declared = block.graph.declared(Ref(layer.name, node, number)) or ()
        flat = inputs[0].flat if inputs and declared == inputs[0].shape else None
        outputs.append(Value(declared, "last", flat))
    attribute = block.attribute(layer)
    known = f"{block.pt}{attribute}"
    shapes = (
        f"{', '.join(shape_text(value.shape) for value in operands)}"
        f" -> {', '.join(shape_text(value.shape) for value in outputs)}"
    )
    if known not in {each.attribute for each in written.missing}:
        name = class_name(f"missing_{attribute}", written.class_names)
        written.class_names.add(name)
        specs = written.specs
        try:
            variables = tuple(specs[each] for each in block.variables(layer))
        except GapError:
            variables = ()
        missing = Missing(f"{block.tf}{layer.name}", layer.kind, shapes, reason, known, variables)
        written.missing.append(missing)
        block.modules[attribute] = f"{name}()  # TODO"
        written.helpers[name] = _source(name, missing, [value.flat for value in operands])
    text = f"self.{attribute}({', '.join(f'{{{number}}}' for number in range(len(operands)))})"
    hint = identifier(layer.name)
    block.statements.append(Statement(tuple(outputs), text, tuple(operands), hint=hint))
    return outputs


def _tensors(graph: Graph) -> list[Ref]:
    used = [ref for name, node in graph.order for ref in graph.layers[name].calls[node].refs]
    return [*used, *graph.outputs]


def _source(name: str, missing: Missing, flat: Sequence[object]) -> str:
    kind, layer = comment_text(missing.kind), comment_text(missing.layer)
    order = "flattened channels first" if any(flat) else "in Keras' order of axes, channels last"
    arguments = ", ".join(
        f"{argument}: Tensor"
        for argument in (["x"] if len(flat) == 1 else [f"x{n}" for n in range(len(flat))])
    )
    variables = "".join(
        f"\n        # {comment_text(spec.name)} {list(spec.shape)} {spec.dtype}" for spec in missing.variables
    )
    reason = comment_text(missing.reason)[:100]
    sentence = reason[:1].upper() + reason[1:]
    weights = f"\n        # TODO: its variables in Keras:{variables}" if variables else ""
    return f'''
class {name}(nn.Module):
    """TODO: the layer {layer} of Keras, a {kind}.

    {sentence}.

    {missing.shapes}, {order}.
    """

    def __init__(self) -> None:
        super().__init__(){weights}

    def forward(self, {arguments}) -> Tensor:
        raise NotImplementedError("the layer {layer}, a {kind}, was not written")
'''


def comment_text(text: str) -> str:
    """Text from a file that is safe in a comment, a docstring and a string.

    Example:
        >>> comment_text('a"b' + chr(10) + 'import os')
        "a'b?nimport os"
    """
    return visible(text).replace("\\", "?").replace('"', "'").replace("{", "(").replace("}", ")")


def shape_text(shape: Shape) -> str:
    """A shape for people.

    Example:
        >>> shape_text((None, 7, None)), shape_text(())
        ('(batch, 7, any)', '(unknown)')
    """
    if not shape:
        return "(unknown)"
    first, *rest = shape
    sizes = [
        "batch" if first is None else str(first),
        *("any" if size is None else str(size) for size in rest),
    ]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"
