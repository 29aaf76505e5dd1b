"""`tfpt trust`: mappings that need no `--trust`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.commands.running import program, refused, run


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mapping whose model is beside it, in the working folder; module names differ, since imports are kept."""
    monkeypatch.setenv("TFPT_CONFIG_DIR", str(tmp_path / "configuration"))
    monkeypatch.chdir(tmp_path)
    Path("cli_net.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n")
    sys.modules.pop("cli_net", None)
    Path("net.yaml").write_text(
        "version: 1\nmodel: {factory: 'cli_net:Net', kwargs: {in_features: 3, out_features: 5}}\n"
        'weights: [{tf: kernel, pt: weight, layout: "i o -> o i"}, {tf: bias, pt: bias}]\n'
    )
    return Path("net.yaml")


def test_a_mapping_is_added_used_listed_and_removed(net):
    message = refused("check", net)
    assert (
        "  next      --trust for this run, or tfpt trust add net.yaml for all, if you know that code"
        in message
    )
    assert run("trust", "add", net).out == "trusted net.yaml\n"
    found = run("check", net)
    assert (found.code, found.err) == (0, "")
    assert run("sample", "--mapping", net, "--out", "s/model.ckpt").code == 0
    assert run("convert", "--mapping", net, "--checkpoint", "s/model.ckpt").code == 0

    lines = run("trust", "list").out.splitlines()
    assert lines[0].endswith(f"  {net.resolve()}")
    assert lines[1] == f"1 mapping in {Path('configuration/trusted.json').resolve()}"
    [entry] = run("trust", "list", "--json").json
    assert (entry["mapping"], entry["changed"]) == (str(net.resolve()), [])

    net.write_text(f"{net.read_text()}# changed\n")
    assert "changed: net.yaml" in run("trust", "list").out
    assert "  next      net.yaml changed since you trusted it on 20" in refused("check", net)

    assert run("trust", "remove", net).out == "no longer trusted: net.yaml\n"
    assert run("trust", "list").out == "no mapping is trusted beside those that come with tfpt\n"
    assert "tfpt trust add net.yaml for all" in refused("check", net)


def test_the_option_says_how_to_do_without_it_at_a_terminal(net, monkeypatch):
    assert run("check", net, "--trust").err == ""
    monkeypatch.setattr("tfpt.commands.options._at_a_terminal", lambda: True)
    note = "note: tfpt trust add net.yaml makes --trust unnecessary\n"
    assert run("check", net, "--trust").err == note
    assert run("-q", "check", net, "--trust").err == ""
    assert run("check", "i3d_rgb", "--trust").err == ""
    assert run("trust", "add", net).code == 0
    assert run("check", net, "--trust").err == ""


def test_a_model_that_is_not_in_a_mapping_is_not_to_be_added(net):
    assert run("sample", "--mapping", net, "--out", "s/model.ckpt", "--trust").code == 0
    words = (
        "init",
        "s/model.ckpt",
        "--model",
        "cli_net:Net",
        "--kwargs",
        "in_features=3",
        "--out",
        "made.yaml",
    )
    assert "  next      --trust, if you know that code\n" in refused(*words)
    assert "trust add" not in run(*words, "--kwargs", "out_features=5", "--trust").err


def test_what_cannot_be_added(net):
    assert "is always trusted" in refused("trust", "add", "bert")
    assert "there is no mapping 'nonesuch.yaml'" in refused("trust", "add", "nonesuch.yaml")
    assert "does not have other.yaml" in refused("trust", "remove", "other.yaml")
    Path("configuration").mkdir(mode=0o700)
    Path("configuration/trusted.json").write_text("{}")
    Path("configuration/trusted.json").chmod(0o600)
    for words in (["check", net], ["trust", "list"], ["trust", "add", net], ["trust", "remove", net]):
        assert "is damaged, so nothing in it is trusted" in refused(*words)


def test_another_process_trusts_it_too(net, tmp_path):
    environment = {"TFPT_CONFIG_DIR": str(tmp_path / "configuration")}
    assert program("trust", "add", "net.yaml", folder=tmp_path, environment=environment).code == 0
    assert json.loads(Path("configuration/trusted.json").read_text())["version"] == 1
    done = program("check", "net.yaml", folder=tmp_path, environment=environment)
    assert (done.code, done.err) == (0, "")
