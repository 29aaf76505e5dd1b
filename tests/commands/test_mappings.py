"""`tfpt mappings`: list the bundled mappings."""

from __future__ import annotations

from tests.commands.running import run
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
