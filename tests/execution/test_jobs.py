"""`tfpt.plan`, `tfpt.convert` and carrying out several jobs, as the API promises them."""

from __future__ import annotations

import errno
import json
import os
import threading

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tfpt.errors import SinkError, SourceError, TfptError
from tfpt.execution.jobs import carry_out, prepare
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.planning import PlanError


def test_a_plan_reads_no_weight(tiny):
    tiny.data.unlink()
    plan = tfpt.plan(tiny.mapping, tiny.checkpoint)
    assert plan.ok
    assert set(plan.writes) == set(tiny.parameters)
    assert plan.used == {"net/dense/kernel", "net/dense/bias", "net/conv/w"}
    assert plan.ignored == {"net/dense/kernel/Momentum": "optimizer slot"}
    assert plan.filled == 1


def test_a_plan_serializes_to_json(tiny):
    facts = json.loads(json.dumps(tfpt.plan(tiny.mapping, tiny.checkpoint).to_json()))
    assert facts["summary"] == {
        "variables": 4, "used": 3, "ignored": 1, "parameters": 4, "filled": 1, "findings": 0, "notes": 0,
    }  # fmt: skip


def test_converting_says_where_and_how_much(tiny, tmp_path):
    done = tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / "w.safetensors")
    assert done.path == tmp_path / "w.safetensors"
    assert done.nbytes == done.path.stat().st_size
    assert list(done.plan.writes) == list(tiny.parameters)


def test_what_does_not_fit_is_raised_with_the_plan_and_nothing_is_written(tiny, tmp_path):
    tiny.rewrite("conv/w", "conv/v")
    with pytest.raises(PlanError, match="nothing was written") as error:
        tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / "w.safetensors")
    assert {finding.kind for finding in error.value.plan.findings} == {"absent", "unused"}
    assert "net/conv/v is not in the checkpoint" in str(error.value)
    assert "tiny.yaml:10" in str(error.value)
    assert not (tmp_path / "w.safetensors").exists()


def test_a_dtype_that_is_none_of_floating_point_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(TfptError, match="cannot be written in this dtype") as error:
        tfpt.convert("i3d_rgb", tmp_path / "nowhere", dtype="int8")
    assert "bfloat16" in str(error.value)


def test_integers_are_exact_beyond_53_bits_and_never_lose_values_unasked(tmp_path):
    (tmp_path / "m.yaml").write_text("version: 1\nweights:\n  - {tf: steps, pt: steps}\n")
    manifest = tmp_path / "m.manifest.json"
    manifest.write_text('{"steps": {"dtype": "int64", "shape": [2]}}')
    write_bundle(tmp_path / "c", {"steps": np.int64([2**53 + 1, -(2**62) - 1])})
    done = tfpt.convert(tmp_path / "m.yaml", tmp_path / "c", tmp_path / "w.safetensors", dtype="float16")
    assert load_file(done.path)["steps"].tolist() == [2**53 + 1, -(2**62) - 1]
    for lossy in ("float64", "int32"):
        manifest.write_text(f'{{"steps": {{"dtype": "{lossy}", "shape": [2]}}}}')
        plan = tfpt.plan(tmp_path / "m.yaml", tmp_path / "c")
        assert [finding.kind for finding in plan.findings] == ["dtype"]
        assert f"steps is int64, steps is {lossy}" in plan.findings[0].what


def test_an_empty_tensor_and_a_scalar_go_through(tmp_path):
    (tmp_path / "m.yaml").write_text("version: 1\nweights:\n  - {tf: a, pt: a}\n  - {tf: b, pt: b}\n")
    table = {"a": {"dtype": "float32", "shape": [0, 3]}, "b": {"dtype": "float32", "shape": []}}
    (tmp_path / "m.manifest.json").write_text(json.dumps(table))
    write_bundle(tmp_path / "c", {"a": np.zeros((0, 3), np.float32), "b": np.float32(7)})
    for suffix in ("safetensors", "pth"):
        tfpt.convert(tmp_path / "m.yaml", tmp_path / "c", tmp_path / f"w.{suffix}")
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    assert state["a"].shape == (0, 3)
    assert state["b"].item() == 7
    written = load_file(tmp_path / "w.safetensors")
    assert written["a"].shape == (0, 3)
    assert written["b"] == 7


def test_progress_is_told_of_every_step(tiny, tmp_path):
    job = prepare(tiny.mapping, tiny.checkpoint, tmp_path / "w.safetensors")
    told, lock = [], threading.Lock()

    def progress(of, step):
        with lock:
            told.append((of is job, step.writes[0].name))

    carry_out([job], progress=progress, workers=2)
    assert sorted(told) == sorted((True, name) for name in tiny.parameters)


