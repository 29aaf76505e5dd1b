"""Networks of keras.applications with random weights: the converted PyTorch network computes what Keras computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tfpt
from tests.mappings.agreement import Agree
from tests.vision import import_vision

pytest.importorskip("transformers")


@dataclass(frozen=True)
class Network:
    """A class of keras.applications and its mapping.

    Attributes:
        mapping: The mapping.
        keras: The class.
        arguments: Its arguments.
        settings: Those of the mapping.
        size: Height and width of the input.
        adapt: Whether the class of the PyTorch model pads or normalizes in another way.
        package: The package of that class.
    """

    mapping: str
    keras: str
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    size: int = 64
    adapt: bool = False
    package: str = "transformers"

    def __str__(self) -> str:
        return " ".join([self.keras, *(f"{name}={value}" for name, value in self.arguments.items())])


SEVEN = {"classes": 7}
SMALL = {"architecture": "tf_mobilenetv3_small_100", "num_classes": 7}
NETWORKS = [
    Network(
        "keras_mobilenet_v2", "MobileNetV2", {"alpha": 0.5, "classes": 7}, {"alpha": 0.5, "num_classes": 7}
    ),
    Network("keras_mobilenet", "MobileNet", {"alpha": 0.25, "dropout": 0.0}, {"alpha": 0.25}),
    Network("keras_mobilenet_v3", "MobileNetV3Small", SEVEN, SMALL, package="timm"),
    Network("keras_efficientnet", "EfficientNetB0", SEVEN, {"num_classes": 7}),
]
FURTHER = [
    Network("keras_mobilenet_v2", "MobileNetV2", {"alpha": 0.35}, {"alpha": 0.35}),
    Network("keras_resnet50", "ResNet50", SEVEN, {"num_classes": 7}),
    Network("keras_resnet50_v2", "ResNet50V2", SEVEN, {"num_classes": 7}),
    Network("keras_convnext_tiny", "ConvNeXtTiny", SEVEN, {"num_classes": 7}),
    Network("keras_densenet121", "DenseNet121", SEVEN, {"num_classes": 7}, package="torchvision"),
    Network("keras_inception_v3", "InceptionV3", SEVEN, {"num_classes": 7}, size=96),
    # At 96 some of the pools have even sizes, for which timm's padding is not Keras'.
    Network("keras_xception", "Xception", SEVEN, {"num_classes": 7}, size=96, adapt=True, package="timm"),
    Network("keras_mobilenet_v3", "MobileNetV3Large", SEVEN, {"num_classes": 7}, package="timm"),
    Network(
        "keras_mobilenet_v3",
        "MobileNetV3Small",
        {"classes": 7, "minimalistic": True},
        SMALL | {"architecture": "tf_mobilenetv3_small_minimal_100"},
        package="timm",
    ),
    Network(
        "keras_mobilenet_v3",
        "MobileNetV3Small",
        {"classes": 7, "alpha": 0.75},
        SMALL | {"architecture": "tf_mobilenetv3_small_075"},
        package="timm",
    ),
    # Of the size that it was trained with, at which some of its convolutions pad in another way than at even sizes.
    Network("keras_efficientnet", "EfficientNetB3", SEVEN, {"num_classes": 7, "variant": 3}, size=300),
    Network("keras_vgg16", "VGG16", SEVEN, {"num_classes": 7}, size=224, package="torchvision"),
]


def randomized(model: Any) -> Any:
    """Weights of which no layer's outputs vanish: variances and scales are near 1."""
    random = np.random.default_rng(7)
    for weight in model.weights:
        name, shape = weight.path.rpartition("/")[2], weight.shape
        if name == "count":
            continue
        if name in ("gamma", "moving_variance", "variance"):
            value = random.uniform(0.7, 1.3, shape)
        elif len(shape) > 1:
            # A depthwise kernel has one input for each output.
            inputs = (
                np.prod(shape[:2])
                if "depthwise" in weight.path or "dw" in weight.path
                else np.prod(shape[:-1])
            )
            value = random.normal(size=shape) * np.sqrt(2 / inputs)
        else:
            value = random.normal(size=shape) * 0.1
        weight.assign(value.astype(np.float32))
    return model


def outputs(network: Network, model: Any, checkpoint: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits of both networks."""
    ours = tfpt.load(network.mapping, checkpoint, settings=network.settings, adapt=network.adapt).eval()
    inputs = np.random.default_rng(3).uniform(0, 1, (2, network.size, network.size, 3)).astype(np.float32)
    expected = model(inputs, training=False).numpy()
    prepared = inputs
    for layer in model.layers:
        if type(layer).__name__ in ("Rescaling", "Normalization"):
            prepared = np.asarray(layer(prepared))
    with torch.no_grad():
        found = ours(torch.from_numpy(np.ascontiguousarray(prepared.transpose(0, 3, 1, 2))))
    found = getattr(found, "logits", found)
    return found.numpy(), expected


@pytest.mark.parametrize(
    "network", [*NETWORKS, *(pytest.param(network, marks=pytest.mark.slow) for network in FURTHER)], ids=str
)
def test_the_network_computes_what_keras_computes_whatever_the_file(
    network: Network, tmp_path: Path, agree: Agree
) -> None:
    keras = pytest.importorskip("keras")
    import_vision(network.package)
    keras.utils.clear_session()
    model = randomized(
        getattr(keras.applications, network.keras)(
            weights=None,
            input_shape=(network.size, network.size, 3),
            classifier_activation=None,
            **network.arguments,
        )
    )
    files = [tmp_path / name for name in ("m.weights.h5", "m.keras", "m.h5")]
    model.save_weights(files[0])
    model.save(files[1])
    model.save(files[2])
    found, expected = outputs(network, model, files[0])
    assert np.abs(expected).max() > 1e-3
    agree(network.mapping, found, expected)
    written = []
    for path in files:
        done = tfpt.convert(
            network.mapping, path, tmp_path / "w.safetensors", settings=network.settings, overwrite=True
        )
        assert {note.kind for note in done.plan.notes} <= {"unconfirmed-layout"}
        source = tfpt.open_source(tmp_path / "w.safetensors")
        written.append({name: source.read(name).tobytes() for name in source.specs})
    assert written[0] == written[1] == written[2]
