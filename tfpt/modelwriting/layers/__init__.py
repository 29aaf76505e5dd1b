"""The layers of Keras, by kind: importing this package registers all of them."""

from tfpt.modelwriting.layers import (
    activations,
    attention,
    convolutions,
    dense,
    merging,
    noise,
    normalizations,
    pooling,
    preprocessing,
    recurrent,
    shapes,
    transposed,
)

__all__ = [
    "activations",
    "attention",
    "convolutions",
    "dense",
    "merging",
    "noise",
    "normalizations",
    "pooling",
    "preprocessing",
    "recurrent",
    "shapes",
    "transposed",
]
