"""Unpacking untrusted archives: plain files below one folder, within limits, or nothing."""

from __future__ import annotations

import bz2
import errno
import glob
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, BinaryIO, cast

from tfpt.errors import SourceError, TfptError
from tfpt.io import interruption, limits, zips
from tfpt.io.locations import name_of
from tfpt.io.storage import Storage, open_storage

ARCHIVES = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)$", re.IGNORECASE)

_CHUNK = 1 << 20
_ZIP = b"PK\x03\x04"
# The size of a tar header, the position of its checksum, and the magic number of current variants.
_TAR_BLOCK, _TAR_SUM, _TAR_MAGIC = 512, slice(148, 156), b"ustar"
# RFC 1952, the bzip2 program, xz's file format; .lzma begins with its properties and a size of 2 ** n.
_CODECS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x5d\x00\x00": "lzma"}
# Those that Python cannot decompress: lz4 and zstandard.
FOREIGN = {b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstandard"}

# Suffixes of compressed files.
_SUFFIX = re.compile(r"\.(?:gz|bz2|xz|lzma|z)$", re.IGNORECASE)
_AGAIN = "the archive may be cut off: remove it, and run the same command again"


def codec_of(head: bytes) -> str | None:
    """The compression of a file with this beginning; None if it is not a known one.

    Example:
        >>> codec_of(gzip.compress(b"a")), codec_of(zlib.compress(b"a")), codec_of(b"\\x0a\\x03abc")
        ('gzip', 'zlib', None)
    """
    for start, name in _CODECS.items():
        if head.startswith(start):
            return name
    # RFC 1950: deflate with a window of 32 KB, and a checksum of the two bytes. An x and another letter may be text.
    if head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
        try:
            zlib.decompressobj().decompress(head, 1 << 10)
        except zlib.error:
            return None
        return "zlib"
    return None


def is_tar(head: bytes) -> bool:
    """Whether a file with this beginning is a tar archive.

    Example:
        >>> is_tar(tarfile.TarInfo("a").tobuf()), is_tar(bytes(512))
        (True, False)
    """
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not block[0]:
        return False
    if block[257:262] == _TAR_MAGIC:
        return True
    # The oldest variant has no magic number; its header's checksum counts the checksum field as blanks.
    declared = re.fullmatch(rb" *([0-7]+)[\0 ]*", block[_TAR_SUM])
    total = sum(block) - sum(block[_TAR_SUM]) + 8 * 0x20
    return declared is not None and int(declared[1], 8) == total


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` as `folder`, which appears at the end, in one step, or not at all.

    Only plain files and folders are written. An archive with links, devices, names that lead out of the folder, two
    files of one name, more than 10,000 files, or contents of more than 50 times its size (and 1 GB) is refused. The
    caller holds a lock: leftovers of an earlier call that was killed are removed.

    Raises:
        SourceError: The archive is damaged, or contains something that is refused.
    """
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.????????"):
        shutil.rmtree(leftover, ignore_errors=True)
    with interruption.uninterrupted():  # between creation and registration
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        interruption.begin(temporary)
    try:
        fill(open_storage(str(archive)), temporary)
        os.replace(temporary, folder)
    except OSError as error:
        raise SourceError(f"the archive cannot be unpacked: {error}", where=str(archive)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        interruption.end(temporary)


def fill(archive: Storage, folder: Path) -> None:
    """Write the contents of an archive, or a single compressed file, into the existing `folder`.

    Raises:
        SourceError: As `unpack`.
    """
    where = archive.location
    try:
        with closing(_members(archive)) as members:
            _write(where, len(archive.data), members, folder)
    except TfptError as error:
        raise (error if error.hint else error.with_hint(_AGAIN)) from None
    except OSError as error:
        hint = None if error.errno in (errno.ENOSPC, errno.EDQUOT) else _AGAIN
        raise SourceError(f"the archive cannot be unpacked: {error}", where=where, hint=hint) from error
    except (
        Exception
    ) as error:  # damaged archives raise what their parts raise: zlib.error, LZMAError, ValueError
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise SourceError(f"the archive cannot be unpacked: {reason}", where=where, hint=_AGAIN) from error


def _write(where: str, size: int, members: Iterator[tuple[str, IO[bytes]]], folder: Path) -> None:
    budget = size * limits.UNPACKED_GROWTH + limits.UNPACKED_FREELY
    for count, (name, content) in enumerate(members, 1):
        if count > limits.UNPACKED_FILES:
            raise _refused(where, f"it contains more than {limits.UNPACKED_FILES:,} files")
        target = folder / _safe(where, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise _refused(where, f"it contains {name!r} twice")
        with content, open(target, "xb") as file:
            while block := content.read(_CHUNK):
                budget -= len(block)
                if budget < 0:
                    raise _refused(
                        where, f"its contents are more than {limits.UNPACKED_GROWTH} times its size"
                    )
                file.write(block)


def _members(archive: Storage) -> Generator[tuple[str, IO[bytes]], None, None]:
    """The files in the archive: names, and the contents open for reading."""
    head = archive.data[:_TAR_BLOCK].tobytes()
    with archive.open() as file:
        if head.startswith(_ZIP):
            yield from _zip_members(archive, file)
            return
        codec = codec_of(head)
        if codec is None:
            yield from _tar_members(archive.location, file)
            return
        # Buffered, so that it can be peeked into.
        with io.BufferedReader(cast(io.RawIOBase, _unpacked(file, codec)), _CHUNK) as content:
            if codec != "zlib" and is_tar(content.peek(_TAR_BLOCK)):
                yield from _tar_members(archive.location, content)
            else:
                yield _SUFFIX.sub("", name_of(archive.location)) or "content", content


def _unpacked(file: BinaryIO, codec: str) -> IO[bytes]:
    if codec == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if codec == "bzip2":
        return bz2.BZ2File(file)
    if codec == "zlib":
        return cast(IO[bytes], _Inflated(file))
    return lzma.LZMAFile(file)


class _Inflated(io.RawIOBase):
    """A zlib stream (RFC 1950) as a file object."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._file.read(_CHUNK // 16)
            part = self._stream.decompress(packed, len(buffer))
            if part:
                buffer[: len(part)] = part
                return len(part)
            if not packed:
                raise EOFError("the compressed data ends prematurely")
        return 0


def _zip_members(archive: Storage, file: BinaryIO) -> Generator[tuple[str, IO[bytes]], None, None]:
    infos = zips.directory(archive)
    with zipfile.ZipFile(file) as opened:
        for member in infos:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive.location, f"{member.filename!r} is a link or a device")
            if not member.is_dir():
                yield member.filename, opened.open(member)


class _Member(tarfile.TarInfo):
    """A member whose names and attributes take a bounded amount of memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        # tarfile reads such a header at once, whatever its declared size.
        long = (
            tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
            tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
        )  # fmt: skip
        if self.size < 0 or (self.type in long and self.size > limits.TAR_HEADER):
            raise tarfile.HeaderError(f"a member, a name or attributes of {self.size:,} bytes")
        return cast(tarfile.TarInfo, super()._proc_member(archive))  # type: ignore[misc]


def _tar_members(where: str, file: BinaryIO) -> Generator[tuple[str, IO[bytes]], None, None]:
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_Member) as opened:
        for count, member in enumerate(opened, 1):
            if count > limits.UNPACKED_FILES:
                raise _refused(where, f"it contains more than {limits.UNPACKED_FILES:,} files and folders")
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise _refused(where, f"{member.name!r} is a link, a device or a sparse file")
            content = opened.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content


def _safe(where: str, name: str) -> Path:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    outside = name.startswith("/") or ".." in parts or re.search(r"[\\:\0]", name)
    if outside or not parts:
        raise _refused(where, f"{name!r} leads out of the folder")
    return Path(*parts)


def _refused(where: str, why: str) -> SourceError:
    return SourceError(
        f"the archive is not unpacked: {why}",
        where=where,
        hint="if you trust it, unpack it yourself and name the checkpoint: --checkpoint PATH",
    )
