"""The tensors of one side, with what their names and neighbors say about them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tfpt.proposal.names import Name
from tfpt.tensors import TensorSpec

Part = Literal["kernel", "bias", "scale", "shift", "mean", "variance", "counter", "other"]
"""What a tensor is in its layer; `scale` and `shift` are those of a normalization."""

Shape = tuple[int, ...]

_COUNTER = re.compile(r"_\d+$")
# Layers of one kind with at least this many numbers in order are counted.
_COUNTED = 4


@dataclass(frozen=True)
class Scopes:
    """Everything that names begin with, word by word: `encoder`, `encoder layer`, `encoder layer 3`.

    Attributes:
        above: For each tensor the scopes it is in, from the outermost; padded with -1. [tensors, depth]
        size: How many tensors each scope holds.
        rank: The place of a numbered scope among those that differ from it in the number alone, from 0 to 1; else -1.
        siblings: How many these are.
        number: The number.
    """

    above: np.ndarray
    size: np.ndarray
    rank: np.ndarray
    siblings: np.ndarray
    number: np.ndarray


class Side:
    """Variables, or parameters.

    Attributes:
        specs: The tensors.
        names: Their names, taken apart.
        shapes: Their shapes.
        parts: What each is in its layer.
        kinds: The class of the module that each is in, where it is known.
        ordered: Whether the order in which the tensors were created is known.
        counted: Whether that is because Keras numbered the layers as they were created: `conv2d`, `conv2d_1`. A file
            lists them in another order, that of the network's depth.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        separator: Literal["/", "."],
        *,
        ordered: bool,
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.names = [Name(spec.name, separator) for spec in specs]
        self.shapes: list[Shape] = [spec.shape for spec in specs]
        self._counts = _counted_kinds(self.names) if separator == "/" else {}
        self.counted = sum(_kind(name) in self._counts for name in self.names) > len(self.names) / 2
        self.ordered = ordered or self.counted
        self.kinds = [(kinds or {}).get(spec.name, "") for spec in specs]
        siblings: dict[str, dict[tuple[str, ...], Shape]] = defaultdict(dict)
        for name, shape in zip(self.names, self.shapes, strict=True):
            siblings[name.scope][name.leaf] = shape
        part = _variable_part if separator == "/" else _parameter_part
        self.parts: list[Part] = [
            part(name.leaf, shape, siblings[name.scope])
            for name, shape in zip(self.names, self.shapes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.specs)

    @cached_property
    def order(self) -> np.ndarray:
        """The place of each tensor: as created if that is known, otherwise by name, with numbers by value."""
        places = list(range(len(self)))
        if self.counted or not self.ordered:
            places.sort(key=lambda index: self.names[index].order)
        order = np.empty(len(self), np.int64)
        order[places] = np.arange(len(self))
        return order

    @cached_property
    def series(self) -> tuple[np.ndarray, np.ndarray]:
        """The place of each tensor among those whose names differ from its own in numbers alone, and how many they are.

        `layer_3/kernel` of 12 layers has place 3 of 12.
        """
        found: dict[tuple[str, ...], list[tuple[tuple[int, ...], int]]] = defaultdict(list)
        for index, name in enumerate(self.names):
            found[name.pattern].append((name.numbers, index))
        place, count = np.zeros(len(self)), np.ones(len(self))
        for members in found.values():
            for rank, (_, index) in enumerate(sorted(members)):
                place[index], count[index] = rank, len(members)
        return place, count

    @cached_property
    def scopes(self) -> Scopes:
        """The scopes that the tensors are in."""
        known: dict[tuple[str, ...], int] = {}
        above: list[list[int]] = []
        for name in self.names:
            words = name.words
            chain = [known.setdefault(words[:length], len(known)) for length in range(1, max(len(words), 2))]
            if self.counted:
                # The convolution and the normalization of one number belong together, if there are as many of both.
                counter = _COUNTER.search(name.text.partition("/")[0])
                count = str(self._counts.get(_kind(name), ""))
                pair = ("", count, counter[0] if counter else "_0")
                chain.insert(0, known.setdefault(pair, len(known)))
            above.append(chain)
        size = np.bincount([scope for chain in above for scope in chain], minlength=len(known))
        rank, siblings = np.full(len(known), -1.0), np.zeros(len(known))
        number = np.full(len(known), -1)
        numbered: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for words, scope in known.items():
            if words and words[-1].isdigit():
                numbered[words[:-1]].append((int(words[-1]), scope))
        for members in numbered.values():
            for place, (value, scope) in enumerate(sorted(members)):
                rank[scope] = place / max(len(members) - 1, 1)
                siblings[scope], number[scope] = len(members), value
        padded = np.full((len(above), max(map(len, above), default=1)), -1)
        for index, chain in enumerate(above):
            padded[index, : len(chain)] = chain
        return Scopes(padded, size, rank, siblings, number)


def _kind(name: Name) -> str:
    """The layer of a variable without its number."""
    return _COUNTER.sub("", name.text.partition("/")[0])


def _counted_kinds(names: Sequence[Name]) -> dict[str, int]:
    """The kinds of layers that Keras numbered as they were created, and how many there are of each."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for name in names:
        kinds[_kind(name)].add(name.text.partition("/")[0])
    return {
        kind: len(layers)
        for kind, layers in kinds.items()
        if len(layers) >= _COUNTED and layers == {kind, *(f"{kind}_{i}" for i in range(1, len(layers)))}
    }


def _variable_part(leaf: tuple[str, ...], shape: Shape, siblings: Mapping[tuple[str, ...], Shape]) -> Part:
    words = set(leaf)
    if "moving_mean" in words or leaf == ("mean",):
        return "mean"
    if "moving_variance" in words or leaf in (("variance",), ("var",)):
        return "variance"
    if "beta" in words or leaf == ("offset",):
        return "shift"
    flat = sum(size > 1 for size in shape) <= 1
    if flat and ("gamma" in words or leaf in (("scale",), ("g",), ("weight",))):
        return "scale"
    if words & {"bias", "biases"} or leaf == ("b",):
        normalized = any(key in siblings for key in (("gamma",), ("scale",), ("g",)))
        return "shift" if normalized else "bias"
    if words & {"kernel", "weights", "weight", "embeddings"} or leaf in (
        ("w",),
        ("embedding",),
        ("lookup", "table"),
    ):
        return "kernel"
    return "other"


def _parameter_part(leaf: tuple[str, ...], shape: Shape, siblings: Mapping[tuple[str, ...], Shape]) -> Part:
    match leaf:
        case ("moving_mean",):
            return "mean"
        case ("moving_variance",):
            return "variance"
        case ("num", "batches", "tracked"):
            return "counter"
        case ("weight",):
            return "kernel" if len(shape) > 1 else "scale"
        case ("bias",):
            return "shift" if len(siblings.get(("weight",), (1, 1))) == 1 else "bias"
        case ("gamma",) | ("scale",):
            return "scale"
        case ("beta",):
            return "shift"
    return "other"
