"""The bytes of one file: read where it is on this machine, fetched by ranges where it is not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfpt.errors import SourceError
from tfpt.io.remote import RemoteFile
from tfpt.io.storage import LocalFile, open_storage

CONTENT = bytes(np.random.default_rng(3).integers(0, 256, 1_000_003, dtype=np.uint8))


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    if request.param == "local":
        (tmp_path / "a.bin").write_bytes(CONTENT)
        yield open_storage(str(tmp_path / "a.bin"))
        return
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe_file("/storage/a.bin", CONTENT)
    yield open_storage("memory://storage/a.bin")
    store.rm("/storage", recursive=True)


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(0, 0),
        slice(5, 3),
        slice(10, 24),
        slice(262_140, 262_150),  # over the edge of a block
        slice(100, 900_000),
        slice(-48, None),
        slice(999_999, 2_000_000),
        slice(2_000_000, 2_000_001),
    ],
)
def test_slices_are_those_of_bytes(storage, key):
    found = storage.data[key]
    assert found.dtype == np.uint8
    assert not found.flags.writeable
    assert found.tobytes() == CONTENT[key]


def test_the_length_is_the_files(storage):
    assert len(storage.data) == len(CONTENT)


def test_a_file_object_reads_and_seeks(storage):
    with storage.open() as file:
        assert file.read(7) == CONTENT[:7]
        assert file.seek(-10, io.SEEK_END) == len(CONTENT) - 10
        assert file.read() == CONTENT[-10:]
        assert file.seek(300_000) == 300_000
        assert file.read(500_000) == CONTENT[300_000:800_000]
        assert file.read(-1) == CONTENT[800_000:]
        assert file.read(1) == b""


def test_released_bytes_are_there_again_when_looked_at(storage):
    before = storage.data[1000:2000].tobytes()
    storage.release(0, len(CONTENT))
    assert storage.data[1000:2000].tobytes() == before


def test_arrays_outlive_the_storage(storage):
    found = storage.data[:100]
    del storage
    assert found.tobytes() == CONTENT[:100]


def test_an_empty_file_has_no_bytes(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert len(open_storage(str(tmp_path / "empty")).data) == 0


def test_a_url_is_remote_and_a_path_is_local(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    assert isinstance(open_storage(str(tmp_path / "a")), LocalFile)
    store = pytest.importorskip("fsspec").filesystem("memory")
    store.pipe_file("/kinds/a", b"x")
    assert isinstance(open_storage("memory://kinds/a"), RemoteFile)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="cannot read the file: No such file"):
        open_storage(str(tmp_path / "none"))


CUT = """
import sys
from tfpt.errors import SourceError
from tfpt.io.storage import open_storage
storage = open_storage(sys.argv[1])
held = storage.data[:100_000]
open(sys.argv[1], "r+b").truncate(5000)
held.sum()
try:
    storage.data[4000:900_000].sum()
except SourceError as error:
    print(error.what, "|", error.got)
"""


def test_a_file_that_is_cut_off_while_it_is_read_is_an_error_and_not_the_end_of_the_process(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    done = subprocess.run([sys.executable, "-c", CUT, tmp_path / "a.bin"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the file was truncated while it was being read | 5,000 bytes\n"


def test_nothing_holds_a_file_that_was_closed(storage):
    kept = storage.data[:10]
    storage.close()
    assert kept.tobytes() == CONTENT[:10]
    if isinstance(storage, LocalFile):
        assert storage.location not in {
            os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
        }
        with pytest.raises(SourceError, match="was closed"):
            storage.data[:10]


def test_threads_that_read_while_the_file_is_closed_get_its_bytes_or_an_error(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    other = tmp_path / "b.bin"
    other.write_bytes(bytes(len(CONTENT)))
    for _ in range(30):
        storage = open_storage(str(tmp_path / "a.bin"))
        gate = threading.Barrier(5)

        def read(number: int, storage=storage, gate=gate) -> bool:
            gate.wait()
            try:
                return all(
                    storage.data[number : 900_000 + number].tobytes() == CONTENT[number : 900_000 + number]
                    for _ in range(3)
                )
            except SourceError:
                return True

        with ThreadPoolExecutor(4) as pool:
            found = pool.map(read, range(4))
            gate.wait()
            storage.close()
            again = [
                os.open(other, os.O_RDONLY) for _ in range(4)
            ]  # they take the number of a file that was closed
            assert all(found)
            for file in again:
                os.close(file)
