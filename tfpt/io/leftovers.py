"""Temporary files beside an output: their names, and the cleanup of those whose process has died.

``.NAME.….part`` is an output that is being written, ``.NAME.….old`` the file that it replaces, kept while several files
are replaced together. The process that creates one locks it (flock) until it is done; the system releases the lock when
the process ends, however it ends. So a file that can be locked is a leftover. On file systems without locks, nothing is
ever removed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfpt.io import interruption

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART, OLD = "part", "old"
# Characters of the target's name in the temporary name; names are limited to 255 bytes, 4 per character.
_NAME_SHOWN = 40
_log = logging.getLogger("tfpt")


def temporary_name(target: Path, ending: str) -> Path:
    """A new temporary name beside `target`."""
    return target.with_name(f"{_beginning(target)}{secrets.token_hex(6)}.{ending}")


def _beginning(target: Path) -> str:
    """The prefix of all temporary names of this target, and of no other target."""
    return f".{target.name[:_NAME_SHOWN]}.{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}"


def create(target: Path) -> tuple[Path, int]:
    """A new, empty, locked file beside `target`, open for reading and writing.

    Raises:
        OSError: The system refuses.
    """
    while True:
        path = temporary_name(target, PART)
        interruption.begin(path)
        try:
            # Not `tempfile`: its files are for their owner only (0600), whatever the umask says.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            hold(descriptor)
            if os.path.lexists(path):
                return path, descriptor
            # Between creation and lock, another process removed it as a leftover.
            os.close(descriptor)
            interruption.end(path)
        except BaseException:
            path.unlink(missing_ok=True)
            interruption.end(path)
            raise


def hold(descriptor: int, *, wait: bool = True) -> None:
    """Lock an open file while it is open, if the file system supports it; without `wait`, only if it is not locked."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def remove_parts(target: Path) -> None:
    """Remove partial outputs that killed runs left for `target`, with a warning."""
    for path in _of(target, PART):
        with _abandoned(path) as size:
            if size is not None and _removed(path):
                _log.warning("removed %s (%s bytes): left by a killed run", path, f"{size:,}")


def give_back(target: Path) -> None:
    """Restore `target`, with a warning, if a run was killed between moving it aside and replacing it."""
    if os.path.lexists(target):
        return
    for path in sorted(_of(target, OLD), key=_changed, reverse=True):
        with _abandoned(path) as size:
            if size is not None and _renamed(path, target):
                _log.warning("restored %s, which a killed run had moved aside", target)
                return


def remove_old(target: Path) -> None:
    """Remove old versions of `target` that killed runs left, now that there is a new one, with a warning."""
    for path in _of(target, OLD):
        with _abandoned(path) as size:
            if size is not None and _removed(path):
                _log.warning("removed %s (%s bytes): moved aside by a killed run", path, f"{size:,}")


def _of(target: Path, ending: str) -> list[Path]:
    pattern = re.compile(rf"{re.escape(_beginning(target))}[0-9a-f]{{12}}\.{ending}")
    try:
        with os.scandir(target.parent) as entries:
            return [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    except OSError:
        return []  # writing to it reports the reason


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """The size of the file, locked in the `with` block; ``None`` if it is in use or inaccessible."""
    if fcntl is None:
        yield None
        return
    flags = os.O_RDWR if path.suffix == f".{PART}" else os.O_RDONLY
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        facts = os.fstat(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
        else:
            yield facts.st_size if stat.S_ISREG(facts.st_mode) else None
    finally:
        os.close(descriptor)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _renamed(path: Path, target: Path) -> bool:
    """Whether the file could be renamed before another process took the name."""
    try:
        try:
            os.link(path, target)
        except FileExistsError:
            return False
        except OSError:  # no hard links here
            os.rename(path, target)
            return True
        path.unlink()
    except OSError:
        return False
    return True


def _changed(path: Path) -> int:
    try:
        return path.lstat().st_ctime_ns
    except OSError:
        return 0
