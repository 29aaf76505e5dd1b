"""What every reader offers: names, shapes and dtypes without reading weights, and one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from tfpt.tensors import Role, TensorSpec


@dataclass(frozen=True)
class Quantised:
    """How the integers of a tensor stand for real numbers: ``(integer - zero point) * scale``, mostly.

    Attributes:
        scales: One for the tensor, or one for each index of `axis`.
        zero_points: As many: the integers that stand for 0.
        axis: The axis along which they differ; None where one pair is for the whole tensor.
        scheme: ``affine``, as above; ``minimum``: ``integer * scale + minimum``; or the name of another rule.
        minimums: As many as scales where the scheme is ``minimum``: the numbers that 0 stands for.

    Example:
        >>> str(Quantised((0.05,), (-3,))), str(Quantised((0.1, 0.2), (0, 0), axis=1))
        ('scale 0.05, zero point -3', '2 scales along axis 1, 0.1 to 0.2, zero point 0')
        >>> str(Quantised((0.05,), scheme="minimum", minimums=(-1.5,)))
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


class Source(Protocol):
    """A file, or a set of files, that holds named tensors.

    Attributes:
        location: Where it is, as a person would name it in a command: a path or a URL.
        side: Whose names it holds: ``tf`` (variables) or ``pt`` (parameters).
        format: The name of its format, for reports ("TensorFlow V2 checkpoint").
        specs: Name, shape and dtype of every tensor, by name, in the file's order; reads no weights.
        roles: Tensors that the file itself says are no weights, by name. Formats that hold names only say nothing
            here; `tfpt.sources.roles` tells by the names.
        aliases: Other names under which `read` knows a tensor, such as the raw key of an object-based checkpoint:
            alias to name.
        skipped: What the file holds and `specs` leaves out, by name, each with the reason in a few words
            ("sparse_coo tensor"): a tensor that cannot be read must not vanish without a word.
        quantised: Tensors whose integers stand for real numbers, by name, and how. Empty where the source was opened
            with ``dequantise=True``: it then reads the real numbers.

    Some readers have more: `details` (lines of what else the file says), `paths` (see `tfpt.sources.by_path`),
    `unavailable` (tensors of `specs` that cannot be read, by name, each with the reason) and `sizes` (bytes in the file
    of tensors of strings, by name).
    """

    location: str
    side: Literal["tf", "pt"]
    format: str
    specs: Mapping[str, TensorSpec]
    roles: Mapping[str, Role]
    aliases: Mapping[str, str]
    skipped: Mapping[str, str]
    quantised: Mapping[str, Quantised]

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: C-contiguous, native byte order, of the shape and dtype of `specs[name]`.

        The array may be not writable. Safe to call from several threads.

        Raises:
            SourceError: There is no such tensor, its bytes are missing, or they fail their checksum.
        """
        ...

    def release(self, name: str) -> None:
        """Say that this tensor is not needed again soon, so that memory stays bounded."""
        ...

    def fingerprint(self) -> str:
        """A short hash that changes when the file's content changes; reads no weights."""
        ...

    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid."""
        ...


__all__ = ["NONE_QUANTISED", "NOTHING_SKIPPED", "NO_ALIASES", "NO_ROLES", "Quantised", "Role", "Source"]

# For readers of formats that say nothing of a tensor beyond its name.
NO_ROLES: Mapping[str, Role] = {}
NO_ALIASES: Mapping[str, str] = {}
NOTHING_SKIPPED: Mapping[str, str] = {}
NONE_QUANTISED: Mapping[str, Quantised] = {}
