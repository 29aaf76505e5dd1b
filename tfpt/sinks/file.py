"""A file that appears whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfpt.errors import SinkError
from tfpt.sinks.discarding import Discarding

# Linux writes at most 0x7ffff000 bytes at a time, macOS refuses more than 2**31 - 1 (their manuals of write(2)).
_LARGEST_WRITE = 1 << 30
# Of the target's name in that of the temporary file; names may have 255 bytes, a character up to 4.
_NAME_SHOWN = 40
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota for this disk is used up",
    errno.EFBIG: "the file would be larger than the file system or a limit (ulimit -f) allows",
}
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class AtomicFile(Discarding):
    """A temporary file beside its target that takes the target's name on `commit`, and is gone otherwise.

    Leaving the `with` block without `commit` discards, with an exception or without one. A symbolic link is
    followed: the file it points to is replaced. Permissions are those that the umask gives to a new file.

    Args:
        path: The target.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        SinkError: The folder is absent or not writable, the target is a folder or exists already; in every
            method also: the disk is full, or the system refuses for another reason.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "greeting"
        >>> with AtomicFile(path) as file:
        ...     file.write_at(0, np.frombuffer(b"good morning", np.uint8))
        ...     file.commit()
        >>> path.read_text()
        'good morning'
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._target = Path(os.path.realpath(path))
        self._refuse_target()
        name = f".{self._target.name[:_NAME_SHOWN]}.{secrets.token_hex(6)}.part"
        self._temporary = self._target.with_name(name)
        self._open = False
        self._writers = 0
        self._lock = threading.Lock()
        try:
            # Not `tempfile`: its files are for their owner only (0600), whatever the umask says.
            self._descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            self._open = True
        except OSError as error:
            raise self.explain(error) from None
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

    @property
    def descriptor(self) -> int:
        """The open file, for writers that need more than `write_at`."""
        return self._descriptor

    def reserve(self, size: int) -> None:
        """Make the file `size` bytes long and, where the file system can, take the space for them now."""
        try:
            if size and hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(self._descriptor, 0, size)
                    return
                except OSError as error:
                    if error.errno not in _CANNOT_RESERVE:
                        raise
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self.explain(error) from None

    def write_at(self, offset: int, data: np.ndarray) -> None:
        """Write all of `data` (C-contiguous, any dtype) from byte `offset` on; safe from several threads."""
        left = data.reshape(-1).view(np.uint8).data
        with self._writing():
            while left:
                written = os.pwrite(self._descriptor, left[:_LARGEST_WRITE], offset)
                offset += written
                left = left[written:]

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self.explain(error) from None

    def commit(self) -> None:
        """Bring the file to the disk and give it its name; where that fails it is discarded."""
        try:
            os.fsync(self._descriptor)
            # A file of that name may have come up since.
            self._refuse_target()
            os.replace(self._temporary, self._target)
            self._close()
        except OSError as error:
            self.discard()
            raise self.explain(error) from None
        except BaseException:
            self.discard()
            raise
        self._sync_folder()

    def discard(self) -> None:
        """Remove the temporary file; does nothing after `commit` or a first `discard`."""
        if self._open:
            self._temporary.unlink(missing_ok=True)
            self._close()

    def explain(self, error: OSError) -> SinkError:
        """What to tell a person when the system refuses to write this file."""
        folder = self._target.parent
        where = str(self.path)
        if error.errno in _FULL:
            hint = "choose another place for the output"
            return SinkError(f"cannot write the output: {_FULL[error.errno]}", where=where, hint=hint)
        if error.errno == errno.ENOENT and not folder.is_dir():
            return SinkError("the output's folder does not exist", where=where, hint=f"mkdir -p {folder}")
        if error.errno == errno.ENOTDIR:
            return SinkError("the output's folder is a file, not a folder", where=where, got=str(folder))
        if error.errno in _UNWRITABLE:
            return SinkError("the output's folder is not writable", where=where, got=error.strerror)
        return SinkError("cannot write the output", where=where, got=error.strerror or str(error))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if not self._open:
                raise SinkError("the output was finished or given up already", where=str(self.path))
            self._writers += 1
        try:
            yield
        except OSError as error:
            raise self.explain(error) from None
        finally:
            with self._lock:
                self._writers -= 1
                if not self._open and not self._writers:
                    os.close(self._descriptor)

    def _close(self) -> None:
        # A closed descriptor's number goes to the next file that is opened: no thread may still write to it.
        with self._lock:
            self._open = False
            if not self._writers:
                os.close(self._descriptor)

    def _refuse_target(self) -> None:
        where = str(self.path)
        try:
            if self._target.is_dir():
                raise SinkError("a folder cannot be the output file", where=where, hint="name a file in it")
            if self._target.exists():
                if not self._target.is_file():
                    raise SinkError("the output is a device or a pipe", where=where, expected="a file")
                if not self._overwrite:
                    raise SinkError("the output file exists already", where=where, hint="--force replaces it")
        except OSError as error:
            raise self.explain(error) from None

    def _sync_folder(self) -> None:
        # Without this the name may be lost in a power cut; not every file system can, and the file is there.
        try:
            folder = os.open(self._target.parent, os.O_RDONLY)
        except OSError:
            return
        try:
            os.fsync(folder)
        except OSError:
            pass
        finally:
            os.close(folder)
