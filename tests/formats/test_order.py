"""The order in which tensors were created, as TensorFlow, Keras and numpy leave it in their files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.commands.running import refused, run
from tests.conftest import DATA
from tfpt.formats import open_source
from tfpt.formats.joined import Joined

CREATED = ["zeta", "beta", "net/w", "alpha", "mid"]


@pytest.fixture(scope="module", name="tf")
def tf_fixture():
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module", name="keras_files")
def keras_files_fixture(tf, tmp_path_factory) -> SimpleNamespace:
    keras = tf.keras
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="zed"),
            keras.layers.Dense(5, name="abe"),
            keras.layers.BatchNormalization(name="mid"),
        ]
    )
    folder = tmp_path_factory.mktemp("keras")
    for name in ("m.keras", "m.h5"):
        model.save(folder / name)
    model.save_weights(folder / "m.weights.h5")
    tf.train.Checkpoint(model=model).write(str(folder / "ckpt"))
    model.export(str(folder / "exported"))
    paths = [variable.path for variable in model.layers[0].weights + model.layers[1].weights]
    paths += [variable.path for variable in model.layers[2].weights]
    return SimpleNamespace(
        folder=folder, shapes=[tuple(each.shape) for layer in model.layers for each in layer.weights]
    )


def saved(tf, prefix: str, **options: object) -> None:
    """A checkpoint of `tf.compat.v1.train.Saver`, whose variables were created in the order of `CREATED`."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        for number, name in enumerate(CREATED):
            v1.get_variable(name, [number + 2])
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver(**options).save(session, prefix)


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_has_the_order_of_the_graph_beside_it(tf, tmp_path, version):
    prefix = str(tmp_path / "m")
    saved(tf, prefix, write_version=version)
    source = open_source(prefix)
    assert list(source.specs) == sorted(CREATED)
    assert list(source.order) == CREATED
    Path(f"{prefix}.meta").unlink()
    assert open_source(prefix).order is None  # the saver sorts the data by name


def test_a_damaged_graph_is_no_obstacle(tf, tmp_path):
    prefix = str(tmp_path / "m")
    saved(tf, prefix)
    meta = Path(f"{prefix}.meta")
    meta.write_bytes(meta.read_bytes()[:-40])
    source = open_source(prefix)
    assert source.order is None or sorted(source.order) == sorted(CREATED)


def test_the_pieces_of_a_partitioned_variable_are_one(tf, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        v1.get_variable("z", [2])
        v1.get_variable("parted", [6, 2], partitioner=v1.fixed_size_partitioner(3))
        v1.get_variable("a", [3])
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(tmp_path / "m"))
    assert list(open_source(tmp_path / "m").order) == ["z", "parted", "a"]


def test_an_object_based_checkpoint_has_the_order_of_the_objects(tf, tmp_path):
    module = tf.Module()
    for number, name in enumerate(("zeta", "beta", "alpha")):
        setattr(module, name, tf.Variable(np.zeros(number + 2, np.float32), name=name))
    tf.train.Checkpoint(model=module).write(str(tmp_path / "m"))
    tf.saved_model.save(module, str(tmp_path / "saved"))
    for path in (tmp_path / "m", tmp_path / "saved"):
        order = [name for name in open_source(path).order if "OBJECT_GRAPH" not in name]
        assert order == ["zeta", "beta", "alpha"]


