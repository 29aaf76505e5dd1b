"""Inception V1 inflated into I3D: a still picture gives the activations that TensorFlow's Inception V1 gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.mappings import slim

# More frames than the last endpoint sees: its middle frame is free of the padding in time.
FRAMES = 112


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inflated")
    return tfpt.convert("i3d_inflated", slim.write_seeded("inception_v1", folder), folder / "w.safetensors")


def test_a_still_picture_gives_the_activations_of_the_network_for_images(converted, agree):
    model = tfpt.load("i3d_inflated", converted.path)
    pictures = torch.from_numpy(slim.images(64).transpose(0, 3, 1, 2))
    clip = pictures[:, :, None].expand(-1, -1, FRAMES, -1, -1)
    recorded = {name: value for name, value in slim.outputs("inception_v1").items() if name != "logits"}
    assert len(recorded) == 16
    names = {
        name: name.lower().replace("conv2d", "conv3d").replace("maxpool", "maxpool3d") for name in recorded
    }
    with torch.no_grad():
        found = model.endpoints(clip, names.values())
    middle = {name: found[names[name]][:, :, found[names[name]].shape[2] // 2] for name in recorded}
    sampled = {name: slim.sampled(value.permute(0, 2, 3, 1).numpy()) for name, value in middle.items()}
    agree("i3d_inflated", sampled, {name: value.reshape(-1) for name, value in recorded.items()})


def test_kernels_are_repeated_and_divided_by_the_number_of_repeats(converted):
    assert converted.plan.findings == ()
    written = load_file(converted.path)
    weight = written["mixed_5b.branch_2.1.conv3d.weight"]
    assert weight.shape == (128, 32, 3, 3, 3)
    assert (weight == weight[:, :, :1]).all()
    assert (written["mixed_5b.branch_2.1.batch3d.weight"] == 1).all()


def test_averages_slots_and_the_step_are_recognized(tmp_path):
    trained = {
        name: np.zeros(shape, np.float32)
        for name, shape in slim.shapes("inception_v1").items()
        for name in (name, f"{name}/ExponentialMovingAverage", f"{name}/RMSProp", f"{name}/RMSProp_1")
    }
    slim.write_bundle(tmp_path / "model.ckpt", {**trained, "global_step": np.int64(7)}, write_state=False)
    plan = tfpt.plan("i3d_inflated", tmp_path / "model.ckpt")
    assert plan.findings == ()
    assert "InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1/BatchNorm/moving_mean" not in plan.shadows
    assert "InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1/weights" in plan.shadows


def test_another_number_of_classes_is_set(tmp_path):
    tfpt.sample("i3d_inflated", tmp_path / "model.ckpt", settings={"num_classes": 7})
    plan = tfpt.plan("i3d_inflated", tmp_path / "model.ckpt", settings={"num_classes": 7})
    assert plan.findings == ()
    wrong = tfpt.plan("i3d_inflated", tmp_path / "model.ckpt")
    assert {finding.kind for finding in wrong.findings} == {"shape"}
