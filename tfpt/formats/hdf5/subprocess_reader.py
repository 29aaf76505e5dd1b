"""Reads an HDF5 file with the HDF5 library, in a separate process with limits."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, cast

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.hdf5.dataset import Dataset, as_texts, native, refuse_bomb
from tfpt.formats.hdf5.h5py_worker import FAILURE, SPAN, WANT, receive_head, send
from tfpt.io import limits
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.storage import Storage
from tfpt.tensors import DTYPES, TensorSpec

# Isolated from the folder where it is started, but with the packages of this process.
_START = (
    "import json, sys; start = json.loads(sys.stdin.buffer.readline()); sys.path[:] = start.pop('path'); "
    "from tfpt.formats.hdf5.h5py_worker import main; main(**start)"
)


class SubprocessTree:
    """A `tfpt.formats.hdf5.dataset.Tree` read by h5py in another process.

    That process gets the file's bytes from this one, piece by piece. It may use 1 GiB of memory in addition to the
    values, and a minute of processor time for each request (`tfpt.io.limits`), and loads no third-party filters. If it
    fails or is killed, the file is refused.

    Raises:
        SourceError: The file is damaged, or exceeds a limit; or h5py is not installed.
    """

    def __init__(self, storage: Storage) -> None:
        self.location = storage.location
        self._storage = storage
        self._lock = threading.Lock()
        self._process = _start_process(storage.location)
        self._end = weakref.finalize(self, _stop_process, self._process)
        try:
            with self._lock:
                self._send_limits()
                self._answer("the file cannot be opened as HDF5")
            found = self._json("the file's content cannot be listed", want="list")
        except BaseException:
            self._end()
            raise
        self.groups = frozenset(found["groups"])
        self.skipped: Mapping[str, str] = dict(found["skipped"])
        self.datasets: Mapping[str, Dataset] = {
            path: Dataset(path, TensorSpec(path, tuple(shape), name), DTYPES[name].numpy, size)
            if name != "string"
            else Dataset(path, TensorSpec(path, tuple(shape), name), None, size)
            for path, shape, name, size in found["datasets"]
        }

    def texts(self, path: str, attribute: str) -> list[str] | None:
        """An attribute as a list of texts."""
        what = f"attribute {attribute!r} cannot be read"
        return cast("list[str] | None", self._json(what, want="texts", path=path, attribute=attribute))

    def read(self, dataset: Dataset) -> np.ndarray:
        """The values of a dataset."""
        what = f"the values of {dataset.path!r} cannot be read"
        stored, unpacked = self._json(what, want="stored", path=dataset.path)
        refuse_bomb(self.location, dataset, min(stored, len(self._storage.data)), unpacked)
        if dataset.held is None:
            return self._strings(dataset, what)
        size = dataset.spec.size * dataset.held.itemsize
        raw = self._request(what, want="values", path=dataset.path, size=size)
        if len(raw) != size:
            raise self._failed(what, f"{len(raw):,} bytes instead of {size:,}")
        return native(raw, dataset)

    def sample(self, dataset: Dataset) -> bytes:
        """A few stored bytes of the values."""
        place = self._json(f"the values of {dataset.path!r} cannot be found", want="place", path=dataset.path)
        if place is None:
            return b""
        begin, size = place
        part = min(32, size)
        data = self._storage.data
        return data[begin : begin + part].tobytes() + data[begin + size - part : begin + size].tobytes()

    def release(self, dataset: Dataset) -> None:
        """Does nothing: values are copies."""

    def close(self) -> None:
        """End the process, and close the file."""
        self._end()
        self._storage.close()

    def _strings(self, dataset: Dataset, what: str) -> np.ndarray:
        if dataset.spec.size > limits.HDF5_TEXTS:
            raise self._failed(what, f"{dataset.spec.size:,} texts, more than tfpt reads")
        found = self._json(what, want="strings", path=dataset.path, size=dataset.claimed)
        return as_texts([text.encode("latin-1") for text in found], dataset)

    def _json(self, what: str, **request: Any) -> Any:
        return json.loads(self._request(what, **request).tobytes())

    def _request(self, what: str, **request: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
        with self._lock:
            self._send_frame(json.dumps(request).encode())
            return self._answer(what)

    def _answer(self, what: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The answer to the pending request; serves the file's bytes until it arrives."""
        answers = cast(BinaryIO, self._process.stdout)
        left = limits.HDF5_READS_PER_BYTE * len(self._storage.data) + limits.CLAIMED_FREELY
        try:
            while True:
                kind, size = receive_head(answers)
                if kind == FAILURE:
                    reason = answers.read(size).decode("utf-8", "replace")
                    break
                if kind != WANT:
                    return _read_exactly(answers, size)
                start, length = SPAN.unpack(answers.read(size))
                left -= length
                if left < 0:
                    self._end()
                    reason = "the library reads the file over and over"
                    break
                self._send_frame(self._storage.data[start : start + length].tobytes())
        except (EOFError, ValueError):
            reason = self._exit_reason()
        except BaseException:
            # It still waits for bytes, and would mistake the next request for them.
            self._end()
            raise
        raise self._failed(what, reason)

    def _send_limits(self) -> None:
        start = {
            "path": sys.path,
            "size": len(self._storage.data),
            "memory": limits.HDF5_MEMORY,
            "seconds": limits.HDF5_SECONDS,
        }
        stream = cast(BinaryIO, self._process.stdin)
        with suppress(BrokenPipeError, ValueError):
            stream.write(json.dumps(start).encode() + b"\n")
            stream.flush()

    def _send_frame(self, content: bytes) -> None:
        # If the process has ended, waiting for the answer reports it.
        with suppress(BrokenPipeError, ValueError):
            send(cast(BinaryIO, self._process.stdin), b"q", content)

    def _failed(self, what: str, reason: str) -> SourceError:
        return SourceError(f"{what}: {reason}", where=self.location, hint=DOWNLOAD_AGAIN)

    def _exit_reason(self) -> str:
        """Why the process ended."""
        status = self._process.wait()
        if hasattr(signal, "SIGXCPU") and status == -signal.SIGXCPU:
            return f"the HDF5 library takes more than {limits.HDF5_SECONDS} seconds of processor time"
        if status < 0:
            return f"the HDF5 library's process was ended by {signal.Signals(-status).name}"
        return f"the HDF5 library's process ended, within {limits.HDF5_MEMORY >> 20:,} MiB of memory"


def _read_exactly(stream: BinaryIO, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    content = np.empty(size, np.uint8)
    if stream.readinto(content.data) != size:  # type: ignore[attr-defined]
        raise EOFError
    return content


def _start_process(location: str) -> subprocess.Popen[bytes]:
    if importlib.util.find_spec("h5py") is None:
        raise SourceError(
            "reading this HDF5 file needs the package h5py, which is not installed",
            where=location,
            hint="pip install tfpt[keras]",
        )
    unwanted = ("HDF5_PLUGIN_PATH", "HDF5_VOL_CONNECTOR", "HDF5_DRIVER", "HDF5_DRIVER_CONFIG")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    # Two colons: no filters are loaded from anywhere (HDF5's documentation of H5PL).
    environment |= {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(BrokenPipeError):
        cast(BinaryIO, process.stdin).close()
    cast(BinaryIO, process.stdout).close()
    process.wait()
