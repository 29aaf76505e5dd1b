"""What the sink writes is what the official library writes, byte for byte, and what it reads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tfpt.errors import SinkError
from tfpt.execution.sinks import open_sink
from tfpt.execution.sinks.safetensors import SafetensorsSink
from tfpt.tensors import BY_SAFETENSORS, TensorSpec, dtype

METADATA = {"format": "pt", "mapping": "i3d_rgb", "note": 'Zeilen\nund "Ä"'}


def tensors() -> dict[str, torch.Tensor]:
    """One of every dtype of the format, and of shapes that are easily got wrong."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for known in BY_SAFETENSORS.values():
        bits = torch.randint(
            0, 2 if known.name == "bool" else 256, (3 * 5 * known.itemsize,), generator=generator
        )
        assert known.torch is not None
        made[f"of {known.name}"] = bits.to(torch.uint8).view(getattr(torch, known.torch)).reshape(3, 5)
    made["scalar"] = torch.tensor(2.5)
    made["nothing"] = torch.zeros(3, 0, 2, dtype=torch.int16)
    made['é/"quoted"\n'] = torch.arange(7)
    made["a.very.long.name" * 9] = torch.arange(11, dtype=torch.int8)
    return made


def array(tensor: torch.Tensor) -> np.ndarray:
    held = dtype(str(tensor.dtype).removeprefix("torch.")).numpy
    assert held is not None
    return np.frombuffer(bytes(tensor.reshape(-1).view(torch.uint8).tolist()), held).reshape(tensor.shape)


def specs(of: dict[str, torch.Tensor]) -> list[TensorSpec]:
    return [TensorSpec(name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in of.items()]


def write(path: Path, of: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    with SafetensorsSink(path, specs(of), metadata) as sink:
        for name in reversed(of):
            sink.write(name, array(of[name]))
        sink.commit()


def test_the_file_is_the_official_one_to_the_byte(tmp_path: Path) -> None:
    made = tensors()
    write(tmp_path / "ours", made, {"format": "pt"})
    save_file(made, tmp_path / "theirs", {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_the_official_reader_finds_every_tensor_and_the_metadata(tmp_path: Path) -> None:
    made = tensors()
    write(tmp_path / "w", made, METADATA)
    read = load_file(tmp_path / "w")
    assert set(read) == set(made)
    for name, tensor in made.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert torch.equal(read[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))
    with safe_open(tmp_path / "w", "pt") as file:
        assert file.metadata() == METADATA


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_a_file_of_no_tensors(tmp_path: Path, metadata: dict[str, str]) -> None:
    write(tmp_path / "ours", {}, metadata)
    save_file({}, tmp_path / "theirs", metadata or None)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_data_begins_at_a_multiple_of_eight(tmp_path: Path) -> None:
    for length in range(1, 18):
        path = tmp_path / str(length)
        write(path, {"n" * length: torch.zeros(1)}, {})
        assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


def test_a_transposed_array_is_written_in_its_own_order(tmp_path: Path) -> None:
    kernel = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 5, 7)
    with SafetensorsSink(tmp_path / "w", [TensorSpec("k", (7, 3, 5), "float32")], {}) as sink:
        sink.write("k", kernel.transpose(2, 0, 1))
        sink.commit()
    assert np.array_equal(load_file(tmp_path / "w")["k"].numpy(), kernel.transpose(2, 0, 1))


def test_many_threads_write_at_once(tmp_path: Path) -> None:
    rows = {f"layer.{n}": np.full((101 + n, 67), n, np.float32) for n in range(200)}
    with SafetensorsSink(
        tmp_path / "w", [TensorSpec(n, a.shape, "float32") for n, a in rows.items()], {}
    ) as sink:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(sink.write, rows, rows.values()))
        sink.commit()
    read = load_file(tmp_path / "w")
    assert all(np.array_equal(read[name].numpy(), row) for name, row in rows.items())


def test_of_two_threads_that_write_one_tensor_one_is_refused(tmp_path: Path) -> None:
    row = np.zeros(1 << 20, np.float32)
    both = threading.Barrier(2)
    refused = []

    def once() -> None:
        both.wait()
        try:
            sink.write("a", row)
        except SinkError as error:
            refused.append(error)

    with SafetensorsSink(tmp_path / "w", [TensorSpec("a", row.shape, "float32")], {}) as sink:
        threads = [threading.Thread(target=once) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(refused) == 1


SPECS = [TensorSpec("a", (3,), "float32"), TensorSpec("b", (2, 5), "int64")]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("c", np.zeros(3, np.float32), "'c' is not among"),
        ("a", np.zeros(4, np.float32), "different shape or dtype"),
        ("a", np.zeros((3, 1), np.float32), "different shape or dtype"),
        ("a", np.zeros(3, np.float64), "different shape or dtype"),
        ("a", np.zeros(3, ">f4"), "different shape or dtype"),
    ],
)
def test_a_tensor_that_was_not_planned_is_refused(
    tmp_path: Path, name: str, values: np.ndarray, message: str
) -> None:
    with SafetensorsSink(tmp_path / "w", SPECS, {}) as sink, pytest.raises(SinkError, match=message):
        sink.write(name, values)
    assert os.listdir(tmp_path) == []


def test_a_tensor_written_twice_is_refused(tmp_path: Path) -> None:
    with SafetensorsSink(tmp_path / "w", SPECS, {}) as sink:
        sink.write("a", np.zeros(3, np.float32))
        with pytest.raises(SinkError, match="written twice"):
            sink.write("a", np.zeros(3, np.float32))


def test_a_file_with_a_tensor_missing_is_not_finished(tmp_path: Path) -> None:
    with SafetensorsSink(tmp_path / "w", SPECS, {}) as sink:
        sink.write("a", np.zeros(3, np.float32))
        with pytest.raises(SinkError, match="not every tensor was written") as caught:
            sink.commit()
    assert "missing: b" in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["complex128", "string", "int4", "float8_e4m3b11fnuz"])
