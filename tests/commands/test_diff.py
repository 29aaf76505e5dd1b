"""`tfpt diff`: what it prints and how it ends."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.commands.running import program, refused, run


@pytest.fixture
def weights(tiny, tmp_path):
    """What the tiny mapping makes of its checkpoint, written by safetensors' own library."""
    path = tmp_path / "w.safetensors"
    save_file({name: np.copy(value, order="C") for name, value in tiny.parameters.items()}, path)
    return path


def test_the_same_ends_with_0_and_says_so(tiny, weights):
    found = run("diff", "--mapping", tiny.mapping, tiny.checkpoint, weights)
    assert found.code == 0
    assert "same: 4 tensors compared, 4 bit-identical" in found.out
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    # One line for each kind of work; no tensor by itself, since none differs.
    assert "layout h w i o -> o i h w 1 1 0 0 1.000000" in lines
    assert "conv.weight" not in found.out


def test_with_all_tensors_that_are_equal_are_listed_too(tiny, weights):
    found = run("diff", "--all", "--mapping", tiny.mapping, tiny.checkpoint, weights)
    row = next(line for line in found.out.splitlines() if line.startswith("conv.weight"))
    assert " ".join(row.split()) == "conv.weight [7, 5, 2, 3] 0 0 0 1.000000 layout h w i o -> o i h w"


def test_what_differs_ends_with_1_the_worst_first(tiny, tmp_path):
    changed = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
    changed["fc.bias"][3] += 0.25
    changed["fc.weight"][0, 0] += 30
    save_file(changed, tmp_path / "changed.safetensors")
    found = run("diff", "--mapping", tiny.mapping, tiny.checkpoint, tmp_path / "changed.safetensors")
    assert found.code == 1
    lines = found.out.splitlines()
    [header] = [number for number, line in enumerate(lines) if line.startswith("tensor")]
    assert [line.split()[0] for line in lines[header + 1 : header + 3]] == ["fc.weight", "fc.bias"]
    assert lines[header + 1].split()[3] == "30"
    assert "different: 4 tensors compared, 2 bit-identical; 2 tensors different" in found.out


def test_within_the_tolerance_it_ends_with_0(tiny, tmp_path):
    changed = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
    changed["fc.bias"] *= np.float32(1.001)
    save_file(changed, tmp_path / "changed.safetensors")
    words = ("diff", "--mapping", tiny.mapping, tiny.checkpoint, tmp_path / "changed.safetensors")
    assert run(*words).code == 1
    found = run(*words, "--tolerance", "0.01")
    assert found.code == 0
    assert "1 within a relative difference of 0.01" in found.out


def test_without_weights_names_and_shapes_are_compared(tiny):
    found = run("diff", "--mapping", tiny.mapping, tiny.checkpoint)
    assert found.code == 0
    assert "names and shapes agree" in found.out
    tiny.rewrite('"h w i o -> o i h w"', '"h w i o -> i o h w"')
    found = run("diff", "--mapping", tiny.mapping, tiny.checkpoint)
    assert found.code == 1
    assert "[7, 5, 2, 3], as the model has it" in found.out
    assert "[5, 7, 2, 3] from [2, 3, 5, 7] by h w i o -> i o h w" in found.out
    assert "tiny.yaml:10" in found.out


def test_without_weights_an_index_is_enough(shared):
    prefix = shared / "real/i3d/flow_imagenet/model.ckpt"
    assert run("diff", "--mapping", "i3d_flow", prefix).code == 0
    found = run("diff", "--mapping", "i3d_rgb", prefix)
    assert found.code == 1
    assert "nearest   Flow/inception_i3d" in found.out


def test_two_conversions_of_one_checkpoint_are_the_same_in_either_format(tiny, tmp_path):
    for suffix in ("pth", "safetensors"):
        words = (
            "--mapping",
            tiny.mapping,
            "--checkpoint",
            tiny.checkpoint,
            "--out",
            tmp_path / f"w.{suffix}",
        )
        assert run("convert", *words).code == 0
    assert run("diff", tmp_path / "w.pth", tmp_path / "w.safetensors").code == 0


def test_of_two_seeds_the_ten_furthest_apart_are_shown(sampled_rgb, tmp_path):
    assert run("sample", "--mapping", "i3d_rgb", "--seed", 2, "--out", tmp_path / "m").code == 0
    found = run("diff", sampled_rgb, tmp_path / "m")
    assert found.code == 1
    assert sum(line.startswith("RGB/") for line in found.out.splitlines()) == 10
    assert "… and 220 more that differ less (--all shows every tensor)" in found.out
    assert "230 tensors different" in found.out
    everything = run("diff", "--all", sampled_rgb, tmp_path / "m").out
    assert sum(line.startswith("RGB/") for line in everything.splitlines()) == 230


def test_a_checkpoint_and_weights_without_a_mapping_are_refused_with_the_way_out(tiny, weights):
    message = refused("diff", tiny.checkpoint, weights)
    assert f"next      tfpt diff --mapping MAPPING {tiny.checkpoint} {weights}" in message
    assert "safetensors" in message


