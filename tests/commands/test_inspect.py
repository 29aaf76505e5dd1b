"""`tfpt inspect`: a tree that people can read, and the same as JSON."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.commands.running import refused, run
from tfpt.sinks.bundle import write_bundle


def lines(*words: object) -> list[str]:
    found = run("inspect", *words)
    assert found.code == 0, found.err
    return [line.rstrip() for line in found.out.splitlines()]


@pytest.fixture
def checkpoint(tmp_path):
    values = {f"net/layer_{n}/kernel": np.full((3, 5), n, np.float32) for n in (10, 9)}
    values |= {"net/layer_9/kernel/Momentum": np.zeros((3, 5), np.float32), "step": np.int64(3)}
    write_bundle(tmp_path / "m", values)
    return tmp_path / "m"


def test_names_are_a_tree_in_natural_order_and_what_they_share_is_said_once(checkpoint):
    tree = lines(checkpoint)[1:-2]
    assert [line.split("  [")[0].rstrip() for line in tree] == [
        "net",
        "  layer_9",
        "    kernel",
        "      Momentum",
        "  layer_10",
        "    kernel",
        "step",
    ]
    assert tree[2].split() == ["kernel", "[3,", "5]", "float32"]
    assert tree[-1].split() == ["step", "[]", "int64"]


def test_totals_stand_at_the_end(checkpoint):
    *_, totals, fingerprint = lines(checkpoint)
    assert totals == "4 tensors: 3 float32 (180 B), 1 int64 (8 B)"
    assert fingerprint.startswith("fingerprint ")
    assert lines(checkpoint, "--grep", "layer_10")[-2] == "1 tensor of 4: 1 float32 (60 B)"
    assert lines(checkpoint, "--grep", "nothing")[-2] == "no tensor of 4"


def test_statistics_stand_beside_the_names(checkpoint):
    header, *rows = lines(checkpoint, "--stats")[1:-2]
    assert header.split() == ["min", "max", "mean", "std", "nan", "inf"]
    row = next(row for row in rows if row.split()[0] == "kernel")
    assert " ".join(row.split()) == "kernel [3, 5] float32 9 9 9 0 0 0"


def test_an_index_alone_is_enough_without_statistics(shared):
    prefix = shared / "real/i3d/rgb_imagenet/model.ckpt"
    assert lines(prefix)[-2] == "230 tensors: 230 float32 (50.8 MB)"
    assert "a data file of this checkpoint is missing" in refused("inspect", "--stats", prefix)


def test_weights_of_pytorch_are_inspected_too(tmp_path):
    values = {"fc.weight": np.float32([[1, 2, 3]]), "fc.bias": np.float32([5])}
    save_file(values, tmp_path / "w.safetensors")
    torch.save({name: torch.from_numpy(value) for name, value in values.items()}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        facts = run("inspect", "--json", "--stats", tmp_path / name).json
        found = {tensor["name"]: tensor for tensor in facts["tensors"]}
        assert found["fc.weight"]["shape"] == [1, 3]
        assert found["fc.weight"]["statistics"] == {
            "min": 1, "max": 3, "mean": 2, "std": pytest.approx(np.std([1, 2, 3])), "nan": 0, "inf": 0,
        }  # fmt: skip
    formats = [
        run("inspect", "--json", tmp_path / name).json["format"] for name in ("w.safetensors", "w.pth")
    ]
    assert formats[0] == "safetensors"
    assert formats[1] != formats[0]


def test_everything_is_json_too(checkpoint):
    facts = run("inspect", "--json", checkpoint, "--grep", "step").json
    assert facts["path"] == str(checkpoint)
    assert facts["format"] == "TensorFlow V2 checkpoint"
    assert facts["total"] == 4
    assert facts["tensors"] == [{"name": "step", "shape": [], "dtype": "int64"}]
    assert facts["dtypes"] == {"int64": {"tensors": 1, "bytes": 8}}
    assert len(facts["fingerprint"]) >= 16


def test_a_name_of_any_characters_is_printed_as_it_is(tmp_path):
    names = ["[bold]w", "x²/é", "layer_٣/w", ":smile:"]
    write_bundle(tmp_path / "m", {name: np.zeros(1) for name in names})
    text = "\n".join(lines(tmp_path / "m"))
    assert all(piece in text for name in names for piece in name.split("/"))
    assert [tensor["name"] for tensor in run("inspect", "--json", tmp_path / "m").json["tensors"]] == sorted(
        names
    )


def test_a_wrong_expression_is_refused(checkpoint):
    message = refused("inspect", checkpoint, "--grep", "(")
    assert "--grep is not a regular expression" in message
    assert "(" in message
