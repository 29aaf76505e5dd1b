"""Models that Keras builds and saves for tests, and what Keras itself says of their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfpt.formats.keras.source import HDF5Source

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "real"
GOLD = Path(__file__).resolve().parents[3].parent / "shared" / "gold" / "converters"


def fill(model: Any) -> None:
    """Give each variable of a model values that no other has."""
    for number, variable in enumerate(model.variables):
        shape, dtype = variable.shape, np.asarray(variable).dtype
        values = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 7 / 8 + number + 1
        variable.assign(values.astype(dtype))


def weights_of(model: Any) -> dict[str, np.ndarray]:
    return {variable.path: np.asarray(variable) for variable in model.weights}


def datasets_in(path: Path) -> dict[str, np.ndarray]:
    """Everything that h5py finds, by path."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return {name: np.asarray(value) for name, value in found.items()}


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Bit for bit, of one shape, and as the protocol of a source promises."""
    assert ours.shape == theirs.shape
    assert ours.dtype.isnative
    assert ours.dtype == theirs.dtype or theirs.dtype == np.dtype("V2")
    assert ours.tobytes() == theirs.tobytes()
    assert ours.flags.c_contiguous
    assert ours.flags.aligned
    assert not ours.flags.writeable


def model_tensors(source: HDF5Source) -> dict[str, np.ndarray]:
    """The weights alone."""
    return {name: source.read(name) for name in source.specs if name not in source.roles}


def build_plain(keras: Any) -> Any:
    """A functional model with a nested one, a Sequential, a shared layer and normalizations."""
    layers = keras.layers
    inside = keras.Input((4,))
    nested = keras.Model(inside, layers.Dense(3, name="inner")(inside), name="sub_model")
    shared = layers.Dense(3, name="shared")
    x = keras.Input((7,))
    h = layers.BatchNormalization(name="bn")(layers.Dense(4, name="my_dense")(x))
    h = nested(layers.Dropout(0.5)(h))
    h = keras.Sequential(
        [layers.Dense(3, name="one"), layers.Dense(3, use_bias=False, name="two")], name="seq"
    )(h)
    return keras.Model(x, shared(shared(h)), name="plain")


def build_sequences(keras: Any) -> Any:
    """Recurrent layers, wrappers and attention."""
    layers = keras.layers
    x = keras.Input((6, 8))
    h = layers.MultiHeadAttention(2, 4, name="mha")(x, x)
    h = layers.GroupQueryAttention(4, 4, 2, use_bias=False, name="gqa")(h, h)
    h = layers.RMSNormalization(name="rms")(layers.LayerNormalization(name="ln", center=False)(h))
    h = layers.GroupNormalization(2, name="gn", scale=False)(h)
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="bi")(h)
    h = layers.Bidirectional(layers.GRU(3, return_sequences=True, name="mine"))(h)
    h = layers.TimeDistributed(layers.Dense(5, name="each"), name="td")(h)
    h = layers.TimeDistributed(keras.Sequential([layers.Dense(5)], name="steps"), name="ts")(h)
    cells = [layers.LSTMCell(3), layers.GRUCell(3, use_bias=False), layers.LSTMCell(3)]
    h = layers.RNN(layers.StackedRNNCells(cells), return_sequences=True, name="stack")(h)
    h = layers.RNN(layers.SimpleRNNCell(3, name="cell"), return_sequences=True, name="single")(h)
    h = layers.SimpleRNN(4, return_sequences=True, name="simple")(layers.GRU(4, return_sequences=True)(h))
    h = layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", name="ein")(h)
    h = layers.EinsumDense("abc,cd->abd", (None, 5), name="ein2")(
        layers.PReLU(name="prelu", shared_axes=[1])(h)
    )
    h = layers.Attention(use_scale=True, score_mode="concat", name="att")([h, h])
    h = layers.AdditiveAttention(name="add_att")([h, h])
    return keras.Model(x, layers.UnitNormalization()(layers.Normalization(name="norm")(h)), name="sequences")


def build_images(keras: Any) -> Any:
    """All convolutions."""
    layers = keras.layers
    x = keras.Input((3, 8, 8, 2))
    h = layers.ConvLSTM2D(2, 3, padding="same", name="clstm", return_sequences=True)(x)
    h = layers.Conv3DTranspose(2, 1, name="ct3")(layers.Conv3D(3, 1, use_bias=False, name="c3")(h))
    h = layers.Reshape((24, 8, 2))(h)
    h = layers.SeparableConv2D(3, 1, name="sep")(layers.Conv2D(3, 1)(layers.Conv2D(2, 1)(h)))
    h = layers.DepthwiseConv2D(1, name="dw")(layers.Conv2DTranspose(3, 1, name="ct2")(h))
    h = layers.BatchNormalization(scale=False, name="bn")(h)
    h = layers.Reshape((192, 3))(h)
    h = layers.SeparableConv1D(2, 1, use_bias=False)(layers.DepthwiseConv1D(1)(layers.Conv1D(3, 1)(h)))
    h = layers.Conv1DTranspose(3, 2, name="ct1")(h)
    return keras.Model(x, h, name="images")


def build_embeddings(keras: Any) -> Any:
    layers = keras.layers
    tokens = keras.Input((5,), dtype="int32")
    h = layers.Embedding(11, 3, name="table")(tokens)
    return keras.Sequential(
        [keras.Input((5,), dtype="int32"), keras.Model(tokens, h), layers.Dense(2)], name="net"
    )


def build_deep(keras: Any) -> Any:
    """Sequentials in a Sequential, of classes that repeat."""
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Dense(2), keras.Sequential([layers.Dense(2)], name="core")], name="inner"
    )
    return keras.Sequential([keras.Input((3,)), layers.Dense(2), inner, layers.Dense(1)], name="outer")


def build_bfloat16(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((3,))
    h = layers.Dense(5, dtype="bfloat16", name="low")(x)
    return keras.Model(x, layers.Dense(2, dtype="mixed_bfloat16", name="mixed")(h), name="halves")


BUILDERS: dict[str, Callable[[Any], Any]] = {
    "plain": build_plain,
    "sequences": build_sequences,
    "images": build_images,
    "embeddings": build_embeddings,
    "deep": build_deep,
    "bfloat16": build_bfloat16,
}
