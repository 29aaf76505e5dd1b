"""What every writer offers: all names, shapes and dtypes first, then the tensors in any order."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from tfpt.io.output_file import AtomicFile


class Sink(Protocol):
    """An output file that takes tensors and appears when it is whole.

    A sink is made from the specs of all its tensors. Used in a `with` block it discards whatever was not
    committed, with an exception or without one.
    """

    def write(self, name: str, array: np.ndarray) -> None:
        """Take the values of one tensor, of the shape and dtype of its spec; safe to call from several threads.

        The sink may keep the array until `commit`: it must not change after this.

        Raises:
            SinkError: There is no such tensor, it came before, its shape or dtype is another, or the disk is full.
        """
        ...

    def commit(self) -> None:
        """Finish the file and give it its name.

        Raises:
            SinkError: A tensor is missing, or the file cannot be written; nothing is left behind.
        """
        ...

    def discard(self) -> None:
        """Give up and leave nothing behind; does nothing after `commit`."""
        ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class FileSink(Sink, Protocol):
    """A sink whose file can be finished before it has its name, so that several files appear together."""

    def finish(self) -> AtomicFile:
        """Complete the file under its temporary name; `tfpt.io.publishing.publish` gives it its own.

        Raises:
            SinkError: A tensor is missing, or the file cannot be written; nothing is left behind.
        """
        ...

    def __enter__(self) -> FileSink: ...
