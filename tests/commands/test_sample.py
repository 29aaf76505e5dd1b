"""`tfpt sample`: a checkpoint to try a mapping with."""

from __future__ import annotations

import pytest

from tests.commands.running import refused, run
from tests.conftest import DATA


def test_it_says_what_it_wrote(tmp_path):
    prefix = tmp_path / "new" / "model.ckpt"
    found = run("sample", "--mapping", "i3d_flow", "--out", prefix)
    assert found.code == 0
    assert found.out.strip() == f"wrote {prefix} (230 variables)"
    assert (tmp_path / "new" / "model.ckpt.index").is_file()


def test_without_out_it_is_called_as_its_mapping(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("sample", "--mapping", "i3d_flow.yaml").code == 0
    assert sorted(path.name for path in (tmp_path / "i3d_flow").iterdir()) == [
        "checkpoint",
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
    ]
    assert run("convert", "--mapping", "i3d_flow", "--checkpoint", "i3d_flow", "--dry-run").code == 0


def test_a_checkpoint_that_exists_is_replaced_only_with_force(tiny):
    before = tiny.data.read_bytes()
    words = ("sample", "--mapping", tiny.mapping, "--out", tiny.checkpoint)
    message = refused(*words)
    assert "exists already" in message
    assert "--force" in message
    assert tiny.data.read_bytes() == before
    assert run(*words, "--force").code == 0
    assert tiny.data.read_bytes() != before


def test_what_was_written_is_json_too(tmp_path):
    found = run("sample", "--mapping", "i3d_rgb", "--out", tmp_path / "m", "--seed", 5, "--json")
    assert found.json == {"checkpoint": str(tmp_path / "m"), "variables": 230, "seed": 5}


def test_a_configuration_gives_other_sizes(tmp_path):
    pytest.importorskip("transformers")
    config = DATA / "bert/config.json"
    prefix = tmp_path / "m"
    found = run("sample", "--mapping", "bert", "--config", config, "--out", prefix, "--json")
    assert found.json["variables"] == 46
    tensors = {tensor["name"]: tensor["shape"] for tensor in run("inspect", "--json", prefix).json["tensors"]}
    assert tensors["bert/embeddings/word_embeddings"] == [120, 32]
    assert tensors["bert/encoder/layer_1/intermediate/dense/kernel"] == [32, 64]
    words = ("convert", "--mapping", "bert", "--config", config, "--checkpoint", prefix)
    assert run(*words, "--out", tmp_path / "w.safetensors").code == 0


@pytest.mark.parametrize("out", ["/proc/tfpt/m", "tiny.yaml/m"])
def test_a_place_that_cannot_be_written_is_refused(tiny, monkeypatch, out):
    monkeypatch.chdir(tiny.folder)
    assert "cannot write the checkpoint" in refused("sample", "--mapping", tiny.mapping, "--out", out)
