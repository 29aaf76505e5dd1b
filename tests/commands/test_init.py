"""`tfpt init` as a person would use it."""

from __future__ import annotations

import numpy as np
import pytest

import tfpt
from tests.commands.running import SCREEN, run
from tests.conftest import DATA


@pytest.fixture
def checkpoint(tmp_path):
    tfpt.sample("i3d_rgb", tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


MODEL = ("--model", "tfpt.models.i3d:I3D", "--kwargs", "in_channels=3", "--kwargs", "num_classes=400")


def test_a_mapping_is_written_and_the_next_command_works(checkpoint, tmp_path):
    done = run("init", checkpoint, *MODEL, "--out", tmp_path / "mine.yaml")
    assert done.code in (0, 1)
    assert "rows for 344 parameters and 230 variables" in done.out
    assert len(done.out.splitlines()) < SCREEN
    mapping = tmp_path / "mine.yaml"
    assert f"tfpt convert --mapping {mapping} --checkpoint {checkpoint} --out mine.safetensors" in done.out
    out = tmp_path / "mine.safetensors"
    assert run("convert", "--mapping", mapping, "--checkpoint", checkpoint, "--out", out).code == 0
    assert run("check", mapping).code == 0


def test_json_has_the_mapping_and_what_is_unsure(checkpoint, tmp_path):
    done = run("init", checkpoint, *MODEL, "--out", tmp_path / "mine.yaml", "--json", "--explain")
    assert done.json["mapping"] == (tmp_path / "mine.yaml").read_text()
    assert done.json["parameters"] == 344
    assert done.json["open"] == done.json["unused"] == done.json["findings"] == []
    assert {"parameter", "variable", "words", "scopes"} <= done.json["evidence"][0].keys()
    assert done.code == (0 if done.json["settled"] else 1)


def test_the_evidence_is_a_table(checkpoint, tmp_path):
    done = run("init", checkpoint, *MODEL, "--out", tmp_path / "mine.yaml", "--explain")
    assert "Conv3d_1a_7x7/conv_3d/w" in done.out
    assert "neighbors" in done.out


def test_a_file_of_weights_is_a_target(checkpoint, tmp_path):
    tfpt.convert("i3d_rgb", checkpoint, tmp_path / "w.safetensors")
    done = run("init", checkpoint, "--target", tmp_path / "w.safetensors", "--out", tmp_path / "mine.yaml")
    assert done.code in (0, 1)
    assert (tmp_path / "mine.manifest.json").exists()
    again = run(
        "convert",
        "--mapping",
        tmp_path / "mine.yaml",
        "--checkpoint",
        checkpoint,
        "--out",
        tmp_path / "x.safetensors",
    )
    assert again.code == 0
    assert tfpt.diff(tmp_path / "w.safetensors", tmp_path / "x.safetensors").same


def test_answers_settle_what_is_unsure(tmp_path, monkeypatch):
    (tmp_path / "m.manifest.json").write_text(
        '{"left.weight": {"dtype": "float32", "shape": [7, 5]}, "right.weight": {"dtype": "float32", "shape": [7, 5]}}'
    )
    np.savez(tmp_path / "m.npz", **{"a/kernel": np.zeros((5, 7), "f4"), "b/kernel": np.ones((5, 7), "f4")})
    words = (
        "init",
        tmp_path / "m.npz",
        "--target",
        tmp_path / "m.manifest.json",
        "--out",
        tmp_path / "m.yaml",
    )
    undecided = run(*words)
    assert undecided.code == 1
    assert "2" in undecided.out
    assert "unsure" in undecided.out
    from click.testing import CliRunner

    from tfpt.commands.group import group

    answered = CliRunner().invoke(group, [*map(str, words), "--overwrite", "--interactive"], input="2\n1\n")
    assert answered.exit_code == 0, answered.output
    assert "which" in answered.output


def test_quantized_weights_are_a_finding_unless_they_are_dequantized(tmp_path, monkeypatch):
    checkpoint = DATA / "int8/q.tflite"
    floats = tfpt.open_source(checkpoint, dequantize=True)
    tables = {f"p{i}": spec for i, spec in enumerate(floats.specs.values()) if spec.dtype == "float32"}
    lines = [
        f'"{name}": {{"dtype": "float32", "shape": {list(spec.shape)}}}' for name, spec in tables.items()
    ]
    (tmp_path / "m.manifest.json").write_text("{" + ", ".join(lines) + "}")
    words = ("init", checkpoint, "--target", tmp_path / "m.manifest.json", "--out", tmp_path / "m.yaml")
    found = run(*words)
    assert found.code == 1
    assert f"quantized  {tmp_path / 'm.yaml'}:" in found.out
    assert "--dequantize reads the encoded numbers" in found.out
    again = run(*words, "--overwrite", "--dequantize")
    assert "quantized  " not in again.out
    assert f"--checkpoint {checkpoint} --dequantize --out" in again.out


def test_the_next_command_works_for_a_model_of_ones_own(tmp_path, monkeypatch):
    np.savez(tmp_path / "m.npz", **{"dense/kernel": np.ones((5, 7), "f4"), "dense/bias": np.ones(7, "f4")})
    monkeypatch.chdir(tmp_path)
    done = run("init", "m.npz", "--model", "tests.proposal.test_propose:Net", "--trust", "--out", "net.yaml")
    assert done.code == 0
    command = done.out.splitlines()[-1].split()
    assert command[:2] == ["tfpt", "convert"]
    assert run(*command[1:]).code == 0
    assert (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "either --model, --target or --write-model"),
        (("--model", "a:B", "--target", "w.safetensors"), "either --model, --target or --write-model"),
        (("--target", "w.safetensors", "--kwargs", "a=1"), "for a --model"),
        (("--model", "a:B", "--interactive", "--json"), "cannot be combined"),
    ],
)
def test_options_that_contradict_each_other_are_refused(checkpoint, words, message):
    done = run("init", checkpoint, *words)
    assert done.code == 2
    assert message in done.err


def test_a_model_that_cannot_be_built_and_a_file_that_is_not_there_end_with_2(checkpoint, tmp_path):
    done = run("init", checkpoint, "--model", "tfpt.models.i3d:Nothing", "--out", tmp_path / "m.yaml")
    assert done.code == 2
    assert "no callable Nothing" in done.err
    done = run("init", tmp_path / "nothing", *MODEL, "--out", tmp_path / "m.yaml")
    assert done.code == 2
    assert not (tmp_path / "m.yaml").exists()


def test_an_existing_mapping_is_kept(checkpoint, tmp_path):
    (tmp_path / "m.yaml").write_text("mine")
    done = run("init", checkpoint, *MODEL, "--out", tmp_path / "m.yaml")
    assert done.code == 2
    assert "exists already" in done.err
    assert (tmp_path / "m.yaml").read_text() == "mine"
