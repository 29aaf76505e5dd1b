"""`tfpt profile`: what a model costs, on one screen or as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.running import refused, run

ROOT = Path(__file__).resolve().parents[2]

SMALL = (
    "--mapping",
    "i3d_rgb",
    "--frames",
    9,
    "--batch",
    1,
    "--size",
    193,
    "--repeats",
    1,
    "--warmup",
    0,
    "--threads",
    1,
)


@pytest.mark.slow
def test_json_has_everything_that_was_measured():
    found = run("profile", *SMALL, "--json")
    assert found.code == 0
    values = found.json
    assert (values["mapping"], values["model"], values["shape"]) == ("i3d_rgb", "I3D", [1, 3, 9, 193, 193])
    # The port that most people use has as many.
    assert values["parameters"] == 12_697_264
    forward, training = values["passes"]
    assert forward["flops"] == 28_808_687_232
    assert forward["seconds"]["median"] < training["seconds"]["median"]
    assert forward["memory"] > 4 * values["parameters"]
    paths = {row["path"] for row in training["layers"]["rows"]}
    assert paths >= {"", "conv3d_1a_7x7.conv3d", "mixed_4f.branch_1.1.batch3d", "logits", "predictions"}
    assert {kind["kind"] for kind in forward["kinds"]} >= {"convolution", "convolution 1×1", "pooling"}
    assert values["trace"] is None


def test_the_report_has_totals_kinds_and_layers(tmp_path):
    trace = tmp_path / "t.json"
    found = run("profile", *SMALL, "--forward-only", "--depth", 1, "--all", "--trace", trace)
    assert found.code == 0
    for words in (
        "I3D, 12,697,264 parameters (50.8 MB), random weights",
        "input 1 × 3 × 9 × 193 × 193: 1 clip of 9 frames; float32",
        "forward: time by kind of operation",
        "convolution 1×1",
        "modules at depth 1",
        "outside layers: functions",
        ": a separate pass, timed layer by layer",
        "28.81",
    ):
        assert words in found.out, words
    assert "backward" not in found.out
    assert f"wrote {trace}" in found.out
    assert "mixed_4f.branch_1.1.conv3d" in {
        event["name"] for event in json.loads(trace.read_text())["traceEvents"]
    }
    assert all(
        f"mixed_{name} " in found.out for name in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
    )


def test_compiled_code_has_no_layers_and_the_report_says_so():
    words = ("--compile", "--compile-backend", "eager", "--forward-only")
    found = run("profile", *SMALL, *words)
    assert found.code == 0
    assert "compiled code has no layers" in found.out
    assert "compiling for forward:" in found.out
    assert "time by layer" not in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mapping", "i3d_rgb", "--frames", 8), "at least 9 frames"),
        (("--mapping", "i3d_rbg"), "i3d_rgb"),
        (("--mapping", "i3d_rgb", "--device", "tpu"), "no such device"),
        (("--mapping", "i3d_rgb", "--optimize", "--train"), "--forward-only"),
        (("--mapping", "i3d_rgb", "--weights", "nowhere.pth"), "nowhere.pth"),
    ],
)
def test_what_cannot_be_measured_is_one_error(words, message):
    assert message in refused("profile", *words)


def test_forward_only_and_train_do_not_go_together():
    found = run("profile", "--mapping", "i3d_rgb", "--forward-only", "--train")
    assert found.code == 2
    assert "give one of them" in found.err


@pytest.mark.parametrize("words", [("profile",), ("visualize",), ("visualize", "filters")])
def test_help_imports_neither_torch_nor_what_draws(words):
    code = (
        "import sys\nfrom tfpt.commands.main import main\n"
        f"try: main([*{words!r}, '--help'])\nexcept SystemExit: pass\n"
        "print({'torch', 'matplotlib', 'PIL', 'numpy', 'cv2', 'av'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_page_about_it_names_only_options_that_there_are_and_leaves_out_none():
    from tfpt.commands.profile import command

    said = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs" / "profile.md").read_text()))
    there = {option.opts[0] for option in command.params}
    assert said - there == set()
    assert there - said == {"--set", "--config", "--trust"}  # which docs/language.md has
