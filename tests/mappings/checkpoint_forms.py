"""The forms in which recorded variables are stored: each writes a checkpoint and returns its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

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


FORMS: dict[str, Callable[[Path, Variables], Path]] = {
    "bundle": write_v2_bundle,
    "shards": write_shards,
    "npz": write_npz,
}
