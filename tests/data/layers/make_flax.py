"""Made flax.npz beside it, with flax 0.9.0 and jax 0.4.35: python make_flax.py

Of each layer: its input x, the variables that it reads with seeded random values, and its output y.
"""

from pathlib import Path

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

B, T, H, W, IN, OUT = 2, 3, 5, 7, 3, 5


class Recurrent(nn.Module):
    """A cell, step by step; its variables are those of the cell."""

    @nn.compact
    def __call__(self, x):
        return nn.RNN(nn.LSTMCell(OUT, name="cell"))(x)


LAYERS = {
    "dense": (nn.Dense(OUT), (B, IN)),
    "conv1d": (nn.Conv(OUT, (3,), padding="VALID"), (B, W, IN)),
    "conv2d": (nn.Conv(OUT, (2, 3), padding="VALID"), (B, H, W, IN)),
    "conv3d": (nn.Conv(OUT, (3, 2, 5), padding="VALID"), (B, T, H, W, IN)),
    "conv2d of groups": (
        nn.Conv(2 * IN, (2, 3), padding="VALID", feature_group_count=IN),
        (B, H, W, IN),
    ),
    "conv1d_transpose": (nn.ConvTranspose(OUT, (3,), strides=(2,), padding="VALID"), (B, W, IN)),
    "conv2d_transpose": (nn.ConvTranspose(OUT, (2, 3), strides=(2, 2), padding="VALID"), (B, H, W, IN)),
    "conv3d_transpose": (
        nn.ConvTranspose(OUT, (3, 2, 5), strides=(2, 2, 2), padding="VALID"),
        (B, T, H, W, IN),
    ),
    "layer_norm": (nn.LayerNorm(), (B, IN)),
    "layer_norm of groups": (nn.GroupNorm(num_groups=2), (B, H, W, 2 * OUT)),
    "rms_norm": (nn.RMSNorm(), (B, IN)),
    "batch_norm": (nn.BatchNorm(use_running_average=True), (B, H, W, IN)),
    "embedding": (nn.Embed(17, OUT), (B, T)),
    "lstm": (Recurrent(), (B, T, IN)),
    "multi_head_attention": (nn.MultiHeadDotProductAttention(2), (B, T, 10)),
}

recorded = {}
for name, (layer, shape) in LAYERS.items():
    random = np.random.default_rng(3)
    x = random.integers(0, 17, shape) if name == "embedding" else random.normal(size=shape).astype(np.float32)
    shapes = flatten_dict(jax.eval_shape(layer.init, jax.random.key(0), x), sep="/")
    values = {key: random.uniform(0.5, 1.5, of.shape).astype(np.float32) for key, of in shapes.items()}
    y = layer.apply(unflatten_dict(values, sep="/"), x)
    recorded |= {f"{name}:{key}": value for key, value in {**values, "x": x, "y": np.asarray(y)}.items()}
np.savez_compressed(Path(__file__).parent / "flax.npz", **recorded)