def test_a_saved_model_of_tensorflow_1_has_the_order_of_its_graph(tf, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        total = sum(v1.get_variable(name, [3]) for name in CREATED)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": total}, {"y": total})
    assert list(open_source(tmp_path / "m").order) == CREATED


@pytest.mark.parametrize("file", ["m.keras", "m.h5", "ckpt", "exported"])
def test_files_of_keras_have_the_order_of_the_layers(keras_files, file):
    source = open_source(keras_files.folder / file)
    roles = source.roles
    shapes = [source.specs[name].shape for name in source.order if name not in roles]
    assert shapes == keras_files.shapes


def test_weights_of_keras_3_alone_are_by_name(keras_files):
    assert open_source(keras_files.folder / "m.weights.h5").order is None


def test_an_npz_has_the_order_of_its_members(tmp_path):
    np.savez(tmp_path / "w.npz", zed=np.zeros(2), abe=np.zeros(3))
    assert open_source(tmp_path / "w.npz").order == ("zed", "abe")
    np.savez(tmp_path / "s.npz", abe=np.zeros(2), zed=np.zeros(3))
    assert open_source(tmp_path / "s.npz").order is None


def test_a_lite_model_has_the_order_of_its_operators(tf, tmp_path):
    keras = tf.keras
    x = given = keras.Input((8, 8, 3))
    for name, channels in (("zed", 5), ("abe", 7), ("mid", 11), ("kilo", 13)):
        x = keras.layers.Conv2D(channels, 2, activation="relu", use_bias=False, name=name)(x)
    path = tmp_path / "m.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(given, x)).convert())
    source = open_source(path)
    kernels = [source.specs[name].shape[0] for name in source.order if len(source.specs[name].shape) == 4]
    assert kernels == [5, 7, 11, 13]
    assert sorted(source.order) == sorted(source.specs)


def test_a_frozen_graph_has_the_order_of_its_nodes(tf, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        y = v1.placeholder(tf.float32, [1, 8], "x")
        for name, width in (("zed", 5), ("abe", 7), ("mid", 11)):
            y = v1.nn.relu(y @ v1.get_variable(name, [y.shape[1], width]))
        y = tf.identity(y, "y")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            graph = v1.get_default_graph().as_graph_def()
            frozen = v1.graph_util.convert_variables_to_constants(session, graph, ["y"])
    (tmp_path / "m.pb").write_bytes(frozen.SerializeToString())
    assert list(open_source(tmp_path / "m.pb").order) == ["zed", "abe", "mid"]


def test_a_model_for_the_web_has_the_order_of_its_manifest():
    folder = DATA / "tfjs/layers"
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    listed = [weight["name"] for group in manifest for weight in group["weights"]]
    source = open_source(folder)
    assert list(source.order) == [name for name in listed if name in source.specs]


def test_a_state_dict_has_its_own_order(tmp_path):
    state = {"z": torch.zeros(2), "a": torch.zeros(3)}
    torch.save(state, tmp_path / "w.pth")
    assert list(open_source(tmp_path / "w.pth").order) == ["z", "a"]
    save_file({name: value.numpy() for name, value in state.items()}, tmp_path / "w.safetensors")
    assert open_source(tmp_path / "w.safetensors").order is None


def test_renamed_and_joined_sources_keep_it(keras_files, tmp_path):
    renamed = open_source(keras_files.folder / "m.keras", names="keras")
    assert list(renamed.order)[:2] == ["zed/kernel", "zed/bias"]
    np.savez(tmp_path / "w.npz", zed=np.zeros(2), abe=np.zeros(3))
    joined = Joined({"one": open_source(tmp_path / "w.npz"), "other": renamed})
    assert list(joined.order)[:3] == ["one:zed", "one:abe", "other:zed/kernel"]


def test_inspect_lists_tensors_in_the_order_of_the_file(tmp_path):
    np.savez(tmp_path / "w.npz", **{"zed/w": np.zeros(2), "abe/w": np.zeros(3), "zed/v": np.zeros(5)})
    found = run("inspect", "--order", "file", tmp_path / "w.npz")
    tree = [line.split("  [")[0].rstrip() for line in found.out.splitlines()[1:-2]]
    assert tree == ["zed", "  w", "abe", "  w", "zed", "  v"]
    names = [
        tensor["name"]
        for tensor in run("inspect", "--order", "file", "--json", tmp_path / "w.npz").json["tensors"]
    ]
    assert names == ["zed/w", "abe/w", "zed/v"]


def test_without_an_order_inspect_says_so(tf, tmp_path):
    saved(tf, str(tmp_path / "m"))
    (tmp_path / "m.meta").unlink()
    message = refused("inspect", "--order", "file", tmp_path / "m")
    assert message.startswith("error: the file does not keep the order in which its tensors were created")
    assert "put it beside it" in message
