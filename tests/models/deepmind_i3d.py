"""The seeded weights and clips with which DeepMind's graph was recorded, made again from names, shapes and seeds."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from tfpt.models.i3d import I3D

LEAVES = {
    "conv3d.weight": "conv_3d/w",
    "conv3d.bias": "conv_3d/b",
    "batch3d.bias": "batch_norm/beta",
    "batch3d.running_mean": "batch_norm/moving_mean",
    "batch3d.running_var": "batch_norm/moving_variance",
}
BRANCHES = {
    "branch_0": "Branch_0/Conv3d_0a_1x1",
    "branch_1.0": "Branch_1/Conv3d_0a_1x1",
    "branch_1.1": "Branch_1/Conv3d_0b_3x3",
    "branch_2.0": "Branch_2/Conv3d_0a_1x1",
    "branch_2.1": "Branch_2/Conv3d_0b_3x3",
    "branch_3.1": "Branch_3/Conv3d_0b_1x1",
}


def variable_name(parameter: str, scope: str) -> str:
    """The TensorFlow variable behind a parameter.

    Example:
        >>> variable_name("mixed_5b.branch_2.1.conv3d.weight", "RGB")  # a slip in DeepMind's code: not 0b
        'RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w'
    """
    unit, kind, leaf = parameter.rsplit(".", 2)
    module, _, branch = unit.partition(".")
    if module == "conv3d_0c_1x1":
        place = "Logits/Conv3d_0c_1x1"
    elif unit == "mixed_5b.branch_2.1":
        place = "Mixed_5b/Branch_2/Conv3d_0a_3x3"
    else:
        place = "/".join([module.capitalize(), *([BRANCHES[branch]] if branch else [])])
    return f"{scope}/inception_i3d/{place}/{LEAVES[f'{kind}.{leaf}']}"


def seeded(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The value of one variable, as in the checkpoint that was recorded."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    leaf = name.rsplit("/", 1)[-1]
    if leaf == "moving_variance":
        values = rng.uniform(0.5, 1.5, shape)
    elif leaf == "w":
        values = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[:-1])), shape)
    else:
        values = rng.normal(0.0, 0.1, shape)
    return values.astype(np.float32)


def seeded_clip(frames: int, channels: int, seed: int, size: int = 224) -> np.ndarray:
    """The clip that was recorded, (1, frames, size, size, channels)."""
    rng = np.random.default_rng([seed, 1])
    return np.clip(rng.normal(0, 0.5, (1, frames, size, size, channels)), -1, 1).astype(np.float32)


def seeded_variable(parameter: str, shape: tuple[int, ...], scope: str, seed: int) -> np.ndarray:
    """The variable of a parameter of that (torch's) shape, in TensorFlow's layout."""
    if len(shape) == 5:
        shape = (*shape[2:], shape[1], shape[0])
    return seeded(variable_name(parameter, scope), shape, seed)


def seeded_model(in_channels: int, scope: str, seed: int, **options: object) -> I3D:
    model = I3D(400, in_channels, **options).eval()
    state = model.state_dict()
    for name, value in state.items():
        if name.rsplit(".", 2)[-2:] == ["batch3d", "weight"]:
            state[name] = torch.ones_like(value)  # DeepMind's batch norm has no gamma
        elif not name.endswith("num_batches_tracked"):
            variable = seeded_variable(name, tuple(value.shape), scope, seed)
            if variable.ndim == 5:
                variable = variable.transpose(4, 3, 0, 1, 2)
            state[name] = torch.from_numpy(np.ascontiguousarray(variable))
    model.load_state_dict(state)
    return model


def channels_first(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(clip, -1, 1)))


def channels_last(activation: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(activation.movedim(1, -1).numpy())
