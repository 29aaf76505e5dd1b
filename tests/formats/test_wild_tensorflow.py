"""Real files of TensorFlow's formats that were refused or misread once, each read, or refused with the reason."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tfpt.errors import SourceError
from tfpt.formats.roles import roles_of


def place(shared: Path, *names: str) -> Path:
    found = shared.joinpath("wild", *names)
    if not found.exists():
        pytest.skip(f"there is no {found}")
    return found


def test_a_module_of_hubs_first_format_is_read(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(place(shared, "hub1-half-plus-two", "half_plus_two_v1.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (model,) = {path.parent for path in tmp_path.rglob("saved_model.pb")}
    for named in (model, model / "saved_model.pb", model / "tfhub_module.pb"):
        source = tfpt.open_source(named)
        assert source.format == "TensorFlow Hub module (TF1)"
        assert {name: float(source.read(name).reshape(())) for name in source.specs} == {"a": 0.5, "b": 2.0}
    tf = pytest.importorskip("tensorflow")
    reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
    assert reader.get_tensor("a") == source.read("a")


def test_a_model_whose_scales_do_not_fit_is_read_as_integers(shared: Path) -> None:
    path = place(shared, "lit-person-detect", "person_detect.tflite")
    source = tfpt.open_source(path)
    assert len(source.specs) == 57
    bad = [name for name, how in source.quantized.items() if "do not fit" in str(how)]
    assert bad
    assert all(source.read(name).shape == spec.shape for name, spec in source.specs.items())
    real = tfpt.open_source(path, dequantize=True)
    for name in source.specs:
        if name in bad:
            with pytest.raises(SourceError, match="scales do not fit"):
                real.read(name)
        elif name in source.quantized:
            assert real.read(name).dtype == np.float32


def test_what_sonnets_averages_keep_is_no_weight(shared: Path) -> None:
    for names in ("readable", "path"):
        source = tfpt.open_source(place(shared, "obj-sonnet-vqvae"), names=names)
        roles = roles_of(source)
        kinds = {
            name.rpartition("/")[2].lstrip("_"): roles.get(name) for name in source.specs if "ema_" in name
        }
        assert kinds == {"counter": "counter", "hidden": "average", "average": None}
        assert sorted(name.rpartition("/")[2] for name in source.specs if name not in roles) == [
            "average",
            "average",
            "embeddings",
        ]


def test_a_graph_of_tensorflow_js_without_its_values_is_refused(shared: Path) -> None:
    path = place(shared, "tfjs-emoji-stripped", "tensorflowjs_model.pb")
    with pytest.raises(SourceError, match="values of this graph's constants are in other files") as caught:
        tfpt.open_source(path)
    assert "weights_manifest.json" in str(caught.value.hint)
