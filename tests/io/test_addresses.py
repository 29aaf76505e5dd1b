"""No URL reaches a protocol that runs something or reads this machine, wherever the URL comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.running import refused, run
from tests.serving import serving
from tfpt.errors import MappingError, SourceError
from tfpt.formats import open_source
from tfpt.formats.published import fetch
from tfpt.formats.tensorflow.location import locate
from tfpt.io import stores
from tfpt.io.addresses import PUBLISHED, STORES, refuse_unknown_store
from tfpt.io.locations import inside, is_file
from tfpt.language.loader import load_mapping

FOREIGN = [
    "local:///etc/passwd",
    "LOCAL:///etc/passwd",
    "reference://::https://example.org/r.json",
    "reference://r.json",
    "simplecache::https://example.org/m.npz",
    "https://example.org/a::reference://x",
    "zip://etc/passwd::local:///tmp/a.zip",
    "filecache://x",
    "blockcache://x",
    "dir://x",
    "data://x",
    "git://x",
    "dvc://x",
    "generic://x",
    "jupyter://x",
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFPT_CACHE", str(tmp_path / "cache"))
    stores.forget()


@pytest.mark.parametrize(
    "url", [*FOREIGN, "file:///etc/passwd", "/etc/passwd", "memory://a/b.npz", "sftp://h/b.npz"]
)
def test_a_mapping_names_web_servers_and_buckets_only(url, tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\nsource:\n  url: {json.dumps(url)}\nweights: []\n")
    with pytest.raises(MappingError, match=r"source\.url") as caught:
        load_mapping(path)
    assert str(caught.value.where).endswith("m.yaml:3:8")
    with pytest.raises(SourceError):
        fetch(url)
    assert not (tmp_path / "cache").exists()


def test_a_url_put_together_from_parameters_is_compared_too(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text('version: 1\nparams: {s: "local://"}\nsource: {url: "${s}/etc/passwd"}\nweights: []\n')
    with pytest.raises(MappingError, match="tfpt does not open"):
        load_mapping(path)


def test_a_file_of_this_machine_is_never_copied_into_the_cache(tiny, tmp_path):
    secret = tmp_path / "secret.npz"
    secret.write_bytes(b"secret")
    tiny.rewrite("  scope: net\n", f"  scope: net\n  url: local://{secret}\n")
    message = refused("convert", "--mapping", tiny.mapping, "--out", tmp_path / "a.safetensors")
    assert "tfpt does not open local:// locations" in message
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("url", [url for url in FOREIGN if not url.startswith("simplecache")])
def test_what_a_person_types_reaches_one_store_of_files(url):
    for place in (url, f"{url}/checkpoint"):
        with pytest.raises(SourceError, match=r"does not open|chains stores"):
            is_file(place)
        with pytest.raises(SourceError, match=r"does not open|chains stores"):
            open_source(place)
    assert "next" in refused("inspect", url)


def test_templates_of_references_are_not_rendered(tmp_path):
    """What ran code with fsspec before 2026.6: a template in a file of references on a stranger's server."""
    mark = tmp_path / "mark"
    template = f"{{{{ cycler.__init__.__globals__.os.system('touch {mark}') }}}}"
    gen = [{"key": template, "url": "x", "dimensions": {"i": [0]}}]
    refs = {"version": 1, "templates": {}, "gen": gen, "refs": {}}
    with serving() as server:
        server.files["/r.json"] = json.dumps(refs).encode()
        for url in (f"reference://w.npz::{server.url}/r.json", f"reference://::{server.url}/r.json"):
            path = tmp_path / "m.yaml"
            path.write_text(f"version: 1\nsource: {{url: {json.dumps(url)}}}\nweights: []\n")
            assert run("convert", "--mapping", path, "--out", tmp_path / "a.pth").code == 2
            assert run("inspect", url).code == 2
        assert not server.log
    assert not mark.exists()


def test_every_scheme_that_is_opened_is_one_that_fsspec_knows():
    registry = pytest.importorskip("fsspec.registry")
    assert set(STORES) - set(registry.known_implementations) == {"abfss"}  # adlfs registers it
    for scheme in PUBLISHED:
        refuse_unknown_store(f"{scheme}://host/m.npz", PUBLISHED)


def test_a_name_in_a_file_of_a_store_stays_in_the_store():
    assert inside("https://host/a", "/etc/passwd") == "https://host/a//etc/passwd"
    with serving() as server:
        server.files["/m/checkpoint"] = b'model_checkpoint_path: "/etc/passwd"\n'
        with pytest.raises(SourceError):
            locate(f"{server.url}/m/checkpoint")


@pytest.mark.parametrize(
    "name", ["1::local:///etc/passwd", "_::reference://x", "../w.npz", "/etc/passwd", "file:///x"]
)
def test_an_index_of_shards_names_no_other_store(name):
    index = json.dumps({"weight_map": {"a": name}}).encode()
    with serving() as server:
        server.files["/m/model.safetensors.index.json"] = index
        server.files["/m/model.weights.json"] = index
        for file in ("model.safetensors.index.json", "model.weights.json"):
            with pytest.raises(SourceError):
                open_source(f"{server.url}/m/{file}")
        assert {asked.path for asked in server.log} <= {f"/m/{Path(file).name}" for file in server.files}
