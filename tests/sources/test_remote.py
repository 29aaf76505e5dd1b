"""A remote file: how often the store is asked, for what, and what happens when it fails."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.serving import Web, serving
from tfpt.errors import SourceError
from tfpt.sources import remote, stores
from tfpt.sources.remote import BLOCK, RemoteFile

pytest.importorskip("aiohttp")

CONTENT = bytes(np.random.default_rng(7).integers(0, 256, 5 * BLOCK + 1013, dtype=np.uint8))


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    stores.forget()
    monkeypatch.setattr(stores, "DELAYS", (0.01, 0.01, 0.01))


@pytest.fixture
def web():
    with serving() as server:
        server.files["/a.bin"] = CONTENT
        yield server


def opened(web: Web) -> RemoteFile:
    return RemoteFile(f"{web.url}/a.bin")


def test_opening_a_file_reads_none_of_it(web):
    assert len(opened(web).data) == len(CONTENT)
    assert web.gets() == []


def test_small_slices_side_by_side_are_one_request(web):
    file = opened(web)
    for start in range(0, 5000, 50):
        assert file.data[start : start + 50].tobytes() == CONTENT[start : start + 50]
    assert [asked.range for asked in web.gets()] == [f"bytes=0-{BLOCK - 1}"]


def test_a_large_slice_is_fetched_exactly_and_not_kept(web):
    file = opened(web)
    for _ in range(2):
        assert file.data[7 : 3 * BLOCK].tobytes() == CONTENT[7 : 3 * BLOCK]
    assert [asked.range for asked in web.gets()] == [f"bytes=7-{3 * BLOCK - 1}"] * 2


def test_a_very_large_slice_is_fetched_in_pieces(web, monkeypatch):
    monkeypatch.setattr(remote, "PIECE", 2 * BLOCK)
    found = opened(web).data[:]
    assert found.tobytes() == CONTENT
    assert not found.flags.writeable
    edges = [0, 2 * BLOCK, 4 * BLOCK, len(CONTENT)]
    assert [asked.range for asked in web.gets()] == [
        f"bytes={start}-{stop - 1}" for start, stop in itertools.pairwise(edges)
    ]


def test_blocks_are_kept_within_bounds_and_released(web, monkeypatch):
    monkeypatch.setattr(remote, "KEPT", 2)
    file = opened(web)
    for number in range(5):
        _ = file.data[number * BLOCK : number * BLOCK + 10]
    assert list(file._blocks) == [3, 4]
    file.release(3 * BLOCK - 5, BLOCK + 10)
    assert list(file._blocks) == [4]


def test_threads_that_want_one_block_ask_once(web):
    file = opened(web)
    gate = threading.Barrier(8)

    def read(number: int) -> bytes:
        gate.wait()
        return file.data[number * 10 : number * 10 + 10].tobytes()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(8)))
    assert found == [CONTENT[n * 10 : n * 10 + 10] for n in range(8)]
    assert len(web.gets()) == 1


def test_threads_read_the_whole_file_in_any_order(web):
    file = opened(web)
    random = np.random.default_rng(11)
    spans = [sorted(random.integers(0, len(CONTENT), 2)) for _ in range(60)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda span: file.data[span[0] : span[1]].tobytes(), spans))
    assert found == [CONTENT[start:stop] for start, stop in spans]


@pytest.mark.parametrize("fault", [503, 429, ("cut", 100), ("cut", 0)])
def test_what_fails_in_passing_is_asked_for_again(web, fault):
    web.faults = [fault, fault]
    assert opened(web).data[:1000].tobytes() == CONTENT[:1000]
    assert len(web.gets()) == 3


def test_what_goes_on_failing_is_an_error(web):
    web.faults = [503] * 4
    with pytest.raises(SourceError, match="does not answer as it should") as error:
        opened(web).data[:10]
    assert "503" in str(error.value)
    assert "try again later" in str(error.value)


def test_after_an_error_the_block_can_be_read(web):
    file = opened(web)
    web.faults = [503] * 4
    with pytest.raises(SourceError):
        file.data[:10]
    assert file.data[:10].tobytes() == CONTENT[:10]


def test_a_file_that_is_not_there(web):
    with pytest.raises(SourceError, match="there is no file of this name"):
        RemoteFile(f"{web.url}/b.bin")


def test_a_store_that_lists_names_what_comes_near():
    import fsspec

    fsspec.filesystem("memory").pipe_file("/near/model.ckpt.index", b"x")
    with pytest.raises(SourceError) as error:
        RemoteFile("memory://near/modle.ckpt.index")
    assert "memory://near/model.ckpt.index" in error.value.nearest


def test_a_small_file_of_a_server_without_ranges_is_fetched_once(web):
    web.ranges = False
    file = opened(web)
    assert file.data[5:10].tobytes() == CONTENT[5:10]
    assert file.data[BLOCK : 4 * BLOCK].tobytes() == CONTENT[BLOCK : 4 * BLOCK]
    # The answer to the range is left unread, then the whole comes once.
    assert [asked.range for asked in web.gets()] == [f"bytes=0-{BLOCK - 1}", None]


def test_a_large_file_of_a_server_without_ranges_is_refused(web, monkeypatch):
    monkeypatch.setattr(remote, "LARGEST_WHOLE", BLOCK)
    web.ranges = False
    with pytest.raises(SourceError, match="knows no ranges") as error:
        opened(web).data[:10]
    assert "download the file" in str(error.value)


def test_a_file_that_changes_while_it_is_read_is_noticed(web):
    file = opened(web)
    web.files["/a.bin"] = CONTENT + b"more"
    with pytest.raises(SourceError, match="changed while it was read"):
        file.data[:10]


def test_a_store_that_sends_too_little_is_noticed(monkeypatch):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe_file("/short/a", CONTENT)
    file = RemoteFile("memory://short/a")
    store.pipe_file("/short/a", CONTENT[:100])
    with pytest.raises(SourceError, match="less than the file's size promises"):
        file.data[:1000]