class TestSeveralJobs:
    def test_none_is_begun_while_one_has_findings(self, tiny, tmp_path):
        good = prepare(tiny.mapping, tiny.checkpoint, tmp_path / "good.safetensors")
        tiny.rewrite("conv/w", "conv/v")
        bad = prepare(tiny.mapping, tiny.checkpoint, tmp_path / "bad.safetensors")
        with pytest.raises(PlanError):
            carry_out([good, bad])
        assert [path.name for path in tmp_path.iterdir()] == ["tiny"]

    def test_none_appears_when_one_cannot_be_finished(self, tiny, tmp_path, monkeypatch):
        from tfpt.execution.sinks.torch import TorchSink

        def full(_):
            raise SinkError("cannot write the output: the disk is full")

        jobs = [
            prepare(tiny.mapping, tiny.checkpoint, tmp_path / name) for name in ("a.safetensors", "b.pth")
        ]
        monkeypatch.setattr(TorchSink, "finish", full)
        with pytest.raises(SinkError, match="disk is full"):
            carry_out(jobs)
        assert [path.name for path in tmp_path.iterdir()] == ["tiny"]

    def test_a_file_that_was_there_before_is_not_taken_away(self, tiny, tmp_path, monkeypatch):
        from tfpt.execution.sinks.torch import TorchSink

        (tmp_path / "b.pth").write_bytes(b"precious")
        jobs = [
            prepare(tiny.mapping, tiny.checkpoint, tmp_path / name) for name in ("a.safetensors", "b.pth")
        ]
        monkeypatch.setattr(TorchSink, "finish", lambda _: (_ for _ in ()).throw(SinkError("full")))
        with pytest.raises(SinkError):
            carry_out(jobs, overwrite=True)
        assert (tmp_path / "b.pth").read_bytes() == b"precious"
        assert not (tmp_path / "a.safetensors").exists()

    @pytest.mark.parametrize("failing", [1, 2, 3])
    def test_of_which_one_cannot_have_its_name_the_old_files_stay(self, tiny, tmp_path, monkeypatch, failing):
        """The disk fails at the n-th rename; what was there before is there again, to the byte."""
        names = ("a.safetensors", "b.pth", "c.safetensors")
        for name in names[:2]:
            (tmp_path / name).write_bytes(f"precious {name}".encode())
        jobs = [prepare(tiny.mapping, tiny.checkpoint, tmp_path / name) for name in names]
        real, made = os.replace, []

        def replace(source, target):
            made.append(target)
            if len(made) == failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(SinkError, match="Input/output error"):
            carry_out(jobs, overwrite=True)
        found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        assert found == {name: f"precious {name}".encode() for name in names[:2]}

    def test_two_with_one_output_are_refused_however_it_is_spelled(self, tiny, tmp_path):
        outs = (tmp_path / "w.safetensors", tmp_path / "tiny" / ".." / "w.safetensors")
        jobs = [prepare(tiny.mapping, tiny.checkpoint, out) for out in outs]
        with pytest.raises(SinkError, match="two conversions would write the same file"):
            carry_out(jobs)


def test_an_output_that_is_the_input_is_refused(tmp_path):
    """Whatever may be replaced: the format of an input is told by what is in it, its name may be any."""
    (tmp_path / "m.yaml").write_text("version: 1\nweights:\n  - {tf: steps, pt: steps}\n")
    (tmp_path / "m.manifest.json").write_text('{"steps": {"dtype": "int64", "shape": [2]}}')
    np.savez(tmp_path / "c.npz", steps=np.int64([3, 5]))
    os.rename(tmp_path / "c.npz", tmp_path / "c.pth")
    (tmp_path / "link.pth").symlink_to("c.pth")
    before = (tmp_path / "c.pth").read_bytes()
    for out in ("c.pth", "link.pth"):
        with pytest.raises(SinkError, match="would replace one of its inputs"):
            tfpt.convert(tmp_path / "m.yaml", tmp_path / "c.pth", tmp_path / out, overwrite=True)
    assert (tmp_path / "c.pth").read_bytes() == before
    tfpt.convert(tmp_path / "m.yaml", tmp_path / "c.pth", tmp_path / "d.pth")


def test_a_damaged_value_leaves_nothing_behind(tiny, tmp_path):
    values = bytearray(tiny.data.read_bytes())
    values[70] ^= 4
    tiny.data.write_bytes(values)
    for suffix in ("safetensors", "pth"):
        with pytest.raises(SourceError, match="fail their checksum"):
            tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / f"w.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    done = tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / "w.pth", verify_checksums=False)
    assert done.path.is_file()
