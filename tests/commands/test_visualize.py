"""`tfpt visualize`: pictures, and what it says of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands.running import refused, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The first layers of the flow stream, with a filter that is known: number 5 is a motion to the right."""
    import torch
    from safetensors.torch import save_file

    from tfpt.language.loader import load_mapping
    from tfpt.targets.model import build_model

    torch.manual_seed(0)
    model = build_model(load_mapping("i3d_flow"), device="cpu")
    weight = model.conv3d_1a_7x7.conv3d.weight.data
    weight[5] = 0
    weight[5, 0] = 2 * weight.abs().max()
    path = tmp_path_factory.mktemp("weights") / "flow.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path


def test_filters_become_a_gif_and_a_sheet_and_json_says_where_each_tile_is(weights, tmp_path):
    out, sheet = tmp_path / "f.gif", tmp_path / "f.png"
    words = ("--mapping", "i3d_flow", "--weights", weights, "--out", out, "--sheet", sheet, "--json")
    found = run("visualize", "filters", *words)
    assert found.code == 0
    values = found.json
    assert (values["mapping"], values["layer"]) == ("i3d_flow", "conv3d_1a_7x7.conv3d")
    assert values["shape"] == [64, 2, 7, 7, 7]
    assert values["scale"]["kind"] == "flow"
    animation, still = values["pictures"]
    assert (animation["path"], animation["frames"], animation["fps"]) == (str(out), 7, 4)
    assert still["path"] == str(sheet)
    image = Image.open(out)
    assert (image.n_frames, image.info["loop"], image.size) == (
        7,
        0,
        (animation["width"], animation["height"]),
    )
    place = animation["tiles"][5]
    assert place["label"] == "5"
    pixels = np.asarray(image.convert("RGB"))
    tile = pixels[place["y"] : place["y"] + place["height"], place["x"] : place["x"] + place["width"]]
    assert (tile == [255, 0, 0]).all()


def test_activations_of_noise_are_drawn_and_said(weights, tmp_path):
    out = tmp_path / "a.gif"
    words = (
        "--mapping",
        "i3d_flow",
        "--weights",
        weights,
        "--out",
        out,
        "--frames",
        9,
        "--channels",
        "5,0-2",
    )
    found = run("visualize", "activations", *words)
    assert found.code == 0
    assert "conv3d_1a_7x7 [1, 64, 5, 112, 112], 4 channels" in found.out
    assert f"wrote {out} (" in found.out
    assert "5 frames, 14.3 per second" in found.out
    assert Image.open(out).n_frames == 5


def test_without_out_a_picture_is_called_as_its_mapping(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--mapping", "i3d_flow", "--weights", weights, "--filters", "0-3")
    assert run("visualize", "filters", *words).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["i3d_flow_filters.gif"]
    assert run("visualize", "filters", *words, "--sheet", "s.png").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i3d_flow_filters.gif", "s.png"]


def test_a_picture_that_exists_is_replaced_only_with_force(weights, tmp_path):
    out = tmp_path / "f.gif"
    out.write_text("mine")
    words = (
        "visualize",
        "filters",
        "--mapping",
        "i3d_flow",
        "--weights",
        weights,
        "--out",
        out,
        "--filters",
        0,
    )
    assert "--force" in refused(*words)
    assert out.read_text() == "mine"
    assert run(*words, "--force").code == 0
    assert Image.open(out).format == "GIF"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("activations", "--layer", "mixed_3bb"), "mixed_3b"),
        (("activations", "--layer", "logits"), "is not an image"),
        (("activations", "--clip", "nowhere.gif"), "no such clip"),
        (("activations", "--channels", "99"), "0 to 63"),
        (("filters", "--layer", "maxpool3d_2a_3x3"), "no convolution"),
        (("filters", "--filters", "0..3"), "0,5,7-11"),
        (("filters", "--out", "f.bmp"), ".gif or .png"),
        (("filters", "--limit", 1, "--scale", "each"), "the limit must be"),
    ],
)
def test_what_cannot_be_drawn_is_one_error_and_nothing_is_written(
    weights, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    few = ("--frames", 9) if words[0] == "activations" else ()
    found = refused("visualize", words[0], "--mapping", "i3d_flow", "--weights", weights, *few, *words[1:])
    assert message in found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["filters", "activations"])
def test_each_subcommand_explains_itself_and_every_option(name):
    from tfpt.commands.visualize import command

    text = run("visualize", name, "--help").out
    for option in command.commands[name].params:
        assert option.help, option.name
        assert option.opts[0] in text
    assert "--json" in text


def test_the_page_about_it_names_only_options_that_there_are_and_leaves_out_none():
    from tfpt.commands.visualize import command

    said = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs" / "visualize.md").read_text()))
    there = {option.opts[0] for sub in command.commands.values() for option in sub.params}
    assert said - there == set()
    assert there - said == {"--set", "--config", "--trust"}  # which docs/language.md has
