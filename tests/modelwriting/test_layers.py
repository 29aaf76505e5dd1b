"""Layers in every variant that is written, against Keras; sizes are prime where the layer allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.modelwriting.conftest import Check

ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "swish", "tanh",
    "tanh_shrink",
)  # fmt: skip


def stack(keras: Any, shape: Sequence[int | None], *layers: Any, **more: Any) -> Any:
    return keras.Sequential([keras.Input(shape, **more), *layers])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_convolutions_of_all_kernels_and_strides(
    dimensions: int, padding: str, keras: Any, written: Check
) -> None:
    convolution = getattr(keras.layers, f"Conv{dimensions}D")
    shape = (37, 41, 29)[:dimensions]
    layers = [
        convolution(4, kernel, strides=stride, padding=padding)
        for kernel, stride in ((1, 1), (2, 1), (3, 2), (4, 1), (1, 2), (5, 1))
    ]
    written(stack(keras, (*shape, 3), *layers))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_dilated_grouped_convolutions(dimensions: int, keras: Any, written: Check) -> None:
    convolution = getattr(keras.layers, f"Conv{dimensions}D")
    written(
        stack(
            keras,
            (*(11, 13, 9)[:dimensions], 4),
            convolution(6, 3, padding="same", dilation_rate=2, groups=2),
            convolution(3, 2, padding="same", dilation_rate=3, use_bias=False),
            convolution(5, 2, dilation_rate=2),
        )
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_transposed_convolutions(
    dimensions: int, stride: int, padding: str, keras: Any, written: Check
) -> None:
    """Kernels smaller than, equal to and larger than the stride, by an even and by an odd number."""
    transposed = getattr(keras.layers, f"Conv{dimensions}DTranspose")
    inputs = keras.Input((*(5, 4, 3)[:dimensions], 4))
    kernels = range(1, 6) if dimensions < 3 else (2, 3)
    outputs = [transposed(3, kernel, strides=stride, padding=padding)(inputs) for kernel in kernels]
    written(keras.Model(inputs, outputs))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_transposed_convolutions_with_an_output_padding_or_a_dilation(
    dimensions: int, padding: str, keras: Any, written: Check
) -> None:
    transposed = getattr(keras.layers, f"Conv{dimensions}DTranspose")
    inputs = keras.Input((*(5, 4, 3)[:dimensions], 4))
    settings = [
        {"kernel_size": 3, "strides": 2, "output_padding": 1},
        {"kernel_size": 3, "strides": 2, "output_padding": 0},
        {"kernel_size": 4, "strides": 3, "output_padding": 2},
        {"kernel_size": 3, "dilation_rate": 2},
        {"kernel_size": 2, "dilation_rate": 3},
    ]
    outputs = [transposed(3, padding=padding, **each)(inputs) for each in settings]
    written(keras.Model(inputs, outputs))


def test_a_transposed_convolution_is_torchs_where_that_computes_the_same(keras: Any, written: Check) -> None:
    layers = keras.layers
    found = written(
        stack(
            keras,
            (5, 4, 4),
            layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
            layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
        )
    )
    text = "".join(found.module.read_text().split())  # long calls are on several lines
    assert "=nn.ConvTranspose2d(4,3,4,stride=2,padding=1)" in text
    assert '=tfnn.ConvTranspose2d(3,3,3,stride=2,padding="same")' in text


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pools_padding_and_upsampling(dimensions: int, keras: Any, written: Check) -> None:
    def layer(name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(keras.layers, f"{name}{dimensions}D")
        return found

    written(
        stack(
            keras,
            (*(13, 11, 17)[:dimensions], 3),
            layer("ZeroPadding")(1),
            layer("AveragePooling")(3, 2, padding="same"),
            layer("MaxPooling")(2, 1, padding="same"),
            layer("UpSampling")(2),
            layer("AveragePooling")(2),
            layer("Cropping")(1),
            layer("MaxPooling")(2, 1),
            layer("GlobalMaxPooling")(keepdims=True),
        )
    )


def test_uneven_padding_and_cropping(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (9, 8, 3),
            layers.ZeroPadding2D(((0, 1), (2, 3))),
            layers.Cropping2D(((1, 0), (0, 2))),
            layers.Conv2D(2, (1, 3), padding="same"),
        )
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_functions(name: str, keras: Any, written: Check) -> None:
    layers = keras.layers
    written(stack(keras, (5, 6, 4), layers.Conv2D(7, 2, activation=name), layers.Activation(name)))


def test_a_gated_linear_unit_halves_the_channels(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(stack(keras, (5, 6, 4), layers.Conv2D(6, 2), layers.Activation("glu")))


def test_activation_layers(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (5, 6, 4),
            layers.ReLU(max_value=1.5),
            layers.PReLU(shared_axes=[1, 2]),
            layers.ReLU(negative_slope=0.1),
            layers.ReLU(max_value=0.7, negative_slope=0.2),
            layers.ELU(0.5),
            layers.LeakyReLU(0.1),
            layers.Softmax(axis=1),
        )
    )


def test_normalizations(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (5, 6, 4),
            layers.LayerNormalization(center=False),
            layers.LayerNormalization(scale=False),
            layers.LayerNormalization(scale=False, center=False),
            layers.LayerNormalization(axis=[2, 3], epsilon=1e-5),
            layers.LayerNormalization(axis=[1, 2, 3], scale=False),
            layers.GroupNormalization(2),
            layers.GroupNormalization(-1, scale=False),
            layers.GroupNormalization(2, center=False),
            layers.RMSNormalization(),
            layers.UnitNormalization(),
            layers.UnitNormalization(axis=1),
        )
    )


def test_batch_normalization_of_sequences(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (7, 4),
            layers.BatchNormalization(),
            layers.Conv1D(3, 2),
            layers.BatchNormalization(scale=False, momentum=0.9),
            layers.BatchNormalization(center=False, epsilon=2e-5),
            layers.BatchNormalization(center=False, scale=False),
        )
    )


def test_recurrent_layers(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (7, 4),
            layers.SimpleRNN(5, return_sequences=True),
            layers.SimpleRNN(6, activation="relu", return_sequences=True, use_bias=False),
            layers.GRU(3, return_sequences=True, go_backwards=True),
            layers.LSTM(4, go_backwards=True, use_bias=False, return_sequences=True),
            layers.GRU(5, use_bias=False),
        )
    )


def test_recurrent_layers_that_torch_does_not_have(keras: Any, written: Check) -> None:
    layers = keras.layers
    found = written(
        stack(
            keras,
            (7, 4),
            layers.GRU(5, return_sequences=True, reset_after=False),
            layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid", go_backwards=True),
            layers.LSTM(4, return_sequences=True, activation="softsign", recurrent_activation="hard_sigmoid"),
            layers.Bidirectional(layers.GRU(3, return_sequences=True, reset_after=False)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True, activation="relu")),
            layers.GRU(5, reset_after=False, use_bias=False, activation="elu"),
        )
    )
    text = "".join(found.module.read_text().split())  # long calls are on several lines
    assert "=tfnn.GRU(4,5,batch_first=True,reset_after=False)" in text
    lstm = '=tfnn.LSTM(3,4,batch_first=True,activation="softsign",recurrent_activation="hard_sigmoid"'
    assert lstm in text


def test_both_directions(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (7, 4),
            layers.Bidirectional(layers.SimpleRNN(5, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True, use_bias=False)),
            layers.Bidirectional(layers.GRU(3)),
        )
    )


def test_layers_for_sequences(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (5, 7, 3),
            layers.TimeDistributed(layers.Dense(4, "relu")),
            layers.Permute((2, 1, 3)),
            layers.Reshape((-1, 4)),
            layers.GaussianDropout(0.2),
            layers.AlphaDropout(0.1),
            layers.SpatialDropout1D(0.1),
            layers.GlobalAveragePooling1D(),
            layers.RepeatVector(3),
        )
    )


def test_separable_and_depthwise_convolutions(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (19, 3),
            layers.SeparableConv1D(5, 3),
            layers.SeparableConv1D(4, 3, padding="same", strides=2, activation="relu"),
            layers.DepthwiseConv1D(3, depth_multiplier=2, use_bias=False),
            layers.Flatten(),
        )
    )
    written(
        stack(
            keras,
            (12, 9, 3),
            layers.DepthwiseConv2D((2, 3), strides=2, padding="same"),
            layers.SeparableConv2D(5, 2, dilation_rate=2, use_bias=False),
        )
    )


def test_scaling_of_inputs(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (6, 8, 3),
            layers.Rescaling(2.0, -1.0),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 0.5]),
            layers.Rescaling([1.0, 2.0, 0.5], [0.0, 1.0, -1.0]),
            layers.Normalization(),
            layers.Normalization(mean=0.5, variance=2.0),
            layers.Conv2D(3, 1),
            layers.Normalization(axis=None),
        )
    )


def test_resizing(keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (7, 9, 3),
            layers.Resizing(5, 13),
            layers.Resizing(11, 4, interpolation="nearest"),
            layers.UpSampling2D((3, 2), interpolation="bilinear"),
            layers.Conv2D(2, 1),
        )
    )


@pytest.mark.parametrize("mode", ["bicubic", "lanczos3", "lanczos5"])
def test_resizing_that_torch_does_not_have(mode: str, keras: Any, written: Check) -> None:
    layers = keras.layers
    written(
        stack(
            keras,
            (7, 9, 3),
            layers.Resizing(5, 13, interpolation=mode),
            layers.UpSampling2D((3, 2), interpolation=mode),
            layers.Resizing(6, 5, interpolation=mode, antialias=True),
            layers.Resizing(3, 4, antialias=True),
            layers.Conv2D(2, 1),
        )
    )


def test_augmentation_is_left_out_and_noted(keras: Any, written: Check) -> None:
    layers = keras.layers
    found = written(
        stack(
            keras, (8, 9, 3), layers.RandomFlip(name="flip"), layers.RandomRotation(0.1), layers.Conv2D(2, 3)
        )
    )
    assert found.notes[0] == "RandomFlip flip acts during training only"
    assert "RandomFlip flip acts during training only." in found.module.read_text()


def test_merging_of_activations_in_different_orders(keras: Any, written: Check) -> None:
    layers = keras.layers
    inputs = keras.Input((6, 8, 3))
    a, b = layers.Conv2D(4, 3, padding="same")(inputs), layers.Dense(4)(inputs)
    x = layers.Subtract()([a, b])
    x = layers.Average()([x, a, b])
    x = layers.Maximum()([x, a, b])
    x = layers.Minimum()([x, b])
    x = layers.Concatenate()([x, a])
    x = layers.Concatenate(axis=1)([x, x])
    written(keras.Model(inputs, [x, layers.Flatten()(x), layers.GlobalAveragePooling2D()(x)]))


def test_operators(keras: Any, written: Check) -> None:
    inputs = keras.Input((5, 4))
    x = 1 - (inputs * 2.0 + 1)
    y = keras.layers.Dense(4)(x / 3)
    written(keras.Model(inputs, keras.activations.relu(x - y * x)))


def test_a_layer_that_is_called_several_times(keras: Any, written: Check) -> None:
    layers = keras.layers
    shared = layers.Dense(5, name="shared")
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    x = layers.Concatenate()([shared(left), shared(shared(right))])
    found = written(keras.Model([left, right], layers.Dense(2)(x)))
    assert found.module.read_text().count("nn.Linear(5, 5)") == 1


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_models_inside_models(kind: str, keras: Any, written: Check) -> None:
    layers = keras.layers
    encoder = keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(5)], name="encoder"
    )
    inner_input = keras.Input((9, 8, 3))
    two = keras.Model(
        inner_input,
        [layers.Conv2D(2, 3)(inner_input), layers.GlobalAveragePooling2D()(inner_input)],
        name="two",
    )
    deep = keras.Sequential(
        [keras.Sequential([layers.Dense(4)], name="inner"), layers.Dense(3)], name="outer"
    )
    a, b = keras.Input((9, 8, 3), name="a"), keras.Input((9, 8, 3), name="b")
    picture, vector = two(a)
    outputs = [layers.Subtract()([encoder(a), encoder(b)]), layers.Conv2D(3, 1)(picture), deep(vector)]
    found = written(keras.Model([a, b], outputs), kind)
    text = found.module.read_text()
    assert [f"class {name}(" in text for name in ("Encoder", "Two", "Inner", "Outer")] == [True] * 4
    assert text.count("= Encoder()") == 1


def test_attention_between_sequences(keras: Any, written: Check) -> None:
    layers = keras.layers
    query, value = keras.Input((7, 4)), keras.Input((5, 6))
    x = layers.MultiHeadAttention(2, 3, value_dim=5, output_shape=7, use_bias=False)(query, value)
    y = layers.Attention()([layers.Dense(6)(x), value])
    written(keras.Model([query, value], [x, y]))


def test_attention_with_keywords(keras: Any, written: Check) -> None:
    query, value = keras.Input((7, 8)), keras.Input((5, 8))
    attention = keras.layers.MultiHeadAttention(4, 2, dropout=0.1)
    found = written(keras.Model([query, value], attention(query=query, value=value, key=value)))
    assert "nn.MultiheadAttention(" in found.module.read_text()


def test_inputs_of_different_ranks(keras: Any, written: Check) -> None:
    layers = keras.layers
    image, vector = keras.Input((8, 9, 3), name="image"), keras.Input((5,), name="vector")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    written(keras.Model([image, vector], layers.Dense(2)(layers.Concatenate()([x, vector]))))


@pytest.mark.parametrize("case", ["dense", "output", "norm", "sum", "vectors"])
def test_a_flattened_activation_has_the_right_order(case: str, keras: Any, written: Check) -> None:
    """Torch's order, with the kernel permuted, if only dense layers see it; otherwise that of Keras."""
    layers = keras.layers
    inputs = keras.Input((28, 27) if case == "vectors" else (8, 9, 3))
    x = inputs if case == "vectors" else layers.Conv2D(4, 3)(inputs)
    flat = layers.Flatten()(x)
    if case == "norm":
        flat = layers.BatchNormalization()(flat)
    if case == "sum":
        other = layers.Flatten()(layers.Conv2D(4, 3)(inputs))
        flat = layers.Dropout(0.1)(layers.Activation("relu")(layers.Add()([flat, other])))
    outputs = [layers.Dense(3)(flat), *([flat] if case == "output" else [])]
    found = written(keras.Model(inputs, outputs))
    permuted = "(h w c) o -> o (c h w)" in found.mapping.read_text()
    assert permuted == (case == "dense")


def test_dense_layers_between_convolutions(keras: Any, written: Check) -> None:
    layers = keras.layers
    found = written(
        stack(keras, (5, 7, 3), layers.Conv2D(4, 2), layers.Dense(6, "relu"), layers.Conv2D(3, 2))
    )
    assert "F.relu(self.dense(x.movedim(1, -1)))" in found.module.read_text()
