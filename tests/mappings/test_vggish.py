"""VGGish: PyTorch computes what TensorFlow computes, from a V1 checkpoint as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tfpt
from tests.mappings.keras_networks import assert_close

# Convolutions and their channels, in those of the first one; None is a pool.
LAYERS = [
    *(("conv1", 1), None, ("conv2", 2), None, ("conv3/conv3_1", 4), ("conv3/conv3_2", 4), None),
    *(("conv4/conv4_1", 8), ("conv4/conv4_2", 8), None),
]
SIZES = {"width": 3, "hidden": 7, "size": 5}


def variables(width: int, hidden: int, size: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {}
    before = 1
    for layer in LAYERS:
        if layer:
            shapes[layer[0]] = (3, 3, before, width * layer[1])
            before = width * layer[1]
    shapes["fc1/fc1_1"] = (6 * 4 * before, hidden)
    shapes["fc1/fc1_2"] = (hidden, hidden)
    shapes["fc2"] = (hidden, size)
    values = {}
    for name, shape in shapes.items():
        values[f"vggish/{name}/weights"] = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        values[f"vggish/{name}/biases"] = random.normal(size=shape[-1])
    return {name: value.astype(np.float32) for name, value in values.items()}


def saved(values: dict[str, np.ndarray], folder: Path) -> Path:
    """Written by TensorFlow in the format of the published file, version 1."""
    tf = pytest.importorskip("tensorflow")
    folder.mkdir(exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        held = [tf.compat.v1.Variable(value, name=name, use_resource=False) for name, value in values.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(held, write_version=tf.compat.v1.train.SaverDef.V1)
        saver.save(session, str(folder / "vggish_model.ckpt"), write_meta_graph=False)
    return folder / "vggish_model.ckpt"


def by_tensorflow(values: dict[str, np.ndarray], patches: np.ndarray) -> np.ndarray:
    """What the graph of vggish_slim.py computes."""
    import tensorflow as tf

    x = tf.constant(patches)[..., None]
    for layer in LAYERS:
        if layer is None:
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        else:
            scope = f"vggish/{layer[0]}"
            x = tf.nn.relu(tf.nn.conv2d(x, values[f"{scope}/weights"], 1, "SAME") + values[f"{scope}/biases"])
    x = tf.reshape(x, (len(patches), -1))
    for name in ("fc1/fc1_1", "fc1/fc1_2"):
        x = tf.nn.relu(x @ values[f"vggish/{name}/weights"] + values[f"vggish/{name}/biases"])
    return (x @ values["vggish/fc2/weights"] + values["vggish/fc2/biases"]).numpy()


@pytest.mark.parametrize("sizes", [SIZES, {"width": 8, "hidden": 31, "size": 128}])
def test_computes_what_tensorflow_computes(sizes, tmp_path, agree):
    values = variables(**sizes)
    done = tfpt.convert("vggish", saved(values, tmp_path), tmp_path / "w.safetensors", settings=sizes)
    assert done.plan.findings == ()
    patches = np.random.default_rng(3).normal(size=(3, 96, 64)).astype(np.float32)
    with torch.no_grad():
        found = tfpt.load("vggish", done.path, settings=sizes)(torch.from_numpy(patches))
    expected = by_tensorflow(values, patches)
    assert_close(found, expected)
    agree("vggish", found.numpy(), expected)


def test_what_training_adds_is_ignored_and_a_classifier_is_found(tmp_path):
    values = variables(**SIZES)
    trained = {**values, "vggish/conv1/weights/Adam": values["vggish/conv1/weights"]}
    plan = tfpt.plan("vggish", saved({**trained, "global_step": np.int64(3)}, tmp_path / "a"), settings=SIZES)
    assert plan.findings == ()
    assert set(plan.ignored_by_reason) == {"optimizer slot", "training step"}
    classified = {**values, "mymodel/fc1/weights": np.zeros((5, 3), np.float32)}
    plan = tfpt.plan("vggish", saved(classified, tmp_path / "b"), settings=SIZES)
    assert {finding.kind for finding in plan.findings} == {"unused"}


def test_missing_variables_and_other_sizes_are_found(tmp_path):
    values = variables(**SIZES)
    part = {name: value for name, value in values.items() if name != "vggish/conv3/conv3_2/biases"}
    plan = tfpt.plan("vggish", saved(part, tmp_path), settings=SIZES)
    assert plan.findings
    assert {finding.kind for finding in plan.findings} <= {"absent", "missing"}
    plan = tfpt.plan("vggish", saved(values, tmp_path / "a"), settings={**SIZES, "size": 128})
    assert {finding.kind for finding in plan.findings} == {"shape"}


def test_a_sample_of_another_size_fits(tmp_path):
    tfpt.sample("vggish", tmp_path / "model.ckpt", settings=SIZES)
    assert tfpt.plan("vggish", tmp_path / "model.ckpt", settings=SIZES).findings == ()