def test_a_dtype_without_a_code_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="no dtype for 'odd'") as caught:
        SafetensorsSink(tmp_path / "w", [*SPECS, TensorSpec("odd", (2,), name)], {})
    assert name in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_names_the_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    for names, message in [
        (["__metadata__"], "reserves"),
        (["a", "a"], "two tensors"),
        (["\ud800"], "not Unicode"),
    ]:
        with pytest.raises(SinkError, match=message):
            SafetensorsSink(tmp_path / "w", [TensorSpec(name, (1,), "int8") for name in names], {})
    with pytest.raises(SinkError, match="metadata must be strings"):
        SafetensorsSink(tmp_path / "w", [], {"epoch": 3})  # type: ignore[dict-item]
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_known_before_any_work(small_disk: Path) -> None:
    with pytest.raises(SinkError, match="disk is full"):
        SafetensorsSink(small_disk / "w", [TensorSpec("a", (1 << 20,), "float32")], {})
    assert os.listdir(small_disk) == []


@pytest.mark.slow
def test_a_tensor_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    size = (1 << 31) + 5
    with SafetensorsSink(tmp_path / "w", [TensorSpec("a", (size,), "uint8")], {}) as sink:
        values = np.zeros(size, np.uint8)
        values[-3:] = 7, 8, 9
        sink.write("a", values)
        sink.commit()
    with safe_open(tmp_path / "w", "np") as file:
        assert file.get_slice("a")[size - 4 :].tolist() == [0, 7, 8, 9]
    (tmp_path / "w").unlink()


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    with open_sink(tmp_path / "w.safetensors", [], {}) as sink:
        assert isinstance(sink, SafetensorsSink)
    with pytest.raises(SinkError, match=r"has the suffix '\.onnx'") as caught:
        open_sink(tmp_path / "w.onnx", [], {})
    assert ".safetensors, .pth, .pt" in str(caught.value)


def test_importing_the_sinks_imports_no_framework() -> None:
    code = (
        "import sys, tfpt.execution.sinks; print({'torch', 'tensorflow', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
