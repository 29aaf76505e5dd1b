"""`tfpt record` as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.commands.running import program, refused, run
from tests.networks.running.graphs import Small
from tfpt.networks.recording.recordings import read_recording

tf = pytest.importorskip("tensorflow")

MAPPING = """\
version: 1
source: {scope: net}
weights:
  - {tf: unit/w, pt: unit.weight, layout: "i o -> o i"}
endpoints:
  - {tf: unit,  pt: unit}
  - {tf: Mixed, pt: mixed}
"""


@pytest.fixture(scope="module")
def small():
    return Small()


@pytest.fixture(scope="module")
def meta(small, tmp_path_factory):
    return small.save(tmp_path_factory.mktemp("meta") / "model.ckpt")


@pytest.fixture
def mapping(tmp_path):
    (tmp_path / "small.yaml").write_text(MAPPING)
    return tmp_path / "small.yaml"


def test_a_table_says_what_was_recorded_and_where(small, meta, mapping, tmp_path):
    x = np.random.default_rng(11).normal(size=(7, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "r.npz"
    found = run("record", "--mapping", mapping, meta, "--input", tmp_path / "x.npy", "--out", out)
    assert (found.code, found.err) == (0, "")
    lines = [line.split() for line in found.out.splitlines()]
    assert lines[0][:4] == [str(meta), "TensorFlow", "meta", "graph,"]
    assert ["endpoint", "op", "shape", "mean", "|x|", "largest", "kept"] in lines
    expected = small.expected(x)["unit"]
    mean, largest = f"{np.abs(expected).mean():.4g}", f"{np.abs(expected).max():.4g}"
    assert ["unit", "net/unit/Relu", "[7,", "5]", mean, largest, "whole"] in lines
    assert "2 endpoints, with the input" in found.out
    assert str(out) in found.out
    np.testing.assert_array_equal(read_recording(out).inputs["input"], x)


def test_json_has_the_same_facts(meta, mapping, tmp_path):
    found = run(
        "record", "--mapping", mapping, meta, "--out", tmp_path / "r.npz", "--seed", 3, "--batch", 2, "--json"
    ).json
    assert found["out"] == str(tmp_path / "r.npz")
    assert found["inputs"] == {"input": [2, 3]}
    assert [(each["name"], each["op"], each["shape"], each["whole"]) for each in found["endpoints"]] == [
        ("unit", "net/unit/Relu:0", [2, 5], True),
        ("Mixed", "net/Mixed/concat:0", [2, 9], True),
    ]
    assert found["facts"]["seed"] == 3


def test_the_output_is_called_as_the_mapping_or_the_network(meta, mapping, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("record", "--mapping", mapping, meta).code == 0
    assert (tmp_path / "small.npz").is_file()
    assert run("record", meta.parent, "--endpoint", "Mixed").code == 0
    assert (tmp_path / f"{meta.parent.name}.npz").is_file()


def test_an_output_is_replaced_only_with_force(meta, mapping, tmp_path):
    out = tmp_path / "r.npz"
    out.write_bytes(b"precious")
    words = ("record", "--mapping", mapping, meta, "--out", out)
    assert "--force replaces it" in refused(*words)
    assert out.read_bytes() == b"precious"
    assert run(*words, "--force").code == 0


def test_the_list_shows_names_kinds_and_shapes_without_running(meta):
    found = run("record", "--list", meta)
    assert found.code == 0
    lines = [line.split(maxsplit=1)[0] + " " + line.rpartition(" ")[2] for line in found.out.splitlines()]
    assert "Relu net/unit[/Relu]" in lines
    assert "ConcatV2 net/Mixed[/concat]" in lines
    chosen = run("record", "--list", meta, "--grep", "Mixed/c").out
    assert chosen.startswith("ConcatV2  [?, 9]  net/Mixed[/concat]")
    assert "1 activation of" in chosen
    listed = run("record", "--list", meta, "--json").json
    assert {"name": "net/unit/Relu", "kind": "Relu", "shape": [None, 5], "scopes": ["net/unit"]} in listed
    assert "--grep is not a regular expression" in refused("record", "--list", meta, "--grep", "(")


def test_values_are_fed_by_name(small, meta, tmp_path):
    unit = np.random.default_rng(3).uniform(size=(2, 5)).astype(np.float32)
    np.save(tmp_path / "unit.npy", unit)
    out = tmp_path / "r.npz"
    words = ("record", meta, "--endpoint", "Mixed", "--out", out, "--force")
    for how in (
        ["--feed", f"net/unit/Relu={tmp_path / 'unit.npy'}"],
        ["--input", f"net/unit/Relu={tmp_path / 'unit.npy'}"],
    ):
        assert run(*words, *how, "--feed", "is_training=false").code == 0
        expected = np.concatenate([unit @ small.values[f"net/Mixed/Branch_{n}/w"] for n in (0, 1)], 1)
        np.testing.assert_allclose(read_recording(out).endpoints["Mixed"].values, expected, rtol=1e-5)


def test_errors_say_what_to_do(meta, mapping, tmp_path, sampled_rgb):
    assert "nearest   Mixed" in refused("record", meta, "--endpoint", "Mixde")
    assert "tfpt record --list" in refused("record", meta)
    assert "no TensorFlow network of this name" in refused(
        "record", "--mapping", mapping, tmp_path / "nothing"
    )
    assert "model.ckpt.meta beside it" in refused("record", "--mapping", "i3d_rgb", sampled_rgb)
    assert "names no endpoint" in refused("record", "--mapping", "bert", meta)
    np.save(tmp_path / "x.npy", np.ones((7, 2), np.float32))
    text = refused(
        "record", "--mapping", mapping, meta, "--input", tmp_path / "x.npy", "--out", tmp_path / "r.npz"
    )
    assert "clip [?, 3] float32" in text
    assert "[7, 2] float32" in text
    assert not (tmp_path / "r.npz").exists()
    assert "is not NAME=VALUE" in run("record", meta, "--feed", "keep_prob").err
    assert "--grep only works with --list" in run("record", meta, "--grep", "x").err
    error = run("record", meta, "--endpoint", "Mixde", "--out", tmp_path / "r.npz", "--json")
    assert (error.code, error.json["error"]) == (2, "SourceError")


def test_as_a_program_it_prints_nothing_of_tensorflows(meta, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # set for the tests themselves
    found = program("record", meta, "--endpoint", "Mixed", "--out", tmp_path / "r.npz")
    assert (found.code, found.err) == (0, "")


def test_without_tensorflow_it_says_what_to_install(meta):
    code = (
        "import sys; sys.modules['tensorflow'] = None; from tfpt.commands.main import main;"
        f"main(['record', {str(meta)!r}, '--list'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "tfpt[tensorflow]"' in done.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from tfpt.commands.main import main;"
        "main(['record', '--help'], standalone_mode=False);"
        "print(sorted({'torch', 'tensorflow', 'numpy', 'keras'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("value", ["[", "*a", "!!python/object:os.system x", "2020-99-99"])
def test_a_value_that_cannot_be_read_is_refused(meta, value):
    found = run("record", meta, "--feed", f"is_training={value}")
    assert found.code == 2
    assert "is not a valid value" in found.err


def test_rows_of_unequal_lengths_are_refused(meta):
    found = run("record", meta, "--endpoint", "net/unit", "--feed", "clip=[1, [2]]")
    assert found.code == 2
    assert "the value for clip is not an array" in found.err
