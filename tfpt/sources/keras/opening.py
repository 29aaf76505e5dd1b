"""Opens HDF5 files with h5py, and turns what h5py says of damaged ones into errors for people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tfpt.errors import SourceError
from tfpt.sources.storage import Storage

# What h5py raises for files that are cut off or forged: it has no exception of its own.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, OverflowError, AttributeError)
FETCH_AGAIN = "the file is cut off or damaged: fetch it again, and compare its size with the original's"


def import_h5py(where: str) -> ModuleType:
    """The package h5py, which is imported when a file needs it and not before.

    Raises:
        SourceError: It is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise SourceError(
            "reading Keras files needs the package h5py, which is not installed",
            where=where,
            hint="pip install tfpt[keras]",
        ) from None
    module: ModuleType = h5py
    return module


@contextmanager
def damage(where: str, what: str) -> Iterator[None]:
    """Turns what h5py raises inside it into a SourceError that begins with `what`.

    Example:
        >>> with damage("m.h5", "cannot list the file"):
        ...     raise OSError("bad superblock")
        Traceback (most recent call last):
        tfpt.errors.SourceError: cannot list the file: bad superblock
          where     m.h5
          next      the file is cut off or damaged: fetch it again, ...
    """
    try:
        yield
    except SourceError:
        raise
    except MemoryError:
        raise SourceError(f"{what}: it asks for more memory than there is", where=where) from None
    except _DAMAGE as error:
        # h5py's KeyError quotes its text.
        reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        raise SourceError(f"{what}: {reason}", where=where, hint=FETCH_AGAIN) from None


class Opened:
    """One HDF5 file, open.

    Attributes:
        storage: Its bytes.
        file: The ``h5py.File``. Whoever uses it holds `lock`.
        file_size: How many bytes it has.
        base: Where its addresses count from: behind its user block.
        lock: One thread at a time moves the file object that h5py reads from.

    Raises:
        SourceError: It is not an HDF5 file, it is cut off, or h5py is not installed.
    """

    def __init__(self, storage: Storage) -> None:
        h5py = import_h5py(storage.location)
        self.storage = storage
        self.file_size = len(storage.data)
        self.lock = threading.RLock()
        self._stream = storage.open()
        try:
            with damage(storage.location, "the file cannot be opened as HDF5"):
                self.file: Any = h5py.File(self._stream, "r")
        except SourceError:
            self._stream.close()
            raise
        self.base = int(self.file.userblock_size)

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        with self.lock:
            self.file.close()
            self._stream.close()
