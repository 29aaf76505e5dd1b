"""The networks of MLPerf Tiny: PyTorch computes what TensorFlow computes, from Keras' files and published ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.mappings import tflite_files
from tests.mappings.keras_networks import assert_close, channels_first, randomized, saved


def layer(
    x: Any, kind: str, *arguments: Any, normalized: bool = True, active: bool = True, **options: Any
) -> Any:
    import keras

    x = getattr(keras.layers, kind)(*arguments, padding="same", **options)(x)
    if normalized:
        x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation("relu")(x) if active else x


def classified(inputs: Any, x: Any, classes: int) -> Any:
    import keras

    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(x.shape[1:3])(x))
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def resnet8(size: int = 32, width: int = 16, num_classes: int = 10) -> Any:
    """The layers of image_classification/keras_model.py."""
    import keras

    inputs = keras.Input((size, size, 3))
    x = layer(inputs, "Conv2D", width, 3)
    for stage in range(3):
        channels, stride = width * 2**stage, 1 if stage == 0 else 2
        y = layer(x, "Conv2D", channels, 3, strides=stride)
        y = layer(y, "Conv2D", channels, 3, active=False)
        if stride > 1:
            x = layer(x, "Conv2D", channels, 1, strides=stride, normalized=False, active=False)
        x = keras.layers.Activation("relu")(keras.layers.add([x, y]))
    return classified(inputs, x, num_classes)


def separable(x: Any, channels: int, stride: int) -> Any:
    x = layer(x, "DepthwiseConv2D", 3, strides=stride)
    return layer(x, "Conv2D", channels, 1)


def kws(width: int = 64, depth: int = 4, num_classes: int = 12) -> Any:
    """The layers of keyword_spotting/keras_model.py, "ds_cnn"."""
    import keras

    inputs = keras.Input((49, 10, 1))
    x = layer(inputs, "Conv2D", width, (10, 4), strides=2)
    for _ in range(depth):
        x = separable(x, width, 1)
    return classified(inputs, x, num_classes)


def vww(size: int = 96, width: int = 8, num_classes: int = 2) -> Any:
    """The layers of visual_wake_words/vww_model.py."""
    import keras

    inputs = keras.Input((size, size, 3))
    x = layer(inputs, "Conv2D", width, 3, strides=2)
    for factor, stride in [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)]:
        x = separable(x, width * factor, stride)
    return classified(inputs, x, num_classes)


NETWORKS: dict[str, Callable[..., Any]] = {"resnet8": resnet8, "kws": kws, "vww": vww}


@cache
def built(name: str, **settings: Any) -> Any:
    """The network with random weights, which no test changes."""
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    return randomized(NETWORKS[name](**settings))


def inputs_of(model: Any) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(3, *model.input_shape[1:])).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet8", {}),
        ("resnet8", {"width": 5, "num_classes": 7}),
        ("kws", {}),
        ("kws", {"width": 11, "depth": 2, "num_classes": 5}),
        ("vww", {}),
        ("vww", {"width": 3, "num_classes": 5}),
    ],
)
def test_every_file_computes_what_keras_computes(name, settings, tmp_path, agree):
    model = built(name, **settings)
    written = []
    for number, path in enumerate(saved(model, tmp_path)):
        done = tfpt.convert(f"mlperf_{name}", path, tmp_path / f"{number}.safetensors", settings=settings)
        assert done.plan.findings == ()
        written.append({key: value.tobytes() for key, value in load_file(done.path).items()})
    assert written[0] == written[1] == written[2]
    network = tfpt.load(f"mlperf_{name}", tmp_path / "0.safetensors", settings=settings)
    inputs = inputs_of(model)
    with torch.no_grad():
        found = network(channels_first(inputs))
    expected = model(inputs, training=False).numpy()
    assert_close(found, expected)
    agree(f"mlperf_{name}", found.numpy(), expected)


@cache
def in_lite(model: Any) -> bytes:
    tf = pytest.importorskip("tensorflow")
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def lite(name: str, model: Any, path: Path, without: int = -1) -> Path:
    """Converted to TensorFlow Lite, with the names of the published files (those of TensorFlow 2.3).

    The normalization is folded into the convolution. The name of a bias lists what was folded, beginning with the last.
    """
    # Convolutions that are normalized, and those at shortcuts, by Keras' numbers; whether a ReLU follows at once.
    numbers = iter([0, 1, 2, 3, 4, 6, 7] if name == "resnet8" else range(99))
    shortcuts, depthwise, normalized = iter([5, 8]), iter(range(99)), iter(range(99))

    def counted(kind: str, number: int) -> str:
        return f"model/{kind}_{number}" if number else f"model/{kind}"

    def rename(operation: str, kernel: list[int], _: bytes) -> tuple[str, ...]:
        if operation == "FULLY_CONNECTED":
            return "model/dense/MatMul", "model/dense/BiasAdd/ReadVariableOp/resource"
        if name == "resnet8" and kernel[1] == 1:
            conv = counted("conv2d", next(shortcuts))
            return f"{conv}/Conv2D", f"{conv}/BiasAdd;{conv}/Conv2D;{conv}/BiasAdd/ReadVariableOp/resource"
        number = next(normalized)
        norm = counted("batch_normalization", number) + "/FusedBatchNormV3"
        active = name != "resnet8" or number not in (2, 4, 6)
        before = counted("activation", number) + f"/Relu;{norm}" if active else norm
        if number == without:
            before = "teacher"
        if operation == "DEPTHWISE_CONV_2D":
            conv = counted("depthwise_conv2d", next(depthwise))
            parts = f"{conv}/depthwise;{conv}/BiasAdd;{conv}/BiasAdd/ReadVariableOp/resource"
            return f"{norm};{parts}", f"{before};{parts}"
        conv = counted("conv2d", next(numbers))
        return (
            f"{conv}/Conv2D",
            f"{before};{conv}/BiasAdd/ReadVariableOp/resource;{conv}/BiasAdd;{conv}/Conv2D",
        )

    return tflite_files.write(in_lite(model), path, rename)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet8", {}),
        ("kws", {}),
        ("kws", {"width": 11, "depth": 2, "num_classes": 5}),
        ("vww", {"width": 3, "num_classes": 5}),
    ],
)
def test_tensorflow_lite_computes_the_same(name, settings, tmp_path):
    model = built(name, **settings)
    checkpoint = lite(name, model, tmp_path / "m.tflite")
    done = tfpt.convert(f"mlperf_{name}", checkpoint, tmp_path / "w.safetensors", settings=settings)
    assert done.plan.findings == ()
    inputs = inputs_of(model)
    [expected] = tflite_files.interpreted(checkpoint, inputs)
    with torch.no_grad():
        found = tfpt.load(f"mlperf_{name}", done.path, settings=settings)(channels_first(inputs))
    assert_close(found, expected)
    assert_close(found, model(inputs, training=False).numpy())


@pytest.mark.parametrize(("name", "without"), [("resnet8", 3), ("resnet8", 4), ("kws", 3), ("kws", 8)])
def test_a_missing_bias_of_tensorflow_lite_is_found(name, without, tmp_path):
    checkpoint = lite(name, built(name), tmp_path / "m.tflite", without)
    assert findings(name, checkpoint) == {"missing", "unused"}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_sample_of_another_size_fits(name, tmp_path):
    settings = {"width": 5, "num_classes": 3}
    tfpt.sample(f"mlperf_{name}", tmp_path / "model.ckpt", settings=settings)
    assert findings(name, tmp_path / "model.ckpt", **settings) == set()


@pytest.mark.parametrize("size", [31, 33])
def test_images_of_other_sizes_are_padded_as_keras_does(size, tmp_path):
    for name in ("resnet8", "vww"):
        model = built(name, size=size)
        model.save_weights(tmp_path / "m.weights.h5")
        inputs = inputs_of(model)
        with torch.no_grad():
            found = tfpt.load(f"mlperf_{name}", tmp_path / "m.weights.h5")(channels_first(inputs))
        assert_close(found, model(inputs, training=False).numpy())


def test_the_published_resnet8_computes_what_keras_computes(shared):
    keras = pytest.importorskip("keras")
    path = shared / "real/h5-mlperf-resnet8/pretrainedResnet.h5"
    model = keras.models.load_model(path, compile=False)
    images = np.random.default_rng(1).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        assert_close(
            tfpt.load("mlperf_resnet8", path)(channels_first(images)), model([images], training=False).numpy()
        )


def test_the_published_keyword_spotter_computes_what_tensorflow_computes(shared):
    tf = pytest.importorskip("tensorflow")
    path = shared / "real/sm-mlperf-kws"
    features = np.random.default_rng(1).normal(size=(3, 49, 10, 1)).astype(np.float32) * 5
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(path)).signature_def[
            "serving_default"
        ]
        [given], [wanted] = signature.inputs.values(), signature.outputs.values()
        expected = session.run(wanted.name, {given.name: features})
    with torch.no_grad():
        assert_close(tfpt.load("mlperf_kws", path)(channels_first(features)), expected)


def findings(name: str, path: Path, **settings: Any) -> set[str]:
    return {finding.kind for finding in tfpt.plan(f"mlperf_{name}", path, settings=settings).findings}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_another_network_or_size_does_not_fit(name, tmp_path):
    model = built(name)
    model.save_weights(tmp_path / "m.weights.h5")
    assert findings(name, tmp_path / "m.weights.h5", width=13) == {"shape"}
    assert findings(name, tmp_path / "m.weights.h5", num_classes=3) == {"shape"}
    for other in NETWORKS:
        if other != name:
            assert {"shape", "missing", "extra", "unused", "absent"} & findings(
                other, tmp_path / "m.weights.h5"
            )


def test_fewer_layers_than_in_the_file_are_found(tmp_path):
    built("kws").save_weights(tmp_path / "m.weights.h5")
    assert findings("kws", tmp_path / "m.weights.h5", depth=3) == {"extra"}
    assert "missing" in findings("kws", tmp_path / "m.weights.h5", depth=5)


@pytest.mark.parametrize("weight", ["gamma", "moving_variance"])
def test_a_missing_weight_and_a_stray_one_are_found(weight, tmp_path):
    built("resnet8").save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        group = file["model_weights/batch_normalization_3"]
        [name] = [name for name in group.attrs["weight_names"] if name.split("/")[-1].startswith(weight)]
        group.attrs["weight_names"] = [other for other in group.attrs["weight_names"] if other != name]
        del group[name]
    assert findings("resnet8", tmp_path / "m.h5") <= {"absent", "missing"}
    assert findings("resnet8", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        teacher = file["model_weights"].create_group("teacher")
        teacher["teacher/kernel"] = np.zeros((3, 5), np.float32)
        teacher.attrs["weight_names"] = ["teacher/kernel"]
        file["model_weights"].attrs["layer_names"] = [*file["model_weights"].attrs["layer_names"], "teacher"]
    assert "unused" in findings("resnet8", tmp_path / "m.h5")
