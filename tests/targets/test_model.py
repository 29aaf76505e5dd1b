"""The model that a mapping names."""

from __future__ import annotations

import sys

import pytest
import torch

from tfpt.errors import ModelError
from tfpt.language.loader import load_mapping
from tfpt.targets.model import build_model, model_specs


def mapping_of(tiny, model):
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {model}\n")
    return load_mapping(tiny.mapping)


def test_is_built_on_the_meta_device_and_evaluates():
    model = build_model(load_mapping("i3d_rgb"))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert not model.training


def test_its_specs_are_those_of_its_state_dict():
    layer = torch.nn.Sequential(torch.nn.Linear(3, 5, dtype=torch.bfloat16), torch.nn.BatchNorm1d(5))
    found = {name: (spec.shape, spec.dtype) for name, spec in model_specs(layer).items()}
    assert list(found) == list(layer.state_dict())
    assert found["0.weight"] == ((5, 3), "bfloat16")
    assert found["1.num_batches_tracked"] == ((), "int64")


def test_takes_the_configuration_that_came_with_a_checkpoint():
    transformers = pytest.importorskip("transformers")
    config = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 11}
    model = build_model(load_mapping("bert", config=config))
    assert isinstance(model, transformers.BertForPreTraining)
    assert model.config.hidden_size == 8


def test_the_classes_of_a_configuration_replace_the_number_of_labels_of_the_mapping(tiny):
    pytest.importorskip("transformers")
    tiny.mapping.write_text(
        "version: 1\n"
        "params: {classes: {from: [num_labels, len(id2label)], default: 5}}\n"
        "model:\n"
        "  factory: transformers:MobileNetV1ForImageClassification\n"
        "  config: transformers:MobileNetV1Config\n"
        "  kwargs: {num_labels: '${classes}', depth_multiplier: 0.125}\n"
    )
    for config, classes in (
        ({}, 5),
        ({"id2label": {str(number): "x" for number in range(7)}}, 7),
        ({"num_labels": 3}, 3),
    ):
        model = build_model(load_mapping(tiny.mapping, config={"min_depth": 8, **config}))
        assert model.classifier.out_features == classes


def test_a_mapping_that_names_none_is_refused():
    with pytest.raises(ModelError, match="names no model") as error:
        build_model(load_mapping("i3d_rgb_piergiaj"))
    assert "package.module:Class" in str(error.value)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("{factory: 'torch.nn:Nonesuch'}", "torch.nn has no callable Nonesuch"),
        ("{factory: 'torch.nn:Linear', kwargs: {in_features: 3, out_features: -5}}", "rejects its arguments"),
        ("{factory: 'torch.nn:Linear'}", "rejects its arguments"),
        ("{factory: 'torch.nn.functional:relu', kwargs: {input: 3}}", "not a class of layers"),
        ("{factory: 'torch.nn:Parameter'}", "not a class of layers"),
        ("{factory: 'transformers:pipeline', kwargs: {task: nonesuch}}", "not a class of layers"),
        ("{factory: 'transformers:BertConfig'}", "not a class of layers"),
        ("{factory: 'transformers:BertModel', config: 'transformers:pipeline'}", "not a configuration class"),
    ],
)
def test_what_makes_no_model_is_refused_with_its_place(tiny, model, says):
    if "transformers" in model:
        pytest.importorskip("transformers")
    with pytest.raises(ModelError, match=says) as error:
        build_model(mapping_of(tiny, model))
    assert "tiny.yaml:12" in str(error.value)


def test_a_trusted_model_may_lie_beside_its_mapping(tmp_path, monkeypatch):
    (tmp_path / "beside_its_mapping.py").write_text(
        "from torch import nn\n\nclass Net(nn.Linear):\n    pass\n"
    )
    path = tmp_path / "m.yaml"
    path.write_text(
        "version: 1\nmodel: {factory: 'beside_its_mapping:Net', kwargs: {in_features: 3, out_features: 5}}\n"
    )
    before = list(sys.path)
    model = build_model(load_mapping(path), trust=True)
    assert tuple(model.weight.shape) == (5, 3)
    assert sys.path == before


@pytest.mark.parametrize(
    ("code", "says", "line"),
    [
        ("raise RuntimeError('no driver')", "RuntimeError: no driver", 3),
        ("None.x", "AttributeError: 'NoneType' object has no attribute 'x'", 3),
        ("open('/nonesuch/libfoo.so')", "FileNotFoundError: [Errno 2] No such file", 3),
        ("def broken(:", "SyntaxError: invalid syntax", 3),
        ("raise SystemExit", "SystemExit: without a message", 3),
        ("raise ValueError", "ValueError: without a message", 3),
        ("def __getattr__(name):\n    raise OSError('lazily')", "OSError: lazily", 4),
    ],
)
def test_a_module_that_fails_while_it_is_imported_is_one_error(tmp_path, code, says, line):
    name = f"fails_{len(code)}"
    (tmp_path / f"{name}.py").write_text(f"import torch\n\n{code}\n")
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\nmodel: {{factory: '{name}:Net'}}\n")
    with pytest.raises(ModelError) as caught:
        build_model(load_mapping(path), trust=True)
    error = caught.value
    assert error.what.startswith(f"{name} cannot be imported: {says}")
    assert (error.where, error.got) == (f"{path}:2:18", f"raised at {tmp_path / name}.py:{line}")
    assert error.hint == f'the whole traceback: python -c "import {name}"'
    assert error.__cause__ is not None


def test_a_module_of_ones_own_that_is_not_found_is_not_to_be_fetched_from_an_index(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nmodel: {factory: 'nowhere_to_be_found:Net'}\n")
    with pytest.raises(ModelError) as caught:
        build_model(load_mapping(path), trust=True)
    assert caught.value.hint == "put nowhere_to_be_found.py beside the mapping, or its folder on PYTHONPATH"
