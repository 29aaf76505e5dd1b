"""The names of the variables of Keras' own layers, in the order in which they are saved.

A layer saves its trainable variables, then the others, each in order of creation (keras/src/layers/layer.py,
`save_own_variables`); the names are those of the `add_weight` calls in each layer's `build`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]
_Names = Sequence[str | None]


def _with_bias(*names: str) -> Callable[[Config], _Names]:
    return lambda config: [*names, "bias"] if config.get("use_bias", True) else list(names)


def _scaled(config: Config) -> _Names:
    """Layer, group and batch normalization before its statistics."""
    scale = config.get("scale", True) or config.get("rms_scaling", False)
    center = config.get("center", True) and not config.get("rms_scaling", False)
    return [*(["gamma"] if scale else []), *(["beta"] if center else [])]


def _batch_normalization(config: Config) -> _Names:
    renorm = ["moving_stddev", "renorm_mean", "renorm_stddev"] if config.get("renorm", False) else []
    return [*_scaled(config), "moving_mean", "moving_variance", *renorm]


def _einsum_dense(config: Config) -> _Names:
    return ["kernel", "bias"] if config.get("bias_axes") is not None else ["kernel"]


def _attention(config: Config) -> _Names:
    concat = config.get("score_mode") == "concat"
    return [
        *(["scale"] if config.get("use_scale", False) else []),
        *(["concat_score_weight"] if concat else []),
    ]


def _normalization(config: Config) -> _Names:
    # If the configuration gives the mean, it is a constant.
    return [] if config.get("mean") is not None else ["mean", "variance", "count"]


def _reversible_embedding(config: Config) -> _Names:
    return ["embeddings"] if config.get("tie_weights", True) else ["embeddings", "reverse_embeddings"]


_DENSE = _with_bias("kernel")
_SEPARABLE = _with_bias("depthwise_kernel", "pointwise_kernel")
_CELL = _with_bias("kernel", "recurrent_kernel")

_TABLE: dict[str, Callable[[Config], _Names]] = {
    "AdditiveAttention": lambda config: ["scale"] if config.get("use_scale", True) else [],
    "Attention": _attention,
    "BatchNormalization": _batch_normalization,
    "Dense": _DENSE,
    "EinsumDense": _einsum_dense,
    "Embedding": lambda config: ["embeddings"],
    "GroupNormalization": _scaled,
    "LayerNormalization": _scaled,
    "Normalization": _normalization,
    "PReLU": lambda config: ["alpha"],
    "RMSNormalization": lambda config: ["scale"],
    "ReversibleEmbedding": _reversible_embedding,
    # It saves the kernel of the wrapped layer again, which is named there.
    "SpectralNormalization": lambda config: [None, "vector_u"],
    "ConvLSTMCell": _CELL,
    "GRUCell": _CELL,
    "LSTMCell": _CELL,
    "SimpleRNNCell": _CELL,
    **{f"Conv{n}D{kind}": _DENSE for n in (1, 2, 3) for kind in ("", "Transpose")},
    **{f"Convolution{n}D{kind}": _DENSE for n in (1, 2, 3) for kind in ("", "Transpose")},
    **{f"DepthwiseConv{n}D": _DENSE for n in (1, 2)},
    **{f"SeparableConv{n}D": _SEPARABLE for n in (1, 2)},
    **{f"SeparableConvolution{n}D": _SEPARABLE for n in (1, 2)},
}

# Recurrent layers that create their own cell, and its class and name (keras/src/layers/rnn).
CELLS: Mapping[str, tuple[str, str]] = {
    "LSTM": ("LSTMCell", "lstm_cell"),
    "GRU": ("GRUCell", "gru_cell"),
    "SimpleRNN": ("SimpleRNNCell", "simple_rnn_cell"),
    **{f"ConvLSTM{n}D": ("ConvLSTMCell", "conv_lstm_cell") for n in (1, 2, 3)},
}

# The dense layers of attention, by attribute: keras/src/layers/attention/{multi_head,grouped_query}_attention.py.
ATTENTIONS = ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
PROJECTIONS = {
    "query_dense": "query",
    "key_dense": "key",
    "value_dense": "value",
    "gate_dense": "gate",
    "output_dense": "attention_output",
}


# Configurations that differ in the variables that a layer has.
_VARIANTS: tuple[Config, ...] = (
    *({"use_bias": bias, "bias_axes": "" if bias else None} for bias in (True, False)),
    *({"scale": scale, "center": center} for scale in (True, False) for center in (True, False)),
    {"rms_scaling": True},
    {"renorm": True},
    *({"use_scale": scale, "score_mode": mode} for scale in (True, False) for mode in ("dot", "concat")),
    {"tie_weights": False},
)


def possible_names(class_name: str, count: int) -> _Names | None:
    """The names of the variables of a layer whose configuration is unknown.

    Returns:
        A name for each variable, `None` where configurations differ in it; `None` if no configuration has so many.

    Example:
        >>> possible_names("Conv2D", 1), possible_names("BatchNormalization", 3)
        (['kernel'], [None, 'moving_mean', 'moving_variance'])
    """
    if class_name not in _TABLE:
        return None
    found = {tuple(names) for each in _VARIANTS if len(names := _TABLE[class_name](each)) == count}
    if not found:
        return None
    return [names[0] if len(set(names)) == 1 else None for names in zip(*found, strict=True)]


def known_classes() -> Sequence[str]:
    """The classes whose variables are known, and recurrent layers."""
    return (*_TABLE, *CELLS)


def variable_names(
    class_name: str, config: Config, count: int, keras_version: str | None = None
) -> _Names | None:
    """The names of the variables that a layer of Keras saved, in their order.

    Args:
        class_name: The layer's class.
        config: Its configuration.
        count: How many variables it saved.
        keras_version: The version of Keras that saved it.

    Returns:
        A name, or `None`, for each variable; `None` for a class that is not in the table, and for a layer whose
        number of variables differs from what its configuration implies, such as a quantized one.

    Example:
        >>> variable_names("BatchNormalization", {"scale": False}, 3)
        ['beta', 'moving_mean', 'moving_variance']
        >>> variable_names("Dense", {"use_bias": True}, 3) is None
        True
    """
    if class_name not in _TABLE:
        return None
    names = list(_TABLE[class_name](config))
    if class_name.startswith("DepthwiseConv") and (keras_version or "").startswith("2."):
        names[0] = "depthwise_kernel"
    return names if len(names) == count else None
