"""Small Keras models of many kinds, with random weights and running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def randomize(model: Any, seed: int = 0) -> Any:
    """Give all weights random values: also biases, scales and running statistics, which start out as 0 and 1."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.path or weight.dtype not in ("float32", "float64"):
            continue
        shape = tuple(weight.shape)
        values = random.normal(size=shape) * 0.3
        if "variance" in weight.path:
            values = abs(values) + 0.5
        elif "gamma" in weight.path:
            values = values + 1
        elif len(shape) > 1:
            values = random.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        weight.assign(values)
    return model


def plain_cnn(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((17, 13, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(7, 3, strides=2, padding="same", activation="relu"),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.Conv2D(5, (2, 3), activation="relu"),
            layers.AveragePooling2D(2, 1, padding="same"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(11, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ],
        name="plain_cnn",
    )


def resnet(keras: Any) -> Any:
    layers = keras.layers

    def block(x: Any, filters: int, stride: int) -> Any:
        shortcut = x
        x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(epsilon=1.001e-5)(x)
        if stride > 1:
            shortcut = layers.Conv2D(filters, 1, stride, use_bias=False)(shortcut)
            shortcut = layers.BatchNormalization(scale=False)(shortcut)
        return layers.Activation("relu")(layers.Add()([x, shortcut]))

    inputs = keras.Input((19, 23, 3))
    x = layers.ZeroPadding2D(3)(inputs)
    x = layers.Conv2D(7, 7, 2)(x)
    x = block(x, 7, 1)
    x = block(x, 11, 2)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5)(x), name="resnet")


def unet(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((16, 24, 3), name="image")
    skips, x = [], inputs
    for filters in (5, 7):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(11, 3, padding="same", activation="elu")(x)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = layers.Concatenate()([x, skips[1]])
    x = layers.Conv2D(7, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same")(x)
    x = layers.Concatenate()([x, skips[0]])
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="sigmoid", name="mask")(x), name="unet")


def depthwise(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((15, 18, 3)),
            layers.SeparableConv2D(6, 3, strides=2, padding="same", depth_multiplier=2),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="hard_silu"),
            layers.Conv2D(12, 1, groups=3, use_bias=False),
            layers.GlobalMaxPooling2D(keepdims=True),
            layers.Conv2D(5, 1),
            layers.Flatten(),
        ],
        name="depthwise",
    )


def text_lstm(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            layers.Embedding(31, 8),
            layers.SpatialDropout1D(0.2),
            layers.LSTM(7, return_sequences=True),
            layers.LSTM(5),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="text_lstm",
    )


def bidirectional_gru(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((11, 6))
    x = layers.Bidirectional(layers.GRU(5, return_sequences=True))(inputs)
    x = layers.LayerNormalization()(x)
    x = layers.Bidirectional(layers.LSTM(3))(x)
    return keras.Model(inputs, layers.Dense(4, "tanh")(x), name="tagger")


def attention(keras: Any) -> Any:
    layers = keras.layers
    tokens = keras.Input((9,), dtype="int32", name="tokens")
    segments = keras.Input((9,), dtype="int32", name="segments")
    words, kinds = layers.Embedding(29, 8, name="words"), layers.Embedding(2, 8, name="kinds")
    x = layers.Add()([words(tokens), kinds(segments)])
    x = layers.LayerNormalization(epsilon=1e-6, name="embedding_norm")(x)
    for number in range(2):
        size = 4 if number == 0 else 3
        y = layers.MultiHeadAttention(2, size, name=f"attention_{number}")(x, x, use_causal_mask=number == 1)
        x = layers.LayerNormalization(epsilon=1e-6, name=f"norm_{number}a")(layers.Add()([x, y]))
        y = layers.Dense(16, "gelu", name=f"up_{number}")(x)
        y = layers.Dense(8, name=f"down_{number}")(y)
        x = layers.LayerNormalization(epsilon=1e-6, name=f"norm_{number}b")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model([tokens, segments], layers.Dense(3, name="classes")(x), name="encoder")


def wavenet(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((None, 1), name="audio")
    x = layers.Conv1D(6, 1)(inputs)
    skips = []
    for dilation in (1, 2, 4):
        a = layers.Conv1D(6, 2, padding="causal", dilation_rate=dilation, activation="tanh")(x)
        b = layers.Conv1D(6, 2, padding="causal", dilation_rate=dilation, activation="sigmoid")(x)
        y = layers.Conv1D(6, 1)(layers.Multiply()([a, b]))
        skips.append(y)
        x = layers.Add()([x, y])
    x = layers.ReLU()(layers.Add()(skips))
    return keras.Model(inputs, layers.Conv1D(4, 1, activation="softmax")(x), name="wavenet")


def conv3d(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 14, 11, 2)),
            layers.Conv3D(5, 3, strides=(1, 2, 2), padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling3D((1, 2, 2), padding="same"),
            layers.Conv3D(6, (2, 3, 1), activation="silu"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3),
        ],
        name="video",
    )


def generator(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(4 * 3 * 8, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Reshape((4, 3, 8)),
            layers.Conv2DTranspose(7, 5, strides=1, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.2),
            layers.Conv2DTranspose(5, 4, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Conv2DTranspose(3, 5, strides=2, padding="same", activation="tanh"),
        ],
        name="generator",
    )


def mlp(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((13,)),
            layers.Dense(11),
            layers.BatchNormalization(center=False),
            layers.Activation("selu"),
            layers.GaussianNoise(0.1),
            layers.Dense(7, activation="swish"),
            layers.BatchNormalization(scale=False, center=False),
            layers.Dense(2),
        ],
        name="mlp",
    )


def efficientnet(keras: Any) -> Any:
    return keras.applications.EfficientNetB0(weights=None, input_shape=(64, 64, 3), classes=7)


MODELS: dict[str, Callable[[Any], Any]] = {
    "plain_cnn": plain_cnn,
    "resnet": resnet,
    "unet": unet,
    "depthwise": depthwise,
    "text_lstm": text_lstm,
    "bidirectional_gru": bidirectional_gru,
    "attention": attention,
    "wavenet": wavenet,
    "conv3d": conv3d,
    "generator": generator,
    "mlp": mlp,
    "efficientnet": efficientnet,
}
