"""What opening, inspecting and converting cost over HTTP: requests and bytes, by format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tfpt
from tests.commands.running import refused
from tests.serving import Answer, Web, serving
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.io import stores
from tfpt.io.remote import BLOCK

pytest.importorskip("aiohttp")

# Eight layers: a kernel of 1 MB, and three vectors of some 2 KB beside it.
KERNEL, VECTOR = (263, 997), (509,)


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    found = {}
    for i in range(8):
        found[f"l{i}.kernel"] = random.normal(size=KERNEL).astype(np.float32)
        found |= {f"l{i}.v{j}": random.normal(size=VECTOR).astype(np.float32) for j in range(3)}
    return found


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    stores.forget()
    monkeypatch.setattr(stores, "DELAYS", (0.01, 0.01, 0.01))


@pytest.fixture
def web(tmp_path):
    with serving() as server:
        save_file(arrays(), tmp_path / "w.safetensors")
        np.savez(tmp_path / "w.npz", **arrays())
        write_bundle(tmp_path / "w.ckpt", arrays())
        server.add(*tmp_path.iterdir())
        yield server


def cost(web: Web) -> tuple[int, int]:
    return len(web.log), sum(asked.sent for asked in web.gets())


def renaming(folder: Path) -> Path:
    """A mapping that takes every tensor as it is, under another name."""
    mapping = folder / "m.yaml"
    mapping.write_text('version: 1\nweights: [{tf: "l{i}.{x}", pt: "m{i}.{x}"}]\n')
    shapes = {
        key.replace("l", "m", 1): {"dtype": "float32", "shape": value.shape}
        for key, value in arrays().items()
    }
    (folder / "m.manifest.json").write_text(json.dumps(shapes))
    return mapping


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".ckpt"])
def test_inspecting_reads_a_small_part(web, ending):
    found = tfpt.inspect(f"{web.url}/m/w{ending}")
    assert {key: spec.shape for key, spec in found.specs.items()} == {
        key: value.shape for key, value in arrays().items()
    }
    requests, read = cost(web)
    size = sum(array.nbytes for array in arrays().values())
    # Two places for each layer: within the kernel, and the vectors beside it.
    assert requests <= 2 * 8 + 4
    assert read <= 8 * 2 * BLOCK < size / 7


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".ckpt"])
def test_a_fingerprint_is_that_of_the_local_file(web, tmp_path, ending):
    remote = tfpt.inspect(f"{web.url}/m/w{ending}").fingerprint
    assert remote == tfpt.inspect(tmp_path / f"w{ending}").fingerprint


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".ckpt"])
def test_converting_reads_the_file_once(web, tmp_path, ending):
    mapping = renaming(tmp_path)
    out = tmp_path / "out.safetensors"
    tfpt.convert(mapping, f"{web.url}/m/w{ending}", out)
    expected = arrays()
    for key, value in load_file(out).items():
        np.testing.assert_array_equal(value, expected[key.replace("m", "l", 1)])
    requests, read = cost(web)
    size = sum(array.nbytes for array in expected.values())
    assert read <= 1.1 * size
    assert requests <= 16 + size / BLOCK / 4


def test_many_small_tensors_come_together(web, tmp_path):
    many = {f"t{i:05}": np.full(251, i, np.float32) for i in range(3000)}
    save_file(many, tmp_path / "many.safetensors")
    web.add(tmp_path / "many.safetensors")
    source = tfpt.open_source(f"{web.url}/m/many.safetensors")
    source.fingerprint()
    for key, value in many.items():
        np.testing.assert_array_equal(source.read(key), value)
        source.release(key)
    requests, read = cost(web)
    size = (tmp_path / "many.safetensors").stat().st_size
    assert requests <= 8
    assert read <= 1.1 * size


def test_reading_many_small_tensors_without_a_fingerprint_grows_the_requests(web, tmp_path):
    many = {f"t{i:05}": np.full(251, i, np.float32) for i in range(3000)}
    write_bundle(tmp_path / "many.ckpt", many)
    web.add(*tmp_path.glob("many.ckpt*"))
    source = tfpt.open_source(f"{web.url}/m/many.ckpt")
    for key, value in many.items():
        np.testing.assert_array_equal(source.read(key), value)
    data = web.gets(".data-00000-of-00001")
    assert len(data) <= 7
    assert sum(asked.sent for asked in data) == 3000 * 251 * 4


def test_a_replaced_file_ends_a_conversion_with_nothing_written(web, tmp_path):
    mapping = renaming(tmp_path)
    whole = web.files["/m/w.safetensors"]

    def replaced(content: bytes):
        web.files["/m/w.safetensors"] = whole[:-1] + b"\7"
        return [content]

    web.faults = [Answer(body=replaced)]
    out = tmp_path / "out.safetensors"
    words = ("--mapping", mapping, "--checkpoint", f"{web.url}/m/w.safetensors", "--out", out)
    assert "the file was replaced while it was being read" in refused("convert", *words)
    assert not list(tmp_path.glob("*out.safetensors*"))
