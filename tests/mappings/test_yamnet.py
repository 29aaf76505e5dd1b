"""YAMNet: PyTorch computes what Keras computes, with the names of the published file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.mappings.keras_networks import assert_close, randomized

# Of layers 2 to 14: channels and stride.
LAYERS = [
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1)),
    *((512, 1), (512, 1), (1024, 2), (1024, 1)),
]


def network(frames: int = 96, bands: int = 64, classes: int = 521) -> Any:
    """The layers of yamnet.py after the spectrogram: scores and embeddings. Keras 3 has no slash in names of layers."""
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()

    def unit(x: Any, name: str, layer: Any) -> Any:
        x = keras.layers.BatchNormalization(scale=False, epsilon=1e-4, name=f"{name}.bn")(layer(x))
        return keras.layers.ReLU()(x)

    inputs = keras.Input((frames, bands))
    options = {"use_bias": False, "padding": "same"}
    x = keras.layers.Reshape((frames, bands, 1))(inputs)
    x = unit(x, "layer1.conv", keras.layers.Conv2D(32, 3, strides=2, name="layer1.conv", **options))
    for number, (channels, stride) in enumerate(LAYERS, 2):
        name = f"layer{number}.depthwise_conv"
        x = unit(x, name, keras.layers.DepthwiseConv2D(3, strides=stride, name=name, **options))
        name = f"layer{number}.pointwise_conv"
        x = unit(x, name, keras.layers.Conv2D(channels, 1, name=name, **options))
    embeddings = keras.layers.GlobalAveragePooling2D()(x)
    scores = keras.layers.Dense(classes, activation="sigmoid", name="logits")(embeddings)
    return randomized(keras.Model(inputs, [scores, embeddings]))


def saved(model: Any, folder: Path, dense: str = "logits", without: str = "", extra: str = "") -> Path:
    """The file as published: the group `layer1/conv/bn` has the weight `layer1/conv/bn/beta:0`."""
    weights: dict[str, dict[str, Any]] = {}
    for weight in model.weights:
        *_, layer, kind = weight.path.split("/")
        layer = dense if layer == "logits" else layer.replace(".", "/")
        kind = "depthwise_kernel" if layer.endswith("depthwise_conv") else kind
        if f"{layer}/{kind}" != without:
            weights.setdefault(layer, {})[f"{layer}/{kind}:0"] = np.asarray(weight)
    if extra:
        weights[extra] = {f"{extra}/kernel:0": np.zeros((3, 5), np.float32)}
    with h5py.File(folder / "yamnet.h5", "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in weights]
        for layer, values in weights.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in values]
            for name, value in values.items():
                group[name] = value
    return folder / "yamnet.h5"


@pytest.mark.parametrize(
    ("frames", "classes", "dense"), [(96, 521, "logits"), (96, 521, "dense"), (97, 7, "logits")]
)
def test_computes_what_keras_computes(frames, classes, dense, tmp_path, agree):
    model = network(frames, classes=classes)
    settings = {"num_classes": classes}
    done = tfpt.convert(
        "yamnet", saved(model, tmp_path, dense), tmp_path / "w.safetensors", settings=settings
    )
    assert done.plan.findings == ()
    assert (load_file(done.path)["layer7.pointwise_conv.bn.weight"] == 1).all()
    patches = np.random.default_rng(3).normal(size=(3, frames, 64)).astype(np.float32)
    with torch.no_grad():
        found = tfpt.load("yamnet", done.path, settings=settings)(torch.from_numpy(patches))
    for ours, theirs in zip(found, model(patches, training=False), strict=True):
        assert_close(ours, theirs.numpy())
        agree("yamnet", ours.numpy(), theirs.numpy())


def test_another_number_of_classes_and_missing_and_stray_variables_are_found(tmp_path):
    model = network(classes=7)
    kinds = {finding.kind for finding in tfpt.plan("yamnet", saved(model, tmp_path)).findings}
    assert kinds == {"shape"}
    for changes, expected in [
        ({"without": "layer9/pointwise_conv/bn/beta"}, {"absent", "missing"}),
        ({"without": "layer9/depthwise_conv/depthwise_kernel"}, {"absent", "missing"}),
        ({"extra": "teacher/conv"}, {"unused"}),
        ({"extra": "layer15/pointwise_conv"}, {"extra", "shape"}),
    ]:
        file = saved(model, tmp_path, **changes)
        kinds = {finding.kind for finding in tfpt.plan("yamnet", file, settings={"num_classes": 7}).findings}
        assert kinds
        assert kinds <= expected, changes


def test_a_sample_of_another_size_fits(tmp_path):
    tfpt.sample("yamnet", tmp_path / "model.ckpt", settings={"num_classes": 7})
    assert tfpt.plan("yamnet", tmp_path / "model.ckpt", settings={"num_classes": 7}).findings == ()
