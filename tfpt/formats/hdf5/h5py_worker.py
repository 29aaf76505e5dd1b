"""The process in which the HDF5 library reads a file, with limited memory and time and no access to the file itself.

`tfpt.formats.hdf5.subprocess_reader` starts it and sends it the bytes of the file that it requests. Whatever a file
makes the library do ends with this process. Messages are frames: a letter, a length, and that many bytes.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections import OrderedDict
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from tfpt.io.limits import HDF5_DEPTH
from tfpt.nearest import natural_key
from tfpt.tensors import BY_NUMPY, DTYPES

_HEAD = struct.Struct("<cQ")
# Kinds of frames that the worker sends: a request for bytes of the file, an answer, or a failure.
WANT, ANSWER, FAILURE = b"w", b"a", b"f"
SPAN = struct.Struct("<QQ")


def send(stream: BinaryIO, kind: bytes, content: bytes | memoryview) -> None:
    """Send one frame."""
    stream.write(_HEAD.pack(kind, len(content)))
    stream.write(content)
    stream.flush()


def receive_head(stream: BinaryIO) -> tuple[bytes, int]:
    """The letter and the length of the next frame.

    Raises:
        EOFError: The stream has ended.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    kind, size = _HEAD.unpack(head)
    return kind, size


def receive(stream: BinaryIO) -> tuple[bytes, bytes]:
    """The next frame.

    Raises:
        EOFError: The stream has ended, or the frame is truncated.
    """
    kind, size = receive_head(stream)
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return kind, content


_BLOCK, _KEPT = 64 << 10, 512
# The time limit applies to each run of this many bytes of values.
_BYTES_A_TURN = 64 << 20


