"""The two file formats of `torch.save`: the positions of the pickle and of the storages in each.

A zip archive of ``NAME/data.pkl`` and ``NAME/data/KEY`` since torch 1.6 (torch/serialization.py, `_save`), before it
five pickles in a row and the storages behind them (`_legacy_save`).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.pickle.contents import read_pickle
from tfpt.formats.pytorch.rebuilding import Torch
from tfpt.formats.pytorch.tensors import DTYPES, StorageRef
from tfpt.io import limits, zips
from tfpt.io.blobs import Blob, InMemory, Stored
from tfpt.io.storage import Storage

ZIP = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
# torch.serialization.MAGIC_NUMBER as a pickled long, the first value in files of torch before 1.6.
_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_PROTOCOL = 1001


def is_legacy(start: bytes) -> bool:
    """Whether a file with this beginning is of torch before 1.6.

    Example:
        >>> import io, torch
        >>> torch.save({}, file := io.BytesIO(), _use_new_zipfile_serialization=False)
        >>> is_legacy(file.getvalue()[:32]), is_legacy(b"PK")
        (True, False)
    """
    return _PICKLE.match(start) is not None and _MAGIC in start[:32]


@dataclass
class Contents:
    """The content of a file of `torch.save`.

    Attributes:
        content: The content of the pickle (`tfpt.formats.pickle.contents.read_pickle`), tensors as
            `tfpt.formats.pytorch.tensors.Tensor`.
        swapped: Whether storages have another byte order than the machine.
        find: Returns the bytes of a storage by its key. Called when they are read: finding their start takes a request
            for each storage of a remote file.
        checksums: The CRC-32 of storages, by key, if the file has them.
    """

    content: object
    find: Callable[[str], Blob]
    swapped: bool = False
    checksums: dict[str, int] = field(default_factory=dict)
    _found: dict[str, Blob] = field(default_factory=dict)

    def raw(self, key: str, begin: int, size: int) -> npt.NDArray[np.uint8]:
        """Some bytes of a storage, which is compared with its checksum the first time."""
        return self._storage(key).part(begin, size)

    def digest(self, key: str) -> bytes:
        """A short digest that changes with the bytes of a storage, computed from few of them."""
        if key in self.checksums:
            return self.checksums[key].to_bytes(4, "little")
        return self._storage(key).digest()

    def release(self, key: str) -> None:
        """Hint that the bytes of a storage are not needed again soon."""
        if key in self._found:
            self._found[key].release()

    def _storage(self, key: str) -> Blob:
        if key not in self._found:
            self._found[key] = self.find(key)
        return self._found[key]


def read_contents(storage: Storage, *, verify_checksums: bool = True) -> Contents:
    """The content of a file of either format.

    Raises:
        SourceError: It has neither format, is damaged, or would run code.
    """
    start = storage.data[:32].tobytes()
    if start.startswith(ZIP):
        return _read_zip(storage, verify_checksums)
    if is_legacy(start):
        return _read_legacy(storage)
    raise SourceError(
        "not a file that torch.save wrote",
        where=storage.location,
        expected="a zip archive, or a pickle of torch",
        got=repr(start[:8]),
    )


def _read_zip(storage: Storage, verify_checksums: bool) -> Contents:
    where = storage.location
    infos = {info.filename: info for info in zips.directory(storage)}
    pickles = sorted((name for name in infos if name.rpartition("/")[2] == "data.pkl"), key=len)
    if not pickles:
        raise _damaged(where, "the archive has no data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in infos:
        raise SourceError(
            "the file is a TorchScript program, not weights",
            where=where,
            hint=f"save its weights: torch.save(torch.jit.load({where!r}).state_dict(), 'weights.pth')",
        )

    def blob(name: str, most: int | None = None) -> Blob:
        if name not in infos:
            raise _damaged(where, f"the archive has no {name}")
        if most is not None and infos[name].file_size > most:
            raise _damaged(where, f"{name} is too large", f"at most {most:,} bytes")
        return _blob(storage, infos[name], verify_checksums)

    checksums: dict[str, int] = {}

    def find(key: str, word: str, size: int, view: tuple[int, int] | None) -> StorageRef:
        if view is not None:
            raise ValueError("a view of a storage in an archive")
        info = infos.get(f"{prefix}data/{key}")
        if info is None:
            raise _damaged(where, f"the archive has no {prefix}data/{key}")
        if info.CRC:
            checksums[key] = info.CRC
        # Elements of less than a byte are not read.
        needed = size * DTYPES[word][1] if DTYPES[word][0] is not None else 0
        if info.file_size < needed:
            raise _damaged(
                where, f"storage {key} is too short", f"{needed:,} bytes", f"{info.file_size:,} bytes"
            )
        return StorageRef(key, word, 0, size)

    order = b"little"
    if f"{prefix}byteorder" in infos:
        order = blob(f"{prefix}byteorder", 64).load().tobytes()
    if order not in (b"little", b"big"):
        raise _damaged(where, "unknown byte order", "little or big", repr(order[:20]))
    raw = blob(pickles[0], limits.TORCH_PICKLE)
    loaded = raw.load()
    data = raw if isinstance(raw, Stored) else InMemory(loaded)
    content, _ = read_pickle(where, data, vocabulary=Torch(find), most=limits.TORCH_OPCODES)
    native = np.dtype("=u2") == np.dtype("<u2")
    return Contents(
        content, lambda key: blob(f"{prefix}data/{key}"), (order == b"little") != native, checksums
    )


def _blob(storage: Storage, info: zipfile.ZipInfo, verify_checksums: bool) -> Blob:
    try:
        found = zips.blob(storage, info)
    except zips.UnreadableError as error:
        raise _damaged(storage.location, f"member {info.filename!r} {error}") from None
    # torch.serialization.set_crc32_options(False) writes 0 for every checksum.
    if isinstance(found, Stored) and (not found.checksum or not verify_checksums):
        found.checksum = None
    return found


def _read_legacy(storage: Storage) -> Contents:
    where, data = storage.location, Stored(storage, 0, len(storage.data))
    needed: dict[str, tuple[str, int]] = {}

    def find(key: str, word: str, size: int, view: tuple[int, int] | None) -> StorageRef:
        first, count = view or (0, size)
        if first + count > size:
            raise ValueError("a view that reaches beyond its storage")
        known, most = needed.get(key, (word, 0))
        if known != word:
            raise ValueError("a storage of two types")
        needed[key] = word, max(most, size)
        return StorageRef(key, word, first, count)

    at, parts = 0, []
    for _ in range(5):  # the magic number, the protocol, the machine, the content, the keys of the storages
        part, at = read_pickle(where, data, at, vocabulary=Torch(find), most=limits.TORCH_OPCODES)
        parts.append(part)
    protocol, machine, content, keys = parts[1:]
    if protocol != _PROTOCOL or not isinstance(machine, dict) or not isinstance(keys, list):
        raise _damaged(where, "its pickles are not those of torch")
    if machine.get("little_endian", machine.get(b"little_endian", True)) is not True:
        raise _damaged(where, "its values are big-endian", "a file of this decade")
    storages: dict[str, Blob] = {}
    for key in keys:
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)[:100]
        word, size = needed.get(name, ("uint8", -1))
        if size < 0 or name in storages:
            raise _damaged(where, f"storage {name!r} is not part of a tensor, or is a duplicate")
        held = int.from_bytes(data[at : at + 8].tobytes(), "little")
        begin, nbytes = at + 8, held * DTYPES[word][1]
        if held < size or nbytes > len(data) - begin:
            left = max(0, len(data) - begin)
            raise _damaged(
                where, f"storage {name!r} is cut off", f"{size:,} elements", f"{held:,}, {left:,} bytes left"
            )
        storages[name] = Stored(storage, begin, nbytes)
        at = begin + nbytes
    if missing := needed.keys() - storages.keys():
        raise _damaged(where, f"storage {min(missing)!r} is missing")
    return Contents(content, storages.__getitem__)


def _damaged(where: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    return SourceError(f"not a valid torch file: {what}", where=where, expected=expected, got=got)
