"""What every reader offers: names, shapes and dtypes without reading weights, and one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np

from tfpt.tensors import Role, TensorSpec


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
    """

    location: str
    side: Literal["tf", "pt"]
    format: str
    specs: Mapping[str, TensorSpec]
    roles: Mapping[str, Role]
    aliases: Mapping[str, str]

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: C-contiguous, native byte order, of the shape and dtype of `specs[name]`.

        The array may be a read-only view of the mapped file. Safe to call from several threads.

        Raises:
            SourceError: There is no such tensor, its bytes are missing, or they fail their checksum.
        """
        ...

    def release(self, name: str) -> None:
        """Say that the pages of this tensor are not needed again soon, so that memory stays bounded."""
        ...

    def fingerprint(self) -> str:
        """A short hash that changes when the file's content changes; reads no weights."""
        ...

    def close(self) -> None:
        """Unmap the files. Arrays that were read stay valid."""
        ...


__all__ = ["NO_ALIASES", "NO_ROLES", "Role", "Source"]

# For readers of formats that say nothing of a tensor beyond its name.
NO_ROLES: Mapping[str, Role] = {}
NO_ALIASES: Mapping[str, str] = {}
