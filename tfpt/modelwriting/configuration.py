"""Reads the configuration of a Sequential or functional Keras model as a graph of calls of layers.

Both generations are read: Keras 3 lists the arguments of each call, with tensors as ``__keras_tensor__``; Keras 2 lists
``[layer, node, tensor, keyword arguments]`` for each tensor. Keras itself is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfpt.errors import SourceError
from tfpt.modelwriting.settings import Settings, Shape, shape_of

MODELS = ("Functional", "Model", "Sequential")


@dataclass(frozen=True)
class Ref:
    """A tensor: output `tensor` of call `node` of a layer."""

    layer: str
    node: int
    tensor: int


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        args, kwargs: Its arguments; tensors are `Ref`s, perhaps in lists.
        shapes: The shapes of tensors as far as the file has them.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[Ref, Shape] = field(default_factory=dict)

    @property
    def refs(self) -> list[Ref]:
        """The tensors among the arguments, in order."""
        return list(_refs([*self.args, *self.kwargs.values()]))


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        name: Its name in the model.
        kind: Its class, such as ``Conv2D``.
        module: The Python module of the class; empty if the file does not say.
        settings: Its settings.
        calls: Its calls in the model.
        input_shape: The shape of its input, if the file has it.
    """

    name: str
    kind: str
    module: str
    settings: Settings
    calls: tuple[Call, ...] = ()
    input_shape: Shape | None = None

    @property
    def of_keras(self) -> bool:
        """Whether Keras defines the class; otherwise a class of the same name may compute anything."""
        return self.module in ("", "builtins") or self.module.partition(".")[0] in ("keras", "tensorflow")


@dataclass(frozen=True)
class Graph:
    """A model: layers by name, the tensors that go in and out, and the calls (layer, node) in order."""

    name: str
    layers: Mapping[str, Layer]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    order: tuple[tuple[str, int], ...]

    def consumers(self, ref: Ref) -> list[tuple[Layer, int]]:
        """The calls that take a tensor."""
        return [
            (self.layers[name], node)
            for name, node in self.order
            if ref in self.layers[name].calls[node].refs
        ]

    def declared(self, ref: Ref) -> Shape | None:
        """The shape of a tensor according to the calls that take it."""
        for layer, node in self.consumers(ref):
            if ref in layer.calls[node].shapes:
                return layer.calls[node].shapes[ref]
            if layer.input_shape is not None and layer.calls[node].refs == [ref]:
                return layer.input_shape
        return None


def keras_generation(config: object) -> int | None:
    """2 or 3: whether Keras 2 or an earlier one, or Keras 3 wrote a configuration; `None` if it does not show.

    Example:
        >>> keras_generation({"config": {"layers": [{"config": {"batch_shape": [None, 7]}}]}}), keras_generation({})
        (3, None)
    """
    work = [config]
    while work:
        each = work.pop()
        if isinstance(each, dict):
            if "batch_shape" in each or "batch_input_shape" in each:
                return 3 if "batch_shape" in each else 2
            work += each.values()
        elif isinstance(each, list):
            work += each
    return None


def read_graph(config: object, where: str) -> Graph:
    """The graph of a whole model's or of a nested model's configuration.

    Raises:
        SourceError: It is not a Sequential or functional model, or the configuration is damaged.

    Example:
        >>> dense = {"class_name": "Dense", "config": {"name": "head", "units": 5, "batch_input_shape": [None, 7]}}
        >>> graph = read_graph({"class_name": "Sequential", "config": {"name": "net", "layers": [dense]}}, "net.h5")
        >>> graph.order, graph.outputs
        ((('head', 0),), (Ref(layer='head', node=0, tensor=0),))
    """
    if not isinstance(config, dict) or not config:
        raise SourceError(
            "the file has weights only, not the model they belong to",
            where=where,
            expected="a whole model, as saved by model.save()",
            hint="build the model in Python, load the weights, and save it as MODEL.keras",
        )
    inner = config.get("config")
    kind = config.get("class_name")
    listed = inner.get("layers") if isinstance(inner, dict) else inner if kind == "Sequential" else None
    if not isinstance(listed, list) or (kind != "Sequential" and not isinstance(inner, dict)):
        raise SourceError(
            "the model is not made of layers that its configuration lists",
            where=where,
            expected="a Sequential or functional model",
            got=f"a model of the class {kind}",
            hint="its code is not in the file: write the module by hand, and let tfpt init propose the mapping",
        )
    try:
        if isinstance(inner, dict) and "output_layers" in inner:
            return _functional(inner, listed)
        return _sequential(config, inner if isinstance(inner, dict) else {}, listed)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            "the model's configuration cannot be read",
            where=where,
            got=f"{type(error).__name__}: {error}",
            hint="load the model with Keras and save it again",
        ) from None


