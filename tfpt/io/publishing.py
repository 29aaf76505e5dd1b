"""Publishing several output files together: all or none; old files are kept until all new ones have their names.

The steps, and the state if the process is killed or the power fails:

1. Every file is complete and synced under a temporary name (``.part``). Killed here: the old files are in place.
2. If several files are published, each file to be replaced gets a second name (``.old``), a hard link, and the folders
   are synced. Killed here: the old files are in place, under two names.
3. The files are renamed one by one, in the given order. Each step is one system call, so a name always refers to a
   complete file. Killed here: some names refer to new files, others to old ones; replaced files are in ``.old``.
   If a step fails, earlier steps are undone, and the old files are restored.
4. The folders are synced, and the ``.old`` names are removed. Killed here: everything is new.

A free name is taken with `os.link`, which fails if another process was first; a name that may be replaced, with
`os.replace`. On file systems without hard links (FAT, some network file systems), a free name is first reserved with an
empty file, and a file to be replaced is renamed: for a moment the name refers to an empty file or does not exist, and
the next run with that output restores the old file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tfpt.errors import SinkError
from tfpt.io import interruption, leftovers

if TYPE_CHECKING:
    from tfpt.io.output_file import AtomicFile

# Errors of file systems without hard links, or where linking to another user's file is forbidden.
_NO_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EINVAL,
)
# Errors of file systems that cannot sync a folder. EACCES: the folder is writable but not readable.
_NO_SYNC = (
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
)


def publish(files: Sequence[AtomicFile]) -> None:
    """Give several files their final names: all or none.

    Args:
        files: Written but not committed; afterwards they are committed or discarded.

    Raises:
        SinkError: A file cannot be renamed or synced: no output has changed. Or the new files are complete, but their
            folders could not be synced: the message says so.
    """
    try:
        for file in files:
            file.finish()
        with interruption.uninterrupted():
            with ExitStack() as locks:
                old = _replace_all(files, locks)
                for file in files:
                    interruption.finish(file.path)
                    file.close()
                trouble = _sync(files)
                for path in old.values():
                    _remove(path)
            for file in files:
                leftovers.remove_old(file.target)
    finally:
        for file in files:
            file.discard()
    if trouble is not None:
        raise SinkError(
            "the output is complete, but may be lost in a power failure",
            where=", ".join(str(file.path) for file in files),
            got=f"its folder cannot be synced: {trouble.strerror}",
        )


def _replace_all(files: Sequence[AtomicFile], locks: ExitStack) -> dict[AtomicFile, Path]:
    """The temporary names of the replaced files."""
    old: dict[AtomicFile, Path] = {}
    current = files[0] if files else None
    try:
        for current in files:
            current.refuse_target()
        if len(files) > 1:
            for current in files:
                if current.overwrite and os.path.lexists(current.target):
                    old[current] = leftovers.temporary_name(current.target, leftovers.OLD)
                    _put_aside(current.target, old[current], locks)
            if old and (trouble := _sync(files)) is not None:
                raise trouble
        for current in files:
            if current.overwrite:
                os.replace(current.temporary, current.target)
            else:
                _take(current)
    except BaseException as error:
        kept = _take_back(files, old)
        if not isinstance(error, OSError):
            raise
        assert current is not None
        raise _explained(current, error, kept) from None
    return old


def _put_aside(target: Path, aside: Path, locks: ExitStack) -> None:
    """Give a file that will be replaced a second name, locked until `locks` is closed."""
    try:
        descriptor = os.open(target, os.O_RDONLY)
    except OSError:
        pass  # unreadable: other processes cannot mistake it for a leftover either
    else:
        locks.callback(os.close, descriptor)
        leftovers.hold(descriptor, wait=False)
    try:
        os.link(target, aside)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(target, aside)


def _take(file: AtomicFile) -> None:
    """Rename to a free name, unless another process takes it first."""
    try:
        os.link(file.temporary, file.target)
    except FileExistsError:
        if not file.is_at_target():  # it is ours if a server made the link but its response was lost (NFS)
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(file.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(file.temporary, file.target)
        except BaseException:
            os.unlink(file.target)
            raise


def _take_back(files: Sequence[AtomicFile], old: dict[AtomicFile, Path]) -> list[Path]:
    """Restore the previous state, except foreign files; returns names of old files that could not be restored."""
    lost = []
    for file in reversed(files):
        aside = old.get(file)
        ours = file.is_at_target()
        try:
            if aside is None or not os.path.lexists(aside):
                if ours:
                    os.unlink(file.target)
            elif ours or not os.path.lexists(file.target):
                os.replace(aside, file.target)
            elif os.path.samefile(aside, file.target):
                os.unlink(aside)
            else:  # another program was there first
                lost.append(aside)
        except OSError:
            if aside is not None and os.path.lexists(aside):
                lost.append(aside)
    return lost


def _explained(file: AtomicFile, error: OSError, kept: Sequence[Path]) -> SinkError:
    if isinstance(error, FileExistsError):
        explained = file.exists_already()
    else:
        explained = file.explain(error)
    if not kept:
        return explained
    return explained.with_hint(f"the previous files are in {', '.join(map(str, kept))}: move them back")


def _sync(files: Sequence[AtomicFile]) -> OSError | None:
    """Sync the files' folders: otherwise new names may be lost in a power failure."""
    try:
        for folder in dict.fromkeys(file.target.parent for file in files):
            _sync_folder(folder)
    except OSError as error:
        return error
    return None


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _remove(path: Path) -> None:
    # The next run with that output removes it.
    with suppress(OSError):
        path.unlink()
