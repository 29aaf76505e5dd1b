"""Manifests: read, written, and when the model is asked instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfpt.errors import MappingError, SinkError
from tfpt.language.loader import load_mapping
from tfpt.targets.manifest import read_manifest, target_specs, write_manifest
from tfpt.tensors import TensorSpec


def test_what_is_written_is_plain_json_in_the_order_of_the_model(tmp_path):
    specs = {name: TensorSpec(name, shape, dtype) for name, shape, dtype in [
        ("w", (3, 5), "bfloat16"), ("a.steps", (), "int64"), ('quote"', (0,), "bool"),
    ]}  # fmt: skip
    path = tmp_path / "m.manifest.json"
    write_manifest(path, specs)
    table = json.loads(path.read_text())
    assert list(table) == ["w", "a.steps", 'quote"']
    assert table["w"] == {"dtype": "bfloat16", "shape": [3, 5]}
    assert len(path.read_text().splitlines()) == 5  # one parameter a line
    assert read_manifest(path) == specs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"w": {"shape": [3]}}',
        '{"w": {"dtype": "float33", "shape": []}}',
        '{"w": {"dtype": "int8", "shape": ["x"]}}',
    ],
)
def test_what_is_no_manifest_is_refused_with_what_one_looks_like(tmp_path, text):
    path = tmp_path / "m.manifest.json"
    path.write_text(text)
    with pytest.raises(MappingError, match="not a table of parameters") as error:
        read_manifest(path)
    assert '{"NAME": {"dtype": "float32", "shape": [3, 5]}}' in str(error.value)
    assert "m.manifest.json" in str(error.value)


def test_a_manifest_that_cannot_be_read_or_written_is_refused(tmp_path):
    with pytest.raises(MappingError, match="cannot read the manifest"):
        read_manifest(tmp_path)
    with pytest.raises(SinkError, match="a folder cannot be the output file"):
        write_manifest(tmp_path, {})


def test_with_a_parameter_set_the_model_is_asked():
    assert target_specs(load_mapping("i3d_rgb"))["conv3d_0c_1x1.conv3d.bias"].shape == (400,)
    specs = target_specs(load_mapping("i3d_rgb", {"num_classes": 7}))
    assert specs["conv3d_0c_1x1.conv3d.bias"].shape == (7,)


def test_with_a_configuration_a_mapping_without_a_model_is_refused(tiny):
    configurable = tiny.mapping.with_name("configurable.yaml")
    configurable.write_text("params: {size: {from: size}}\n" + Path(tiny.mapping).read_text())
    configurable.with_suffix(".manifest.json").write_text("{}")
    with pytest.raises(MappingError, match="a configuration that its manifest does not cover"):
        target_specs(load_mapping(configurable, config={"size": 3}))
