"""Makes sonnet.npz: for layers of Sonnet 2 the variables, an input and the output. Needs dm-sonnet 2.0.2.

Keys are LAYER|PART: `x`, `y`, and each variable by its name without the scope of the module.
"""

from pathlib import Path

import numpy as np
import sonnet as snt
import tensorflow as tf

B, W, H, T, IN, OUT = 2, 11, 13, 7, 3, 5
CASES = {
    "linear": (snt.Linear(OUT), (B, IN)),
    "conv1d": (snt.Conv1D(OUT, 3, padding="VALID"), (B, W, IN)),
    "conv2d": (snt.Conv2D(OUT, (2, 3), padding="VALID"), (B, H, W, IN)),
    "conv3d": (snt.Conv3D(OUT, (4, 2, 3), padding="VALID"), (B, T, 5, 3, IN)),
    "depthwise_conv2d": (snt.DepthwiseConv2D((2, 5), channel_multiplier=2, padding="VALID"), (B, H, W, IN)),
    "conv1d_transpose": (snt.Conv1DTranspose(OUT, 3, padding="VALID"), (B, W, IN)),
    "conv2d_transpose": (snt.Conv2DTranspose(OUT, (2, 3), padding="VALID"), (B, H, W, IN)),
    "conv3d_transpose": (snt.Conv3DTranspose(OUT, (4, 2, 3), padding="VALID"), (B, T, 5, 3, IN)),
    "batch_norm_v2": (snt.BatchNorm(create_scale=True, create_offset=True), (B, T, 5, 3, IN)),
    "layer_norm": (snt.LayerNorm(-1, create_scale=True, create_offset=True), (B, IN)),
    "group_norm": (snt.GroupNorm(2), (B, H, W, 10)),
    "embed": (snt.Embed(17, OUT), (B, T)),
    "lstm_v2": (snt.LSTM(OUT), (T, B, IN)),
}


def output(layer, x):
    if isinstance(layer, snt.BatchNorm):
        return layer(x, is_training=False)
    if isinstance(layer, snt.LSTM):
        return snt.static_unroll(layer, x, layer.initial_state(B))[0]
    return layer(x)


def main() -> None:
    random = np.random.default_rng(3)
    kept = {}
    for name, (layer, shape) in CASES.items():
        x = random.integers(0, 17, shape) if name == "embed" else random.normal(size=shape).astype(np.float32)
        output(layer, tf.constant(x))
        for variable in layer.variables:
            if variable.dtype == tf.float32:
                variable.assign(random.uniform(0.5, 1.5, variable.shape).astype(np.float32))
            kept[f"{name}|{variable.name.partition('/')[2].removesuffix(':0')}"] = variable.numpy()
        kept[f"{name}|x"], kept[f"{name}|y"] = x, output(layer, tf.constant(x)).numpy()
    np.savez_compressed(Path(__file__).with_name("sonnet.npz"), **kept)


if __name__ == "__main__":
    main()
