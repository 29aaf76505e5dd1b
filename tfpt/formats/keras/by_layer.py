"""One set of names for all files of a Keras model: LAYER/WEIGHT, whatever the file calls them.

A name consists of the names of the layers that the weight is in, from a layer of the model down to the weight's own,
and the weight's name: ``conv/kernel``, ``mha/query/kernel``, ``bidirectional/forward_lstm/lstm_cell/kernel``,
``encoder/dense/kernel`` for the layer ``dense`` of a nested model ``encoder``. The model's own name, output numbers
(``:0``) and counters that Keras adds to a cell are omitted. Where each format has these names:

- HDF5 of Keras 1 and 2, and ``model.save("x.h5")``: a group for each layer, and the weight's full name below it;
- ``.weights.h5``: numbered weights in groups of classes, each with the attribute ``name`` since Keras 3.8; the names of
  weights are those of the class (`tfpt.formats.keras.layer_variables`);
- ``.keras``: the same, and the configuration;
- all others (checkpoints, SavedModels, TensorFlow.js): the readable names.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from tfpt.formats.keras.layer_names import CLASSES_BY_SNAKE_CASE
from tfpt.formats.keras.layer_variables import CELLS, PROJECTIONS, possible_names
from tfpt.formats.source import Source
from tfpt.tensors import TensorSpec

Shape = tuple[int, ...]
_COUNTER = re.compile(r"_\d+$")
_CELL = re.compile(r"(lstm|gru|simple_rnn|conv_lstm)_cell(_\d+)?")
_PARTS_OF_BIDIRECTIONAL = ("forward_", "backward_")


def names_by_layer(source: Source) -> dict[str, str]:
    """The name by layer and weight of every tensor whose name differs, by its name in the source.

    Tensors with a role (slots of an optimizer, metrics) keep their names, as do those that would share one.
    """
    known = source.layer_names
    weights = [name for name in source.specs if name not in source.roles]
    names = _settled({name: known.get(name, name.removesuffix(":0")) for name in weights}, source.specs)
    uses = Counter(names.values())
    kept = {name for name in source.specs if name not in names or uses[names[name]] > 1}
    return {old: new for old, new in names.items() if old not in kept and new != old and new not in kept}


def in_layer(layer: str, path: str) -> str:
    """The name of a weight of Keras' older HDF5 files.

    Args:
        layer: The name of the layer's group.
        path: The path of the dataset in that group: the weight's full name, which mostly repeats the layer's, below the
            name of the model.

    Example:
        >>> in_layer("conv", "conv/kernel:0"), in_layer("dense", "net/dense/bias"), in_layer("sub", "dense/bias:0")
        ('conv/kernel', 'dense/bias', 'sub/dense/bias')
    """
    own, parts = layer.split("/"), path.removesuffix(":0").split("/")
    for start in range(len(parts) - len(own)):
        if parts[start : start + len(own)] == own:
            return "/".join(parts[start:])
    return "/".join((*own, *parts))


def by_labels(shapes: Mapping[str, Shape], label: Callable[[str], str | None]) -> dict[str, str]:
    """Names for the numbered variables of Keras 3.

    Args:
        shapes: The shape of each variable, by its path: ``layers/dense_1/vars/0``.
        label: The name of the object at a path, if the file has one.

    Returns:
        A name for each path below an object that has a label. A variable whose name does not follow from its class and
        the number of variables keeps its number: ``bn/vars/0``, which may be gamma or beta if there is only one.

    Example:
        >>> shapes = {"layers/conv1d_1/vars/0": (3, 5, 7), "layers/conv1d_1/vars/1": (7,)}
        >>> by_labels(shapes, {"layers/conv1d_1": "stem"}.get)
        {'layers/conv1d_1/vars/0': 'stem/kernel', 'layers/conv1d_1/vars/1': 'stem/bias'}
    """
    variables: dict[str, list[str]] = defaultdict(list)
    for path in shapes:
        owner, found, number = path.rpartition("/vars/")
        if found:
            variables[owner].append(number)
    names: dict[str, str] = {}
    for owner, numbers in variables.items():
        scope = _labels_along(owner, label)
        if scope is None:
            continue
        numbers.sort(key=lambda text: (len(text), text))
        paths = [f"{owner}/vars/{number}" for number in numbers]
        own = _own_names(owner, label(owner), [shapes[path] for path in paths])
        for path, number, name in zip(paths, numbers, own, strict=True):
            names[path] = "/".join((*scope, name or f"vars/{number}"))
    return names


def _labels_along(owner: str, label: Callable[[str], str | None]) -> list[str] | None:
    """The names of the objects on a path; lists of objects have none."""
    parts = owner.split("/")
    found = [label("/".join(parts[:end])) for end in range(1, len(parts) + 1)]
    if found[-1] is None:
        return None
    return [name for name in found if name is not None]


def _own_names(owner: str, name: str | None, shapes: Sequence[Shape]) -> Sequence[str | None]:
    unknown: list[str | None] = [None] * len(shapes)
    above, _, last = owner.rpartition("/")
    kind = CLASSES_BY_SNAKE_CASE.get(_COUNTER.sub("", last))
    if last.removeprefix("_") in PROJECTIONS:
        kind = "EinsumDense"
    elif last == "cell" and (parent := _COUNTER.sub("", above.rpartition("/")[2])):
        kind = CELLS.get(CLASSES_BY_SNAKE_CASE.get(parent, ""), ("", ""))[0]
    if kind:
        return possible_names(kind, len(shapes)) or unknown
    if last == "cell":
        # Of the cells, only their variables differ in shape, not in name.
        return possible_names("LSTMCell", len(shapes)) or unknown
    # The class of a wrapped layer is not in the file; with a bias it is clear that there is a kernel.
    if last == "layer" and len(shapes) == 2 and len(shapes[0]) > len(shapes[1]) == 1:
        return ["kernel", "bias"]
    return unknown


def _settled(names: dict[str, str], specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    """Names that do not depend on the version of Keras.

    A depthwise kernel is called ``kernel``, as since Keras 3. The weights of a recurrent layer belong to its cell, as
    since Keras 2.4, and its cell has no counter.
    """
    layers: dict[str, dict[str, str]] = defaultdict(dict)
    for old, new in names.items():
        layer, _, weight = new.rpartition("/")
        layers[layer][weight] = old
    cells = Counter(layer.rpartition("/")[0] for layer in layers if _is_cell(layer))
    settled = dict(names)
    for layer, weights in layers.items():
        above, _, last = layer.rpartition("/")
        renamed = layer
        if _is_cell(layer) and cells[above] == 1:
            renamed = f"{above}/{_COUNTER.sub('', last)}"
        elif "recurrent_kernel" in weights and (not above or last.startswith(_PARTS_OF_BIDIRECTIONAL)):
            shapes = [
                specs[weights[name]].shape for name in ("kernel", "recurrent_kernel") if name in weights
            ]
            renamed = f"{layer}/{_cell_of(*shapes)}" if len(shapes) == 2 else layer
        depthwise = "depthwise_kernel" in weights and not weights.keys() & {"pointwise_kernel", "kernel"}
        for weight, old in weights.items():
            own = "kernel" if depthwise and weight == "depthwise_kernel" else weight
            settled[old] = f"{renamed}/{own}" if renamed else own
    return settled


def _is_cell(layer: str) -> bool:
    return "/" in layer and _CELL.fullmatch(layer.rpartition("/")[2]) is not None


def _cell_of(kernel: Shape, recurrent: Shape) -> str:
    if len(kernel) > 2:
        return "conv_lstm_cell"
    gates = recurrent[-1] // max(recurrent[0], 1) if recurrent else 0
    return {4: "lstm_cell", 3: "gru_cell"}.get(gates, "simple_rnn_cell")
