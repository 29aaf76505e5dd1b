"""`tfpt inspect`: a tree that people can read, and the same as JSON."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from benchmarks.inspect_names import write_hollow
from tests.commands.running import refused, run
from tests.formats.tflite.models import convert
from tfpt.execution.sinks.bundle import write_bundle


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
    tree = lines(checkpoint)[1:-3]
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
    *_, totals, roles, fingerprint = lines(checkpoint)
    assert totals == "4 tensors: 3 float32 (180 B), 1 int64 (8 B)"
    assert roles == "3 weights (128 B), 1 optimizer slot (60 B)"
    assert fingerprint.startswith("fingerprint ")
    assert lines(checkpoint, "--grep", "layer_10")[-2] == "1 tensor of 4: 1 float32 (60 B)"
    assert lines(checkpoint, "--grep", "nothing")[-2] == "no tensor of 4"


def test_statistics_stand_beside_the_names(checkpoint):
    header, *rows = lines(checkpoint, "--stats")[1:-3]
    assert header.split() == ["min", "max", "mean", "std", "nan", "inf"]
    slot = next(row for row in rows if row.split()[0] == "Momentum")
    assert " ".join(slot.split()) == "Momentum [3, 5] float32 optimizer slot 0 0 0 0 0 0"
    row = next(row for row in rows if row.split()[0] == "kernel")
    assert " ".join(row.split()) == "kernel [3, 5] float32 9 9 9 0 0 0"


def test_an_index_alone_is_enough_without_statistics(shared):
    prefix = shared / "real/i3d/rgb_imagenet/model.ckpt"
    missing = "230 tensors cannot be read: the data file model.ckpt.data-00000-of-00001 is missing"
    assert lines(prefix)[-3:-1] == ["230 tensors: 230 float32 (50.8 MB)", missing]
    assert lines("--stats", prefix)[-2] == missing


def test_weights_of_pytorch_are_inspected_too(tmp_path):
    values = {"fc.weight": np.float32([[1, 2, 3]]), "fc.bias": np.float32([5])}
    save_file(values, tmp_path / "w.safetensors")
    torch.save({name: torch.from_numpy(value) for name, value in values.items()}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        facts = run("inspect", "--json", "--stats", tmp_path / name).json
        found = {tensor["name"]: tensor for tensor in facts["tensors"]}
        assert found["fc.weight"]["shape"] == [1, 3]
        assert found["fc.weight"]["statistics"] == {
            "min": 1, "max": 3, "mean": 2, "std": pytest.approx(np.std([1, 2, 3])), "nan": 0, "inf": 0, "denormal": 0,
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
    assert facts["tensors"] == [{"name": "step", "shape": [], "dtype": "int64", "role": "weight"}]
    roles = run("inspect", "--json", checkpoint).json["roles"]
    assert roles == {"weight": {"tensors": 3, "bytes": 128}, "slot": {"tensors": 1, "bytes": 60}}
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


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak of memory from /proc")
def test_the_names_of_a_checkpoint_of_a_gigabyte_take_little_memory(tmp_path):
    write_hollow(f"{tmp_path}/m")
    # Not getrusage: what it says begins with the peak of the process that forked this one.
    script = "import sys; from tfpt.commands.main import main\n"
    script += "try: main(sys.argv[1:])\n"
    script += "finally: sys.stderr.write(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    done = subprocess.run(
        [sys.executable, "-c", script, "inspect", f"{tmp_path}/m"], capture_output=True, text=True, check=True
    )
    assert "1200 optimizer slots (748.9 MB), 400 weights (249.6 MB)" in done.stdout
    assert int(done.stderr) < 150_000


def test_quantized_weights_are_what_they_stand_for_on_request(tmp_path):
    pytest.importorskip("tensorflow")
    model = convert(tmp_path / "m.tflite", "int8")
    stored = {tensor["name"]: tensor for tensor in run("inspect", "--json", model).json["tensors"]}
    facts = run("inspect", "--json", "--dequantize", "--stats", model).json
    meant = {tensor["name"]: tensor for tensor in facts["tensors"]}
    quantized = [name for name, tensor in stored.items() if tensor["dtype"] == "int8"]
    assert quantized
    assert {meant[name]["dtype"] for name in quantized} == {"float32"}
    # The kernels are normal with deviation 1: as whole numbers they would reach from -127 to 127.
    assert all(meant[name]["statistics"]["max"] < 10 for name in quantized)


def test_scales_and_what_is_skipped_are_printed(tmp_path):
    from types import SimpleNamespace

    from rich.console import Console

    from tfpt.checking.inspection import inspect_source
    from tfpt.formats.source import Quantized
    from tfpt.report.inspections import print_inspection
    from tfpt.tensors import TensorSpec

    names = ["conv/w", "conv/b", "a/x;b/y/z", "model_" + "1" * 5000]
    source = SimpleNamespace(
        location="m",
        format="f",
        specs={name: TensorSpec(name, (3,), "int8") for name in names},
        roles={},
        skipped={f"sparse{at}": "sparse_coo tensor" for at in range(12)},
        quantized={"conv/w": Quantized((0.5,), (-3,))},
        unavailable={"conv/b": "its values are in another file"},
        sizes={},
        details=(),
        fingerprint=lambda: "0" * 32,
    )
    found = inspect_source(source)
    held = io.StringIO()
    print_inspection(Console(width=200, file=held), found)
    text = held.getvalue()
    assert "scale 0.5, zero point -3" in text
    assert "1 tensor cannot be read: its values are in another file: conv/b" in text
    assert "12 tensors skipped: sparse_coo tensor: sparse0, " in text
    assert "sparse7 and 4 more" in text
    assert "\na/x;b/y/z " in text  # one line, not a tree
    assert found.to_json()["skipped"]["sparse11"] == "sparse_coo tensor"
    assert found.to_json()["tensors"][0]["quantized"] == {
        "scheme": "affine",
        "axis": None,
        "scales": [0.5],
        "zero_points": [-3],
    }
