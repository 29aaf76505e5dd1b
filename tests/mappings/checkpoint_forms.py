"""The forms in which recorded variables are stored: each writes a checkpoint and returns its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np

from tfpt.execution.sinks.bundle import write_bundle

Variables: TypeAlias = Mapping[str, np.ndarray]


def write_v2_bundle(folder: Path, variables: Variables) -> Path:
    """What the Saver of TensorFlow 1 writes."""
    write_bundle(folder / "model.ckpt", variables, write_state=False)
    return folder / "model.ckpt"


def write_shards(folder: Path, variables: Variables) -> Path:
    """The same in several data files, as of models trained on TPUs."""
    write_bundle(folder / "model.ckpt", variables, num_shards=3, write_state=False)
    return folder / "model.ckpt"


def write_npz(folder: Path, variables: Variables) -> Path:
    np.savez(folder / "model.npz", **variables)  # type: ignore[arg-type]
    return folder / "model.npz"


def write_keras_h5(folder: Path, variables: Variables) -> Path:
    """The HDF5 files of Keras 2: a group for each layer, which lists its weights."""
    layers: dict[str, list[str]] = {}
    for name in variables:
        layer, _, weight = name.partition("/")
        layers.setdefault(layer, []).append(weight)
    with h5py.File(folder / "tf_model.h5", "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight in weights:
                group[weight] = variables[f"{layer}/{weight}"]
    return folder / "tf_model.h5"


FORMS: dict[str, Callable[[Path, Variables], Path]] = {
    "bundle": write_v2_bundle,
    "shards": write_shards,
    "npz": write_npz,
    "keras_h5": write_keras_h5,
}
