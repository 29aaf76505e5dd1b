"""The library's layers of TensorFlow 1 against TensorFlow's own operation for the same cell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tfpt.nn
from tests.commands.running import run


def test_an_lstm_computes_what_block_lstm_computes(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    inputs, units, steps, batch = 3, 5, 7, 2
    random = np.random.default_rng(3)
    kernel = random.normal(size=(inputs + units, 4 * units)).astype(np.float32)
    bias = random.normal(size=4 * units).astype(np.float32)
    x = random.normal(size=(steps, batch, inputs)).astype(np.float32)
    zeros, peepholes = np.zeros((batch, units), np.float32), np.zeros(units, np.float32)
    expected = tf.raw_ops.BlockLSTM(
        seq_len_max=steps, x=x, cs_prev=zeros, h_prev=zeros, w=kernel, b=bias,
        wci=peepholes, wcf=peepholes, wco=peepholes, forget_bias=1.0, cell_clip=-1.0, use_peephole=False,
    ).h.numpy()  # fmt: skip
    lstm = torch.nn.LSTM(inputs, units)
    np.savez(tmp_path / "w.npz", **{"rnn/cell/kernel": kernel, "rnn/cell/bias": bias})  # type: ignore[arg-type]
    listed = {
        f"rnn.{name}": {"dtype": "float32", "shape": list(value.shape)}
        for name, value in lstm.state_dict().items()
    }
    (tmp_path / "m.manifest.json").write_text(json.dumps(listed))
    (tmp_path / "m.yaml").write_text("version: 1\nscopes: [{tf: rnn/cell, pt: rnn, use: tf1/lstm}]\n")
    plan = tfpt.plan(tmp_path / "m.yaml", tmp_path / "w.npz")
    assert tfpt.Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    tfpt.convert(tmp_path / "m.yaml", tmp_path / "w.npz", tmp_path / "w.safetensors")
    loaded = {
        name.removeprefix("rnn."): value for name, value in load_file(tmp_path / "w.safetensors").items()
    }
    lstm.load_state_dict(loaded)
    with torch.inference_mode():
        got = lstm(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-6)


def converted(folder: Path, use: str, variables: dict[str, np.ndarray], layer: torch.nn.Module) -> None:
    """Fill a layer from the variables of a cell, by one of the library's layers."""
    np.savez(folder / "w.npz", **{f"rnn/cell/{name}": value for name, value in variables.items()})  # type: ignore[arg-type]
    listed = {
        f"rnn.{name}": {"dtype": "float32", "shape": list(value.shape)}
        for name, value in layer.state_dict().items()
    }
    (folder / "m.manifest.json").write_text(json.dumps(listed))
    (folder / "m.yaml").write_text(f"version: 1\nscopes: [{{tf: rnn/cell, pt: rnn, use: {use}}}]\n")
    tfpt.convert(folder / "m.yaml", folder / "w.npz", folder / "w.safetensors")
    found = load_file(folder / "w.safetensors")
    layer.load_state_dict({name.removeprefix("rnn."): value for name, value in found.items()})


@pytest.mark.parametrize("projected", [None, 2])
def test_an_lstm_with_peepholes_computes_what_the_cell_computes(
    projected: int | None, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    from tests.nn.test_recurrent import run_cell

    x = np.random.default_rng(3).normal(size=(7, 2, 3)).astype(np.float32)
    variables, expected, _ = run_cell(
        lambda cells: cells.LSTMCell(5, use_peepholes=True, num_proj=projected), x
    )
    lstm = tfpt.nn.LSTM(3, 5, peepholes=True, proj_size=projected or 0)
    converted(tmp_path, "tf1/lstm_peepholes", variables, lstm)
    with torch.inference_mode():
        got = lstm(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_a_gru_computes_what_the_cell_computes(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from tests.nn.test_recurrent import run_cell

    x = np.random.default_rng(3).normal(size=(7, 2, 3)).astype(np.float32)
    variables, expected, _ = run_cell(lambda cells: cells.GRUCell(5), x)
    gru = tfpt.nn.GRU(3, 5, reset_after=False)
    converted(tmp_path, "tf1/gru", variables, gru)
    with torch.inference_mode():
        got = gru(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_the_sizes_of_the_model_must_add_up_and_be_known(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "w.npz", **{"c/kernel": np.zeros((8, 20), np.float32), "c/bias": np.zeros(20, np.float32)}
    )  # type: ignore[arg-type]
    (tmp_path / "m.yaml").write_text("version: 1\nscopes: [{tf: c, pt: r, use: tf1/lstm}]\n")
    sizes = {"weight_ih_l0": [20, 2], "weight_hh_l0": [20, 5], "bias_ih_l0": [20], "bias_hh_l0": [20]}
    listed = {f"r.{name}": {"dtype": "float32", "shape": shape} for name, shape in sizes.items()}
    (tmp_path / "m.manifest.json").write_text(json.dumps(listed))
    (finding,) = tfpt.plan(tmp_path / "m.yaml", tmp_path / "w.npz").findings
    assert finding.kind == "shape"
    assert "2 + 5 = 7" in finding.expected
    without = run("convert", "--no-model", "--mapping", tmp_path / "m.yaml", "--checkpoint", tmp_path / "w.npz",
                  "--out", tmp_path / "o.safetensors")  # fmt: skip
    assert without.code == 1
    assert "are those of the model's parameters, which are not known" in without.out
