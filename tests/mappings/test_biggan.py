"""BigGAN-deep: spectral norms against numpy, statistics, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.mappings.agreement import Agree
from tests.mappings.recorded import read

CASE = read("biggan_deep")
Variables = dict[str, np.ndarray]


def planned(folder: Path, variables: Variables, **config: Any) -> tfpt.Plan:
    return tfpt.plan("biggan_deep", CASE.write(folder, variables), config=CASE.config | config)


def converted(folder: Path, variables: Variables, **config: Any) -> Variables:
    checkpoint = CASE.write(folder, variables)
    out = folder / "w.safetensors"
    tfpt.convert("biggan_deep", checkpoint, out, config=CASE.config | config, overwrite=True)
    return load_file(out)


def test_u_and_v_are_those_after_a_step_of_power_iteration(tmp_path: Path, agree: Agree) -> None:
    """As TensorFlow takes one whenever the network runs."""
    variables = CASE.variables()
    written = converted(tmp_path, variables)
    weights = {parts[0][0]: name for name, parts in CASE.parameters.items() if name.endswith(".weight_orig")}
    expected = {}
    for variable, name in weights.items():
        w = variables[variable].astype(np.float64)
        u = variables[variable.replace("/w/ema_0.9999", "/u0")]
        # Inputs in PyTorch's order: channels, height, width.
        matrix = np.moveaxis(w, (-1, -2), (0, 1)).reshape(w.shape[-1], -1)
        v = matrix.T @ u[0]
        v /= np.linalg.norm(v)
        after = matrix @ v
        expected[name.replace("_orig", "_v")] = v
        expected[name.replace("_orig", "_u")] = after / np.linalg.norm(after)
    assert len(expected) == sum(name.endswith(("_u", "_v")) for name in written) > 200
    found = {name: written[name] for name in expected}
    agree("biggan_deep", found, expected, to="numpy's power iteration", within=1e-6)


def test_the_prefix_of_the_hub_and_averages_of_the_other_name_are_the_same(tmp_path: Path) -> None:
    variables = CASE.variables()
    renamed = {
        f"module/{name}".replace("ema_0.9999", "ema_b999900"): value for name, value in variables.items()
    }
    expected = converted(tmp_path, variables)
    for name, value in converted(tmp_path, renamed).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_the_statistics_of_one_truncation_serve_all(tmp_path: Path) -> None:
    single = {
        name: value[:1].reshape(1, 1, 1, -1) if "/accumulated_" in name else value
        for name, value in CASE.variables().items()
    }
    written = converted(tmp_path, single, statistics_by_truncation=False)
    mean = single["Generator/GBlock_9/BatchNorm_3/accumulated_mean"].reshape(-1)
    np.testing.assert_array_equal(written["generator.layers.10.bn_3.running_means"], np.stack([mean] * 5))


def test_weights_beside_their_averages_are_not_read(tmp_path: Path) -> None:
    variables = CASE.variables()
    raw = {
        name.removesuffix("/ema_0.9999"): np.zeros_like(value)
        for name, value in variables.items()
        if name.endswith("/ema_0.9999")
    }
    expected = converted(tmp_path, variables)
    for name, value in converted(tmp_path, variables | raw).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize(
    "name",
    [
        "linear/w/ema_0.9999",
        "Generator/GBlock_7/conv2/u0",
        "Generator/GBlock_8/BatchNorm_1/offset/w/ema_0.9999",
        "Generator/attention/gamma/ema_0.9999",
        "Generator/BatchNorm/accumulated_var",
    ],
)
def test_a_missing_variable_is_found(name: str, tmp_path: Path) -> None:
    variables = CASE.variables()
    del variables[name]
    assert {finding.kind for finding in planned(tmp_path, variables).findings} >= {"absent"}


def test_a_stray_scope_and_other_sizes_are_found(tmp_path: Path) -> None:
    variables = CASE.variables()
    stray = variables | {"teacher/linear/b": np.zeros(3, np.float32)}
    assert planned(tmp_path, stray).findings
    assert {finding.kind for finding in planned(tmp_path, variables, channel_width=16).findings} == {"shape"}
    assert planned(tmp_path, variables, layers=[*CASE.config["layers"][:8], [True, 2, 1]]).findings
