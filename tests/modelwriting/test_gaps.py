"""Layers that cannot be written: named with the reason, a module that raises, exit code 1; never a guess."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import tfpt
from tests.commands.running import run
from tfpt.errors import SinkError, SourceError, TfptError
from tfpt.modelwriting.writing import WrittenModel


def save(model: Any, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def write(model: Any, folder: Path) -> WrittenModel:
    return tfpt.write_model(save(model, folder), folder / "gap_net.py", overwrite=True)


def module_of(found: WrittenModel) -> torch.nn.Module:
    spec = importlib.util.spec_from_file_location("gap_net_loaded", found.module)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    module: torch.nn.Module = getattr(loaded, found.factory.partition(":")[2])()
    return module


def test_a_gap_is_named_and_raises_and_what_follows_is_written(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 7, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Lambda(lambda x: x * 2, name="double"),
            layers.Flatten(name="flat"),
            layers.Dense(2, name="head"),
        ]
    )
    found = write(model, tmp_path)
    (gap,) = found.missing
    assert (gap.layer, gap.kind, gap.reason) == ("double", "Lambda", "its code is not in the file")
    assert gap.shapes == "(batch, 4, 5, 4) -> (batch, 4, 5, 4)"
    assert not found.settled
    assert found.proof.reason == "not every layer was written"
    with pytest.raises(NotImplementedError, match="the layer double, a Lambda, was not written"):
        module_of(found)(torch.zeros(1, 3, 6, 7))
    text = found.module.read_text()
    assert "TODO: 1 of its layers could not be written; search for TODO." in text
    assert "(batch, 4, 5, 4) -> (batch, 4, 5, 4), in Keras' order of axes, channels last." in text
    assert "self.head = nn.Linear(80, 2)" in text


def test_a_gap_that_is_filled_in_computes_what_keras_computes(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 7, 3)),
            layers.Conv2D(4, 3),
            layers.Lambda(lambda x: x * 2, name="double"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    found = write(model, tmp_path)
    text = found.module.read_text()
    raising = 'raise NotImplementedError("the layer double, a Lambda, was not written")'
    assert raising in text
    (tmp_path / "filled_net.py").write_text(text.replace(raising, "return x * 2"))
    mapping = found.mapping.read_text().replace("gap_net:", "filled_net:")
    (tmp_path / "filled_net.yaml").write_text(mapping)
    module = tfpt.load(tmp_path / "filled_net.yaml", tmp_path / "model.keras", trust=True)
    x = torch.randn(2, 6, 7, 3)
    with torch.inference_mode():
        got = module(x.movedim(-1, 1))
    torch.testing.assert_close(got.numpy(), model(x.numpy()).numpy(), rtol=1e-5, atol=1e-5)


def gaps(keras: Any) -> dict[str, tuple[Any, str, str]]:
    """A model, its layer that is a gap, and the reason."""
    layers = keras.layers

    def stack(shape: tuple[int, ...], *rest: Any) -> Any:
        return keras.Sequential([keras.Input(shape), *rest])

    def masked(layer: Any) -> Any:
        return stack((7,), layers.Embedding(11, 4, mask_zero=True), layer)

    return {
        "gru": (
            stack((7, 3), layers.GRU(4, activation="gelu")),
            "gru",
            "its activations are gelu and sigmoid; tfpt.nn.GRU does not have both",
        ),
        "gates": (
            stack((7, 3), layers.LSTM(4, recurrent_activation="sparsemax", name="lstm")),
            "lstm",
            "its activations are tanh and sparsemax; tfpt.nn.LSTM does not have both",
        ),
        "mask": (masked(layers.LSTM(3, name="lstm")), "lstm", "its input has a mask"),
        "masked mean": (
            masked(layers.GlobalAveragePooling1D()),
            "global_average_pooling1d",
            "its input has a mask",
        ),
        "resizing": (
            stack((7, 8, 3), layers.Resizing(3, 4, crop_to_aspect_ratio=True)),
            "resizing",
            "it has crop_to_aspect_ratio=True",
        ),
        "axis": (
            stack((7, 8, 3), layers.BatchNormalization(axis=1)),
            "batch_normalization",
            "it normalizes along the axis 1, not the last one",
        ),
        "unknown": (
            stack((7, 8, 3, 2), layers.ConvLSTM2D(3, 2)),
            "conv_lstm2d",
            "tfpt cannot write a ConvLSTM2D",
        ),
        "merge": (
            stack((7, 3), layers.Bidirectional(layers.LSTM(4), merge_mode="sum")),
            "bidirectional",
            "merge_mode is 'sum'",
        ),
        "time": (
            stack((7, 8, 9, 3), layers.TimeDistributed(layers.Conv2D(2, 3))),
            "time_distributed",
            "it applies Conv2D to each step; only Dense is written",
        ),
        "threshold": (stack((3,), layers.ReLU(threshold=0.5)), "re_lu", "its threshold is not 0"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "gru",
        "gates",
        "mask",
        "masked mean",
        "resizing",
        "axis",
        "unknown",
        "merge",
        "time",
        "threshold",
    ],
)
def test_what_torch_cannot_do_is_a_gap_with_its_reason(case: str, keras: Any, tmp_path: Path) -> None:
    model, layer, reason = gaps(keras)[case]
    found = write(model, tmp_path)
    (gap,) = found.missing
    assert gap.layer == layer
    assert gap.reason.startswith(reason)
    variables = [spec.name for spec in gap.variables]
    for name in variables:
        assert name.startswith(f"{layer}/")
        assert f"# {name} " in found.module.read_text()
        assert f"#   {name} " in found.mapping.read_text()
    assert bool(variables) == (case in ("gru", "gates", "mask", "axis", "unknown", "merge", "time"))


def test_a_mask_that_nothing_uses_is_not_a_gap(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((7,)), layers.Embedding(11, 4, mask_zero=True), layers.Conv1D(3, 2), layers.Flatten()]
    )
    assert write(model, tmp_path).settled


def test_a_class_of_ones_own_is_a_gap_even_if_keras_has_its_name(keras: Any, tmp_path: Path) -> None:
    class Dense(keras.layers.Dense):  # type: ignore[misc, name-defined]
        def call(self, x: Any, training: bool = False) -> Any:
            return super().call(x) * 3

    found = write(keras.Sequential([keras.Input((5,)), Dense(3, name="mine")]), tmp_path)
    assert [(gap.layer, gap.reason) for gap in found.missing] == [("mine", "its code is not in the file")]


def test_a_call_in_training_mode_is_a_gap(keras: Any, tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    outputs = keras.layers.Dropout(0.5, name="drop")(inputs, training=True)
    (gap,) = write(keras.Model(inputs, outputs), tmp_path).missing
    assert gap.reason == "it is called with training=True"


def test_without_keras_it_says_that_nothing_was_proven(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]), tmp_path)

    def missing() -> Any:
        raise SourceError("running a Keras model needs Keras, which is not installed", got="No module")

    monkeypatch.setattr("tfpt.networks.running.importing.import_keras", missing)
    result = run("init", file, "--write-model", tmp_path / "unproven_net.py")
    assert result.code == 0
    assert "not proven running a Keras model needs Keras, which is not installed" in result.out


def test_the_command_prints_gaps_and_ends_with_1(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((7, 3)), layers.GRU(4, activation="gelu", name="memory")])
    result = run("init", save(model, tmp_path), "--write-model", tmp_path / "gap_net.py")
    assert result.code == 1
    assert "not written memory, a GRU: its activations are gelu and sigmoid" in result.out
    assert "variable memory/gru_cell/kernel [3, 12]" in result.out


def test_the_command_proves_and_ends_with_0(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)])
    file = save(model, tmp_path)
    result = run("init", file, "--write-model", tmp_path / "small_net.py", "--out", tmp_path / "own.yaml")
    assert result.code == 0, result.err
    assert "proven both networks agree on a random input" in result.out
    done = run(
        "convert", "--mapping", tmp_path / "own.yaml", "--checkpoint", file, "--out", tmp_path / "w.safetensors",
        "--trust",
    )  # fmt: skip
    assert done.code == 0, done.err
    again = run("init", file, "--write-model", tmp_path / "small_net.py")
    assert again.code == 2
    assert "the module exists already" in again.err


def test_other_options_do_not_fit(tmp_path: Path) -> None:
    result = run("init", "m.keras", "--write-model", tmp_path / "net.py", "--model", "a:B")
    assert result.code == 2
    assert "--write-model can only be combined with" in result.err


@pytest.mark.parametrize(
    ("out", "mapping", "what"),
    [
        ("my-net.py", None, "the module cannot be imported under this name"),
        ("net.txt", None, "the module cannot be imported under this name"),
        ("json.py", None, "json is the name of an installed package"),
        ("torch.py", None, "torch is the name of an installed package"),
        ("fine_net.py", "elsewhere/net.yaml", "the mapping would not find the module"),
    ],
)
def test_names_that_cannot_work(out: str, mapping: str | None, what: str, tmp_path: Path) -> None:
    with pytest.raises(TfptError, match=what):
        tfpt.write_model("m.keras", tmp_path / out, None if mapping is None else tmp_path / mapping)


def test_files_that_are_not_whole_models(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)])
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(SourceError, match="the file has weights only"):
        tfpt.write_model(tmp_path / "m.weights.h5", tmp_path / "some_net.py")
    assert not (tmp_path / "some_net.py").exists()

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    own = Own()
    own(torch.zeros(1, 5).numpy())
    own.save(tmp_path / "own.keras")
    with pytest.raises(SourceError, match="not made of layers that its configuration lists"):
        tfpt.write_model(tmp_path / "own.keras", tmp_path / "some_net.py")
    (tmp_path / "old_net.py").write_text("")
    with pytest.raises(SinkError, match="the module exists already"):
        tfpt.write_model(tmp_path / "own.keras", tmp_path / "old_net.py")
