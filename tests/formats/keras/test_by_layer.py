"""One set of names for all files of a Keras model, compared with what Keras itself says of the model's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tfpt
from tests.commands.running import run
from tests.formats.keras.building import BUILDERS, assert_same, fill, model_tensors
from tfpt.formats.keras.by_layer import in_layer
from tfpt.formats.keras.layer_variables import possible_names, variable_names

SUFFIXES = ("keras", "h5", "weights.h5")


def saved(model: Any, folder: Path) -> dict[str, Path]:
    files = {suffix: folder / f"m.{suffix}" for suffix in SUFFIXES}
    model.save(files["keras"])
    model.save(files["h5"])
    model.save_weights(files["weights.h5"])
    return files


def named(path: Path) -> dict[str, np.ndarray]:
    source = tfpt.open_source(path, names="keras")
    try:
        return model_tensors(source)
    finally:
        source.close()


def by_layers(keras: Any, layer: Any, above: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """What Keras' own objects say: the names of nested models and layers, then the weight's."""
    found: dict[str, np.ndarray] = {}
    for each in layer.layers:
        scope = (*above, each.name)
        if hasattr(each, "layers"):
            found |= by_layers(keras, each, scope)
        else:
            for weight in each.weights:
                # The part of the path below the layer: sublayers and the weight.
                below = weight.path.split(f"{each.name}/", 1)[-1]
                found["/".join((*scope, below))] = np.asarray(weight)
    return found


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_and_values_are_those_of_the_layers(
    keras, model, name: str, suffix: str, tmp_path: Path
) -> None:
    built = model(name)
    expected = by_layers(keras, built)
    assert len(expected) == len(built.weights)
    found = named(saved(built, tmp_path)[suffix])
    if suffix == "weights.h5":
        # The file does not say whether they are scales or offsets.
        for unclear in {layer for layer in ("gn", "ln", "bn") if f"{layer}/vars/0" in found}:
            left = [path for path in expected if path in (f"{unclear}/gamma", f"{unclear}/beta")]
            assert len(left) == 1
            found[left[0]] = found.pop(f"{unclear}/vars/0")
    assert set(found) == set(expected)
    for path, values in expected.items():
        assert_same(found[path], values)


@pytest.mark.parametrize("name", ["plain", "sequences", "images"])
def test_a_model_that_was_loaded_has_the_same_names(keras, model, name: str, tmp_path: Path) -> None:
    files = saved(model(name), tmp_path)
    (tmp_path / "again").mkdir()
    again = saved(keras.models.load_model(files["keras"]), tmp_path / "again")
    for suffix in ("keras", "weights.h5"):
        assert list(named(files[suffix])) == list(named(again[suffix]))


def test_optimizer_and_metrics_keep_their_names_and_roles(trained, tmp_path: Path) -> None:
    for path in saved(trained, tmp_path).values():
        plain, ours = tfpt.open_source(path), tfpt.open_source(path, names="keras")
        assert dict(ours.roles) == dict(plain.roles)
        assert len(ours.specs) == len(plain.specs)
        assert ours.fingerprint() == plain.fingerprint()


def test_one_mapping_fits_every_file(keras, tmp_path: Path) -> None:
    layers = keras.layers
    built = keras.Sequential(
        [keras.Input((5, 6, 3)), layers.DepthwiseConv2D(2, name="dw"), layers.Conv2D(7, 1, name="pw")],
        name="net",
    )
    fill(built)
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "version: 1\n"
        "source: {names: keras}\n"
        "scopes:\n"
        "  - {tf: dw, pt: dw, use: keras/depthwise_conv2d}\n"
        "  - {tf: pw, pt: pw, use: keras/conv2d}\n"
    )
    files = saved(built, tmp_path)
    old = tmp_path / "keras2.h5"
    with h5py.File(old, "w") as file:
        file.attrs["layer_names"] = [b"dw", b"pw"]
        for layer, names in {"dw": ("depthwise_kernel", "bias"), "pw": ("kernel", "bias")}.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in names]
            for name, weight in zip(names, built.get_layer(layer).weights, strict=True):
                group[f"{layer}/{name}:0"] = np.asarray(weight)
    for path in (*files.values(), old):
        out = tmp_path / f"{path.name}.safetensors"
        tfpt.convert(mapping, path, out, use_model=False)
        kernel = tfpt.open_source(out).read("pw.weight")
        assert np.array_equal(kernel, np.asarray(built.get_layer("pw").kernel).transpose(3, 2, 0, 1))
        assert tfpt.open_source(out).read("dw.weight").shape == (3, 1, 2, 2)


def test_recurrent_layers_of_all_versions(tmp_path: Path) -> None:
    shapes = {"kernel": (5, 28), "recurrent_kernel": (7, 28), "bias": (28,)}
    for scope in ("lstm_1/lstm_cell", "lstm_1/lstm_cell_4", "lstm_1"):
        path = tmp_path / "m.h5"
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [b"lstm_1"]
            group = file.create_group("lstm_1")
            group.attrs["weight_names"] = [f"{scope}/{name}:0".encode() for name in shapes]
            for name, shape in shapes.items():
                group[f"{scope}/{name}:0"] = np.zeros(shape, np.float32)
        assert list(named(path)) == [f"lstm_1/lstm_cell/{name}" for name in shapes]


@pytest.mark.parametrize("family", ["h5_bert", "h5_vit", "h5_resnet", "h5_t5"])
def test_classes_of_transformers_have_no_counter_of_the_process(family: str, shared: Path) -> None:
    plain = tfpt.open_source(shared / "gold/converters" / family / "tf/tf_model.h5")
    found = tfpt.open_source(plain.location, names="keras")
    assert len(found.specs) == len(plain.specs)
    assert not [name for name in found.specs if "model" in name or "conditional" in name or ":" in name]


def test_layers_of_other_people(keras, tmp_path: Path) -> None:
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.proj = layers.Dense(3, name="query")
            self.more = [layers.Dense(3, name="up"), layers.Dense(3, name="down")]

        def build(self, shape):
            for layer in (self.proj, *self.more):
                layer.build(shape)

        def call(self, x):
            return self.more[1](self.more[0](self.proj(x)))

    x = keras.Input((3,))
    built = keras.Model(x, Block(name="block")(x))
    fill(built)
    files = saved(built, tmp_path)
    # What a class of a custom layer's attribute calls its variables is not in the file.
    expected = {f"block/query/vars/{n}" for n in (0, 1)}
    expected |= {f"block/{name}/{weight}" for name in ("up", "down") for weight in ("kernel", "bias")}
    assert set(named(files["keras"])) == set(named(files["weights.h5"])) == expected


def test_sharded_weights(keras, model, tmp_path: Path) -> None:
    model("plain").save_weights(tmp_path / "m.weights.json", max_shard_size=3e-7)
    model("plain").save_weights(tmp_path / "m.weights.h5")
    assert set(named(tmp_path / "m.weights.json")) == set(named(tmp_path / "m.weights.h5"))


def test_names_that_two_weights_would_share_are_not_given(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = [b"x/a/kernel:0", b"y/a/kernel:0"]
        for name in ("x", "y"):
            group[f"{name}/a/kernel:0"] = np.zeros(3)
    assert set(named(tmp_path / "m.h5")) == {"a/x/a/kernel:0", "a/y/a/kernel:0"}


def test_inspect_lists_them(model, tmp_path: Path) -> None:
    path = saved(model("plain"), tmp_path)["weights.h5"]
    found = run("inspect", path, "--names", "keras", "--json")
    assert {tensor["name"] for tensor in found.json["tensors"]} >= {"my_dense/kernel", "sub_model/inner/bias"}


@pytest.mark.parametrize(
    ("layer", "path", "name"),
    [
        ("conv", "conv/kernel:0", "conv/kernel"),
        ("conv", "conv_1/kernel:0", "conv/conv_1/kernel"),
        ("dense", "net/dense/dense/kernel", "dense/dense/kernel"),
        ("kernel", "kernel", "kernel/kernel"),
        ("a/b", "net/a/b/w:0", "a/b/w"),
        ("shared", "shared/shared/embeddings:0", "shared/shared/embeddings"),
    ],
)
def test_a_layer_is_found_in_the_full_name(layer: str, path: str, name: str) -> None:
    assert in_layer(layer, path) == name


def test_possible_names_agree_with_every_configuration() -> None:
    for config in ({}, {"use_bias": False}, {"scale": False}, {"center": False}):
        for kind in ("Dense", "Conv2D", "BatchNormalization", "LSTMCell", "SeparableConv2D"):
            for count in range(1, 6):
                exact, ours = variable_names(kind, config, count), possible_names(kind, count)
                if exact is not None:
                    assert ours is not None
                    assert all(mine in (None, name) for mine, name in zip(ours, exact, strict=True))


def test_random_generators_are_counters(keras, tmp_path: Path) -> None:
    built = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="d"), keras.layers.Dropout(0.5, name="drop")],
        name="net",
    )
    built.export(tmp_path / "sm", verbose=False)
    source = tfpt.open_source(tmp_path / "sm", names="keras")
    from tfpt.formats.roles import roles_of

    assert {name for name in source.specs if name not in roles_of(source)} == {"net/d/kernel", "net/d/bias"}
