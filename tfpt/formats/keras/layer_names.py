"""Derives the names of a Keras 3 model's variables, as ``model.weights`` shows them, from its configuration.

`.weights.h5` numbers objects by class: ``layers/dense_1/vars/0``. The configuration lists the layers in the same order
with their names, so counting the classes again matches them (keras/src/saving/saving_lib.py,
`_save_container_state`). A variable is named after the scopes in which its layer was built:

- a layer of a functional model, at any depth: ``layer/kernel``, since such models build layers outside any scope;
- a layer in a Sequential, a wrapper, a recurrent or attention layer: below the name of its container,
  ``my_seq/dense/kernel``, ``bidirectional/forward_lstm/lstm_cell/kernel``, ``attention/query/kernel``;
- in a custom layer, or one that is not in the table: the layer's name and the file's path below it,
  ``my_block/dense/vars/0``. Only the layer's own code knows how it names things.

Keras rebuilds a model when it loads one, mostly without the scopes: ``dense/kernel`` for ``my_seq/dense/kernel``.
Such shorter names are aliases if they are unambiguous.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tfpt.formats.keras.layer_variables import (
    ATTENTIONS,
    CELLS,
    PROJECTIONS,
    known_classes,
    variable_names,
)

Node = Mapping[str, Any]
_DEEPEST = 60
_FUNCTIONAL = ("Functional", "Model")
# Keras exports this class under another name: configurations have one, paths the other.
_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}
_WRAPPERS = ("TimeDistributed", "SpectralNormalization", "Wrapper")


class LayerNames:
    """The names of the variables at given paths.

    Args:
        config: The archive's ``config.json``, parsed.
        paths: The paths of all datasets.
        labels: The file's own name for the object with variables at ``<path>/vars``, by the object's path.
            Keras writes it since 3.8; if it contradicts the configuration, the configuration is ignored.
        keras_version: The version of Keras that saved the archive.
        by_layer: Name variables after all layers that they are in, however those were built: nested models too, but not
            the model itself (`tfpt.formats.keras.by_layer`).

    Attributes:
        names: Path to name, for each path whose name is known; names are unique.
        shorter: Alias to name.

    Example:
        >>> dense = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "fc", "use_bias": False}}
        >>> model = {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [dense]}}
        >>> found = LayerNames(model, ["layers/dense/vars/0"], {})
        >>> found.names, found.shorter
        ({'layers/dense/vars/0': 'net/fc/kernel'}, {'fc/kernel': 'net/fc/kernel'})
    """

    def __init__(
        self,
        config: object,
        paths: list[str],
        labels: Mapping[str, str],
        keras_version: str | None = None,
        *,
        by_layer: bool = False,
    ) -> None:
        self._by_layer = by_layer
        self._labels = labels
        self._version = keras_version
        self._below: dict[str, list[str]] = {}
        for path in paths:
            owner, found, number = path.rpartition("vars/")
            if found:
                self._below.setdefault(owner.strip("/"), []).append(number)
        self._unknown: dict[str, str] = {}
        pairs: list[tuple[str, str]] = []
        if isinstance(config, Mapping):
            pairs = list(self._object(config, "", (), 0))
        pairs += self._in_unknown({path for path, _ in pairs}, paths)
        uses = Counter(name for _, name in pairs)
        taken = set(paths)
        self.names = {path: name for path, name in pairs if uses[name] == 1 and name not in taken}
        self.shorter = _shorter(list(self.names.values()), taken)

    def _object(
        self, node: Node, path: str, scope: tuple[str, ...], depth: int, name: str | None = None
    ) -> Iterator[tuple[str, str]]:
        """The names of all variables of the object of one configuration node, and of the objects below it."""
        kind, config = node.get("class_name"), node.get("config")
        if not isinstance(kind, str) or not isinstance(config, Mapping) or depth > _DEEPEST:
            return
        # A layer without a `get_config` of its own may have its name only in the node, or only in the file.
        name = name or config.get("name") or node.get("name") or self._labels.get(path)
        if not isinstance(name, str) or self._labels.get(path, name) != name:
            return
        own = (*scope, name)
        layers = config.get("layers")
        inside = own if not self._by_layer or path else ()
        if isinstance(layers, list) and ("input_layers" in config or _is_keras(node, _FUNCTIONAL)):
            yield from self._several(layers, _under(path, "layers"), inside if self._by_layer else (), depth)
        elif isinstance(layers, list) and _is_keras(node, ("Sequential",)):
            yield from self._several(layers, _under(path, "layers"), inside, depth)
        elif path and not _is_keras(node):
            self._unknown[path] = "/".join(own)
        elif path:
            yield from self._variables(kind, config, path, own)
            yield from self._parts(node, kind, config, path, own, depth)
            self._unknown[path] = "/".join(own)

    def _several(
        self, nodes: list[Any], path: str, scope: tuple[str, ...], depth: int
    ) -> Iterator[tuple[str, str]]:
        """Objects in a list, which the file distinguishes by class and counter."""
        used: Counter[str] = Counter()
        for node in nodes:
            # Functional models list operations such as keras.ops.add among their layers, but save only layers.
            if not isinstance(node, Mapping) or ".ops." in str(node.get("module")):
                continue
            kind = str(node.get("class_name"))
            kind = snake_case(_CLASSES.get(kind, kind))
            label = kind if not used[kind] else f"{kind}_{used[kind]}"
            used[kind] += 1
            yield from self._object(node, _under(path, label), scope, depth + 1)

    def _parts(
        self, node: Node, kind: str, config: Node, path: str, own: tuple[str, ...], depth: int
    ) -> Iterator[tuple[str, str]]:
        """The objects that a layer of Keras has as attributes."""
        if kind in _WRAPPERS and isinstance(config.get("layer"), Mapping):
            yield from self._object(config["layer"], f"{path}/layer", own, depth + 1)
        elif kind == "Bidirectional" and isinstance(config.get("layer"), Mapping):
            forward = config["layer"]
            name = str(forward.get("config", {}).get("name")).removeprefix("forward_")
            yield from self._object(forward, f"{path}/forward_layer", own, depth + 1, f"forward_{name}")
            backward = config.get("backward_layer")
            if not isinstance(backward, Mapping):
                backward = forward
            else:
                name = str(backward.get("config", {}).get("name")).removeprefix("backward_")
            yield from self._object(backward, f"{path}/backward_layer", own, depth + 1, f"backward_{name}")
        elif kind in CELLS:
            cell, name = CELLS[kind]
            made = {**node, "class_name": cell, "config": {**config, "name": name}}
            yield from self._object(made, f"{path}/cell", own, depth + 1)
        elif kind == "RNN" and isinstance(config.get("cell"), Mapping):
            yield from self._object(config["cell"], f"{path}/cell", own, depth + 1)
        elif kind == "StackedRNNCells" and isinstance(config.get("cells"), list):
            yield from self._several(config["cells"], f"{path}/cells", own, depth + 1)
        elif kind in ATTENTIONS:
            for attribute, name in PROJECTIONS.items():
                part = {"bias_axes": "" if config.get("use_bias", True) else None}
                # Without the underscore since Keras 3.
                for place in (f"{path}/{attribute}", f"{path}/_{attribute}"):
                    if self._labels.get(place, name) == name:
                        yield from self._variables("EinsumDense", part, place, (*own, name))

    def _variables(
        self, kind: str, config: Node, path: str, own: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        numbers = sorted(self._below.get(path, ()), key=lambda text: (len(text), text))
        if numbers != [str(number) for number in range(len(numbers))]:
            return
        names = variable_names(kind, config, len(numbers), self._version)
        for number, name in zip(numbers, names or (), strict=False):
            if name is not None:
                yield f"{path}/vars/{number}", "/".join((*own, name))

    def _in_unknown(self, known: set[str], paths: list[str]) -> Iterator[tuple[str, str]]:
        """For the other paths: the name of the nearest layer that has one, and the file's path below it."""
        for path in paths:
            above = path
            while path not in known and "/" in above:
                above = above.rpartition("/")[0]
                if above in self._unknown:
                    yield path, self._unknown[above] + path[len(above) :]
                    break


def snake_case(name: str) -> str:
    """A class name as Keras writes it in paths (keras/src/utils/naming.py, `to_snake_case`).

    Example:
        >>> snake_case("Conv2DTranspose"), snake_case("PReLU"), snake_case("BatchNormalization")
        ('conv2d_transpose', 'p_re_lu', 'batch_normalization')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


CLASSES_BY_SNAKE_CASE: Mapping[str, str] = {snake_case(name): name for name in known_classes()}


def _under(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _is_keras(node: Node, kinds: tuple[str, ...] | None = None) -> bool:
    """Whether a node's class is Keras' own (and one of `kinds`): a custom layer may be called Dense too."""
    module = str(node.get("module") or "")
    own = module == "keras" or module.startswith("keras.")
    return own and (kinds is None or node.get("class_name") in kinds)


def _shorter(names: list[str], taken: set[str]) -> dict[str, str]:
    """Names without leading scopes, down to ``layer/variable``, if they are unambiguous."""
    known = set(names)
    ends: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")
        if "vars" not in parts:
            for start in range(1, len(parts) - 1):
                ends.setdefault("/".join(parts[start:]), []).append(name)
    return {end: of[0] for end, of in ends.items() if len(of) == 1 and end not in taken and end not in known}