def _functional(inner: Mapping[str, Any], listed: list[Any]) -> Graph:
    layers = {}
    for entry in listed:
        name = str(entry.get("name") or entry["config"]["name"])
        calls = tuple(_call(node) for node in entry.get("inbound_nodes") or [])
        if entry["class_name"] == "InputLayer":
            calls = (Call(()),)
        layers[name] = _layer(entry, name, calls)
    inputs = tuple(_endpoints(inner["input_layers"]))
    outputs = tuple(_endpoints(inner["output_layers"]))
    return Graph(str(inner.get("name") or "model"), layers, inputs, outputs, _ordered(layers, outputs))


def _sequential(config: Mapping[str, Any], inner: Mapping[str, Any], listed: list[Any]) -> Graph:
    name = str(inner.get("name") or "sequential")
    layers: dict[str, Layer] = {}
    if not listed or listed[0]["class_name"] != "InputLayer":
        first = listed[0]["config"] if listed else {}
        shape = first.get("batch_input_shape") or inner.get("build_input_shape")
        shape = shape or (config.get("build_config") or {}).get("input_shape")
        if shape is None and first.get("layers"):  # a nested model
            shape = read_graph(listed[0], name).layers
            shape = next(each.settings.get("batch_shape", "batch_input_shape") for each in shape.values())
        dtype = "int32" if listed and listed[0]["class_name"] == "Embedding" else "float32"
        settings = {"name": "input", "batch_shape": shape, "dtype": dtype}
        listed = [{"class_name": "InputLayer", "config": settings}, *listed]
    previous: Ref | None = None
    for number, entry in enumerate(listed):
        own = str(entry["config"].get("name") or f"{entry['class_name'].lower()}_{number}")
        layers[own] = _layer(entry, own, (Call(() if previous is None else (previous,)),))
        previous = Ref(own, 0, 0)
    assert previous is not None
    first_ref = Ref(next(iter(layers)), 0, 0)
    return Graph(name, layers, (first_ref,), (previous,), _ordered(layers, (previous,)))


def _layer(entry: Mapping[str, Any], name: str, calls: tuple[Call, ...]) -> Layer:
    built = entry.get("build_config") or {}
    settings = entry["config"] if isinstance(entry.get("config"), dict) else {}
    if entry["class_name"] in MODELS:
        settings = {"model": entry}
    return Layer(
        name,
        str(entry["class_name"]),
        str(entry.get("module") or ""),
        Settings(settings),
        calls,
        shape_of(built.get("input_shape")),
    )


def _call(node: Any) -> Call:
    shapes: dict[Ref, Shape] = {}
    if isinstance(node, dict):  # Keras 3
        args = tuple(_argument(each, shapes) for each in node.get("args") or [])
        kwargs = {str(key): _argument(each, shapes) for key, each in (node.get("kwargs") or {}).items()}
        return Call(args, kwargs, shapes)
    if isinstance(node, list) and node and isinstance(node[0], str):
        node = [node]
    refs = [Ref(str(each[0]), int(each[1]), int(each[2])) for each in node]
    given = node[0][3] if len(node[0]) > 3 else {}
    kwargs = {str(key): _old_argument(each) for key, each in given.items()}
    return Call((refs if len(refs) > 1 else refs[0],), kwargs, shapes)


def _argument(value: Any, shapes: dict[Ref, Shape]) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            history = value["config"]["keras_history"]
            ref = Ref(str(history[0]), int(history[1]), int(history[2]))
            shape = shape_of(value["config"].get("shape"))
            if shape is not None:
                shapes[ref] = shape
            return ref
        return {key: _argument(each, shapes) for key, each in value.items()}
    if isinstance(value, list):
        return [_argument(each, shapes) for each in value]
    return value


def _old_argument(value: Any) -> Any:
    """A keyword argument of Keras 2: a tensor is ``[layer, node, tensor]``."""
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            return Ref(value[0], value[1], int(value[2]))
        return [_old_argument(each) for each in value]
    return value


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _refs(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _refs(each)


def _endpoints(value: Any) -> Iterator[Ref]:
    """The tensors of ``input_layers`` or ``output_layers``: one, a list, or a dictionary of them."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _endpoints(value[key])
    elif len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        yield Ref(value[0], value[1], int(value[2]))
    else:
        for each in value:
            yield from _endpoints(each)


def _ordered(layers: Mapping[str, Layer], outputs: tuple[Ref, ...]) -> tuple[tuple[str, int], ...]:
    """The calls that the outputs need, each after those it depends on, branch by branch."""
    done: dict[tuple[str, int], None] = {}
    entered: set[tuple[str, int]] = set()
    work = [(ref.layer, ref.node) for ref in reversed(outputs)]
    while work:
        call = work[-1]
        if call in done:
            work.pop()
            continue
        before = [(ref.layer, ref.node) for ref in layers[call[0]].calls[call[1]].refs]
        missing = [each for each in before if each not in done]
        if not missing:
            done[work.pop()] = None
        elif call in entered:
            raise ValueError(f"the layer {call[0]} depends on itself")
        else:
            entered.add(call)
            work += reversed(missing)
    return tuple(call for call in done if layers[call[0]].kind != "InputLayer")