def main(size: int, memory: int, seconds: int) -> None:
    """Answer requests until the other process closes the stream.

    Args:
        size: The file's size in bytes.
        memory: The limit in bytes, in addition to what the packages and the values take.
        seconds: The limit of processor time for a request; for values, for each 64 MiB.
    """
    import h5py

    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    memory += _address_space()
    _grant(memory, seconds)
    try:
        file = h5py.File(io.BufferedReader(_RemoteFile(requests, answers, size)), "r")
        send(answers, ANSWER, b"")
    except Exception as error:
        send(answers, FAILURE, _reason(error))
        return
    while True:
        try:
            request = json.loads(receive(requests)[1])
        except EOFError:
            return
        values = request.get("size", 0)
        _grant(memory + 4 * values, seconds * (1 + values // _BYTES_A_TURN))
        try:
            send(answers, ANSWER, _answer(h5py, file, request))
        except Exception as error:
            send(answers, FAILURE, _reason(error))


def _grant(memory: int, seconds: int) -> None:
    """Limit this process's total memory, and its processor time from now on."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds)
    _limit(resource.RLIMIT_AS, memory)


def _limit(what: int, value: int) -> None:
    import resource

    _, hard = resource.getrlimit(what)
    # macOS accepts some limits without enforcing them, and refuses others.
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    """The size of this process's address space in bytes, if the system reports it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2 << 30


def _reason(error: Exception) -> bytes:
    if isinstance(error, MemoryError):
        return b"it requests more memory than the limit"
    # h5py's KeyError quotes its text.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    return f"{text or type(error).__name__}"[:1000].encode(errors="replace")


def _answer(h5py: Any, file: Any, request: dict[str, Any]) -> bytes | memoryview:
    path = request.get("path", "").encode("utf-8", "surrogateescape")
    item = file[path] if path else file
    match request["want"]:
        case "list":
            return json.dumps(_Listing(h5py, file).found).encode()
        case "texts":
            return json.dumps(_texts(h5py, item, request["attribute"])).encode()
        case "stored":
            return json.dumps([int(item.id.get_storage_size()), _unpacked(item)]).encode()
        case "place":
            return json.dumps(_place(item)).encode()
        case "strings":
            return json.dumps(_strings(item)).encode()
    values = np.asarray(item[()])
    native = values.astype(values.dtype.newbyteorder("="), order="C", copy=False)
    return native.reshape(-1).view(np.uint8).data


def _unpacked(dataset: Any) -> int:
    """How many bytes all chunks take unpacked."""
    if dataset.chunks is None:
        return 0
    one = int(np.prod([float(size) for size in dataset.chunks])) * dataset.id.get_type().get_size()
    return int(one * max(1, dataset.id.get_num_chunks()))


def _place(dataset: Any) -> tuple[int, int] | None:
    """Offset and size of the values, or of those of the middle chunk; `None` if unknown."""
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        return None if offset is None else (int(offset), int(dataset.id.get_storage_size()))
    count = dataset.id.get_num_chunks()
    if not count:
        return None
    chunk = dataset.id.get_chunk_info(count // 2)
    return int(chunk.byte_offset), int(chunk.size)


def _strings(dataset: Any) -> list[str]:
    values = np.asarray(dataset[()], np.object_).reshape(-1).tolist()
    texts = [
        text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text) for text in values
    ]
    return [text.decode("latin-1") for text in texts]


def _texts(h5py: Any, item: Any, attribute: str) -> list[str] | None:
    if attribute not in item.attrs:
        return None
    kind = item.attrs.get_id(attribute).dtype
    if kind.kind not in "iufSb" and h5py.check_string_dtype(kind) is None:
        raise ValueError(f"attribute {attribute!r} is not text")
    value = item.attrs[attribute]
    if isinstance(value, h5py.Empty):
        return []
    values = np.asarray(value, np.object_).reshape(-1).tolist()
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


class _Listing:
    """The content of a file, without following soft or external links."""

    def __init__(self, h5py: Any, file: Any) -> None:
        self._h5py = h5py
        self._seen: dict[int, str] = {}
        self.found: dict[str, Any] = {"groups": [], "datasets": [], "skipped": []}
        self._walk(file, "", 0)

    def _walk(self, group: Any, path: str, depth: int) -> None:
        h5py = self._h5py
        if depth > HDF5_DEPTH:
            raise ValueError(f"groups are nested {HDF5_DEPTH} deep")
        self._seen[int(h5py.h5o.get_info(group.id).addr)] = path
        self.found["groups"].append(path)
        for name in sorted(group, key=natural_key):
            inner = f"{path}/{name}" if path else name
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                soft = isinstance(link, h5py.SoftLink)
                self._skip(inner, f"a soft link to {link.path}" if soft else "a link to another file")
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset):
                self._dataset(item, inner)
            elif not isinstance(item, h5py.Group):
                self._skip(inner, "neither a group nor a dataset")
            elif (place := int(h5py.h5o.get_info(item.id).addr)) in self._seen:
                self._skip(inner, f"the group /{self._seen[place]} again")
            else:
                self._walk(item, inner, depth + 1)

    def _skip(self, path: str, reason: str) -> None:
        self.found["skipped"].append([path, reason])

    def _dataset(self, dataset: Any, path: str) -> None:
        h5py = self._h5py
        name, reason = self._described(dataset)
        if name is None:
            self._skip(path, reason)
        else:
            shape = [int(size) for size in dataset.shape]
            kind = dataset.id.get_type()
            # In the file, a variable-length text is a reference of 16 bytes.
            size = 16 if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str() else kind.get_size()
            self.found["datasets"].append([path, shape, name, size])

    def _described(self, dataset: Any) -> tuple[str | None, str]:
        """The name of the dtype, or the reason why the dataset is skipped."""
        h5py = self._h5py
        layout = dataset.id.get_create_plist()
        if layout.get_external_count():
            return None, "values in other files"
        if layout.get_layout() == h5py.h5d.VIRTUAL:
            return None, "values in other datasets"
        if dataset.shape is None:
            return None, "a dataset without elements"
        name, reason = self._dtype(dataset)
        if name == "string" and dataset.id.get_type().is_variable_str() and dataset.chunks is not None:
            return None, "variable-length texts in chunks"
        return name, reason

    def _dtype(self, dataset: Any) -> tuple[str | None, str]:
        """The name of a dtype, or the reason why it cannot be read."""
        h5py = self._h5py
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return "string", ""
        held = np.dtype(dataset.dtype)
        if h5py.check_dtype(ref=held):
            return None, "references to other objects"
        if h5py.check_dtype(vlen=held):
            return None, "variable-length arrays"
        if held.kind == "V" and held.names is None and held.subdtype is None:
            named = (_texts(h5py, dataset, "dtype") or ["bfloat16"])[0]
            known = DTYPES.get(named)
            if known is not None and known.numpy is not None and known.numpy.itemsize == held.itemsize:
                return named, ""
            return None, f"opaque elements of {held.itemsize} bytes"
        if held.kind == "V":
            return None, "elements that are arrays" if held.subdtype else "records of several fields"
        known = BY_NUMPY.get(held.newbyteorder("="))
        return (known.name, "") if known is not None else (None, f"elements of dtype {held}")


class _RemoteFile(io.RawIOBase):
    """The file as a stream, whose bytes the other process sends."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, size: int) -> None:
        self._requests, self._answers, self._size = requests, answers, size
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("a position before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        size = max(0, min(len(view), self._size - self._at))
        if size > _BLOCK:
            view[:size] = self._fetch(self._at, size)
        elif size:
            number = self._at // _BLOCK
            block = self._block(number)
            start = self._at - number * _BLOCK
            size = min(size, len(block) - start)
            view[:size] = block[start : start + size]
        self._at += size
        return size

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            self._blocks[number] = self._fetch(start, min(_BLOCK, self._size - start))
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[number]

    def _fetch(self, start: int, size: int) -> bytes:
        send(self._answers, WANT, SPAN.pack(start, size))
        return receive(self._requests)[1]
