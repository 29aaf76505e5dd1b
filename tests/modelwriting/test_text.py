"""How the written files read, and that nothing in a Keras file becomes code."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import tfpt
from tests.modelwriting.conftest import Check
from tests.modelwriting.models import MODELS

MODULE = '''"""Written by tfpt init --write-model from the Keras model model.keras."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

import tfpt.nn as tfnn


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = tfnn.Conv2d(3, 8, 3, stride=2, padding="same")
        self.stem_norm = nn.BatchNorm2d(8, eps=1e-3, momentum=0.01)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, 32, 32) -> (batch, 5)"""
        x = x / 255
        stem_relu = F.relu(self.stem_norm(self.stem(x)))
        x = F.relu(self.inner(stem_relu))
        x = x + stem_relu
        x = self.drop(x.mean((2, 3)))
        return F.softmax(self.head(x), dim=1)
'''

MAPPING = """version: 1
summary: "model.keras in PyTorch, written by tfpt init --write-model"
source:
  names: keras
model: {factory: written_net:Residual}

scopes:
  - {tf: stem, pt: stem, use: keras/conv2d}
  - {tf: stem_norm, pt: stem_norm, use: keras/batch_norm, eps: 1.0e-3}
  - {tf: inner, pt: inner, use: keras/conv2d}
  - {tf: head, pt: head, use: keras/dense}

endpoints:
  - {tf: stem, pt: stem, layout: "b h w c -> b c h w"}
  - {tf: stem_norm, pt: stem_norm, layout: "b h w c -> b c h w"}
  - {tf: inner, pt: inner, layout: "b h w c -> b c h w", apply: relu}
  - {tf: head, pt: head, layout: "b c -> b c", apply: {softmax: c}}

input: {layout: "b h w c -> b c h w", size: 32}
"""


def residual(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, 2, padding="same", name="stem")(x)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="inner")(x)
    x = layers.GlobalAveragePooling2D()(layers.Add()([y, x]))
    x = layers.Dropout(0.2, name="drop")(x)
    return keras.Model(inputs, layers.Dense(5, "softmax", name="head")(x), name="residual")


def test_the_files_read_as_if_written_by_hand(keras: Any, written: Check) -> None:
    found = written(residual(keras))
    assert found.module.read_text() == MODULE
    assert found.mapping.read_text() == MAPPING


@pytest.mark.parametrize("name", [name for name in MODELS if name != "efficientnet"])
def test_the_module_is_formatted(name: str, keras: Any, tmp_path: Path) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    MODELS[name](keras).save(tmp_path / "m.keras")
    tfpt.write_model(tmp_path / "m.keras", tmp_path / "format_net.py")
    words = [ruff, "format", "--isolated", "--diff", str(tmp_path / "format_net.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["plain_cnn", "unet", "text_lstm", "bidirectional_gru", "attention", "generator"]
)
def test_every_endpoint_of_the_mapping_agrees(name: str, keras: Any, written: Check) -> None:
    found = written(MODELS[name](keras))
    file = found.module.parent / "model.keras"
    result = tfpt.verify(found.mapping, file, network=file, trust=True, diagnose=False)
    assert result.endpoints
    assert [one.name for one in result.endpoints if one.verdict != "agrees"] == []


def edited(file: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Change settings of layers in the configuration of an archive, by the layer's name."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for layer in config["config"]["layers"]:
        layer["config"].update(changes.get(layer["config"]["name"], {}))
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


CODE = '__import__("os").system("touch owned")'


@pytest.mark.parametrize(
    "changes",
    [
        {"units": CODE},
        {"activation": CODE},
        {"activation": {"class_name": "function", "config": CODE}},
        {"name": f'x"""\n{CODE}\n"""'},
        {"name": "self", "units": True},
        {"units": 1e400},
        {"units": [3]},
    ],
)
def test_settings_that_are_code_are_gaps_or_text(changes: dict[str, Any], keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="head")], name="net")
    model.save(tmp_path / "m.keras")
    edited(tmp_path / "m.keras", {"head": changes})
    found = tfpt.write_model(tmp_path / "m.keras", tmp_path / "hostile_net.py")
    tree = ast.parse(found.module.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "__import__" not in names
    assert not (tmp_path / "owned").exists()
    assert not found.settled


def test_names_that_python_or_torch_have_are_changed(keras: Any, written: Check) -> None:
    layers = keras.layers
    names = ["forward", "train", "class", "1x1", "x", "self", "list", "weight-1"]
    stack = [layers.Dense(5, activation="tanh", name=name) for name in names]
    text = written(keras.Sequential([keras.Input((5,)), *stack], name="nn")).module.read_text()
    for attribute in ("forward_", "train_2", "class_", "layer_1x1", "x_", "self_", "list_", "weight_1"):
        assert f"self.{attribute} = nn.Linear(5, 5)" in text


def test_names_of_values_do_not_hide_functions(keras: Any, written: Check) -> None:
    layers = keras.layers
    inputs = keras.Input((5,), name="torch")
    x = layers.Dense(5, activation="squareplus", name="squareplus")(inputs)
    y = layers.Dense(5, activation="squareplus", name="F")(x)
    written(keras.Model(inputs, layers.Add()([layers.Add(name="tanh")([x, y]), inputs, x])))


def test_a_scale_is_written_as_it_was_meant(keras: Any, written: Check) -> None:
    layers = keras.layers
    stack = [layers.Rescaling(1 / 127.5, -1), layers.Rescaling(0.3), layers.Conv2D(2, 3)]
    text = written(keras.Sequential([keras.Input((5, 6, 3)), *stack])).module.read_text()
    assert "x / 127.5 - 1" in text
    assert "* 0.3" in text


def test_the_page_shows_what_is_written() -> None:
    page = (Path(tfpt.__file__).parent.parent / "docs" / "write_model.md").read_text()
    assert MODULE[MODULE.index("class Residual") :] in page
    assert MAPPING.replace("written_net:", "net:") in page
