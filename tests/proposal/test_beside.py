"""`tfpt inspect --beside`: both sides next to each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.commands.running import refused, run
from tests.conftest import DATA
from tfpt.proposal.beside import beside

CREATED = {
    "net/zed/kernel": (4, 3), "net/zed/bias": (3,), "net/abe/kernel": (3, 5), "net/abe/bias": (5,),
    "net/old/table": (11, 13), "net/mid/gamma": (5,), "net/mid/beta": (5,), "net/mid/moving_mean": (5,),
    "net/mid/moving_variance": (5,), "net/zed/kernel/Adam": (4, 3),
}  # fmt: skip


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.zed = torch.nn.Linear(4, 3)
        self.abe = torch.nn.Linear(3, 5)
        self.mid = torch.nn.BatchNorm1d(5)
        self.extra = torch.nn.Embedding(7, 2)


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> tuple[Path, Path]:
    np.savez(tmp_path / "w.npz", **{name: np.zeros(shape, np.float32) for name, shape in CREATED.items()})
    torch.save(Net().state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.npz", tmp_path / "w.pth"


def test_names_shapes_and_places_are_next_to_each_other(files):
    found = run("inspect", files[0], "--beside", files[1])
    assert found.code == 0, found.err
    assert found.out.splitlines() == [
        f"{files[0]} beside {files[1]}",
        "1  net/zed/kernel           [4, 3]    →   1  zed.weight               [3, 4]  i o -> o i",
        "2  net/zed/bias             [3]       →   2  zed.bias                 [3]",
        "3  net/abe/kernel           [3, 5]    →   3  abe.weight               [5, 3]  i o -> o i",
        "4  net/abe/bias             [5]       →   4  abe.bias                 [5]",
        "5  net/old/table            [11, 13]  -",
        "6  net/mid/gamma            [5]       →   5  mid.weight               [5]",
        "7  net/mid/beta             [5]       →   6  mid.bias                 [5]",
        "8  net/mid/moving_mean      [5]       →   7  mid.running_mean         [5]",
        "9  net/mid/moving_variance  [5]       →   8  mid.running_var          [5]",
        f"{'':36}  =   9  mid.num_batches_tracked  []      constant 0",
        f"{'':36}  +  10  extra.weight             [7, 2]",
        "8 parameters with a variable, 1 without; 1 variable without a parameter",
        "not weights, left out: slot: 1",
    ]


def test_the_json_says_the_same(files):
    values = run("inspect", files[0], "--beside", files[1], "--json").json
    assert (values["matched"], values["open"], values["unused"]) == (8, 1, 1)
    assert values["ordered"]
    assert values["left_out"] == {"slot": 1}
    assert values["lines"][0] == {
        "variables": [{"name": "net/zed/kernel", "shape": [4, 3], "dtype": "float32", "place": 1}],
        "parameters": [{"name": "zed.weight", "shape": [3, 4], "dtype": "float32", "place": 1}],
        "layout": "i o -> o i",
    }
    assert values["lines"][4]["parameters"] == []
    assert values["lines"][-1]["variables"] == []


def test_a_pattern_selects_lines_by_either_name(files):
    for pattern in ("net/zed", r"^zed\."):
        assert len(beside(*files, grep=pattern).lines) == 2
    assert "--grep is not a regular expression" in refused(
        "inspect", files[0], "--beside", files[1], "--grep", "("
    )


def test_a_model_is_built_from_its_configuration(tmp_path):
    config = DATA / "bert/config.json"
    found = beside(DATA / "bert/tf", "transformers:BertModel", config=config)
    assert found.open == 0
    by_parameter = {line.parameters[0][1].name: line for line in found.lines if line.parameters}
    query = by_parameter["encoder.layer.1.attention.self.query.weight"]
    assert query.variables[0][1].name == "bert/encoder/layer_1/attention/self/query/kernel"
    assert query.layout == "i o -> o i"


def test_a_mapping_and_a_manifest_are_models_too(files, tmp_path):
    specs = {
        name: {"dtype": "float32", "shape": list(value.shape)} for name, value in Net().state_dict().items()
    }
    (tmp_path / "m.manifest.json").write_text(json.dumps(specs))
    (tmp_path / "m.yaml").write_text("version: 1\nweights: [{tf: a, pt: a}]\n")
    for target in ("m.manifest.json", "m.yaml"):
        assert beside(files[0], tmp_path / target).matched == 8


def test_two_checkpoints_can_be_compared(files, tmp_path):
    np.savez(
        tmp_path / "v.npz",
        **{f"other/{name}": np.zeros(shape, np.float32) for name, shape in CREATED.items()},
    )
    found = beside(files[0], tmp_path / "v.npz")
    pairs = [
        (line.variables[0][1].name, line.parameters[0][1].name)
        for line in found.lines
        if line.variables and line.parameters
    ]
    weights = [name for name in CREATED if not name.endswith("Adam")]
    assert pairs == [(name, f"other/{name}") for name in weights]


def test_a_file_by_name_says_that_its_order_is_not_known(files, tmp_path):
    save_file(
        {name.replace("/", "."): torch.zeros(shape) for name, shape in CREATED.items()},
        tmp_path / "w.safetensors",
    )
    found = run("inspect", tmp_path / "w.safetensors", "--beside", files[1])
    assert found.out.splitlines()[-1].startswith("the checkpoint keeps no order of creation")


def test_arguments_without_a_model_are_refused(files):
    assert "only a model takes arguments" in refused(
        "inspect", files[0], "--beside", files[1], "--kwargs", "a=1"
    )
    for words in (["--kwargs", "a=1"], ["--beside", files[1], "--stats"]):
        found = run("inspect", files[0], *words)
        assert found.code == 2
        assert "--beside" in found.err
