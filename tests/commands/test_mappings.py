"""`tfpt mappings`: list the bundled mappings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tfpt
from tests.commands.running import program, refused, run
from tests.installed import install
from tfpt.language.loader import bundled_mappings


def test_every_bundled_mapping_is_listed_with_what_it_is():
    found = run("mappings")
    assert found.code == 0
    rows = {line.split()[0]: line for line in found.out.splitlines()[1:] if not line.startswith(" ")}
    assert set(rows) == set(bundled_mappings())
    assert "Kinetics-600" in rows["i3d_rgb_kinetics600"]
    assert "num_classes=600" in rows["i3d_rgb_kinetics600"]
    assert rows["bert"].split()[-1] == "208"


def test_everything_is_json_too():
    entries = {entry["name"]: entry for entry in run("mappings", "--json").json}
    assert entries["i3d_flow"] == {
        "name": "i3d_flow",
        "summary": "I3D (Inflated Inception-v1), optical-flow stream, Kinetics-400, as published by DeepMind",
        "path": str(bundled_mappings()["i3d_flow"]),
        "scope": ["Flow/inception_i3d"],
        "model": "tfpt.models.i3d:I3D",
        "about": {},
        "params": {"num_classes": 400},
        "parameters": 344,
    }
    assert entries["bert"]["scope"] == ["", "module"]
    assert entries["i3d_rgb_piergiaj"]["model"] is None


def test_the_layers_that_a_mapping_can_use_are_listed_with_their_rows():
    lines = run("mappings", "--layers").out.splitlines()
    assert ["keras/dense", "kernel", "weight", "i", "o", "->", "o", "i"] in map(str.split, lines)
    entries = {entry["use"]: entry for entry in run("mappings", "--layers", "--json").json}
    assert entries["slim/conv2d"]["weights"][0] == {
        "tf": "weights",
        "pt": "weight",
        "layout": "h w i o -> o i h w",
    }
    assert set(entries) >= {line.split()[0] for line in lines[1:] if not line.startswith(" ")}


# -- mappings of an installed package ---------------------------------------------------------------------------


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the mappings of an installed package that can be found but not imported."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    return install(
        tmp_path / "site",
        {
            "flow.yaml": "version: 1\nextends: i3d_flow.yaml\nsummary: Acme's flow\n",
            "layers/blocks.yaml": "layers: {dense: {weights: [{tf: w, pt: weight}]}}\n",
            "flow.manifest.json": bundled_mappings()["i3d_flow"]
            .with_name("i3d_flow.manifest.json")
            .read_text(),
        },
    )


def test_those_of_installed_packages_are_listed_too(acme):
    listed = run("mappings").out.splitlines()
    assert listed[-1].split()[:3] == ["acme:flow", "Acme's", "flow"]
    entry = run("mappings", "--json").json[-1]
    assert (entry["name"], entry["path"], entry["parameters"]) == ("acme:flow", str(acme / "flow.yaml"), 344)
    assert "acme:blocks/dense" in [layer["use"] for layer in run("mappings", "--layers", "--json").json]


def test_they_are_ranked_completed_and_converted_with(acme, tmp_path):
    tfpt.sample("flow", "flow.ckpt")
    fitting = run("mappings", "--for", "flow.ckpt", "--json").json
    assert {"acme:flow", "i3d_flow"} <= {entry["mapping"] for entry in fitting if entry["score"] == 1}
    assert (
        "tfpt convert --mapping acme:flow --checkpoint flow.ckpt" in run("mappings", "--for", "flow.ckpt").out
    )

    environment = {"PYTHONPATH": str(tmp_path / "site"), "_TFPT_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    found = program(environment={**environment, "COMP_WORDS": "tfpt convert --mapping flo"}, folder=tmp_path)
    assert found.out.split() == ["plain,flow"]

    for name in ("flow", "acme:flow"):
        assert run("convert", "--mapping", name, "--checkpoint", "flow.ckpt", "--force").code == 0
        assert Path("flow.safetensors").is_file()
    assert run("convert", "--mapping", "i3d_flow", "--checkpoint", "flow.ckpt").code == 0
    assert Path("flow.safetensors").read_bytes()[-1000:] == Path("i3d_flow.safetensors").read_bytes()[-1000:]
    assert json.loads(Path("site/acme_nets/mappings/flow.manifest.json").read_text())
    assert run("diff", "--mapping", "acme:flow", "flow.ckpt", "flow.safetensors").code == 0
    assert run("inspect", "flow.ckpt", "--beside", "acme:flow").code == 0
    assert run("sample", "--mapping", "acme:flow").out.startswith("wrote flow/model.ckpt")


def test_a_name_of_several_packages_is_refused(acme):
    install(
        acme.parents[1],
        {"flow.yaml": "version: 1\n"},
        entry="zeta = zeta.mappings",
        distribution="zeta-nets",
        module="zeta/mappings",
    )
    message = refused("convert", "--mapping", "flow", "--checkpoint", "flow.ckpt")
    assert "2 packages have a mapping 'flow'" in message
    assert "acme:flow or zeta:flow" in message


def test_a_package_that_cannot_be_found_is_a_warning(acme):
    install(
        acme.parents[1], {}, entry="zeta = zeta.nowhere", distribution="zeta-nets", module="zeta/mappings"
    )
    found = run("mappings")
    assert found.code == 0
    assert "the package zeta.nowhere is not a folder on sys.path" in found.err
    assert "acme:flow" in found.out
    assert "zeta" not in run("check", "acme:flow").err
    assert "the entry point zeta of zeta-nets 1.0" in refused("check", "nonesuch")
