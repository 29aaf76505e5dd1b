"""DeepMind's I3D as a TensorFlow 1 graph with the names of their operations, saved with seeded weights.

Names, strides and order of work follow https://github.com/google-deepmind/kinetics-i3d (i3d.py) and what Sonnet 1 makes
of it: a unit is a scope with `conv_3d/convolution`, `batch_norm/…` and `Relu`, a Mixed module one that ends in
`concat`, a max-pool a single operation. The values are those of `tests.models.deepmind_i3d`, so what
the graph computes is what tests/data/i3d holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.models.deepmind_i3d import seeded
from tfpt.models.i3d import BATCH_NORM_EPSILON, MIXED

# Pools: windows and strides over time, height and width.
POOLS = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
ORDER = (
    "MaxPool3d_2a_3x3",
    "Conv3d_2b_1x1",
    "Conv3d_2c_3x3",
    "MaxPool3d_3a_3x3",
    "Mixed_3b",
    "Mixed_3c",
    "MaxPool3d_4a_3x3",
    "Mixed_4b",
    "Mixed_4c",
    "Mixed_4d",
    "Mixed_4e",
    "Mixed_4f",
    "MaxPool3d_5a_2x2",
    "Mixed_5b",
    "Mixed_5c",
)


def write_i3d_graph(
    prefix: Path,
    scope: str = "RGB",
    channels: int = 3,
    seed: int = 11,
    frames: int | None = 16,
    size: int = 224,
    classes: int = 400,
) -> Path:
    """Save the graph and its variables as TensorFlow 1 does.

    Args:
        prefix: The checkpoint's prefix.
        scope: ``RGB`` or ``Flow``.
        channels: 3 or 2.
        seed: Of the weights.
        frames: Of the clip that the placeholder takes; ``None`` for any number.
        size: Its height and width.
        classes: Width of the logits.

    Returns:
        The ``.meta`` file.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        clip = v1.placeholder(tf.float32, (None, frames, size, size, channels), "Placeholder")
        builder = _Builder(v1, seed)
        with v1.variable_scope(scope), v1.variable_scope("inception_i3d"):
            builder.network(clip, classes)
        saver = v1.train.Saver(list(builder.values), write_version=v1.train.SaverDef.V2)
        with v1.Session(graph=graph) as session:
            for variable, value in builder.values.items():
                variable.load(value, session)
            saver.save(session, str(prefix), write_state=False)
    return Path(f"{prefix}.meta")


class _Builder:
    """Puts the layers into the current graph and keeps the value of each variable."""

    def __init__(self, v1: Any, seed: int) -> None:
        self.v1 = v1
        self.seed = seed
        self.values: dict[Any, np.ndarray] = {}

    def network(self, x: Any, classes: int) -> None:
        v1 = self.v1
        x = self.unit(x, "Conv3d_1a_7x7", 64, 7, 2)
        for name in ORDER:
            if name in POOLS:
                x = self.pool(x, *POOLS[name], name)
            elif name.startswith("Mixed"):
                x = self.mixed(x, name)
            else:
                x = self.unit(x, name, 64 if name == "Conv3d_2b_1x1" else 192, int(name[-1]))
        with v1.variable_scope("Logits"):
            x = v1.nn.avg_pool3d(x, [1, 2, 7, 7, 1], [1, 1, 1, 1, 1], "VALID")
            with v1.variable_scope("Conv3d_0c_1x1"):
                x = self.convolution(x, classes, 1, 1, bias=True)
            x = v1.squeeze(x, [2, 3], name="SpatialSqueeze")
        v1.nn.softmax(v1.reduce_mean(x, axis=1))

    def unit(self, x: Any, name: str, width: int, kernel: int, stride: int = 1) -> Any:
        v1 = self.v1
        with v1.variable_scope(name):
            x = self.convolution(x, width, kernel, stride)
            with v1.variable_scope("batch_norm"):
                mean, variance, beta = (
                    self.variable(leaf, (width,)) for leaf in ("moving_mean", "moving_variance", "beta")
                )
                x = v1.nn.batch_normalization(x, mean, variance, beta, None, BATCH_NORM_EPSILON)
            return v1.nn.relu(x)

    def convolution(self, x: Any, width: int, kernel: int, stride: int, *, bias: bool = False) -> Any:
        v1 = self.v1
        with v1.variable_scope("conv_3d"):
            kernels = self.variable("w", (kernel, kernel, kernel, x.shape[-1], width))
            x = v1.nn.conv3d(x, kernels, [1, stride, stride, stride, 1], "SAME", name="convolution")
            return v1.nn.bias_add(x, self.variable("b", (width,))) if bias else x

    def pool(self, x: Any, window: tuple[int, ...], stride: tuple[int, ...], name: str) -> Any:
        return self.v1.nn.max_pool3d(x, [1, *window, 1], [1, *stride, 1], "SAME", name=name)

    def mixed(self, x: Any, name: str) -> Any:
        v1 = self.v1
        _, single, double, second, pooled = MIXED[name.lower()]
        # DeepMind's own slip in Mixed_5b.
        inner = "Conv3d_0a_3x3" if name == "Mixed_5b" else "Conv3d_0b_3x3"
        with v1.variable_scope(name):
            with v1.variable_scope("Branch_0"):
                branches = [self.unit(x, "Conv3d_0a_1x1", single, 1)]
            with v1.variable_scope("Branch_1"):
                reduced = self.unit(x, "Conv3d_0a_1x1", double[0], 1)
                branches.append(self.unit(reduced, "Conv3d_0b_3x3", double[1], 3))
            with v1.variable_scope("Branch_2"):
                reduced = self.unit(x, "Conv3d_0a_1x1", second[0], 1)
                branches.append(self.unit(reduced, inner, second[1], 3))
            with v1.variable_scope("Branch_3"):
                reduced = self.pool(x, (3, 3, 3), (1, 1, 1), "MaxPool3d_0a_3x3")
                branches.append(self.unit(reduced, "Conv3d_0b_1x1", pooled, 1))
            return v1.concat(branches, 4)

    def variable(self, leaf: str, shape: tuple[int, ...]) -> Any:
        variable = self.v1.get_variable(
            leaf, shape, initializer=self.v1.zeros_initializer(), use_resource=False
        )
        self.values[variable] = seeded(variable.op.name, tuple(variable.shape.as_list()), self.seed)
        return variable
