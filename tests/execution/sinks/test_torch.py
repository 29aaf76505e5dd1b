"""What the sink saves, `torch.load(weights_only=True)` loads."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tfpt.errors import SinkError
from tfpt.execution.sinks import open_sink
from tfpt.execution.sinks.torch import TorchSink
from tfpt.tensors import DTYPES, TensorSpec

KNOWN = [known for known in DTYPES.values() if known.torch is not None]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_every_dtype_keeps_its_bits(tmp_path: Path, known) -> None:
    bits = np.random.default_rng(5).integers(
        0, 2 if known.name == "bool" else 256, 15 * known.itemsize, np.uint8
    )
    values = bits.view(known.numpy).reshape(3, 5)
    with TorchSink(tmp_path / "w.pth", [TensorSpec("a", (3, 5), known.name)], {}) as sink:
        sink.write("a", values)
        sink.commit()
    read = torch.load(tmp_path / "w.pth", weights_only=True)["a"]
    assert read.dtype == getattr(torch, known.torch)
    assert read.shape == (3, 5)
    assert bytes(read.reshape(-1).view(torch.uint8).tolist()) == bits.tobytes()


def test_the_file_is_a_plain_state_dict_in_the_order_of_the_specs(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 5)
    specs = [TensorSpec("weight", (5, 3), "float32"), TensorSpec("bias", (5,), "float32")]
    with open_sink(tmp_path / "w.pt", specs, {"format": "pt"}) as sink:
        sink.write("bias", np.arange(5, dtype=np.float32))
        sink.write("weight", np.arange(15, dtype=np.float32).reshape(3, 5).T)
        sink.commit()
    state = torch.load(tmp_path / "w.pt", weights_only=True, mmap=True)
    assert type(state) is dict
    assert list(state) == ["weight", "bias"]
    model.load_state_dict(state)
    assert model.weight[4].tolist() == [4, 9, 14]
    assert os.listdir(tmp_path) == ["w.pt"]


def test_scalars_empty_tensors_and_read_only_arrays(tmp_path: Path) -> None:
    frozen = np.arange(7, dtype=np.int16)
    frozen.flags.writeable = False
    specs = [TensorSpec("s", (), "float64"), TensorSpec("e", (0, 3), "bool"), TensorSpec("f", (7,), "int16")]
    with TorchSink(tmp_path / "w.pth", specs, {}) as sink, warnings.catch_warnings():
        warnings.simplefilter("error")
        sink.write("s", np.array(2.5))
        sink.write("e", np.zeros((0, 3), bool))
        sink.write("f", frozen)
        sink.commit()
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    assert state["s"].item() == 2.5
    assert state["e"].shape == (0, 3)
    assert state["f"].tolist() == list(range(7))


@pytest.mark.parametrize("name", ["string", "int4", "qint8", "float8_e4m3b11fnuz"])
def test_a_dtype_that_torch_lacks_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="no dtype for 'odd'"):
        TorchSink(tmp_path / "w.pth", [TensorSpec("odd", (2,), name)], {})
    assert os.listdir(tmp_path) == []


def test_a_missing_tensor_leaves_nothing(tmp_path: Path) -> None:
    sink = TorchSink(tmp_path / "w.pth", [TensorSpec("a", (2,), "float32")], {})
    with pytest.raises(SinkError, match="not every tensor was written"):
        sink.commit()
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_known_before_any_work(small_disk: Path) -> None:
    with pytest.raises(SinkError, match="disk is full"):
        TorchSink(small_disk / "w.pth", [TensorSpec("a", (1 << 20,), "float32")], {})
    assert os.listdir(small_disk) == []


def test_a_disk_that_fills_up_while_saving_leaves_nothing(small_disk: Path) -> None:
    sink = TorchSink(small_disk / "w.pth", [TensorSpec("a", (1 << 15,), "float32")], {})
    sink.write("a", np.ones(1 << 15, np.float32))
    with open(small_disk / "other", "wb", buffering=0) as other:
        # Takes what is left, and says how much that was.
        assert other.write(bytes(1 << 20)) < 1 << 20
    with pytest.raises(SinkError, match="disk is full"):
        sink.commit()
    assert os.listdir(small_disk) == ["other"]


def test_a_write_that_fails_while_saving_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = TorchSink(tmp_path / "w.pth", [TensorSpec("a", (101,), "float32")], {})
    sink.write("a", np.ones(101, np.float32))

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(SinkError, match="disk is full"):
        sink.commit()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_an_existing_file_is_not_replaced_unless_asked(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"w{suffix}"
    out.write_bytes(b"old")
    with pytest.raises(SinkError):
        open_sink(out, [], {})
    assert out.read_bytes() == b"old"


def test_metadata_reach_the_file(tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    with open_sink(out, [TensorSpec("w", (1,), "int8")], {"note": "kept"}) as sink:
        sink.write("w", np.ones(1, np.int8))
        sink.commit()
    with safe_open(out, "np") as file:
        assert file.metadata()["note"] == "kept"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, bytes(data)[:7], at))
    values = np.arange(101, dtype=np.float32)
    with TorchSink(tmp_path / "w.pth", [TensorSpec("a", (101,), "float32")], {}) as sink:
        sink.write("a", values)
        sink.commit()
    assert torch.load(tmp_path / "w.pth", weights_only=True)["a"].tolist() == values.tolist()


def test_an_error_of_torch_itself_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("not a matter of the disk")

    sink = TorchSink(tmp_path / "w.pth", [TensorSpec("a", (3,), "float32")], {})
    sink.write("a", np.ones(3, np.float32))
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="not a matter of the disk"):
        sink.commit()
    assert os.listdir(tmp_path) == []


def test_errors_name_the_output(tmp_path: Path) -> None:
    out = tmp_path / "w.pth"
    with pytest.raises(SinkError) as missing:
        TorchSink(out, [TensorSpec("a", (2,), "float32")], {}).commit()
    out.write_bytes(b"old")
    with pytest.raises(SinkError) as existing:
        TorchSink(out, [], {})
    assert (missing.value.where, existing.value.where) == (str(out), str(out))
    assert "--force" in str(existing.value.hint)
