"""Names from configurations alone: versions of Keras that are not at hand."""

from __future__ import annotations

from typing import Any

import pytest

from tfpt.formats.keras.layer_names import LayerNames
from tfpt.formats.keras.layer_variables import variable_names


def node(kind: str, name: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": {"name": name, **config}}


def functional(*layers: dict[str, Any]) -> dict[str, Any]:
    return node("Functional", "model", "keras.src.engine.functional", layers=list(layers), input_layers=[])


def paths(*places: str) -> list[str]:
    return [f"{place.split(':')[0]}/vars/{n}" for place in places for n in range(int(place.split(":")[1]))]


def test_classes_are_counted_apart() -> None:
    model = functional(
        node("InputLayer", "in"),
        node("Conv2D", "stem"),
        node("Dense", "a"),
        node("Conv2D", "b", use_bias=False),
    )
    told = LayerNames(model, paths("layers/conv2d:2", "layers/dense:2", "layers/conv2d_1:1"), {})
    assert list(told.names.values()) == ["stem/kernel", "stem/bias", "a/kernel", "a/bias", "b/kernel"]


def test_operations_among_the_layers_are_not_counted() -> None:
    model = functional(node("Dense", "op", "keras.src.ops.nn"), node("Dense", "layer"))
    assert list(LayerNames(model, paths("layers/dense:2"), {}).names.values()) == [
        "layer/kernel",
        "layer/bias",
    ]


def test_keras_2_called_a_depthwise_kernel_otherwise() -> None:
    model = functional(node("DepthwiseConv2D", "dw"))
    two, three = (LayerNames(model, paths("layers/depthwise_conv2d:2"), {}, v) for v in ("2.15.0", "3.3.0"))
    assert list(two.names.values()) == ["dw/depthwise_kernel", "dw/bias"]
    assert list(three.names.values()) == ["dw/kernel", "dw/bias"]


def test_attention_of_either_spelling() -> None:
    model = functional(node("MultiHeadAttention", "mha"))
    for place in ("_query_dense", "query_dense"):
        told = LayerNames(model, paths(f"layers/multi_head_attention/{place}:2"), {})
        assert list(told.names.values()) == ["mha/query/kernel", "mha/query/bias"]


def test_a_layer_with_more_variables_than_its_kind_has_keeps_its_paths() -> None:
    told = LayerNames(functional(node("Dense", "int8")), paths("layers/dense:3"), {})
    assert list(told.names.values()) == ["int8/vars/0", "int8/vars/1", "int8/vars/2"]


def test_names_that_two_variables_would_share_are_not_given() -> None:
    model = functional(node("Dense", "same"), node("Dense", "same"))
    assert LayerNames(model, paths("layers/dense:2", "layers/dense_1:2"), {}).names == {}


def test_shorter_names_are_of_one_variable() -> None:
    seqs = [node("Sequential", name, "keras", layers=[node("Dense", "fc")]) for name in ("a", "b")]
    seqs[1]["config"]["layers"].append(node("Dense", "only"))
    places = paths("layers/sequential/layers/dense:2", "layers/sequential_1/layers/dense:2")
    told = LayerNames(functional(*seqs), [*places, *paths("layers/sequential_1/layers/dense_1:2")], {})
    assert told.shorter == {"only/kernel": "b/only/kernel", "only/bias": "b/only/bias"}


def test_the_label_in_the_file_has_the_last_word() -> None:
    model = functional(node("Dense", "one"), node("Dense", "two"))
    told = LayerNames(
        model, paths("layers/dense:2", "layers/dense_1:2"), {"layers/dense": "two", "layers/dense_1": "two"}
    )
    assert list(told.names.values()) == ["two/kernel", "two/bias"]


@pytest.mark.parametrize(
    "config",
    [
        None,
        5,
        [],
        {},
        {"class_name": 3, "config": {}},
        {"class_name": "Sequential", "config": {"layers": 5}},
        functional(node("Bidirectional", "b", layer={"config": {}})),
        functional(node("RNN", "r", cell=[])),
    ],
)
def test_a_configuration_of_anything_is_no_error(config: object) -> None:
    assert (
        "layers/x/vars/0" not in LayerNames(config, ["layers/x/vars/0", "vars/0", "vars"], {}).names.values()
    )


def test_a_configuration_without_end_is_followed_to_a_depth() -> None:
    deep = node("Dense", "d")
    for n in range(500):
        deep = node("Sequential", f"s{n}", "keras", layers=[deep])
    assert LayerNames(deep, ["layers/dense/vars/0"], {}).names == {}


def test_the_table_follows_the_configuration() -> None:
    assert variable_names("LayerNormalization", {"rms_scaling": True}, 1) == ["gamma"]
    assert variable_names("BatchNormalization", {"renorm": True}, 7) == [
        "gamma", "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev",
    ]  # fmt: skip
    assert variable_names("ReversibleEmbedding", {"tie_weights": False}, 2) == [
        "embeddings",
        "reverse_embeddings",
    ]
    assert variable_names("Normalization", {"mean": [0.5]}, 0) == []
    assert variable_names("NoSuchLayer", {}, 0) is None
