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
    """

    mapping: str
    keras: str
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    size: int = 64


NETWORKS = [
    Network("keras_mobilenet_v2", "MobileNetV2", {"alpha": 0.35}, {"alpha": 0.35}),
    Network(
        "keras_mobilenet_v2", "MobileNetV2", {"alpha": 0.5, "classes": 7}, {"alpha": 0.5, "num_classes": 7}
    ),
    Network("keras_mobilenet", "MobileNet", {"alpha": 0.25, "dropout": 0.0}, {"alpha": 0.25}),
    Network("keras_resnet50", "ResNet50", {"classes": 7}, {"num_classes": 7}),
    Network("keras_efficientnet", "EfficientNetB0", {"classes": 7}, {"num_classes": 7}),
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
    ours = tfpt.load(network.mapping, checkpoint, settings=network.settings).eval()
    inputs = np.random.default_rng(3).uniform(0, 1, (2, network.size, network.size, 3)).astype(np.float32)
    expected = model.predict(inputs, verbose=0)
    prepared = inputs
    for layer in model.layers:
        if type(layer).__name__ in ("Rescaling", "Normalization"):
            prepared = np.asarray(layer(prepared))
    with torch.no_grad():
        found = ours(torch.from_numpy(np.ascontiguousarray(prepared.transpose(0, 3, 1, 2))))
    found = getattr(found, "logits", found)
    return found.numpy(), expected


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: f"{network.mapping}-{network.arguments}")
def test_the_network_computes_what_keras_computes(network: Network, tmp_path: Path, agree: Agree) -> None:
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    model = randomized(
        getattr(keras.applications, network.keras)(
            weights=None,
            input_shape=(network.size, network.size, 3),
            classifier_activation=None,
            **network.arguments,
        )
    )
    model.save_weights(tmp_path / "m.weights.h5")
    found, expected = outputs(network, model, tmp_path / "m.weights.h5")
    assert np.abs(expected).max() > 1e-3
    agree(network.mapping, found, expected)


@pytest.mark.parametrize("network", NETWORKS[1:5], ids=lambda network: network.mapping)
def test_every_file_of_the_network_gives_the_same_parameters(network: Network, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()
    model = getattr(keras.applications, network.keras)(weights=None, **network.arguments)
    files = [tmp_path / name for name in ("m.keras", "m.h5", "m.weights.h5")]
    model.save(files[0])
    model.save(files[1])
    model.save_weights(files[2])
    written = []
    for path in files:
        out = tmp_path / f"{path.name}.safetensors"
        done = tfpt.convert(network.mapping, path, out, settings=network.settings)
        assert done.plan.ok
        source = tfpt.open_source(out)
        written.append({name: source.read(name).tobytes() for name in source.specs})
    assert written[0] == written[1] == written[2]
