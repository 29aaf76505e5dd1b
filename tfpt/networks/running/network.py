"""What every TensorFlow network offers, whatever file it came from: names, inputs, and a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tfpt.networks.running.tables import Table

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class InputSpec:
    """One thing that a network is fed.

    Attributes:
        name: What it is called: the placeholder's operation, the key of a signature, or Keras's name of the input.
        shape: ``None`` for an axis of any size, and for any number of axes.
        dtype: The dtype's name.
    """

    name: str
    shape: Shape | None
    dtype: str

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can be fed.

        Example:
            >>> InputSpec("clip", (None, 16, 3), "float32").takes((5, 16, 3))
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
        shape: Of its first output, open sizes as ``None``; ``None`` where even the number of axes is open.
        scopes: The name scopes that stand for it, outermost first.
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
        location: Where it is, as a person would name it in a command.
        format: The name of its format, for reports.
        facts: What else is known of it, in values of JSON: the signature, the checkpoint.
    """

    location: str
    format: str
    facts: dict[str, Any]

    def names(self) -> list[Recordable]:
        """What can be recorded, in network order."""
        ...

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """The tensor, or the output of a layer, that an endpoint's `op` means.

        Args:
            op: An operation, a name scope or a layer: the whole name, its last components, or below one of `scopes`.
            scopes: Where the mapping says that the network stands.

        Raises:
            SourceError: There is none, or several; says which come near.
        """
        ...

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """What has to be fed to compute `wanted`, as `resolve` gives them, besides the tensors that are `fed`.

        Raises:
            SourceError: Something must be fed of which a person has to choose the value.
        """
        ...

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """Of these inputs, as `inputs` names them, the tables that are looked up with their values."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted`, all of one run, outside training; what such a run does not compute is left out.

        Raises:
            SourceError: The network cannot be run.
        """
        ...

    def close(self) -> None:
        """Let go of the network."""
        ...


def format_open_shape(shape: Shape | None) -> str:
    """A shape as people write it, with question marks for what is open.

    Example:
        >>> format_open_shape((None, 3)), format_open_shape(None)
        ('[?, 3]', '[…]')
    """
    if shape is None:
        return "[…]"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
