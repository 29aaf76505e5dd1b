"""Dtypes under all their names; exactness is checked by casting every value there is."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tfpt.errors import TfptError
from tfpt.tensors import (
    BY_NUMPY,
    BY_SAFETENSORS,
    BY_TENSORFLOW,
    DTYPES,
    TensorSpec,
    dtype,
    format_shape,
    is_exact,
)

NUMBERS = [d for d in DTYPES.values() if d.torch is not None]
# Every bit pattern of a type of one or two bytes.
SMALL = [d.name for d in NUMBERS if d.itemsize <= 2]


def every_value(name: str) -> np.ndarray:
    held = dtype(name).numpy
    assert held is not None
    if held.kind == "b":
        return np.array([False, True])
    raw: Any = np.uint8 if held.itemsize == 1 else np.uint16
    return np.arange(256**held.itemsize, dtype=raw).view(held)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("source", SMALL)
def test_a_cast_is_exact_if_every_value_comes_out_as_it_went_in(source: str) -> None:
    values = every_value(source)
    before = values.astype(np.complex128)
    for target in NUMBERS:
        assert target.numpy is not None
        if target.name == "bool" and source != "bool":
            assert not is_exact(source, "bool")
            continue
        after = values.astype(target.numpy).astype(np.complex128)
        kept = np.array_equal(before, after, equal_nan=True)
        assert is_exact(source, target.name) == kept, (source, target.name)


@pytest.mark.parametrize(
    ("source", "targets"),
    [
        ("int32", {"int32", "int64", "float64", "complex128"}),
        ("uint32", {"uint32", "uint64", "int64", "float64", "complex128"}),
        ("int64", {"int64"}),
        ("uint64", {"uint64"}),
        ("float32", {"float32", "float64", "complex64", "complex128"}),
        ("float64", {"float64", "complex128"}),
        ("complex64", {"complex64", "complex128"}),
        ("complex128", {"complex128"}),
        ("string", set()),
        ("resource", set()),
    ],
)
def test_wide_types_fit_into_wider_ones_only(source: str, targets: set[str]) -> None:
    assert {d.name for d in NUMBERS if is_exact(source, d.name)} == targets


def test_the_numbers_are_those_of_tensorflow() -> None:
    types_pb2 = pytest.importorskip("tensorflow.core.framework.types_pb2")
    aliases = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}
    for number, known in BY_TENSORFLOW.items():
        name = aliases.get(known.name, known.name.upper())
        assert types_pb2.DataType.Value(f"DT_{name}") == number


def test_the_torch_names_are_attributes_of_torch_of_the_same_size() -> None:
    for known in NUMBERS:
        found = getattr(torch, str(known.torch))
        assert found.itemsize == known.itemsize


def test_every_safetensors_code_stands_for_a_torch_dtype() -> None:
    assert {known.torch for known in BY_SAFETENSORS.values()} == {
        d.torch for d in NUMBERS if d.name != "complex128"
    }


def test_a_numpy_dtype_is_called_by_its_plain_name() -> None:
    assert BY_NUMPY[np.dtype(np.int8)].name == "int8"
    assert BY_NUMPY[np.dtype(ml_dtypes.bfloat16)].name == "bfloat16"


def test_an_unknown_dtype_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(TfptError, match="no dtype is called 'float23'") as caught:
        dtype("float23")
    assert "float16" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("shape", "name", "size", "nbytes"),
    [((3, 5), "float32", 15, 60), ((), "int64", 1, 8), ((0, 7), "bool", 0, 0), ((3,), "string", 3, 0)],
)
def test_a_spec_knows_its_size(shape: tuple[int, ...], name: str, size: int, nbytes: int) -> None:
    spec = TensorSpec("w", shape, name)
    assert (spec.size, spec.nbytes) == (size, nbytes)


def test_a_spec_is_written_as_people_write_it() -> None:
    assert str(TensorSpec("a.w", (3, 5), "float32")) == "a.w [3, 5] float32"
    assert format_shape(()) == "[]"


@pytest.mark.parametrize("source", ["complex64", "complex128"])
@pytest.mark.parametrize("target", ["complex64", "complex128", "float32", "float64", "int64"])
def test_complex_numbers_fit_where_numpy_says_so(source: str, target: str) -> None:
    assert is_exact(source, target) == np.can_cast(source, target)


@pytest.mark.parametrize("source", ["float16", "float32", "float64", "bfloat16", "int8", "int32", "uint64"])
def test_real_numbers_fit_into_complex_ones_as_into_their_parts(source: str) -> None:
    assert is_exact(source, "complex64") == is_exact(source, "float32")
    assert is_exact(source, "complex128") == is_exact(source, "float64")
