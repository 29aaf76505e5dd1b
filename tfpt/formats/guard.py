"""The boundary of the readers: every exception leaves as a `SourceError` that names the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from tfpt.errors import SourceError, TfptError
from tfpt.formats.source import Source


@contextmanager
def reading(location: str, what: str) -> Iterator[None]:
    """Turn an unexpected exception of a reader into a `SourceError`, with the exception as its cause.

    Args:
        location: The file, as it was named.
        what: The object of the message: ``the file``, ``tensor 'w'``.

    Example:
        >>> with reading("model.h5", "the file"):
        ...     [][1]
        Traceback (most recent call last):
        tfpt.errors.SourceError: the file cannot be read: IndexError: list index out of range
          where     model.h5
          next      the file may be damaged: compare it with the original, or download it again
    """
    try:
        yield
    except TfptError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{what} cannot be read: it needs more memory than there is",
            where=location,
            hint="if the file is not that large, it is damaged or forged",
        ) from error
    except Exception as error:  # damaged files can raise anything
        detail = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {detail}" if detail else type(error).__name__
        raise SourceError(
            f"{what} cannot be read: {reason[:300]}",
            where=location,
            hint="the file may be damaged: compare it with the original, or download it again",
        ) from error


class Guarded(Source):
    """A wrapper of a source that raises only `SourceError`, whatever its reader raises.

    Attributes:
        reader: The source itself, which may have attributes of its format, such as the signatures of a SavedModel.
    """

    def __init__(self, source: Source) -> None:
        self.reader = source
        self.describe_as(source)

    @property
    def files(self) -> Sequence[str]:
        """The source's own."""
        return self.reader.files

    @property
    def details(self) -> Sequence[str]:
        """The source's own."""
        with reading(self.location, "the file"):
            return self.reader.details

    @property
    def layer_names(self) -> Mapping[str, str]:
        """The source's own."""
        with reading(self.location, "the file"):
            return self.reader.layer_names

    @property
    def order(self) -> Sequence[str] | None:
        """The source's own."""
        with reading(self.location, "the file"):
            return self.reader.order

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The source's own."""
        with reading(self.location, "the file"):
            return self.reader.unavailable

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor."""
        with reading(self.location, f"tensor {name!r}"):
            return self.reader.read(name)

    def release(self, name: str) -> None:
        """Say that this tensor is not needed again soon."""
        with reading(self.location, f"tensor {name!r}"):
            self.reader.release(name)

    def fingerprint(self) -> str:
        """The source's own."""
        with reading(self.location, "the file"):
            return self.reader.fingerprint()

    def close(self) -> None:
        """Close the source."""
        self.reader.close()
