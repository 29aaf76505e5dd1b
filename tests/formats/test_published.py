"""Published checkpoints: fetched once, resumed where cut off, unpacked safely, explained where there is no network."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import stat
import sys
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import tfpt
from tests.serving import Answer, etag, serving
from tfpt.errors import SourceError, TfptError
from tfpt.formats.cache import cache_folder, cache_path
from tfpt.formats.published import fetch
from tfpt.io import downloading, http, limits, stores

CONTENT = bytes(np.random.default_rng(13).integers(0, 256, 3_000_017, dtype=np.uint8))


def endless(content: bytes):
    return itertools.repeat(bytes(1 << 16))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TFPT_CACHE", str(folder))
    monkeypatch.setattr(stores, "DELAYS", (0.01, 0.01, 0.01))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    stores.forget()
    return folder


@pytest.fixture
def web():
    with serving() as server:
        server.files["/m/w.npz"] = CONTENT
        yield server


def published(mapping: Path, url: str) -> Path:
    """A mapping with a `source.url`."""
    mapping.write_text(mapping.read_text().replace("  scope: net\n", f"  scope: net\n  url: {url}\n"))
    return mapping


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


class TestTheCache:
    def test_the_folder_follows_the_environment(self, monkeypatch, tmp_path):
        assert cache_folder() == tmp_path / "cache"
        monkeypatch.delenv("TFPT_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "/x")
        assert cache_folder() == Path("/x/tfpt")
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", "/home/me")
        assert cache_folder() == Path("/home/me/.cache/tfpt")

    def test_places_are_readable_and_stay_inside(self, cache):
        assert cache_path("gs://bucket/bert/model.ckpt") == cache / "gs/bucket/bert/model.ckpt"
        assert cache_path("https://me:pw@host:8080/a b/ü.h5") == cache / "https/host%3A8080/a b/%C3%BC.h5"
        assert cache_path("https://host/m.h5?id=1") != cache_path("https://host/m.h5?id=2")
        assert len(cache_path(f"https://host/{'x' * 900}").name) < 200
        for bad in ("https://host/../../etc/passwd", "https://host", "https://host/./"):
            with pytest.raises(TfptError, match="names no file"):
                cache_path(bad)


class TestDownloads:
    def test_a_file_is_fetched_once(self, web, cache):
        url = f"{web.url}/m/w.npz"
        first = fetch(url)
        assert Path(first.location).read_bytes() == CONTENT
        assert fetch(url) == first
        assert len(web.log) == 1
        assert parts(cache) == ["w.npz"]

    def test_a_cut_line_is_taken_up_where_it_was_cut(self, web):
        web.faults = [("cut", 1_000_000), ("cut", 700_000)]
        fetched = fetch(f"{web.url}/m/w.npz")
        assert Path(fetched.location).read_bytes() == CONTENT
        assert [asked.range for asked in web.gets()] == [None, "bytes=1000000-", "bytes=1700000-"]
        assert {asked.condition for asked in web.gets()[1:]} == {etag(CONTENT)}

    def test_a_later_run_goes_on_from_what_is_there(self, web, cache):
        web.faults = [("cut", 900_000), 503, 503, 503]
        with pytest.raises(SourceError, match="does not respond") as error:
            fetch(f"{web.url}/m/w.npz")
        assert "without a network" in str(error.value)
        assert parts(cache) == ["w.npz.part", "w.npz.part.json"]
        web.log.clear()
        fetched = fetch(f"{web.url}/m/w.npz")
        assert [asked.range for asked in web.gets()] == ["bytes=900000-"]
        assert Path(fetched.location).read_bytes() == CONTENT
        assert parts(cache) == ["w.npz"]

    def test_a_file_that_changed_meanwhile_is_fetched_anew(self, web):
        web.faults = [("cut", 900_000), 503, 503, 503]
        with pytest.raises(SourceError):
            fetch(f"{web.url}/m/w.npz")
        web.files["/m/w.npz"] = CONTENT[::-1]
        fetched = fetch(f"{web.url}/m/w.npz")
        assert Path(fetched.location).read_bytes() == CONTENT[::-1]
        assert [(asked.range, asked.status) for asked in web.gets()[-1:]] == [("bytes=900000-", 200)]

    def test_a_part_that_is_too_long_is_thrown_away(self, web, cache):
        part = cache_path(f"{web.url}/m/w.npz.part")
        part.parent.mkdir(parents=True)
        part.write_bytes(bytes(len(CONTENT) + 5))
        mark = {"url": f"{web.url}/m/w.npz", "tag": etag(CONTENT)}
        part.with_name("w.npz.part.json").write_text(json.dumps(mark))
        assert Path(fetch(f"{web.url}/m/w.npz").location).read_bytes() == CONTENT

    @pytest.mark.parametrize("lacks", ["ranges", "etags"])
    def test_without_ranges_or_versions_a_cut_file_starts_anew(self, web, lacks):
        setattr(web, lacks, False)
        web.faults = [("cut", 900_000)]
        assert Path(fetch(f"{web.url}/m/w.npz").location).read_bytes() == CONTENT

    def test_a_file_that_never_comes_whole_is_not_there(self, web, cache):
        web.ranges = False
        web.faults = [("cut", 1000)] * 9
        with pytest.raises(SourceError, match="the download was cut off") as error:
            fetch(f"{web.url}/m/w.npz")
        assert "1000 bytes of 3000017" in str(error.value)
        assert "w.npz" not in parts(cache)

    def test_another_store_is_resumed_too(self, cache, monkeypatch):
        store = pytest.importorskip("fsspec").filesystem("memory")
        store.pipe_file("/fetch/w.npz", CONTENT)
        monkeypatch.setattr(downloading, "_PIECE", 1_000_000)
        asked: list[int] = []
        read = store.cat_file

        def flaky(path, start=None, end=None, **kwargs):
            asked.append(start)
            if len(asked) == 3:
                raise TimeoutError
            return read(path, start=start, end=end)

        monkeypatch.setattr(store, "cat_file", flaky)
        cache.mkdir()
        downloading.download("memory://fetch/w.npz", cache / "w.npz")
        assert (cache / "w.npz").read_bytes() == CONTENT
        assert asked == [0, 1_000_000, 2_000_000, 2_000_000, 3_000_000]

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (Answer(headers={"Content-Length": None}, body=endless), "sends more than it announced"),
            (
                Answer(headers={"Content-Length": str(10**15)}, body=endless),
                "not enough disk space for the file",
            ),
            (Answer(headers={"Content-Encoding": "gzip"}), "sends the file encoded"),
            (Answer(status=302, headers={"Location": "/m/w.npz"}), "redirects in a loop"),
            (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "not on the web"),
            (Answer(status=302, headers={"Location": "ftp://127.0.0.1/a"}), "not on the web"),
        ],
    )
    def test_what_a_server_must_not_answer(self, web, cache, monkeypatch, answer, why):
        monkeypatch.setattr(limits, "DOWNLOAD_UNSIZED", 4 << 20)
        web.always = answer
        with pytest.raises(TfptError, match=why):
            fetch(f"{web.url}/m/w.npz")
        assert "w.npz" not in parts(cache)
        assert sum((cache / part).stat().st_size for part in cache.rglob("*.part")) == 0
        assert all(asked.sent < 64 << 20 for asked in web.gets())

    def test_more_than_the_rest_is_refused(self, web, cache):
        chunked = {"Content-Length": None}
        web.faults = [("cut", 1_000_000), Answer(headers=chunked, body=lambda rest: [rest, b"more"])]
        with pytest.raises(SourceError, match="sends more than it announced"):
            fetch(f"{web.url}/m/w.npz")
        assert not any(name.endswith((".npz", ".part")) for name in parts(cache))

    def test_without_a_length_it_comes_all_the_same(self, web):
        web.always = Answer(headers={"Content-Length": None}, body=lambda content: [content])
        assert Path(fetch(f"{web.url}/m/w.npz").location).read_bytes() == CONTENT

    def test_a_rest_of_another_version_is_not_joined(self, web):
        newer = CONTENT[::-1]
        span = {"Content-Range": f"bytes 1000000-{len(CONTENT) - 1}/{len(CONTENT)}", "ETag": etag(newer)}

        def rest(content: bytes):
            web.files["/m/w.npz"] = newer
            return [newer[1_000_000:]]

        # The server does not know If-Range: it sends the rest of the file that there is now.
        web.faults = [("cut", 1_000_000), Answer(status=206, headers=span, body=rest)]
        assert Path(fetch(f"{web.url}/m/w.npz").location).read_bytes() == newer

    def test_a_file_of_another_store_that_is_replaced_meanwhile_is_refused(self, cache, monkeypatch):
        fsspec = pytest.importorskip("fsspec")
        store = fsspec.filesystem("memory")
        store.pipe_file("/replaced/w.npz", CONTENT)
        monkeypatch.setattr(downloading, "_PIECE", 1 << 20)
        right = type(store).cat_file

        def cat(self, path, start=None, end=None, **more):
            content = right(self, path, start=start, end=end, **more)
            if start == 0:
                store.pipe_file("/replaced/w.npz", CONTENT[::-1])
            return content

        monkeypatch.setattr(type(store), "cat_file", cat)
        cache.mkdir()
        with pytest.raises(SourceError, match="replaced while it was being read"):
            downloading.download("memory://replaced/w.npz", cache / "w.npz")
        assert "w.npz" not in parts(cache)

    def test_a_few_bytes_now_and_then_are_too_slow(self, web, monkeypatch):
        ticks = itertools.count(0, 100)
        monkeypatch.setattr(http, "clock", lambda: float(next(ticks)))
        web.always = Answer(body=lambda content: (content[at : at + 1] for at in range(len(content))))
        with pytest.raises(SourceError, match="sends too slowly"):
            fetch(f"{web.url}/m/w.npz")
        assert len(web.log) == 1

    def test_a_server_that_does_not_begin_to_answer_is_left(self, web, monkeypatch):
        monkeypatch.setattr(limits, "WEB_ANSWER", 0.1)
        monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *args, **more: web.over.wait(60))
        with pytest.raises(SourceError, match="does not answer in time"):
            fetch(f"{web.url}/m/w.npz")

    def test_the_disk_is_not_filled(self, web, cache, monkeypatch):
        monkeypatch.setattr(downloading, "_LOOK", 1 << 20)
        web.always = Answer(headers={"Content-Length": None}, body=endless)
        free = iter([1 << 40, 1 << 40, limits.DISK_LEFT - 1])
        usage = shutil.disk_usage(cache.parent)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=next(free)))
        with pytest.raises(TfptError, match="not enough disk space for the file"):
            fetch(f"{web.url}/m/w.npz")
        assert not any(name.endswith((".npz", ".part")) for name in parts(cache))

    def test_two_at_once_fetch_once(self, web):
        gate = threading.Barrier(4)

        def one(_: int) -> bytes:
            gate.wait()
            return Path(fetch(f"{web.url}/m/w.npz").location).read_bytes()

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(one, range(4))) == {CONTENT}
        assert len(web.gets()) == 1

    def test_progress_is_told(self, web):
        told: list[tuple[str, int, int | None]] = []
        fetch(f"{web.url}/m/w.npz", progress=lambda *words: told.append(words))
        assert told[-1] == ("w.npz", len(CONTENT), len(CONTENT))

    def test_a_cache_that_cannot_be_written_is_said(self, web, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("TFPT_CACHE", str(tmp_path / "file"))
        with pytest.raises(TfptError, match="cannot write into the cache"):
            fetch(f"{web.url}/m/w.npz")

    def test_what_is_no_url_is_refused(self):
        with pytest.raises(TfptError, match="is not a URL"):
            fetch("model.ckpt")


class TestCheckpoints:
    @pytest.fixture
    def mapping(self, tiny, web):
        web.add(tiny.index, tiny.data)
        return published(tiny.mapping, f"{web.url}/m/model.ckpt")

    def test_converting_without_a_checkpoint_fetches_the_published_one(self, tiny, web, mapping, tmp_path):
        done = tfpt.convert(mapping, out=tmp_path / "a.safetensors")
        again = tfpt.convert(mapping, tiny.checkpoint, tmp_path / "b.safetensors")
        assert done.path.read_bytes() == again.path.read_bytes()
        web.log.clear()
        tfpt.convert(mapping, out=tmp_path / "c.safetensors")
        assert web.log == []

    def test_a_plan_fetches_the_index_alone_and_a_conversion_the_rest(self, web, mapping, cache, tmp_path):
        assert tfpt.plan(mapping).ok
        assert parts(cache) == ["model.ckpt.index"]
        tfpt.convert(mapping, out=tmp_path / "a.safetensors")
        assert [asked.path for asked in web.log] == [
            "/m/model.ckpt.index",
            "/m/model.ckpt.data-00000-of-00001",
        ]

    def test_damaged_content_is_refused_by_tensor_and_removed(self, tiny, web, mapping, cache, tmp_path):
        good = web.files["/m/model.ckpt.data-00000-of-00001"]
        web.files["/m/model.ckpt.data-00000-of-00001"] = bytes([good[0] ^ 1]) + good[1:]
        with pytest.raises(SourceError, match=r"tensor 'net/\S+' fail their checksum") as error:
            tfpt.convert(mapping, out=tmp_path / "a.safetensors")
        assert "removed from the cache" in str(error.value)
        assert parts(cache) == []
        assert not (tmp_path / "a.safetensors").exists()
        web.files["/m/model.ckpt.data-00000-of-00001"] = good
        assert tfpt.convert(mapping, out=tmp_path / "a.safetensors").path.exists()

    def test_an_index_that_is_none_is_removed(self, web, mapping, cache):
        web.files["/m/model.ckpt.index"] = b"<html>not found</html>" * 10
        with pytest.raises(SourceError, match="the published index cannot be read"):
            tfpt.plan(mapping)
        assert parts(cache) == []

    def test_a_single_file_without_an_ending_is_tried_after_the_index(self, web):
        web.files["/m/weights"] = b"some file"
        assert Path(fetch(f"{web.url}/m/weights").location).read_bytes() == b"some file"

    def test_the_index_may_be_named(self, tiny, web):
        web.add(tiny.index, tiny.data)
        assert fetch(f"{web.url}/m/model.ckpt.index") == fetch(f"{web.url}/m/model.ckpt.index")
        assert fetch(f"{web.url}/m/model.ckpt.index").location.endswith("/m/model.ckpt")

    def test_what_was_copied_by_hand_is_found_and_not_asked_for(self, tiny):
        url = "https://nowhere.invalid/i3d/model.ckpt"
        root = cache_path(url)
        root.parent.mkdir(parents=True)
        for path in (tiny.index, tiny.data):
            (root.parent / path.name).write_bytes(path.read_bytes())
        assert fetch(url).location == str(root)

    def test_without_a_network_it_says_where_to_put_the_files(self, tiny, cache):
        published(tiny.mapping, "http://127.0.0.1:9/m/model.ckpt")
        with pytest.raises(SourceError, match=r"cannot reach 127\.0\.0\.1:9") as error:
            tfpt.convert(tiny.mapping)
        text = str(error.value)
        assert "from http://127.0.0.1:9/m/model.ckpt" in text
        assert str(cache / "http/127.0.0.1%3A9/m/model.ckpt.index") in text
        assert "--checkpoint" in text

    def test_a_mapping_that_names_none_says_so(self, tiny):
        with pytest.raises(TfptError, match="does not say where its checkpoint was published") as error:
            tfpt.convert(tiny.mapping)
        assert "--checkpoint" in str(error.value)


def zipped(files: dict[str, bytes], mode: int = 0) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return held.getvalue()


def tarred(files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


class TestArchives:
    @pytest.mark.parametrize(("name", "pack"), [("bert.zip", zipped), ("bert.tar.gz", tarred)])
    @pytest.mark.parametrize("inside", ["", "#uncased/model.ckpt"])
    def test_an_archive_is_unpacked_into_the_cache(self, tiny, web, cache, tmp_path, name, pack, inside):
        files = {f"uncased/{path.name}": path.read_bytes() for path in (tiny.index, tiny.data)}
        web.files[f"/{name}"] = pack({**files, "uncased/config.json": b"{}"})
        published(tiny.mapping, f'"{web.url}/{name}{inside}"')
        tfpt.convert(tiny.mapping, out=tmp_path / "a.safetensors")
        tfpt.convert(tiny.mapping, out=tmp_path / "b.safetensors")
        assert len(web.log) == 1
        assert parts(cache) == ["config.json", tiny.data.name, tiny.index.name]

    def test_of_several_checkpoints_one_must_be_named(self, web):
        web.files["/a.zip"] = zipped({"a.index": b"", "b.index": b""})
        with pytest.raises(TfptError, match="several checkpoints"):
            fetch(f"{web.url}/a.zip")
        assert fetch(f"{web.url}/a.zip#b").location.endswith("a.zip.unpacked/b")

    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("a.zip", zipped({"../evil": b"x"}), "leads out"),
            ("a.zip", zipped({"/evil": b"x"}), "leads out"),
            ("a.zip", zipped({"a/../../evil": b"x"}), "leads out"),
            ("a.zip", zipped({"..\\evil": b"x"}), "leads out|cannot be unpacked"),
            ("a.zip", zipped({"link": b"/etc/passwd"}, stat.S_IFLNK | 0o777), "a link"),
            ("a.zip", zipped({"a": b"x", "./a": b"y"}), "twice"),
            ("a.tar.gz", tarred({"../evil": b"x"}), "leads out"),
            ("a.tar.gz", tarred({"link": b""}, tarfile.SYMTYPE), "a link"),
            ("a.tar.gz", tarred({"link": b""}, tarfile.LNKTYPE), "a link"),
            ("a.tar.gz", tarred({"fifo": b""}, tarfile.FIFOTYPE), "a link, a device"),
            ("a.tar.gz", tarred({"a": bytes(10_000)})[:-30], "cannot be unpacked"),
            ("a.zip", b"PK\x03\x04 no more", "no directory"),
        ],
        ids=[
            "up",
            "root",
            "up-later",
            "backslash",
            "link",
            "twice",
            "tar-up",
            "tar-link",
            "hard-link",
            "fifo",
            "cut",
            "no-zip",
        ],
    )
    def test_a_hostile_or_damaged_archive_leaves_nothing(self, web, cache, name, content, why):
        web.files[f"/{name}"] = content
        with pytest.raises(SourceError, match=why):
            fetch(f"{web.url}/{name}")
        assert parts(cache) == [name]

    def test_contents_far_larger_than_the_archive_are_refused(self, web, monkeypatch):
        monkeypatch.setattr(limits, "UNPACKED_FREELY", 0)
        web.files["/a.tar.gz"] = tarred({"a": bytes(5_000_000)})
        with pytest.raises(SourceError, match="times its size"):
            fetch(f"{web.url}/a.tar.gz")


def tfjs(web, folder: str = "/js", name: str = "weights/group1-shard1of2") -> None:
    """A model of TensorFlow.js of two shards, the first below the folder of its JSON."""
    values = np.arange(6, dtype="<f4")
    weights = [{"name": "w", "shape": [2, 3], "dtype": "float32"}]
    group = {"paths": [name, "b c.bin"], "weights": weights}
    web.files[f"{folder}/model.json"] = json.dumps(
        {"format": "layers-model", "weightsManifest": [group]}
    ).encode()
    web.files[f"{folder}/{name}"] = values.tobytes()[:16]
    web.files[f"{folder}/b%20c.bin"] = web.files[f"{folder}/b c.bin"] = values.tobytes()[16:]


def sharded(web, names: tuple[str, str] = ("1.safetensors", "2.safetensors")) -> None:
    """Safetensors in two files and their index."""
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    web.files["/pt/model.safetensors.index.json"] = json.dumps(index).encode()
    for key, name in zip("ab", names, strict=True):
        web.files[f"/pt/{name}"] = save({key: np.full((2, 3), ord(key), np.float32)})


class TestShards:
    def test_a_model_of_tensorflow_js_comes_with_its_shards(self, web, cache):
        tfjs(web)
        fetched = fetch(f"{web.url}/js/model.json")
        assert tfpt.open_source(fetched.location).read("w").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert len(fetched.files) == 3
        assert parts(cache) == ["b c.bin", "group1-shard1of2", "model.json"]
        asked = len(web.log)
        assert fetch(f"{web.url}/js/model.json") == fetched
        assert len(web.log) == asked

    def test_an_index_of_safetensors_comes_with_its_shards(self, web, cache):
        sharded(web)
        source = tfpt.open_source(fetch(f"{web.url}/pt/model.safetensors.index.json").location)
        assert [source.read(name)[0, 0] for name in "ab"] == [97, 98]
        assert parts(cache) == ["1.safetensors", "2.safetensors", "model.safetensors.index.json"]

    def test_a_plan_of_a_json_index_fetches_what_its_reader_needs(self, web):
        sharded(web)
        url = f"{web.url}/pt/model.safetensors.index.json"
        assert set(tfpt.open_source(fetch(url, index_only=True).location).specs) == {"a", "b"}

    def test_a_shard_that_does_not_come_is_fetched_by_the_next_run(self, web, cache):
        tfjs(web)
        missing = web.files.pop("/js/weights/group1-shard1of2")
        url = f"{web.url}/js/model.json"
        with pytest.raises(SourceError, match="no file of this name") as error:
            fetch(url)
        text = str(error.value)
        assert f"{web.url}/js/weights/group1-shard1of2" in text
        assert str(cache_path(url).parent / "weights" / "group1-shard1of2") in text
        assert parts(cache) == ["model.json"]
        web.files["/js/weights/group1-shard1of2"] = missing
        assert len(fetch(url).files) == 3

    @pytest.mark.parametrize(
        "name", ["../evil.safetensors", "/etc/evil", "a/../../evil", "https://host/evil"]
    )
    def test_a_shard_outside_the_folder_is_refused(self, web, cache, name):
        sharded(web, ("1.safetensors", name))
        with pytest.raises(SourceError, match=r"the published index cannot be read: .* outside the folder"):
            fetch(f"{web.url}/pt/model.safetensors.index.json")
        assert parts(cache) == []
        assert [asked.path for asked in web.log] == ["/pt/model.safetensors.index.json"]

    def test_other_json_is_one_file(self, web, cache):
        web.files["/pt/config.json"] = b"{}"
        assert len(fetch(f"{web.url}/pt/config.json").files) == 1

    def test_a_query_is_sent_for_the_shards_too_and_keeps_versions_apart(self, web):
        first, second = (cache_path(f"https://host/js/model.json?v={version}") for version in (1, 2))
        assert first.name == second.name == "model.json"
        assert first.parent != second.parent
        tfjs(web)
        web.files = {f"{path}?v=1": content for path, content in web.files.items()}
        assert tfpt.open_source(fetch(f"{web.url}/js/model.json?v=1").location).read("w").shape == (2, 3)


def test_published_files_on_web_servers_need_no_further_package(web, monkeypatch):
    for name in ("fsspec", "fsspec.core", "aiohttp"):
        monkeypatch.setitem(sys.modules, name, None)
    assert Path(fetch(f"{web.url}/m/w.npz").location).read_bytes() == CONTENT
