"""The members of an ``.npz`` archive: where in the file the bytes of each are."""

from __future__ import annotations

import struct
import zipfile

from tfpt.errors import SourceError
from tfpt.sources.arrays.blobs import Blob, Deflated, Stored
from tfpt.sources.storage import Storage

_SUFFIX = ".npy"
_LOCAL = b"PK\x03\x04"
_LOCAL_SIZE = 30
_MOST_MEMBERS = 200_000
# Deflate cannot pack more tightly than 1032 to 1 (zlib's technical notes). Weights do not come near a hundred;
# zeros do, and are small.
_TIGHTEST = 1032
_UNLIKELY, _LARGE = 100, 256 << 20


def members(storage: Storage) -> dict[str, Blob]:
    """The members by name, without ``.npy``, in the archive's order.

    Raises:
        SourceError: It is no archive, or a member is encrypted, packed in a way that numpy does not use, packed too
            tightly, shares its bytes with another, or has a name that leaves the archive.
    """
    where = storage.location
    try:
        with storage.open() as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (
        OSError,
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        raise _damaged(where, f"it cannot be read as a zip archive: {str(error)[:100]}") from None
    except (EOFError, IndexError, KeyError, MemoryError) as error:
        raise _damaged(where, f"its directory is damaged ({type(error).__name__})") from None
    if len(infos) > _MOST_MEMBERS:
        raise _damaged(where, "it has too many members", f"at most {_MOST_MEMBERS:,}", f"{len(infos):,}")
    found: dict[str, Blob] = {}
    ends = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        begin = _data_of(storage, info)
        if info.header_offset < ends:
            raise _damaged(where, f"member {info.filename!r} shares its bytes with another")
        ends = begin + info.compress_size
    for info in infos:
        name = _name(where, info)
        if name in found:
            raise _damaged(where, f"two members are called {name!r}")
        found[name] = _blob(storage, info)
    return found


def _name(where: str, info: zipfile.ZipInfo) -> str:
    name = info.filename
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in info.orig_filename:
        raise _damaged(where, f"a member's name leaves the archive: {name!r}")
    if not name.endswith(_SUFFIX):
        raise _damaged(where, f"member {name!r} is no array", f"names that end in {_SUFFIX}")
    return name[: -len(_SUFFIX)]


def _data_of(storage: Storage, info: zipfile.ZipInfo) -> int:
    """Where a member's data begins, which only the header before it says."""
    where = storage.location
    head = storage.data[max(0, info.header_offset) : max(0, info.header_offset) + _LOCAL_SIZE].tobytes()
    if info.header_offset < 0 or len(head) < _LOCAL_SIZE or not head.startswith(_LOCAL):
        raise _damaged(where, f"member {info.filename!r} has no header", got=f"byte {info.header_offset}")
    begin = info.header_offset + _LOCAL_SIZE + sum(struct.unpack("<HH", head[26:30]))
    if begin + info.compress_size > len(storage.data):
        expected = f"{begin + info.compress_size:,} bytes at least"
        raise _damaged(
            where, f"member {info.filename!r} is cut off", expected, f"{len(storage.data):,} bytes"
        )
    return int(begin)


def _blob(storage: Storage, info: zipfile.ZipInfo) -> Blob:
    where, size, packed = storage.location, info.file_size, info.compress_size
    begin = _data_of(storage, info)
    if info.flag_bits & 0x1:
        raise _damaged(where, f"member {info.filename!r} is encrypted")
    if info.compress_type == zipfile.ZIP_STORED:
        if size != packed:
            raise _damaged(where, f"member {info.filename!r} has two sizes", f"{size:,}", f"{packed:,}")
        return Stored(storage, begin, size, info.CRC)
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise _damaged(
            where, f"member {info.filename!r} is packed", "stored or deflated", f"method {info.compress_type}"
        )
    most = packed * (_TIGHTEST if size <= _LARGE else _UNLIKELY) + 64
    if size > most:
        raise _damaged(
            where,
            f"member {info.filename!r} is packed too tightly",
            f"at most {most:,} bytes",
            f"{size:,} bytes",
        )
    return Deflated(storage, begin, packed, size, info.CRC)


def _damaged(where: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    return SourceError(f"not a valid numpy archive: {what}", where=where, expected=expected, got=got)
