"""Keras 3's weights, in one file and in several."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tests.formats.keras.building import assert_same, datasets_in, weights_of
from tfpt.errors import SourceError


@pytest.mark.parametrize("name", ["plain", "bfloat16"])
def test_weights_have_the_paths_of_datasets_as_names(model, name, tmp_path: Path) -> None:
    built = model(name)
    built.save_weights(tmp_path / "m.weights.h5")
    source = tfpt.open_source(tmp_path / "m.weights.h5")
    expected = datasets_in(tmp_path / "m.weights.h5")
    assert set(source.specs) == set(expected)
    for path, value in expected.items():
        assert_same(source.read(path), value)
    # Keras' own word for the dtypes: h5py calls bfloat16 a void of two bytes.
    assert sorted(s.dtype for s in source.specs.values()) == sorted(
        a.dtype.name for a in weights_of(built).values()
    )


def test_the_state_of_training_has_roles(trained, tmp_path: Path) -> None:
    trained.save_weights(tmp_path / "m.weights.h5")
    source = tfpt.open_source(tmp_path / "m.weights.h5")
    assert [name for name in source.specs if source.roles.get(name) == "counter"] == ["optimizer/vars/0"]
    assert sum(name not in source.roles for name in source.specs) == len(trained.weights)


def test_values_outlive_the_source(model, tmp_path: Path) -> None:
    model("plain").save_weights(tmp_path / "m.weights.h5")
    source = tfpt.open_source(tmp_path / "m.weights.h5")
    first = source.read("layers/dense/vars/0")
    source.release("layers/dense/vars/0")
    before = first.copy()
    source.close()
    assert (first == before).all()
    with pytest.raises(SourceError, match="was closed"):
        source.read("layers/dense/vars/0")


@pytest.fixture
def shards(trained, tmp_path: Path) -> Path:
    trained.save_weights(tmp_path / "m.weights.json", max_shard_size=200 / 1024**3)
    assert len(list(tmp_path.glob("*.weights.h5"))) > 2
    return tmp_path / "m.weights.json"


def test_shards_hold_together_what_one_file_does(shards: Path, trained) -> None:
    trained.save_weights(shards.parent / "whole.weights.h5")
    whole, source = (tfpt.open_source(p) for p in (shards.parent / "whole.weights.h5", shards))
    assert source.format == "Keras 3 weights in shards"
    assert {s.name: s for s in source.specs.values()} == dict(whole.specs)
    assert source.roles == whole.roles
    for name in whole.specs:
        assert_same(source.read(name), whole.read(name))
    source.close()


def test_a_missing_shard_is_named(shards: Path) -> None:
    missing = sorted(shards.parent.glob("*_00002.weights.h5"))[0]
    missing.unlink()
    with pytest.raises(SourceError, match="missing") as caught:
        tfpt.open_source(shards)
    assert caught.value.where == str(missing)


@pytest.mark.parametrize(
    "name", ["../m_00000.weights.h5", "/etc/x.weights.h5", "a\\b.h5", "", "..", "s3:x.h5", None, 5, ["a"]]
)
def test_an_index_that_leads_elsewhere_is_refused(shards: Path, name: object) -> None:
    content = json.loads(shards.read_text())
    content["weight_map"]["/more/vars"] = [name]
    shards.write_text(json.dumps(content))
    with pytest.raises(SourceError, match="outside its folder"):
        tfpt.open_source(shards)


def test_an_index_of_nothing_in_place_of_a_file_is_refused(shards: Path) -> None:
    content = json.loads(shards.read_text())
    content["weight_map"]["/more/vars"] = None
    shards.write_text(json.dumps(content))
    with pytest.raises(SourceError, match="outside its folder") as caught:
        tfpt.open_source(shards)
    assert caught.value.got == "None"


def test_a_variable_in_two_shards_is_refused(shards: Path) -> None:
    (shards.parent / "copy.weights.h5").write_bytes((shards.parent / "m_00000.weights.h5").read_bytes())
    content = json.loads(shards.read_text())
    content["weight_map"]["/more/vars"] = "copy.weights.h5"
    shards.write_text(json.dumps(content))
    with pytest.raises(SourceError, match="same variable"):
        tfpt.open_source(shards)


def test_several_threads_read_at_once(model, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for number in range(20):
            values = np.full((50, 50), number, np.float32)
            file.create_dataset(
                f"layers/dense_{number}/vars/0", data=values, chunks=(10, 50), compression="gzip"
            )
    source = tfpt.open_source(tmp_path / "m.weights.h5")
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(source.read, list(source.specs) * 5))
    assert all(
        (a == int(n.split("/")[1][6:])).all() for a, n in zip(read, list(source.specs) * 5, strict=True)
    )


def test_the_fingerprint_changes_with_the_values(model, tmp_path: Path) -> None:
    import h5py

    prints = []
    for number in (1, 1, 2):
        with h5py.File(tmp_path / f"{len(prints)}.h5", "w") as file:
            file.create_dataset("a/vars/0", data=np.full((30, 7), number, np.float32), compression="gzip")
        prints.append(tfpt.open_source(tmp_path / f"{len(prints)}.h5").fingerprint())
    assert prints[0] == prints[1] != prints[2]
