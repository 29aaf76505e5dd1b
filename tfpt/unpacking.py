"""Archives taken apart without trust in them: plain files below one folder, within bounds, or nothing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO

from tfpt.errors import SourceError

ARCHIVES = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)$", re.IGNORECASE)

# Published checkpoints are a handful of files whose floats hardly shrink: what grows far beyond is made to fill disks.
MOST_FILES = 10_000
MOST_GROWTH = 50
_SLACK = 1 << 30
_CHUNK = 1 << 20

_AGAIN = "the archive may be cut off: remove it, and run the same command again"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` as `folder`, which appears at the end, in one step, or not at all.

    Only plain files and folders are written. An archive with links, devices, names that lead out of the folder, two
    files of one name, more than 10,000 files, or contents of more than 50 times its size (and 1 GB) is refused.

    Raises:
        SourceError: The archive is damaged, or holds what is refused.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _fill(archive, temporary)
        os.replace(temporary, folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, ValueError) as error:
        raise SourceError(
            f"the archive cannot be unpacked: {error}", where=str(archive), hint=_AGAIN
        ) from error
    except (OSError, RuntimeError) as error:  # gzip and lzma complain so of damage; zipfile of a password
        raise SourceError(
            f"the archive cannot be unpacked: {error}", where=str(archive), hint=_AGAIN
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(archive: Path, folder: Path) -> None:
    budget = archive.stat().st_size * MOST_GROWTH + _SLACK
    members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
    with closing(members):
        for count, (name, content) in enumerate(members, 1):
            if count > MOST_FILES:
                raise _refused(archive, f"it holds more than {MOST_FILES:,} files")
            target = folder / _safe(archive, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise _refused(archive, f"it holds {name!r} twice")
            with content, open(target, "xb") as file:
                while block := content.read(_CHUNK):
                    budget -= len(block)
                    if budget < 0:
                        raise _refused(archive, f"its contents are more than {MOST_GROWTH} times its size")
                    file.write(block)


def _zip_members(archive: Path) -> Generator[tuple[str, IO[bytes]], None, None]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, f"{member.filename!r} is a link or a device")
            if not member.is_dir():
                yield member.filename, opened.open(member)


def _tar_members(archive: Path) -> Generator[tuple[str, IO[bytes]], None, None]:
    with tarfile.open(archive) as opened:
        for member in opened:
            if not (member.isreg() or member.isdir()):
                raise _refused(archive, f"{member.name!r} is a link or a device")
            content = opened.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content


def _safe(archive: Path, name: str) -> Path:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    outside = name.startswith("/") or ".." in parts or re.search(r"[\\:\0]", name)
    if outside or not parts:
        raise _refused(archive, f"{name!r} leads out of the folder")
    return Path(*parts)


def _refused(archive: Path, why: str) -> SourceError:
    return SourceError(
        f"the archive is not unpacked: {why}",
        where=str(archive),
        hint="if you trust it, unpack it yourself and name the checkpoint: --checkpoint PATH",
    )
