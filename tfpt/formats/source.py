"""What every reader offers: names, shapes and dtypes without reading weights, and one tensor at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.tensors import Role, TensorSpec


@dataclass(frozen=True)
class Quantized:
    """How the integers of a tensor stand for real numbers: ``(integer - zero point) * scale``, mostly.

    Attributes:
        scales: One for the tensor, or one for each index of `axis`.
        zero_points: As many: the integers that stand for 0.
        axis: The axis along which they differ; None where one pair is for the whole tensor.
        scheme: ``affine``, as above; ``minimum``: ``integer * scale + minimum``; or the name of another rule.
        minimums: As many as scales where the scheme is ``minimum``: the numbers that 0 stands for.

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
    """A file, or a set of files, that holds named tensors: what each reader derives from.

    A reader sets `location`, `side`, `format` and `specs`, and whatever else its format tells; what it does not set is
    empty.

    Attributes:
        location: Where it is, as a person would name it in a command: a path or a URL.
        side: Whose names it holds: ``tf`` (variables) or ``pt`` (parameters).
        format: The name of its format, for reports ("TensorFlow V2 checkpoint").
        specs: Name, shape and dtype of every tensor, by name, in the file's order; reads no weights.
        roles: Tensors that the file itself says are no weights, by name. Formats that hold names only say nothing
            here; `tfpt.formats.roles` tells by the names.
        aliases: Other names under which `read` knows a tensor, such as the raw key of an object-based checkpoint:
            alias to name.
        paths: Where each tensor is stored, by name, where that differs from the name: the path through objects of a
            checkpoint's variable, the path in a Keras archive.
        skipped: What the file holds and `specs` leaves out, by name, each with the reason in a few words
            ("sparse_coo tensor").
        quantized: Tensors whose integers stand for real numbers, by name, and how. Empty where the source was opened
            with ``dequantize=True``: it then reads the real numbers.
        sizes: Bytes in the file of tensors of strings, by name.
        config: The configuration of the model that was saved with the weights, parsed JSON; None where there is none.
        metadata: What the writer noted of the file, such as the `__metadata__` of safetensors.
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
        """The files that it reads, as locations: `location`, if it is one file."""
        return (self.location,)

    @property
    def details(self) -> Sequence[str]:
        """What else the file says of itself, a line each: signatures, metadata."""
        return ()

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Tensors of `specs` that cannot be read, by name, each with the reason, as far as is known without reading."""
        return {}

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: C-contiguous, native byte order, of the shape and dtype of `specs[name]`.

        The array may be not writable. Safe to call from several threads.

        Raises:
            SourceError: There is no such tensor, its bytes are missing, or they fail their checksum.
        """

    @abstractmethod
    def release(self, name: str) -> None:
        """Say that this tensor is not needed again soon, so that memory stays bounded."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash that changes when the file's content changes; reads no weights."""

    @abstractmethod
    def close(self) -> None:
        """Close the files. Arrays that were read stay valid."""

    def no_such_tensor(self, name: str) -> SourceError:
        """The error to raise when there is no tensor of this name; says which names come near."""
        return SourceError(
            f"there is no tensor called {name!r} here",
            where=self.location,
            nearest=nearest(name, self.specs),
            hint=f"tfpt inspect {self.location} lists its {len(self.specs)} tensors",
        )

    def describe_as(self, other: Source) -> None:
        """Take over everything that `other` says of itself, for a source that wraps it."""
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


__all__ = ["Quantized", "Role", "Source"]
