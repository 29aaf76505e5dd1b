"""The weights of a quantized TensorFlow Lite model: refused as integers, right where they are dequantized."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tests.commands.running import run
from tests.conftest import DATA
from tfpt.planning import PlanError

MODEL = DATA / "int8" / "q.tflite"
# A user's mapping: out of int8 kernels and int32 biases into a float32 model.
MAPPING = """\
version: 1
source: {scope: functional_1}
weights:
  - {tf: "c{n}_1/convolution", pt: "c{n}.weight", layout: "o h w i -> o i h w"}
  - {tf: "c1_1/Relu{_...}", pt: c1.bias}
  - {tf: "c2_1/BiasAdd{_...}", pt: c2.bias}
"""
SHAPES = {"c1.weight": [64, 3, 3, 3], "c1.bias": [64], "c2.weight": [32, 64, 3, 3], "c2.bias": [32]}


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(MAPPING)
    manifest = {name: {"dtype": "float32", "shape": shape} for name, shape in SHAPES.items()}
    (tmp_path / "m.manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "m.yaml"


def test_integers_are_refused_with_their_scales(mapping: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        tfpt.convert(mapping, MODEL, tmp_path / "w.safetensors")
    findings = caught.value.plan.findings
    assert {finding.name for finding in findings} == SHAPES.keys()
    assert {finding.kind for finding in findings} == {"quantized"}
    assert all("--dequantize" in finding.hint and "dtype: float" not in finding.hint for finding in findings)
    assert any(finding.got.startswith("int32, 64 scales along axis 0") for finding in findings)
    assert not (tmp_path / "w.safetensors").exists()
    assert run("diff", "--mapping", mapping, MODEL).code == 1


def test_dequantized_they_are_what_tensorflow_says(mapping: Path, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    tfpt.convert(mapping, MODEL, tmp_path / "w.safetensors", dequantize=True)
    written = tfpt.open_source(tmp_path / "w.safetensors")
    interpreter = tf.lite.Interpreter(str(MODEL))
    interpreter.allocate_tensors()
    expected = {}
    for detail in interpreter.get_tensor_details():
        scales = detail["quantization_parameters"]["scales"]
        if len(scales) in (32, 64):
            values = interpreter.get_tensor(detail["index"]).astype(np.float64)
            real = values * scales.astype(np.float64).reshape(-1, *[1] * (values.ndim - 1))
            layer = "c1" if len(scales) == 64 else "c2"
            expected[f"{layer}.{'weight' if real.ndim == 4 else 'bias'}"] = real
    assert expected.keys() == SHAPES.keys()
    for name, real in expected.items():
        real = real.transpose(0, 3, 1, 2) if real.ndim == 4 else real
        np.testing.assert_array_equal(written.read(name), real.astype(np.float32))
