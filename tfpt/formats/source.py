"""The interface of all readers: names, shapes and dtypes without reading weights, and one tensor at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.tensors import Role, TensorSpec


@dataclass(frozen=True)
class Quantized:
    """How the integers of a tensor represent real numbers: usually ``(integer - zero point) * scale``.

    Attributes:
        scales: One for the tensor, or one for each index of `axis`.
        zero_points: As many: the integers that represent 0.
        axis: The axis along which they differ; None if there is one pair for the whole tensor.
        scheme: ``affine``, as above; ``minimum``: ``integer * scale + minimum``; or the name of another rule.
        minimums: As many as scales if the scheme is ``minimum``: the numbers that 0 represents.

    Example:
        >>> str(Quantized((0.05,), (-3,))), str(Quantized((0.1, 0.2), (0, 0), axis=1))
        ('scale 0.05, zero point -3', '2 scales along axis 1, 0.1 to 0.2, zero point 0')
        >>> str(Quantized((0.05,), scheme="minimum", minimums=(-1.5,)))
        'scale 0.05, minimum -1.5'
    """

    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int | None = None
    scheme: str = "affine"
    minimums: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.scheme == "minimum" and len(self.scales) == len(self.minimums) == 1:
            return f"scale {self.scales[0]:.6g}, minimum {self.minimums[0]:.6g}"
        if self.scheme != "affine" or not self.scales:
            return f"by {self.scheme}"
        low, high = min(self.zero_points, default=0), max(self.zero_points, default=0)
        zero = f"zero point {low}" if low == high else f"zero points {low} to {high}"
        if self.axis is None:
            return f"scale {self.scales[0]:.6g}, {zero}"
        most, least = max(self.scales), min(self.scales)
        return f"{len(self.scales)} scales along axis {self.axis}, {least:.6g} to {most:.6g}, {zero}"


class Source(ABC):
    """A file, or a set of files, of named tensors: the base class of all readers.

    A reader sets `location`, `side`, `format` and `specs`, and the other attributes that its format has; the rest are
    empty.

    Attributes:
        location: The path or URL, as the user would write it in a command.
        side: The kind of names: ``tf`` (variables) or ``pt`` (parameters).
        format: The name of its format, for reports ("TensorFlow V2 checkpoint").
        specs: Name, shape and dtype of every tensor, by name, in the file's order; reads no weights.
        roles: Tensors that the file itself marks as other than weights, by name; `tfpt.formats.roles` derives roles
            from names.
        aliases: Other names that `read` accepts, such as the raw key of an object-based checkpoint: alias to name.
        paths: The storage paths that differ from the names, by name: the object path of a checkpoint's variable, the
            path in a Keras archive.
        skipped: Contents of the file that `specs` omits, by name, each with a short reason
            ("sparse_coo tensor").
        quantized: Tensors whose integers represent real numbers, by name, and how. Empty if the source was opened with
            ``dequantize=True`` and reads the real numbers.
        sizes: Bytes in the file of tensors of strings, by name.
        config: The configuration of the model that was saved with the weights, parsed JSON; None if there is none.
        metadata: The writer's metadata, such as the `__metadata__` of safetensors.
    """

    location: str
    side: Literal["tf", "pt"] = "tf"
    format: str
    specs: Mapping[str, TensorSpec]
    roles: Mapping[str, Role] = MappingProxyType({})
    aliases: Mapping[str, str] = MappingProxyType({})
    paths: Mapping[str, str] = MappingProxyType({})
    skipped: Mapping[str, str] = MappingProxyType({})
    quantized: Mapping[str, Quantized] = MappingProxyType({})
    sizes: Mapping[str, int] = MappingProxyType({})
    config: object = None
    metadata: Mapping[str, Any] = MappingProxyType({})

    @property
    def files(self) -> Sequence[str]:
        """The locations of the files that it reads."""
        return (self.location,)

    @property
    def details(self) -> Sequence[str]:
        """Further information in the file, one line each: signatures, metadata."""
        return ()

    @property
    def layer_names(self) -> Mapping[str, str]:
        """The names by layer and weight that a file of Keras implies, by name: see `tfpt.formats.keras.by_layer`."""
        return {}

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Tensors of `specs` that cannot be read, by name, each with the reason, as far as known without reading."""
        return {}

    @property
    def order(self) -> Sequence[str] | None:
        """All names in the order in which the tensors were created, as far as the file keeps it; None if it does not.

        Reads no weights. Tensors of which the order is not known come last.
        """
        return None

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: C-contiguous, native byte order, of the shape and dtype of `specs[name]`.

        The array may be not writable. Safe to call from several threads.

        Raises:
            SourceError: There is no such tensor, its bytes are missing, or they fail their checksum.
        """

    @abstractmethod
    def release(self, name: str) -> None:
        """Hint that this tensor is not needed again soon, so that memory stays bounded."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash that changes when the file's content changes; reads no weights."""

    @abstractmethod
    def close(self) -> None:
        """Close the files. Arrays that were read stay valid."""

    def no_such_tensor(self, name: str, skipped: str | None = None) -> SourceError:
        """The error to raise when there is no tensor of this name: which names come near, or why it was skipped.

        Args:
            name: The name that was asked for.
            skipped: Its name in `skipped`, if that is another.
        """
        if (reason := self.skipped.get(skipped or name)) is not None:
            return SourceError(f"tensor {name!r} cannot be read: {reason}", where=self.location)
        return SourceError(
            f"there is no tensor called {name!r} here",
            where=self.location,
            nearest=nearest(name, self.specs),
            hint=f"tfpt inspect {self.location} lists its {len(self.specs)} tensors",
        )

    def describe_as(self, other: Source) -> None:
        """Copy the attributes of `other`, for a source that wraps it."""
        self.location, self.side, self.format, self.config = (
            other.location,
            other.side,
            other.format,
            other.config,
        )
        self.specs, self.roles, self.aliases, self.paths = (
            other.specs,
            other.roles,
            other.aliases,
            other.paths,
        )
        self.skipped, self.quantized, self.sizes = other.skipped, other.quantized, other.sizes
        self.metadata = other.metadata


def unsorted(names: Iterable[str]) -> tuple[str, ...] | None:
    """The names, unless they are sorted: then their order says nothing about when the tensors were created.

    Example:
        >>> unsorted(["b", "a"]), unsorted(["a", "b"])
        (('b', 'a'), None)
    """
    listed = tuple(names)
    return None if list(listed) == sorted(listed) else listed


__all__ = ["Quantized", "Role", "Source", "unsorted"]
