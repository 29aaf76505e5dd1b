"""Sources of several files name all of them: an output must not replace one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tfpt
from tfpt.errors import SinkError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats import open_source

DATA = Path(__file__).parents[1] / "data"
ARRAYS = {"a": np.ones((2, 3), np.float32), "b": np.ones(5, np.float32)}


def named(path: Path) -> set[str]:
    source = open_source(path)
    found = {Path(file).name for file in source.files}
    source.close()
    return found


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    for number, name in enumerate(ARRAYS):
        save_file({name: ARRAYS[name]}, tmp_path / f"{number}.safetensors")
    table = {name: f"{number}.safetensors" for number, name in enumerate(ARRAYS)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": table}))
    return index


def test_shards_of_pytorch(sharded: Path) -> None:
    assert named(sharded) == {"0.safetensors", "1.safetensors", sharded.name}


def test_data_files_of_a_checkpoint(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", ARRAYS, num_shards=2)
    written = {path.name for path in tmp_path.iterdir()}
    assert named(tmp_path / "m") == written - {"checkpoint"}  # which only a folder needs


@pytest.mark.parametrize("name", ["layers", "graph", "quantized"])
def test_shards_of_tensorflow_js(name: str) -> None:
    assert named(DATA / "tfjs" / name) == {path.name for path in (DATA / "tfjs" / name).iterdir()}


def test_a_saved_model_and_its_variables(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.w = tf.Variable([1.0, 2.0])
    tf.saved_model.save(module, str(tmp_path))
    assert named(tmp_path) == {"saved_model.pb", "variables.index", "variables.data-00000-of-00001"}


@pytest.mark.parametrize("out", ["0.safetensors", "1.safetensors"])
def test_a_shard_of_the_input_is_not_replaced(sharded: Path, out: str) -> None:
    folder = sharded.parent
    mapping = folder / "m.yaml"
    mapping.write_text("version: 1\nweights: [{tf: a, pt: a}, {tf: b, pt: b}]\n")
    manifest = {name: {"dtype": "float32", "shape": list(array.shape)} for name, array in ARRAYS.items()}
    (folder / "m.manifest.json").write_text(json.dumps(manifest))
    before = (folder / out).read_bytes()
    with pytest.raises(SinkError, match="would replace one of its inputs"):
        tfpt.convert(mapping, sharded, folder / out, overwrite=True)
    assert (folder / out).read_bytes() == before
