"""A damaged or hostile model ends in a SourceError, soon and within little memory."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tflite.models import add_tensor, build
from tests.growth import cpu_budget
from tfpt.errors import SourceError
from tfpt.formats.tflite.model import TfliteSource

pytest.importorskip("tensorflow")


def small(path: Path) -> Path:
    """A model with one tensor of each way of reading."""

    def change(model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        tensor = add_tensor(model, b"q", [2, 3], "INT8", b"123456")
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.ones(3, np.float32)
        tensor.quantization.zeroPoint = np.zeros(3, np.int64)
        tensor.quantization.quantizedDimension = 1
        words = struct.pack("<4i", 2, 16, 18, 19) + b"abc"
        add_tensor(model, b"s", [2], "STRING", words, 1)
        add_tensor(model, b"i", [3], "INT4", b"12", 1)

    return build(path, change)


def look(path: Path) -> bool:
    """Ask all that can be asked of a source; whether it was answered, or was a SourceError."""
    try:
        for dequantize in (False, True):
            source = TfliteSource(str(path), dequantize)
            source.fingerprint()
            for name, spec in source.specs.items():
                values = source.read(name)
                held = "object" if spec.dtype == "string" else spec.dtype
                assert (values.shape, values.dtype.name) == (spec.shape, held)
    except SourceError:
        return False
    return True


def test_every_flipped_byte_gives_a_result_or_a_source_error(tmp_path: Path) -> None:
    good, path = small(tmp_path / "good").read_bytes(), tmp_path / "bad"
    assert look(tmp_path / "good")
    answered = 0
    for place in range(len(good)):
        for value in {0, 0x7F, 0xFF, good[place] ^ 1}:
            path.write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
            answered += look(path)
    assert answered


def test_every_cut_gives_a_source_error(tmp_path: Path) -> None:
    good, path = small(tmp_path / "good").read_bytes(), tmp_path / "bad"
    for size in range(len(good) - 8):
        path.write_bytes(good[:size])
        look(path)
    path.write_bytes(good[:40])
    with pytest.raises(SourceError, match="outside the file"):
        TfliteSource(str(path))


def offset_of_root(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little")


def changed_at(raw: bytes, at: int, form: str, value: int) -> bytes:
    return raw[:at] + struct.pack(form, value) + raw[at + struct.calcsize(form) :]


def test_offsets_that_lead_out_of_the_file_or_around_are_refused(tmp_path: Path) -> None:
    good, path = small(tmp_path / "good").read_bytes(), tmp_path / "bad"
    root = offset_of_root(good)
    vtable = root - struct.unpack_from("<i", good, root)[0]
    bad = {
        "root outside": changed_at(good, 0, "<I", 0xFFFFFFFF),
        "root at itself": changed_at(good, 0, "<I", 0),
        "vtable before the file": changed_at(good, root, "<i", 0x7FFFFFFF),
        "vtable behind the file": changed_at(good, root, "<i", -0x80000000),
        "vtable of nothing": changed_at(good, vtable, "<H", 0),
        "vtable of an odd size": changed_at(good, vtable, "<H", 7),
        "vtable of all": changed_at(good, vtable, "<H", 0xFFFE),
        "table too large": changed_at(good, vtable + 2, "<H", 0xFFFF),
        "field outside of the table": changed_at(good, vtable + 4 + 2 * 2, "<H", 0xFFF0),
    }
    for name, raw in bad.items():
        path.write_bytes(raw)
        with pytest.raises(SourceError) as caught:
            TfliteSource(str(path))
        assert caught.value.where, name


def test_a_vector_of_two_gigabytes_is_refused(tmp_path: Path) -> None:
    good, path = small(tmp_path / "good").read_bytes(), tmp_path / "bad"
    root = offset_of_root(good)
    vtable = root - struct.unpack_from("<i", good, root)[0]
    for field in (2, 3, 4):  # subgraphs, description, buffers
        place = root + struct.unpack_from("<H", good, vtable + 4 + 2 * field)[0]
        vector = place + struct.unpack_from("<I", good, place)[0]
        for length in (0x7FFFFFFF, 0xFFFFFFFF):
            path.write_bytes(changed_at(good, vector, "<I", length))
            with pytest.raises(SourceError, match="outside the file"):
                TfliteSource(str(path))


def test_parts_that_are_shared_again_and_again_are_refused_soon(tmp_path: Path) -> None:
    # By hand, as no builder shares so much: one tensor with a name of a megabyte, listed 20,000 times.
    count, name = 20_000, 1_000_000
    tensors = 76
    tensor = tensors + 4 + 4 * count + 12
    buffers, text = tensor + 16, tensor + 64
    raw = bytearray(text + 4 + name)
    pack = struct.pack_into
    pack("<I4s", raw, 0, 24, b"TFL3")
    pack("<7H", raw, 8, 14, 12, 0, 0, 4, 0, 8)  # the model's vtable: fields 2 and 4
    pack("<iII", raw, 24, 16, 40 - 28, buffers - 32)
    pack("<II", raw, 40, 1, 60 - 44)  # the subgraphs
    pack("<3H", raw, 48, 6, 8, 4)  # a subgraph's vtable: field 0
    pack("<iI", raw, 60, 12, tensors - 64)
    pack("<I", raw, tensors, count)
    for at in range(tensors + 4, tensors + 4 + 4 * count, 4):
        pack("<I", raw, at, tensor - at)
    pack("<6H", raw, tensor - 12, 12, 12, 0, 0, 4, 8)  # a tensor's vtable: fields 2 and 3
    pack("<iII", raw, tensor, 12, 1, text - tensor - 8)
    pack("<III", raw, buffers, 2, 12, 8)  # two buffers, the same table
    pack("<3Hxx", raw, buffers + 28, 6, 8, 4)
    pack("<iI", raw, buffers + 16, -12, 20)
    pack("<I4s", raw, buffers + 40, 4, b"1234")
    pack("<I", raw, text, name)
    path = tmp_path / "bad"
    path.write_bytes(raw)
    with cpu_budget(10), pytest.raises(SourceError, match="shared too often"):
        TfliteSource(str(path))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([2, 4], "too few values"),
        ([-2, 3], "invalid shape"),
        ([1] * 33, "invalid shape"),
        ([2**31 - 1] * 4, "invalid shape"),
        ([0, 2**31 - 1, 2**31 - 1, 2**31 - 1], "invalid shape"),
        ([2**31 - 1], "too few values"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path: Path, shape: list[int], message: str) -> None:
    path = build(tmp_path / "m", lambda m: setattr(m.subgraphs[0].tensors[0], "shape", shape))
    tracemalloc.start()
    with pytest.raises(SourceError, match=message):
        TfliteSource(str(path))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(("field", "value"), [("buffer", 99), ("type", 99)])
def test_a_number_of_nothing_is_refused(tmp_path: Path, field: str, value: int) -> None:
    path = build(tmp_path / "m", lambda m: setattr(m.subgraphs[0].tensors[0], field, value))
    with pytest.raises(SourceError, match="not a valid TensorFlow Lite model"):
        TfliteSource(str(path))


@pytest.mark.parametrize(
    ("scales", "zeros", "axis"), [([1, 1], [0, 0], 1), ([1] * 3, [0] * 2, 1), ([1] * 3, [0] * 3, 7)]
)
def test_scales_that_do_not_fit_leave_the_integers_readable(
    tmp_path: Path, scales: list[float], zeros: list[int], axis: int
) -> None:
    def change(model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        tensor = add_tensor(model, b"q", [2, 3], "INT8", b"123456")
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = scales, zeros
        tensor.quantization.quantizedDimension = axis

    path = str(build(tmp_path / "m", change))
    source = TfliteSource(path)
    assert source.read("q").tobytes() == b"123456"
    assert "do not fit" in str(source.quantized["q"])
    real = TfliteSource(path, dequantize=True)
    assert real.read("w").shape == (2, 3)
    assert "do not fit" in real.unavailable["q"]
    with pytest.raises(SourceError, match="cannot be dequantized: its scales do not fit"):
        real.read("q")
