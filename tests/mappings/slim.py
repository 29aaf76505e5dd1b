"""Networks of TF-Slim with seeded weights, and what TensorFlow computed with them.

`tests/data/zoo/slim/NAME.tsv` lists the variables of the network as tf_slim 1.1 builds it, `NAME.npz` contains outputs
on TensorFlow 2.21: `logits` for images of the size in SIZES and, for Inception V1, its endpoints at 64 by 64: the whole
array up to 997 values, else `a.reshape(-1)[::a.size // 997][:997]`.
"""

from __future__ import annotations

import csv
import json
import zlib
from pathlib import Path

import numpy as np

from tests.conftest import DATA
from tfpt.execution.sinks.bundle import write_bundle

FOLDER = DATA / "zoo/slim"
SIZES = {"inception_v1": 224, "inception_v3": 107, "resnet_v1_50": 97, "resnet_v2_50": 97, "vgg16": 224}


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """The variables of a network."""
    with (FOLDER / f"{network}.tsv").open() as file:
        return {
            line["variable"]: tuple(json.loads(line["shape"]))
            for line in csv.DictReader(file, delimiter="\t")
        }


def outputs(network: str) -> dict[str, np.ndarray]:
    """What TensorFlow computed."""
    with np.load(FOLDER / f"{network}.npz") as file:
        return dict(file)


def write_seeded(network: str, folder: Path) -> Path:
    """A checkpoint with the weights of the recorded outputs."""
    variables = {name: _seeded(name, shape) for name, shape in shapes(network).items()}
    write_bundle(folder / "model.ckpt", variables, write_state=False)
    return folder / "model.ckpt"


def images(size: int) -> np.ndarray:
    """Two images (2, size, size, 3), the input of the recorded outputs."""
    return np.random.default_rng(size).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)


def sampled(array: np.ndarray) -> np.ndarray:
    """The values of an endpoint (batch, height, width, channels) that are recorded."""
    return array.reshape(-1)[:: max(1, array.size // 997)][:997]


def _seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit("/", 1)[-1]
    if leaf == "weights":
        return (random.normal(size=shape) * (2 / np.prod(shape[:-1])) ** 0.5).astype(np.float32)
    if leaf in ("gamma", "moving_variance"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return (random.normal(size=shape) * 0.1).astype(np.float32)