def test_damaged_values_end_with_2(tiny, weights):
    values = bytearray(tiny.data.read_bytes())
    values[3] ^= 1
    tiny.data.write_bytes(values)
    assert "fail their checksum" in refused("diff", "--mapping", tiny.mapping, tiny.checkpoint, weights)
    words = ("--mapping", tiny.mapping, "--no-verify-checksums", tiny.checkpoint, weights)
    assert run("diff", *words).code == 1


def test_without_a_mapping_checksums_are_verified_or_not_as_well(tiny):
    values = bytearray(tiny.data.read_bytes())
    values[3] ^= 1
    tiny.data.write_bytes(values)
    assert "fail their checksum" in refused("diff", tiny.checkpoint, tiny.checkpoint)
    assert run("diff", "--no-verify-checksums", tiny.checkpoint, tiny.checkpoint).code == 0


def test_everything_is_json_too(tiny, weights):
    found = run("diff", "--json", "--mapping", tiny.mapping, tiny.checkpoint, weights)
    assert found.code == 0
    facts = found.json
    assert facts["same"] is True
    assert facts["summary"] == {"compared": 4, "equal": 4, "identical": 4, "different": 0, "findings": 0}
    assert {tensor["name"] for tensor in facts["tensors"]} == set(tiny.parameters)
    assert set(facts["tensors"][0]) >= {"shape", "dtype", "max_abs", "mean_abs", "relative", "cosine", "work"}


def test_zeros_of_the_other_sign_are_equal_and_that_is_said(tmp_path):
    zeros = {"a": np.zeros(3, np.float32), "b": np.float32([1, 0, np.nan])}
    other = {"a": -zeros["a"], "b": zeros["b"].copy()}
    other["b"].view(np.uint32)[2] ^= 1
    save_file(zeros, tmp_path / "a.safetensors")
    save_file(other, tmp_path / "b.safetensors")
    found = run("diff", tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert found.code == 0
    expected = (
        "2 equal as numbers, 0 of them bit-identical (3 zeros of opposite sign, 1 NaN with different bits)"
    )
    assert expected in " ".join(found.out.split())
    facts = run("diff", "--json", tmp_path / "a.safetensors", tmp_path / "b.safetensors").json
    assert facts["summary"]["identical"] == 0
    assert [(t["zero_signs"], t["nan_bits"]) for t in sorted(facts["tensors"], key=lambda t: t["name"])] == [
        (3, 0),
        (0, 1),
    ]


def test_the_program_ends_with_0_1_or_2(tiny, weights):
    assert program("diff", "--mapping", tiny.mapping, tiny.checkpoint, weights).code == 0
    tiny.rewrite("fill: 0", "fill: 1")
    assert program("diff", "--mapping", tiny.mapping, tiny.checkpoint, weights).code == 1
    assert program("diff", tiny.checkpoint, weights).code == 2


def test_what_only_the_model_knows_is_not_compared_and_that_is_said(tiny, tmp_path):
    tiny.rewrite("{pt: steps, fill: 0, shape: [], dtype: int64}", "{pt: steps, keep: true}")
    weights = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
    weights["steps"] += 9
    save_file(weights, tmp_path / "w.safetensors")
    found = run("diff", "--mapping", tiny.mapping, tiny.checkpoint, tmp_path / "w.safetensors")
    assert found.code == 0
    assert (
        "3 tensors compared, 3 bit-identical, 1 not compared (they keep the model's own values)" in found.out
    )


def test_a_page_shows_what_differs_and_replaces_no_file(tiny, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("diff", "--mapping", tiny.mapping, tiny.checkpoint, weights, "--html", "page.html")
    found = run(*words)
    assert found.code == 0
    assert found.out.splitlines()[-1] == "wrote page.html"
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "net/dense/kernel/Momentum" in text
    assert '"verdict":"equal","good":true' in text
    assert "--force replaces it" in refused(*words)
    assert (tmp_path / "page.html").read_text("utf-8") == text
    assert run(*words, "--force", "--json").json["html"] == "page.html"
    assert run(*words[:-2], "--json").json["html"] is None
    assert ".html or .htm" in refused(*words[:-1], "page.txt")


def test_a_page_is_written_when_something_differs_too(tiny, tmp_path):
    changed = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
    changed["fc.bias"][3] += 7
    save_file(changed, tmp_path / "changed.safetensors")
    page = tmp_path / "page.html"
    words = ("--mapping", tiny.mapping, tiny.checkpoint, tmp_path / "changed.safetensors", "--html", page)
    assert run("diff", *words).code == 1
    assert '"verdict":"1 tensor different","good":false' in page.read_text("utf-8")


def test_a_page_cannot_be_written_where_nothing_can_be(tiny, weights, tmp_path):
    words = (
        "diff",
        "--mapping",
        tiny.mapping,
        tiny.checkpoint,
        weights,
        "--html",
        tmp_path / "none/page.html",
    )
    assert "mkdir -p" in refused(*words)
