"""The interface of a TensorFlow network, whatever file it came from: names, inputs, and a run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tfpt.networks.running.lookup_tables import Table

Shape = tuple[int | None, ...]

_OUTPUT = re.compile(r"(?P<name>.+):(?P<number>[0-9]{1,9})")


@dataclass(frozen=True)
class InputSpec:
    """One input of a network.

    Attributes:
        name: The placeholder's operation, the key in a signature, or Keras's name of the input.
        shape: Sizes by axis, ``None`` for an unknown size; ``None`` if even the number of axes is unknown.
        dtype: The name of TensorFlow's dtype, such as ``float32``.
    """

    name: str
    shape: Shape | None
    dtype: str

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can be fed.

        Example:
            >>> InputSpec("clip", (None, 16, 3), "float32").accepts((5, 16, 3))
            True
        """
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            mine in (None, size) for mine, size in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        return f"{self.name} {format_open_shape(self.shape)} {self.dtype}"


@dataclass(frozen=True)
class Recordable:
    """An activation that can be recorded.

    Attributes:
        name: The operation, or the path of the layer.
        kind: The operation's type, or the layer's class.
        shape: The shape of its first output, unknown sizes as ``None``; ``None`` if the number of axes is unknown.
        scopes: The name scopes that may be used in its place, outermost first.
    """

    name: str
    kind: str
    shape: Shape | None
    scopes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain JSON values."""
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "kind": self.kind, "shape": shape, "scopes": list(self.scopes)}


class TensorFlowNetwork(Protocol):
    """A network that can be run.

    Attributes:
        location: Its path, as the user would write it in a command.
        format: The name of its format, for reports.
        runtime: What runs it, with its version, for recordings: ``TensorFlow 2.21.0``.
        facts: Further facts as JSON values: the signature, the checkpoint.
    """

    location: str
    format: str
    runtime: str
    facts: dict[str, Any]

    def names(self) -> list[Recordable]:
        """What can be recorded, in network order."""
        ...

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """The tensor, or layer output, that the `op` of an endpoint refers to.

        Args:
            op: An operation, a name scope or a layer: its complete name, its last components, or its name below one of
                `scopes`.
            scopes: The scopes that the mapping gives for the network.

        Raises:
            SourceError: There is no match, or several; the message lists the nearest names.
        """
        ...

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """The inputs needed to compute `wanted` (names from `resolve`), besides the tensors in `fed`.

        Raises:
            SourceError: An input is a setting whose value the user has to choose.
        """
        ...

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """The tables that these inputs index, by input name."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted` from a single run in inference mode; values that the run does not compute are left
        out.

        Raises:
            SourceError: The network cannot be run.
        """
        ...

    def close(self) -> None:
        """Release the network's resources."""
        ...


def split_output(name: str) -> tuple[str, int]:
    """A name and the number of the output after its colon, 0 if there is none.

    Example:
        >>> split_output("net/split:2"), split_output("net/relu")
        (('net/split', 2), ('net/relu', 0))
    """
    found = _OUTPUT.fullmatch(name)
    return (found["name"], int(found["number"])) if found else (name, 0)


def scoped_names(name: str, scopes: Sequence[str]) -> list[str]:
    """The name below each scope, then the name itself.

    Scopes come first: a graph of several networks may have an operation with the bare name that joins them.

    Example:
        >>> scoped_names("Mean", ["RGB/net", ""])
        ['RGB/net/Mean', 'Mean']
    """
    return list(dict.fromkeys([*(f"{scope}/{name}" for scope in scopes if scope), name]))


def format_open_shape(shape: Shape | None) -> str:
    """A shape for display, with question marks for unknown sizes.

    Example:
        >>> format_open_shape((None, 3)), format_open_shape(None)
        ('[?, 3]', '[…]')
    """
    if shape is None:
        return "[…]"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
