"""The interface of writers: all names, shapes and dtypes first, then the tensors in any order."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from tfpt.io.output_file import AtomicFile


class Sink(Protocol):
    """An output file that receives tensors and appears once it is complete.

    A sink is created with the specs of all its tensors. A `with` block discards what was not committed, with or
    without an exception.
    """

    def write(self, name: str, array: np.ndarray) -> None:
        """Write the values of one tensor, with the shape and dtype of its spec; thread-safe.

        The sink may keep the array until `commit`: do not change it after this call.

        Raises:
            SinkError: There is no such tensor, it was already written, its shape or dtype differs, or the disk is full.
        """
        ...

    def commit(self) -> None:
        """Finish the file and give it its final name.

        Raises:
            SinkError: A tensor is missing, or the file cannot be written; no file remains.
        """
        ...

    def discard(self) -> None:
        """Remove the unfinished file; does nothing after `commit`."""
        ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class FileSink(Sink, Protocol):
    """A sink whose file can be finished before it is renamed, so that several files appear together."""

    def finish(self) -> AtomicFile:
        """Complete the file under its temporary name; `tfpt.io.publishing.publish` renames it.

        Raises:
            SinkError: A tensor is missing, or the file cannot be written; no file remains.
        """
        ...

    def __enter__(self) -> FileSink: ...
