"""Web servers that are broken or hostile: no answer takes more bytes or more time than it may."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest

from tests.serving import Answer, Web, etag, serving
from tfpt.errors import SourceError
from tfpt.io import http, limits, stores
from tfpt.io.remote import BLOCK, RemoteFile

pytest.importorskip("aiohttp")

CONTENT = bytes(np.random.default_rng(5).integers(0, 256, 20 * BLOCK + 7, dtype=np.uint8))
# What may be under way when the reader hangs up: buffers of both sides of a connection on one machine.
UNDER_WAY = 16 << 20


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


def endless(content: bytes):
    return itertools.repeat(bytes(1 << 16))


def refusal(web: Web, start: int = 0, stop: int = 10) -> str:
    file = opened(web)
    with pytest.raises(SourceError) as error:
        file.data[start:stop]
    assert f"{web.url}/a.bin" in str(error.value)
    return str(error.value)


class TestBytes:
    @pytest.mark.parametrize("length", [None, str(1 << 50)])
    def test_an_endless_part_is_left(self, web, length):
        web.always = Answer(headers={"Content-Length": length}, body=endless)
        assert "sends more than was requested" in refusal(web)
        assert len(web.gets()) == 1
        assert web.gets()[0].sent < UNDER_WAY

    def test_more_than_was_asked_for_is_refused(self, web):
        web.always = Answer(headers={"Content-Length": None}, body=lambda content: [content, b"x"])
        assert "sends more than was requested" in refusal(web, 0, 6 * BLOCK)

    def test_a_packed_part_is_refused_and_not_unpacked(self, web):
        packed = gzip.compress(bytes(8 << 20))
        web.always = Answer(
            headers={"Content-Encoding": "gzip", "Content-Length": str(len(packed))}, body=lambda _: [packed]
        )
        said = refusal(web)
        assert "sends the file encoded" in said
        assert "Content-Encoding: gzip" in said

    @pytest.mark.parametrize("said", ["bytes 5-14/{size}", "bytes 0-8/{size}", None, "bytes */{size}", "x"])
    def test_another_part_than_was_asked_for_is_refused(self, web, said):
        where = said and said.format(size=len(CONTENT))
        web.always = Answer(
            headers={"Content-Range": where, "Content-Length": "9"}, body=lambda _: [bytes(9)]
        )
        assert "sends another part of the file" in refusal(web)

    def test_a_claimed_size_that_no_file_has_is_refused(self, web):
        web.heads = {"Content-Length": str(10**15)}
        with pytest.raises(SourceError, match="reports an impossible file size") as error:
            opened(web)
        assert "1,000,000,000,000,000 bytes" in str(error.value)

    def test_a_part_of_a_claimed_size_takes_no_memory_before_it_comes(self, web):
        size = 1 << 45
        web.heads = {"Content-Length": str(size)}
        file = opened(web)
        with pytest.raises(SourceError):
            file.data[:]
        assert len(web.gets()) == 1

    def test_the_whole_in_place_of_a_part_is_not_read(self, web):
        web.always = Answer(
            status=200, headers={"Content-Length": str(1 << 40), "Content-Range": None}, body=endless
        )
        assert "does not support ranges" in refusal(web)
        assert len(web.gets()) == 2
        assert all(asked.sent < UNDER_WAY for asked in web.gets())

    def test_an_endless_whole_is_left_at_the_limit(self, web, monkeypatch):
        monkeypatch.setattr(limits, "WEB_WHOLE", 1 << 20)
        web.always = Answer(status=200, headers={"Content-Length": None, "Content-Range": None}, body=endless)
        assert "does not support ranges" in refusal(web)
        assert all(asked.sent < UNDER_WAY for asked in web.gets())


class TestTime:
    def test_a_few_bytes_now_and_then_are_too_slow(self, web, monkeypatch):
        ticks = itertools.count(0, 100)
        monkeypatch.setattr(http, "clock", lambda: float(next(ticks)))
        web.always = Answer(body=lambda content: (content[at : at + 1] for at in range(len(content))))
        said = refusal(web)
        assert "sends too slowly" in said
        assert "in 100 seconds" in said
        assert len(web.gets()) == 1

    def test_the_time_grows_with_what_came(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(http, "clock", lambda: now[0])
        answer = http.Pace("here")
        now[0] = 1000.0
        answer.check(1 << 30)
        with pytest.raises(SourceError):
            answer.check((1000 - 61) * limits.WEB_SLOWEST)

    def test_a_server_that_falls_silent_is_left(self, web, monkeypatch):
        def silent(content):
            yield content[:5]
            web.over.wait(60)

        file = opened(web)
        web.always = Answer(body=silent)
        monkeypatch.setattr(limits, "WEB_STALL", 0.1)
        with pytest.raises(SourceError, match="does not answer in time"):
            file.data[:10]
        assert len(web.gets()) == 4


class TestVersions:
    @pytest.mark.parametrize("obeys", [True, False])
    def test_a_file_that_is_replaced_by_one_of_its_size_is_noticed(self, web, obeys):
        file = opened(web)
        assert file.data[:10].tobytes() == CONTENT[:10]
        web.files["/a.bin"] = bytes(len(CONTENT))
        if not obeys:  # the condition is ignored, the tag of the part tells
            at = slice(10 * BLOCK, 11 * BLOCK)
            web.always = Answer(
                status=206,
                headers={
                    "Content-Range": f"bytes {at.start}-{at.stop - 1}/{len(CONTENT)}",
                    "Content-Length": str(BLOCK),
                },
                body=lambda _: [bytes(BLOCK)],
            )
        with pytest.raises(SourceError, match="replaced while it was being read") as error:
            file.data[10 * BLOCK : 10 * BLOCK + 5]
        assert "run the same command again" in str(error.value)
        web.always = None
        assert opened(web).data[10 * BLOCK : 10 * BLOCK + 5].tobytes() == bytes(5)

    def test_the_parts_are_asked_for_on_condition(self, web):
        _ = opened(web).data[:10]
        assert [asked.condition for asked in web.gets()] == [etag(CONTENT)]

    def test_dates_tell_where_there_are_no_tags(self, web):
        first = {"ETag": None, "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        web.heads = first
        web.always = Answer(headers=first)
        file = opened(web)
        assert file.data[:10].tobytes() == CONTENT[:10]
        web.always = Answer(headers={**first, "Last-Modified": "Thu, 01 Jan 2026 00:00:02 GMT"})
        with pytest.raises(SourceError, match="replaced while it was being read"):
            file.data[10 * BLOCK : 10 * BLOCK + 5]

    def test_a_file_that_became_shorter_is_noticed(self, web):
        web.etags = False
        file = opened(web)
        web.files["/a.bin"] = CONTENT[:BLOCK]
        with pytest.raises(SourceError, match="replaced while it was being read"):
            file.data[5 * BLOCK : 5 * BLOCK + 10]

    def test_a_server_that_knows_ranges_and_no_condition_is_asked_without(self, web):
        file = opened(web)
        whole = Answer(status=200, headers={"Accept-Ranges": "bytes", "Content-Range": None})
        web.faults = [whole]
        assert file.data[:10].tobytes() == CONTENT[:10]
        assert file.data[9 * BLOCK : 9 * BLOCK + 3].tobytes() == CONTENT[9 * BLOCK : 9 * BLOCK + 3]
        assert [asked.condition is None for asked in web.gets()] == [False, True, True]

    def test_another_store_is_asked_too(self, monkeypatch):
        import fsspec

        monkeypatch.setattr(stores, "_REMEMBERED_FOR", 0.0)
        store = fsspec.filesystem("memory")
        store.pipe_file("/versions/a", CONTENT)
        file = RemoteFile("memory://versions/a")
        assert file.data[:10].tobytes() == CONTENT[:10]
        store.pipe_file("/versions/a", CONTENT[::-1])
        with pytest.raises(SourceError, match="replaced while it was being read"):
            file.data[10 * BLOCK : 10 * BLOCK + 5]


class TestRedirects:
    def test_a_circle_is_left(self, web):
        file = opened(web)
        web.always = Answer(
            status=302, headers={"Location": "/a.bin", "Content-Length": "0"}, body=lambda _: []
        )
        with pytest.raises(SourceError, match="redirects in a loop"):
            file.data[:10]
        assert len(web.gets()) < 30

    @pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,abc"])
    def test_no_other_kind_of_address_is_followed(self, web, to):
        file = opened(web)
        web.always = Answer(status=302, headers={"Location": to, "Content-Length": "0"}, body=lambda _: [])
        with pytest.raises(SourceError, match="address that is not on the web"):
            file.data[:10]
