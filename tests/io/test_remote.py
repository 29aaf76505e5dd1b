"""A remote file: how often the store is asked, for what, and what happens when it fails."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.serving import Answer, Web, serving
from tfpt.errors import SourceError
from tfpt.io import limits, remote, stores
from tfpt.io.cached_blocks import Blocks
from tfpt.io.remote import BLOCK, RemoteFile

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


LONG = bytes(np.random.default_rng(8).integers(0, 256, 63 * BLOCK + 11, dtype=np.uint8))


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
        assert file.data[7 : 5 * BLOCK].tobytes() == CONTENT[7 : 5 * BLOCK]
    assert [asked.range for asked in web.gets()] == [f"bytes=7-{5 * BLOCK - 1}"] * 2


def test_of_a_large_slice_what_is_kept_is_not_fetched_again(web):
    file = opened(web)
    _ = file.data[2 * BLOCK + 5 : 2 * BLOCK + 9]
    found = file.data[100 : 5 * BLOCK]
    assert found.tobytes() == CONTENT[100 : 5 * BLOCK]
    assert not found.flags.writeable
    assert sum(asked.sent for asked in web.gets()) == 5 * BLOCK - 100


def test_who_reads_on_gets_more_at_a_time(web):
    web.files["/a.bin"] = LONG
    file = opened(web)
    for start in range(0, len(LONG), 5000):
        assert file.data[start : start + 5000].tobytes() == LONG[start : start + 5000]
    sizes = [asked.sent // BLOCK for asked in web.gets()]
    assert sizes[:5] == [1, 2, 4, 8, 16]
    assert sum(asked.sent for asked in web.gets()) == len(LONG)


def test_who_reads_here_and_there_gets_no_more_than_blocks(web):
    web.files["/a.bin"] = LONG
    file = opened(web)
    for number in (9, 3, 41, 30, 17):
        _ = file.data[number * BLOCK + 3 : number * BLOCK + 50]
    assert [asked.sent for asked in web.gets()] == [BLOCK] * 5


def test_samples_that_lie_together_come_together(web):
    web.files["/a.bin"] = LONG
    spans = [(start, start + 64) for start in range(1_000_000, 1_300_000, 997)]
    spans = [(3_000_000, 3_000_064), *reversed(spans), (5, 5), (17, 40)]
    found = opened(web).samples(spans)
    assert found == [LONG[start:stop] for start, stop in spans]
    assert len(web.gets()) == 3
    assert sum(asked.sent for asked in web.gets()) < 300_000 + 2 * BLOCK + 100


def test_what_samples_brought_is_not_fetched_again(web):
    web.files["/a.bin"] = LONG
    file = opened(web)
    file.samples([(start, start + 64) for start in range(0, len(LONG), 20_011)])
    assert file.data[:].tobytes() == LONG
    assert len(web.gets()) == 2
    assert sum(asked.sent for asked in web.gets()) == len(LONG)


def test_opening_a_file_again_finds_what_is_kept(web):
    assert [opened(web).data[:10].tobytes() for _ in range(3)] == [CONTENT[:10]] * 3
    assert len(web.gets()) == 1


@pytest.mark.parametrize("heads", [{"ETag": None}, {"ETag": 'W/"1"'}])
def test_a_file_without_a_certain_version_is_not_kept_for_the_next(web, heads):
    web.heads = heads
    web.always = Answer(headers=heads)
    assert opened(web).data[:10].tobytes() == CONTENT[:10]
    web.files["/a.bin"] = CONTENT[::-1]
    assert opened(web).data[:10].tobytes() == CONTENT[::-1][:10]


def test_a_very_large_slice_is_fetched_in_pieces(web, monkeypatch):
    monkeypatch.setattr(remote, "PIECE", 2 * BLOCK)
    found = opened(web).data[:]
    assert found.tobytes() == CONTENT
    assert not found.flags.writeable
    edges = [0, 2 * BLOCK, 4 * BLOCK, len(CONTENT)]
    assert [asked.range for asked in web.gets()] == [
        f"bytes={start}-{stop - 1}" for start, stop in itertools.pairwise(edges)
    ]


def test_blocks_of_all_files_are_kept_within_one_limit(web, monkeypatch):
    blocks = Blocks(limit=2 * BLOCK)
    monkeypatch.setattr(remote, "BLOCKS", blocks)
    web.files["/b.bin"] = CONTENT[::-1]
    files = [opened(web), RemoteFile(f"{web.url}/b.bin")]
    for number in (4, 2, 0):
        for file in files:
            _ = file.data[number * BLOCK : number * BLOCK + 10]
    assert [blocks.numbers(file._key) for file in files] == [[0], [0]]


def test_released_blocks_are_the_first_to_go_and_kept_until_then(web, monkeypatch):
    blocks = Blocks(limit=2 * BLOCK)
    monkeypatch.setattr(remote, "BLOCKS", blocks)
    file = opened(web)
    for number in (0, 4):
        _ = file.data[number * BLOCK : number * BLOCK + 10]
    file.release(3 * BLOCK + 1, 2 * BLOCK)
    assert blocks.numbers(file._key) == [0, 4]
    _ = file.data[2 * BLOCK : 2 * BLOCK + 10]
    assert blocks.numbers(file._key) == [0, 2]


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
    with pytest.raises(SourceError, match="does not respond as expected") as error:
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
    monkeypatch.setattr(limits, "WEB_WHOLE", BLOCK)
    web.ranges = False
    with pytest.raises(SourceError, match="does not support ranges") as error:
        opened(web).data[:10]
    assert "download the file" in str(error.value)


def test_a_file_that_changes_while_it_is_read_is_noticed(web):
    file = opened(web)
    web.files["/a.bin"] = CONTENT + b"more"
    with pytest.raises(SourceError, match="was replaced while it was being read"):
        file.data[:10]


def test_a_store_that_sends_too_little_is_noticed(monkeypatch):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe_file("/short/a", CONTENT)
    file = RemoteFile("memory://short/a")
    store.pipe_file("/short/a", CONTENT[:100])
    with pytest.raises(SourceError, match="less than the file's size promises"):
        file.data[:1000]
