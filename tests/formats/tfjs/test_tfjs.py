"""TensorFlow.js models are read as tensorflowjs itself reads them.

The files in tests/data/tfjs were written, and the expected arrays computed, by tensorflowjs: see make.py there.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import DATA
from tests.serving import serving
from tfpt import inspect, open_source
from tfpt.formats.tfjs.source import TfjsSource

TFJS = DATA / "tfjs"
FILES = {"layers": "model.json", "quantized": "weights_manifest.json", "graph": "model.json"}
INTEGERS = {
    "wide/kernel": "uint16",
    "wide/bias": "uint16",
    "narrow/kernel": "uint8",
    "narrow/flat": "uint8",
    "narrow/high": "uint8",
}


def expected(name: str) -> dict[str, np.ndarray]:
    with np.load(TFJS / f"{name}.npz") as archive:
        return dict(archive)


def entry_of(name: str, folder: Path = TFJS / "quantized") -> dict:
    groups = json.loads((folder / "weights_manifest.json").read_text())
    return next(weight for group in groups for weight in group["weights"] if weight["name"] == name)


@pytest.mark.parametrize("name", FILES)
def test_weights_are_those_that_tensorflowjs_reads(name: str) -> None:
    source = open_source(TFJS / name / FILES[name], dequantize=True)
    assert source.side == "tf"
    assert not source.skipped
    assert not source.quantized
    wanted = expected(name)
    strings = [key for key, spec in source.specs.items() if spec.dtype == "string"]
    assert [key for key in source.specs if key not in strings] == list(wanted)
    for key, values in wanted.items():
        read = source.read(key)
        assert source.specs[key].shape == read.shape == values.shape
        assert source.specs[key].dtype == read.dtype.name == values.dtype.name
        assert read.tobytes() == values.tobytes()
        assert read.flags.c_contiguous
        assert read.flags.aligned
        assert not read.flags.writeable
        source.release(key)


def test_strings_are_bytes_behind_their_lengths() -> None:
    source = TfjsSource(str(TFJS / "layers" / "model.json"))
    assert source.specs["dense/words"].shape == (2, 2)
    assert source.read("dense/words").tolist() == [[b"relu", b""], ["Grüße".encode(), b"a\0b"]]
    assert source.read("other/no_words").shape == (0,)
    assert source.sizes == {"dense/words": 4 * 4 + 4 + 7 + 3, "other/no_words": 0}


def test_quantized_weights_are_the_stored_integers_unless_asked_for() -> None:
    source = open_source(TFJS / "quantized")
    wanted = expected("quantized")
    assert {name: source.specs[name].dtype for name in source.quantized} == INTEGERS
    for name, how in source.quantized.items():
        entry = entry_of(name)["quantization"]
        assert (how.scheme, how.scales, how.minimums, how.axis) == (
            "minimum",
            (entry["scale"],),
            (entry["min"],),
            None,
        )
        read = source.read(name)
        assert read.dtype.name == INTEGERS[name]
        assert np.array_equal((read * entry["scale"] + entry["min"]).astype(np.float32), wanted[name])
    # float16 is how it is stored, not what it is.
    assert source.specs["half/kernel"].dtype == source.read("half/kernel").dtype.name == "float32"
    assert str(source.quantized["narrow/flat"]) == f"scale 1, minimum {0.3:.6g}"


def test_weights_of_a_few_bytes_lie_in_several_shards() -> None:
    # 7 x 11 float32 are 308 bytes, in shards of 100.
    source = TfjsSource(str(TFJS / "layers" / "model.json"))
    assert source.read("dense/kernel").nbytes > 3 * 100
    assert np.array_equal(source.read("dense/kernel"), expected("layers")["dense/kernel"])


def test_constants_of_a_graph_are_known_as_such() -> None:
    source = open_source(TFJS / "graph")
    assert source.format == "TensorFlow.js graph model"
    assert source.roles == {"net/shape": "constant", "net/factor": "constant"}
    assert list(source.details) == [  # type: ignore[attr-defined]
        "format: graph-model",
        f"generatedBy: {json.loads((TFJS / 'graph/model.json').read_text())['generatedBy']}",
        "convertedBy: TensorFlow.js Converter v4.22.0",
        "input x: float32 [?, 3]",
        "output out: float32",
    ]


def test_a_manifest_alone_says_of_integers_only_that_they_are_constants() -> None:
    assert open_source(TFJS / "quantized").roles == {"whole/ids": "constant"}
    assert not open_source(TFJS / "layers").roles


def test_an_optimizer_that_was_saved_beside_the_model_is_known(tmp_path: Path) -> None:
    # As tfjs-layers' model.save({includeOptimizer: true}) writes it.
    weights = [
        {"name": "dense/kernel", "shape": [2], "dtype": "float32", "group": "model"},
        {"name": "iter", "shape": [], "dtype": "int32", "group": "optimizer"},
        {"name": "dense/kernel_m", "shape": [2], "dtype": "float32", "group": "optimizer"},
    ]
    model = {"modelTopology": {}, "weightsManifest": [{"paths": ["./w.bin"], "weights": weights}]}
    (tmp_path / "model.json").write_text(json.dumps(model))
    (tmp_path / "w.bin").write_bytes(bytes(20))
    assert open_source(tmp_path).roles == {"iter": "counter", "dense/kernel_m": "slot"}


@pytest.mark.parametrize("name", FILES)
def test_a_folder_and_an_archive_with_one_model_are_that_model(name: str, tmp_path: Path) -> None:
    assert open_source(TFJS / name).location == str(TFJS / name / FILES[name])
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        archive.add(TFJS / name, "model")
    packed = open_source(tmp_path / "m.tar.gz", dequantize=True)
    for key, values in expected(name).items():
        assert packed.read(key).tobytes() == values.tobytes()
    packed.close()


def test_a_folder_with_the_graph_of_2018_is_read_by_its_manifest(tmp_path: Path) -> None:
    shutil.copytree(TFJS / "quantized", tmp_path / "m")
    (tmp_path / "m" / "tensorflowjs_model.pb").write_bytes(b"\x0a\x00")
    assert open_source(tmp_path / "m").location.endswith("weights_manifest.json")


def test_keras_own_model_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"class_name": "Sequential", "config": {}}')
    np.savez(tmp_path / "w.npz", w=np.ones(3))
    assert list(open_source(tmp_path).specs) == ["w"]


def test_the_manifest_may_stand_anywhere_in_the_json(tmp_path: Path) -> None:
    shutil.copytree(TFJS / "graph", tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    path.write_text(json.dumps({"unheard of": {}, **json.loads(path.read_text())}, indent=2))
    assert np.array_equal(open_source(path).read("net/w"), expected("graph")["net/w"])


def test_a_server_is_asked_for_the_shards_that_are_needed(tmp_path: Path) -> None:
    size = 70_000
    weights = [{"name": f"w{n}", "shape": [size], "dtype": "float32"} for n in range(4)]
    group = {"paths": [f"s{n}.bin" for n in range(4)], "weights": weights}
    (tmp_path / "model.json").write_text(json.dumps({"format": "x", "weightsManifest": [group]}))
    values = np.random.default_rng(3).normal(size=(4, size)).astype("<f4")
    for n in range(4):
        (tmp_path / f"s{n}.bin").write_bytes(values[n].tobytes())
    with serving() as web:
        web.add(*tmp_path.iterdir())
        source = open_source(f"{web.url}/m/model.json")
        assert not web.gets(".bin")
        assert sum(asked.method == "HEAD" and asked.path.endswith(".bin") for asked in web.log) == 4
        assert len(web.gets("model.json")) <= 2
        assert np.array_equal(source.read("w2"), values[2])
        asked = web.gets(".bin")
        assert {one.path for one in asked} == {"/m/s2.bin"}
        assert sum(one.sent for one in asked) == 4 * size
        local = open_source(tmp_path / "model.json")
        assert source.fingerprint() == local.fingerprint()
        assert list(source.specs.values()) == list(local.specs.values())


def test_the_fingerprint_tells_contents_apart_and_reads_both_ends_of_a_shard(tmp_path: Path) -> None:
    count = 3 << 20
    weights = [{"name": "w", "shape": [count], "dtype": "uint8"}]
    (tmp_path / "model.json").write_text(
        json.dumps({"format": "x", "weightsManifest": [{"paths": ["w"], "weights": weights}]})
    )
    (tmp_path / "w").write_bytes(bytes(count))
    first = open_source(tmp_path / "model.json").fingerprint()
    assert first == open_source(tmp_path / "model.json").fingerprint()
    with serving() as web:
        web.add(*tmp_path.iterdir())
        source = open_source(f"{web.url}/m/model.json")
        assert source.fingerprint() == first
        assert sum(asked.sent for asked in web.gets("/w")) <= 2 * (256 << 10)
    for place in (0, count - 1):
        (tmp_path / "w").write_bytes(bytes(place) + b"\1" + bytes(count - 1 - place))
        assert open_source(tmp_path / "model.json").fingerprint() != first


def test_inspect_shows_scale_and_minimum() -> None:
    seen = inspect(TFJS / "quantized").to_json()
    how = next(tensor["quantized"] for tensor in seen["tensors"] if tensor["name"] == "wide/bias")
    entry = entry_of("wide/bias")["quantization"]
    assert (how["scheme"], how["scales"], how["minimums"]) == ("minimum", [entry["scale"]], [entry["min"]])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_closed_source_has_no_file_open() -> None:
    def held() -> list[str]:
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        return [link for link in links if link.startswith(str(TFJS.resolve()))]

    source = TfjsSource(str(TFJS / "layers" / "model.json"))
    source.read("dense/kernel")
    source.close()
    assert not held()


def test_a_closed_source_is_closed_and_its_arrays_stay() -> None:
    source = TfjsSource(str(TFJS / "graph" / "model.json"))
    values = source.read("net/w")
    source.close()
    assert np.array_equal(values, expected("graph")["net/w"])
    with pytest.raises(Exception, match="the files were closed"):
        source.read("net/w")


def independent(folder: Path, manifest: list) -> dict[str, np.ndarray]:
    """As the format's description says, with numpy alone; in float64 to the end."""
    found = {}
    for group in manifest:
        raw = b"".join((folder / path).read_bytes() for path in group["paths"])
        at = 0
        for weight in group["weights"]:
            how = weight.get("quantization")
            held = np.dtype(how["dtype"] if how else weight["dtype"])
            values = np.frombuffer(raw, held, int(np.prod(weight["shape"])), at)
            at += values.nbytes
            if how:
                values = (values * np.float64(how["scale"]) + np.float64(how["min"])).astype(np.float32)
            found[weight["name"]] = values.reshape(weight["shape"])
        assert at == len(raw)
    return found


@pytest.mark.parametrize("model", ["tfjs-age-gender", "tfjs-graph-age"])
def test_real_models(model: str, shared: Path) -> None:
    folder = shared / "wild" / model
    if not folder.is_dir():
        pytest.skip("needs the recorded files")
    content = json.loads(next(folder.glob("*.json")).read_text())
    wanted = independent(folder, content["weightsManifest"] if isinstance(content, dict) else content)
    source = open_source(folder, dequantize=True)
    assert list(source.specs) == list(wanted)
    for name, values in wanted.items():
        assert np.array_equal(source.read(name), values)
        assert source.read(name).dtype == values.dtype
    stored = open_source(folder)
    assert all(stored.specs[name].dtype == "uint8" for name in stored.quantized)
    assert bool(stored.quantized) == (model == "tfjs-age-gender")
