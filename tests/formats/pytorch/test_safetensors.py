"""Reads what the official library wrote, and refuses what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tfpt.errors import SourceError
from tfpt.formats.pytorch.safetensors import SafetensorsSource
from tfpt.tensors import BY_SAFETENSORS

GOOD = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I8", "shape": [5], "data_offsets": [24, 29]},
}


def encode(header: object, data: bytes, padding: int = 0) -> bytes:
    text = (header if isinstance(header, bytes) else json.dumps(header).encode()) + b" " * padding
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def everything(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    made = {}
    for known in BY_SAFETENSORS.values():
        bits = torch.randint(
            0, 2 if known.name == "bool" else 256, (35 * known.itemsize,), generator=generator
        )
        assert known.torch is not None
        made[known.name] = bits.to(torch.uint8).view(getattr(torch, known.torch)).reshape(5, 7)
    made["scalar"] = torch.tensor(2.5)
    made["nothing"] = torch.zeros(3, 0, 2)
    save_file(made, tmp_path / "w.safetensors", {"format": "pt", "note": "ä"})
    return tmp_path / "w.safetensors", made


def test_every_dtype_is_read_as_it_was_saved(everything: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, made = everything
    source = SafetensorsSource(path)
    assert source.metadata == {"format": "pt", "note": "ä"}
    with safe_open(path, "pt") as file:
        assert set(source.specs) == set(file.keys())
    for name, tensor in made.items():
        values, spec = source.read(name), source.specs[name]
        assert values.shape == spec.shape == tuple(tensor.shape)
        assert (
            values.dtype == BY_SAFETENSORS[{k.name: c for c, k in BY_SAFETENSORS.items()}[spec.dtype]].numpy
        )
        assert f"torch.{spec.dtype}" == str(tensor.dtype)
        assert values.tobytes() == bytes(tensor.reshape(-1).view(torch.uint8).tolist())


def test_specs_come_in_the_order_of_the_data(everything: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, _ = everything
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    header.pop("__metadata__")
    assert list(SafetensorsSource(path).specs) == list(header)


def test_arrays_are_read_only_and_outlive_the_source(tmp_path: Path) -> None:
    save_file({"a": torch.arange(100_003)}, tmp_path / "w")
    source = SafetensorsSource(tmp_path / "w")
    values = source.read("a")
    assert not values.flags.writeable
    source.release("a")
    source.close()
    assert np.array_equal(values, np.arange(100_003))
    with pytest.raises(SourceError, match="was closed"):
        source.read("a")


def test_data_that_is_not_aligned_is_copied(tmp_path: Path) -> None:
    values = np.arange(6, dtype="<f4")
    for padding in range(8):
        (tmp_path / "w").write_bytes(encode(GOOD, values.tobytes() + b"12345", padding))
        read = SafetensorsSource(tmp_path / "w").read("a")
        assert read.flags.aligned
        assert np.array_equal(read, values.reshape(2, 3))


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(1), "conv.bias": torch.zeros(1)}, tmp_path / "w")
    with pytest.raises(SourceError, match=r"no tensor called 'conv\.wieght'") as caught:
        SafetensorsSource(tmp_path / "w").read("conv.wieght")
    assert caught.value.nearest[0] == "conv.weight"


def test_the_fingerprint_follows_the_content_and_not_the_date(tmp_path: Path) -> None:
    prints = []
    for fill in (1.0, 1.0, 2.0):
        save_file({"a": torch.full((101, 7), fill), "b": torch.zeros(3)}, tmp_path / "w")
        prints.append(SafetensorsSource(tmp_path / "w").fingerprint())
    assert prints[0] == prints[1] != prints[2]


def changed(**entry: object) -> dict[str, object]:
    return {**GOOD, "b": {**GOOD["b"], **entry}}


DATA = bytes(29)
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no header"),
    "seven bytes": (b"1234567", "no header"),
    "length of the universe": ((2**64 - 1).to_bytes(8, "little") + b"{}", "header is too long"),
    "length over the cap": ((100_000_001).to_bytes(8, "little") + b"{}", "header is too long"),
    "length over the file": ((99).to_bytes(8, "little") + b"{}", "longer than the file"),
    "not UTF-8": (encode(b'{"\xff":1}', b""), "not UTF-8"),
    "not JSON": (encode(b'{"a":', b""), "not JSON"),
    "a list": (encode(b"[]", b""), "not a JSON object"),
    "too deep": (encode(b'{"a":' * 100_000, b""), "not JSON"),
    "a number without end": (encode(b'{"a":' + b"1" * 10_000 + b"}", b""), "not JSON"),
    "a key twice": (encode(b'{"a":1,"a":2}', b""), "duplicate key 'a'"),
    "metadata of numbers": (encode({"__metadata__": {"a": 1}}, b""), "not a map of strings"),
    "metadata as a list": (encode({"__metadata__": []}, b""), "not a map of strings"),
    "entry not an object": (encode({"a": 3}, b""), "malformed"),
    "a key too few": (encode({"a": {"dtype": "F32", "shape": []}}, b""), "malformed"),
    "a key too many": (encode(changed(more=1), DATA), "malformed"),
    "an unknown dtype": (encode(changed(dtype="f4?"), DATA), "no valid dtype"),
    "dtype a list": (encode(changed(dtype=[1]), DATA), "no valid dtype"),
    "negative size": (encode(changed(shape=[-5]), DATA), "no valid shape"),
    "size a bool": (encode(changed(shape=[True]), DATA), "no valid shape"),
    "size a fraction": (encode(changed(shape=[5.0]), DATA), "no valid shape"),
    "too many axes": (encode(changed(shape=[1] * 65), DATA), "no valid shape"),
    "shape that overflows": (encode(changed(shape=[0, 2**62, 8], data_offsets=[24, 24]), DATA), "too large"),
    "three offsets": (encode(changed(data_offsets=[24, 29, 29]), DATA), "no valid offsets"),
    "negative offsets": (encode(changed(data_offsets=[-1, 4]), DATA), "no valid offsets"),
    "end before begin": (encode(changed(data_offsets=[29, 24]), DATA), "wrong size"),
    "size against shape": (encode(changed(shape=[6]), DATA), "wrong size"),
    "overlap": (encode(changed(data_offsets=[20, 25]), DATA), "overlaps"),
    "hole": (encode(changed(data_offsets=[25, 30]), DATA + b"0"), "there is a gap before 'b'"),
    "hole at the start": (encode({"a": {**GOOD["a"], "data_offsets": [1, 25]}}, bytes(25)), "there is a gap"),
    "data cut off": (encode(GOOD, DATA[:-1]), "is cut off"),
    "bytes left over": (encode(GOOD, DATA + b"0"), "bytes are left"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "Git LFS",
    ),
    "a web page": (b"<!DOCTYPE html><html></html>", "header is too long"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_file_is_refused_with_the_place(tmp_path: Path, name: str) -> None:
    raw, message = BAD[name]
    (tmp_path / "w").write_bytes(raw)
    with pytest.raises(SourceError, match=message) as caught:
        SafetensorsSource(tmp_path / "w")
    assert str(tmp_path / "w") in str(caught.value)


def test_a_dtype_that_tfpt_cannot_hold_is_skipped_with_the_reason(tmp_path: Path) -> None:
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "scale": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [8, 12]},
        "packed": {"dtype": "F4", "shape": [2, 4], "data_offsets": [12, 16]},
    }
    (tmp_path / "w").write_bytes(encode(header, np.ones(2, "<f4").tobytes() + bytes(8)))
    assert set(safe_open(tmp_path / "w", "pt").keys()) == set(header)
    source = SafetensorsSource(tmp_path / "w")
    assert list(source.specs) == ["a"]
    assert source.read("a").tolist() == [1, 1]
    assert source.skipped == {"scale": "dtype F8_E8M0", "packed": "dtype F4"}
    with pytest.raises(SourceError, match="'packed' cannot be read: dtype F4"):
        source.read("packed")


def test_repeated_keys_are_found_in_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        keys = ",".join(f'"{number}":0' for number in range(count))
        (tmp_path / "w").write_bytes(encode(f'{{{keys},"{count - 1}":0}}'.encode(), b""))
        began = time.process_time()
        with pytest.raises(SourceError, match="duplicate"):
            SafetensorsSource(tmp_path / "w")
        return time.process_time() - began

    # 429 kB of keys took 172 s.
    seconds(100)
    assert min(seconds(80_000) for _ in range(2)) < 8 * min(seconds(20_000) for _ in range(3))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        SafetensorsSource(tmp_path / "w")


def read_all(path: Path) -> None:
    source = SafetensorsSource(path)
    for name in source.specs:
        source.read(name)
    if source.skipped:  # a dtype that is yet to come, which the official reader refuses
        raise SourceError("something is skipped")


def opens(read: Callable[[], object], errors: tuple[type[Exception], ...]) -> bool:
    try:
        read()
    except errors:
        return False
    return True


def test_whatever_opens_here_opens_in_the_official_reader(tmp_path: Path) -> None:
    good = encode(GOOD, DATA)
    path = tmp_path / "w"

    @settings(max_examples=400)
    @given(st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), min_size=1, max_size=3))
    def agree(changes: list[tuple[int, int]]) -> None:
        raw = bytearray(good)
        for place, value in changes:
            raw[place] = value
        path.write_bytes(raw)
        if opens(lambda: read_all(path), (SourceError,)):
            assert opens(lambda: safe_open(path, "np").keys(), (SafetensorError,))

    agree()


def test_importing_the_reader_imports_no_framework() -> None:
    frameworks = "{'torch', 'tensorflow', 'safetensors'}"
    code = f"import sys, tfpt.formats.pytorch.safetensors; print({frameworks} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
