"""Places: paths and URLs asked in the same words."""

from __future__ import annotations

import os

import pytest

from tests.serving import serving
from tfpt.errors import SourceError
from tfpt.io import stores
from tfpt.io.locations import (
    as_location,
    folder_of,
    inside,
    is_file,
    is_folder,
    is_remote,
    modified,
    name_of,
    names_in,
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    stores.forget()
    monkeypatch.setattr(stores, "DELAYS", (0.01, 0.01))


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.pipe_file("/places/model.ckpt.index", b"index")
    store.pipe_file("/places/sub/a.bin", b"a")
    yield store
    store.rm("/places", recursive=True)


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("models/bert/", "models/bert"),
        ("/", "/"),
        ("", "."),
        ("~", os.path.expanduser("~")),
        ("gs://bucket/bert/", "gs://bucket/bert"),
        ("file:///data/model.ckpt", "/data/model.ckpt"),
        ("file://localhost/data/my%20model/", "/data/my model"),
        ("FILE:///data", "/data"),
    ],
)
def test_a_place_is_text_without_a_slash_at_its_end(given, location):
    assert as_location(given) == location
    assert not is_remote(location) or location.startswith("gs")


def test_a_windows_path_is_no_url():
    assert not is_remote("C:\\models\\model.ckpt")


def test_a_signature_belongs_to_no_name_and_no_folder():
    url = "https://host/a/m.h5?sig=x/y"
    assert (name_of(url), folder_of(url)) == ("m.h5", "https://host/a")
    assert inside("gs://bucket/a", "b") == "gs://bucket/a/b"


def test_files_and_folders_of_a_store(memory):
    assert is_file("memory://places/model.ckpt.index")
    assert not is_file("memory://places")
    assert is_folder("memory://places")
    assert not is_folder("memory://nowhere")
    assert names_in("memory://places") == ["model.ckpt.index", "sub/"]
    assert modified("memory://places/sub/a.bin") > 1e9
    assert modified("memory://places/none") == 0


def test_a_web_server_has_files_and_no_folders():
    pytest.importorskip("aiohttp")
    with serving() as web:
        web.files["/m/a.bin"] = b"0123"
        assert is_file(f"{web.url}/m/a.bin")
        assert not is_file(f"{web.url}/m/b.bin")
        assert not is_folder(f"{web.url}/m")
        with pytest.raises(SourceError, match="does not list"):
            names_in(f"{web.url}/m")


def test_the_same_question_is_asked_once_and_forgotten_soon(monkeypatch):
    pytest.importorskip("aiohttp")
    with serving() as web:
        web.files["/a"] = b"0123"
        assert [is_file(f"{web.url}/a") for _ in range(5)] == [True] * 5
        assert len(web.log) == 1
        monkeypatch.setattr(stores, "_REMEMBERED_FOR", 0.0)
        del web.files["/a"]
        assert not is_file(f"{web.url}/a")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_no_absence(status):
    pytest.importorskip("aiohttp")
    with serving() as web:
        web.statuses["/a"] = status
        with pytest.raises(SourceError, match="denies access") as error:
            is_file(f"{web.url}/a")
        assert "credentials" in str(error.value)


def test_a_server_that_is_not_there_is_named():
    pytest.importorskip("aiohttp")
    with pytest.raises(SourceError, match=r"cannot reach 127\.0\.0\.1:9") as error:
        is_file("http://127.0.0.1:9/a?signature=secret")
    assert "secret" not in str(error.value)


def test_a_name_that_does_not_resolve_is_not_asked_for_again(monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(stores, "DELAYS", (60.0,))
    with pytest.raises(SourceError, match=r"cannot reach no-such-host\.invalid"):
        is_file("http://no-such-host.invalid/a")


def test_an_unknown_scheme_is_said():
    pytest.importorskip("fsspec")
    with pytest.raises(SourceError, match="tfpt does not open nonsense:// locations"):
        is_file("nonsense://bucket/a")


def test_a_client_that_is_not_installed_is_named(monkeypatch):
    pytest.importorskip("fsspec")
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(SourceError, match="a client that is not installed") as error:
        is_file("s3://bucket/a")
    assert 'pip install "tfpt[remote]" s3fs' in str(error.value)


def test_without_fsspec_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(SourceError, match="fsspec") as error:
        is_file("gs://bucket/a")
    assert 'pip install "tfpt[remote]"' in str(error.value)
