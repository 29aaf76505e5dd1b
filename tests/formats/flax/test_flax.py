"""What Flax saved is read as Flax read it; what is damaged is refused."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import msgpack
import numpy as np
import pytest

from tests.conftest import DATA
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.flax.source import FlaxSource

JAX = DATA / "jax"

# As tests/data/jax/make.py gave them to Flax. JAX divides bfloat16 in bfloat16.
STATE = {
    "params/dense/kernel": np.arange(15, dtype=np.float32).reshape(3, 5) / 7,
    "params/dense/bias": np.arange(5).astype(ml_dtypes.bfloat16) / ml_dtypes.bfloat16(3),
    "opt_state/0/count": np.int32(3),
    "opt_state/0/mu/dense/bias": np.ones(5, np.float32),
    "step": np.int64(7),
    "rate": np.float64(0.5),
    "complex": np.complex128(1 + 2j),
    "array of complex": np.array([1 + 2j], np.complex64),
    "scalar": np.float16(3.5),
    "flag": np.bool_(True),
    "float8": np.arange(6).astype(ml_dtypes.float8_e4m3fn),
    "empty": np.zeros((0, 3)),
}
ROLES = {
    "opt_state/0/count": "counter",
    "opt_state/0/mu/dense/bias": "slot",
    "step": "counter",
    "note": "constant",
}


def packed(content: object) -> bytes:
    return msgpack.packb(content, default=_extension, strict_types=True)


def _extension(array: object) -> msgpack.ExtType:
    """As flax.serialization packs arrays."""
    assert isinstance(array, np.ndarray)
    return msgpack.ExtType(
        1, msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True)
    )


@pytest.mark.parametrize("name", ["state.msgpack", "jax2.pkl", "jax4.pkl"])
def test_a_state_of_training_is_read_with_its_roles(name: str) -> None:
    source = open_source(JAX / name)
    assert source.side == "tf"
    for key, values in STATE.items():
        read = source.read(key)
        assert source.specs[key].shape == read.shape == values.shape
        assert source.specs[key].dtype == values.dtype.name
        assert read.dtype == values.dtype
        assert read.tobytes() == values.tobytes()
    assert set(source.specs) == {*STATE, "note"}
    assert source.read("note").item() == b"hello"
    assert source.roles == ROLES
    assert source.skipped == {"none": "None"}


def test_arrays_in_chunks_are_put_together() -> None:
    source = open_source(JAX / "chunked.msgpack")
    assert np.array_equal(source.read("w"), np.arange(77, dtype=np.float32).reshape(7, 11))
    values = np.arange(35).astype(ml_dtypes.bfloat16).reshape(5, 7)
    assert np.array_equal(source.read("deep/b"), values)
    assert list(source.specs) == ["deep/b", "w"] or list(source.specs) == ["w", "deep/b"]
    assert len(source.fingerprint()) == 32


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(packed({"w": np.arange(10_007, dtype=np.uint8)}))
    source = FlaxSource(str(tmp_path / "m.msgpack"))
    values = source.read("w")
    source.release("w")
    source.close()
    assert np.array_equal(values, np.arange(10_007, dtype=np.uint8))


def test_a_bare_array_is_called_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "w.msgpack").write_bytes(packed(np.arange(3.0)))
    assert open_source(tmp_path / "w.msgpack").read("w").tolist() == [0, 1, 2]


ARRAY = packed(np.arange(3, dtype="<f4"))
BAD = {
    "cut off": (packed({"w": np.arange(3.0)})[:-5], "are left|ends within"),
    "bytes left over": (packed({"w": 1}) + b"\xc0", "bytes are left"),
    "another extension": (packed({"w": msgpack.ExtType(7, b"12")}), "an unknown extension of type 7"),
    "a shape that is none": (packed({"w": msgpack.ExtType(1, packed([[-1], "int8", b""]))}), "shape"),
    "a shape of texts": (packed({"w": msgpack.ExtType(1, packed([["a"], "int8", b""]))}), "shape"),
    "too few bytes": (
        packed({"w": msgpack.ExtType(1, packed([[2**40], "int8", b"1"]))}),
        "1 bytes for an array",
    ),
    "no array": (packed({"w": msgpack.ExtType(1, packed([1]))}), "three parts"),
    "maps in maps": (b"\x81\xa1w" * 100 + b"\xc0", "levels"),
    "lists of the universe": (b"\x81\xa1w\xdd\xff\xff\xff\xff", "ends within"),
    "many values": (b"\x81\xa1w\xdd\x00\x04\x00\x00" + b"\xc0" * (1 << 18), "more than 200,000 values"),
    "a text of 4 GB": (b"\x81\xa1w\xdb\xff\xff\xff\xff", "a text of"),
    "a key twice": (b"\x82\xa1w\xc0\xa1w\xc0", "a duplicate key"),
    "a key that is a list": (b"\x82\xa1w\xc0\x90\xc0", "a duplicate key, or one that is neither"),
    "no value": (b"\x81\xa1w\xc1", "is not a type code"),
    "not UTF-8": (b"\x81\xa1w\xa2\xff\xff", "utf-8"),
    "chunks of another size": (
        packed({"w": {"__msgpack_chunked_array__": True, "shape": {"0": 9}, "chunks": {"0": np.ones(3)}}}),
        "do not fit",
    ),
    "chunks without end": (
        packed({"w": {"__msgpack_chunked_array__": True, "shape": {"0": 9}, "chunks": {"1": 3}}}),
        "without shape or chunks",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_file_is_refused_with_the_place(tmp_path: Path, name: str) -> None:
    raw, message = BAD[name]
    (tmp_path / "w.msgpack").write_bytes(raw)
    with pytest.raises(SourceError, match=message) as caught:
        FlaxSource(str(tmp_path / "w.msgpack"))
    assert str(tmp_path / "w.msgpack") in str(caught.value.where)


def test_names_that_come_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(packed({"a/b": np.ones(1), "a": {"b": np.ones(1)}}))
    with pytest.raises(SourceError, match="two values have the name 'a/b'"):
        open_source(tmp_path / "w")
