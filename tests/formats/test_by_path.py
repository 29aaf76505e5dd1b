"""Tensors under the names of their storage, and mappings that use them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import tfpt


def test_bert_of_objects_has_the_paths_of_the_official_conversion(shared):
    folder = shared / "gold/converters/bert_tf2"
    with open(folder / "trace.tsv") as file:
        used = {
            row["tf_name"].removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
            for row in csv.DictReader(file, delimiter="\t")
        }
    source = tfpt.open_source(folder / "tf", names="path")
    assert used <= set(source.specs)
    readable = tfpt.open_source(folder / "tf")
    assert len(source.specs) == len(readable.specs)
    for path in used:
        raw = f"{path}/.ATTRIBUTES/VARIABLE_VALUE"
        assert source.read(path).tobytes() == readable.read(raw).tobytes()
        assert source.specs[path].shape == readable.specs[readable.aliases[raw]].shape


def test_a_mapping_by_paths_and_roles_translates_a_checkpoint_of_objects(tmp_path):
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.net = tf.Module()
    module.net.kernel = tf.Variable(np.arange(15, dtype=np.float32).reshape(3, 5), name="dense_7/kernel")
    tf.train.Checkpoint(model=module).save(str(tmp_path / "ckpt"))
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "version: 1\n"
        "source:\n"
        "  names: path\n"
        "  ignore: [{role: record, why: description}, {role: counter, why: saves}]\n"
        'weights: [{tf: model/net/kernel, pt: weight, layout: "i o -> o i"}]\n'
    )
    (tmp_path / "m.manifest.json").write_text('{"weight": {"dtype": "float32", "shape": [5, 3]}}')
    done = tfpt.convert(mapping, tmp_path, tmp_path / "w.safetensors")
    assert done.plan.ignored_by_reason == {"description": 1, "saves": 1}
    written = tfpt.open_source(tmp_path / "w.safetensors").read("weight")
    assert np.array_equal(written, np.arange(15, dtype=np.float32).reshape(3, 5).T)


def test_a_source_with_one_name_for_each_tensor_keeps_its_names(tmp_path):
    tfpt.sample("i3d_flow", tmp_path / "m")
    plain, by_path = tfpt.open_source(tmp_path / "m"), tfpt.open_source(tmp_path / "m", names="path")
    assert list(by_path.specs) == list(plain.specs)
    name = next(iter(plain.specs))
    assert np.array_equal(by_path.read(name), plain.read(name))
    assert by_path.fingerprint() == plain.fingerprint()


def test_a_keras_archive_has_the_paths_of_its_weights_file(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, name="mine")])
    model.save(tmp_path / "m.keras")
    assert set(tfpt.open_source(tmp_path / "m.keras").specs) >= {weight.path for weight in model.weights}
    source = tfpt.open_source(tmp_path / "m.keras", names="path")
    assert set(source.specs) >= {"layers/dense/vars/0", "layers/dense/vars/1"}
    assert np.array_equal(source.read("layers/dense/vars/0"), model.layers[0].kernel.numpy())
