"""Output files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from typing_extensions import Self

from tfpt.errors import SinkError
from tfpt.io import interruption, leftovers
from tfpt.io.publishing import publish

# Linux writes at most 0x7ffff000 bytes at a time, macOS refuses more than 2**31 - 1 (their manuals of write(2)).
_LARGEST_WRITE = 1 << 30
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota for this disk is used up",
    errno.EFBIG: "the file would be larger than the file system or a limit (ulimit -f) allows",
}
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Discarding:
    """Discards uncommitted output at the end of a `with` block, with or without an exception."""

    def discard(self) -> None:
        """Remove what was written; does nothing after a commit."""
        raise AssertionError("subclasses define what to discard")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class AtomicFile(Discarding):
    """A temporary file beside its target that is renamed on `commit`, and removed otherwise.

    Leaving the `with` block without `commit` discards the file, with or without an exception. A symbolic link is
    followed: the file it points to is replaced. Permissions follow the umask. Leftovers of killed runs are removed
    first (`tfpt.io.leftovers`).

    Args:
        path: The target.
        overwrite: Whether a file of that name may be replaced.

    Attributes:
        target: The target, with symbolic links resolved.
        temporary: Its path before `commit`.
        nbytes: The file's size, once it is finished.

    Raises:
        SinkError: The folder does not exist or is not writable, the target is a folder or exists already; in every
            method also: the disk is full, or the system reports another error.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "greeting"
        >>> with AtomicFile(path) as file:
        ...     file.write_at(0, np.frombuffer(b"good morning", np.uint8))
        ...     file.commit()
        >>> path.read_text()
        'good morning'
    """

    temporary: Path
    nbytes: int = 0

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.path = self.target = Path(path)
        self.overwrite = overwrite
        self._open = False
        self._finished = False
        self._writers = 0
        self._lock = threading.Lock()
        try:
            self.target = real_path(path)
            leftovers.give_back(self.target)
            self.refuse_target()
            leftovers.remove_parts(self.target)
            self.temporary, self._descriptor = leftovers.create(self.target)
            self._open = True
        except OSError as error:
            raise self.explain(error) from None

    @property
    def descriptor(self) -> int:
        """The open file, for writers that need more than `write_at`."""
        return self._descriptor

    def reserve(self, size: int) -> None:
        """Make the file `size` bytes long and allocate the space now if the file system can."""
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
        """Write all of `data` (C-contiguous, any dtype) at byte `offset`; thread-safe."""
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

    def finish(self) -> None:
        """Sync the file under its temporary name, after which it must not be written to; see `publish`."""
        if not self._finished:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                raise self.explain(error) from None
            self.nbytes = os.fstat(self._descriptor).st_size
            self._finished = True

    def commit(self) -> None:
        """Sync the file and give it its final name; if that fails, it is discarded."""
        publish([self])

    def discard(self) -> None:
        """Remove the temporary file; does nothing after `commit` or `discard`."""
        if self._open:
            self.close()

    def close(self) -> None:
        """Remove the temporary name and close the file; it stays if it has its final name."""
        with suppress(OSError):  # the next run with that output removes it
            self.temporary.unlink(missing_ok=True)
        interruption.end(self.temporary)
        # A closed descriptor's number is reused for the next file that is opened: no thread may still write to it.
        with self._lock:
            self._open = False
            if not self._writers:
                os.close(self._descriptor)

    def is_at_target(self) -> bool:
        """Whether the target's name refers to this file."""
        try:
            there, own = os.lstat(self.target), os.fstat(self._descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)

    def exists_already(self) -> SinkError:
        """The error for a target that may not be replaced."""
        return SinkError("the output file exists already", where=str(self.path), hint="--force replaces it")

    def explain(self, error: OSError) -> SinkError:
        """The error for an operating system error while writing."""
        folder = self.target.parent
        where = str(self.path)
        if error.errno in _FULL:
            hint = "choose another location for the output"
            return SinkError(f"cannot write the output: {_FULL[error.errno]}", where=where, hint=hint)
        if error.errno == errno.ENOENT and not os.path.isdir(folder):
            return SinkError("the output's folder does not exist", where=where, hint=f"mkdir -p {folder}")
        if error.errno == errno.ENOENT and self._open:
            return SinkError("another program removed the temporary file of the output", where=where)
        if error.errno == errno.ENAMETOOLONG:
            return SinkError("the output's name is too long", where=where, got=error.strerror)
        if error.errno == errno.ELOOP:
            return SinkError("the output's name is a symbolic link to itself", where=where)
        if error.errno == errno.ENOTDIR:
            return SinkError("the output's folder is a file, not a folder", where=where, got=str(folder))
        if error.errno in _UNWRITABLE:
            return SinkError("the output's folder is not writable", where=where, got=error.strerror)
        return SinkError("cannot write the output", where=where, got=error.strerror or str(error))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if not self._open:
                raise SinkError("the output was already committed or discarded", where=str(self.path))
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

    def refuse_target(self) -> None:
        """Refuse a target that is not a file, or exists and may not be replaced.

        Raises:
            SinkError: The target is refused; says why.
            OSError: The target cannot be examined.
        """
        where = str(self.path)
        try:
            mode = os.stat(self.target).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise SinkError("a folder cannot be the output file", where=where, hint="name a file in it")
        if not stat.S_ISREG(mode):
            raise SinkError("the output is a device or a pipe", where=where, expected="a file")
        if not self.overwrite:
            raise self.exists_already()


def real_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file with symbolic links resolved.

    Raises:
        SinkError: The name is invalid.
    """
    try:
        return Path(os.path.realpath(path, strict=False))
    except ValueError as error:  # a zero byte, or characters that the file system does not support
        raise SinkError("not a valid file name", where=repr(str(path)), got=str(error)) from None


def refuse_input(out: str | os.PathLike[str], *inputs: object) -> None:
    """Refuse an output that is one of its inputs, even if files may be replaced.

    Args:
        out: The output.
        inputs: The inputs; values that are not paths are ignored.

    Raises:
        SinkError: The output is an input.
    """
    for given in inputs:
        if isinstance(given, str | os.PathLike):
            with suppress(OSError, ValueError):  # one of them does not exist, or is not a local path
                if os.path.samefile(out, given):
                    raise SinkError(
                        "the output would replace one of its inputs",
                        where=str(out),
                        hint="choose another location for the output",
                    )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8 that appears complete or not at all; an existing file is replaced.

    Raises:
        SinkError: It cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "greeting"
        >>> write_text(path, "good morning")
        >>> path.read_text()
        'good morning'
    """
    with AtomicFile(path, overwrite=True) as file:
        file.write_at(0, np.frombuffer(text.encode(), np.uint8))
        file.commit()
