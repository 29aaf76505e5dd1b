"""How far two tensors lie apart, against numpy; and which two files may be compared."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from tfpt.checking.comparison import compare, diff
from tfpt.errors import TfptError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.tensors import TensorSpec


def apart(left, right):
    return compare(TensorSpec("w", left.shape, str(left.dtype)), left, right)


def oracle(left, right):
    """Maximum, mean, relative and cosine of finite values, in numpy's own words."""
    a, b = left.astype(np.float64).reshape(-1), right.astype(np.float64).reshape(-1)
    difference = np.abs(a - b)
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return difference.max(), difference.mean(), difference.max() / np.abs(a).max(), cosine


class TestValues:
    @given(
        arrays.arrays(np.float32, (3, 5, 7), elements=st.floats(-100, 100, width=32)),
        arrays.arrays(np.float32, (3, 5, 7), elements=st.floats(-100, 100, width=32)),
    )
    def test_are_what_numpy_says(self, left, right):
        left[0, 0, 0] = right[0, 0, 0] = 3
        found = apart(left, right)
        expected = oracle(left, right)
        np.testing.assert_allclose(
            (found.max_abs, found.mean_abs, found.relative), expected[:3], rtol=1e-12, atol=0
        )
        assert found.cosine == pytest.approx(expected[3], abs=1e-9)
        assert found.equal == np.array_equal(left, right)

    def test_of_more_values_than_are_looked_at_together(self):
        random = np.random.default_rng(7)
        left = random.normal(size=(1 << 20) + 11).astype(np.float32)
        right = left.copy()
        right[[5, -3]] += np.float32([0.5, -2])
        found = apart(left, right)
        expected = oracle(left, right)
        np.testing.assert_allclose(
            (found.max_abs, found.mean_abs, found.relative, found.cosine), expected, rtol=1e-9
        )
        assert not found.equal

    def test_nans_at_one_place_are_equal(self):
        values = np.float32([1, np.nan, -2])
        found = apart(values, values.copy())
        assert (found.equal, found.max_abs, found.mean_abs, found.cosine) == (True, 0, 0, 1)
        assert (found.identical, found.nan_bits) == (True, 0)

    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64])
    def test_that_are_equal_may_differ_in_their_bits(self, dtype):
        left = np.array([0, np.nan, 1, -2, 0], np.float32).astype(dtype)
        right = left.copy()
        unit = right.view(f"u{np.zeros(1, dtype).real.itemsize}")
        step = len(unit) // len(right)
        unit[0] |= np.array(1 << (8 * unit.itemsize - 1), unit.dtype)  # the sign of the first zero
        unit[step] ^= np.array(1, unit.dtype)  # the last bit of the NaN
        found = apart(left, right)
        assert (found.equal, found.identical, found.zero_signs, found.nan_bits) == (True, False, 1, 1)
        same = apart(left, left.copy())
        assert (same.equal, same.identical, same.zero_signs, same.nan_bits) == (True, True, 0, 0)

    def test_of_other_dtypes_have_no_bits_in_common(self):
        found = apart(np.float32([1, 0.5]), np.float64([1, 0.5]))
        assert (found.equal, found.identical, found.zero_signs, found.nan_bits) == (True, False, 0, 0)

    def test_far_into_a_tensor_differ_in_a_sign(self):
        left = np.zeros((1 << 20) + 3, np.float32)
        right = left.copy()
        right[-1] = -0.0
        found = apart(left, right)
        assert (found.equal, found.identical, found.zero_signs) == (True, False, 1)

    @pytest.mark.parametrize(
        ("left", "right"),
        [([1, np.nan], [1, 2]), ([1, 2], [1, np.nan]), ([1, np.inf], [1, 2]), ([np.inf, 1], [-np.inf, 1])],
    )
    def test_nan_or_infinity_on_one_side_is_infinitely_far(self, left, right):
        found = apart(np.float32(left), np.float32(right))
        assert not found.equal
        assert found.max_abs == found.mean_abs == found.relative == math.inf

    def test_an_infinity_on_both_sides_does_not_hide_what_differs_elsewhere(self):
        found = apart(np.float32([np.inf, 4]), np.float32([np.inf, 5]))
        assert (found.max_abs, found.relative) == (1, 0.25)
        assert found.cosine == pytest.approx(1)

    def test_zeros_are_the_same_and_from_zeros_everything_is_infinitely_far_in_proportion(self):
        zeros = np.zeros(5, np.float32)
        assert apart(zeros, zeros).equal
        other = apart(zeros, -zeros)
        assert (other.equal, other.identical, other.zero_signs, other.max_abs) == (True, False, 5, 0)
        found = apart(zeros, zeros + 2)
        assert (found.max_abs, found.relative, found.cosine) == (2, math.inf, 0)

    def test_integers_beyond_53_bits_are_told_from_their_neighbors(self):
        left = np.int64([2**53, 2**62])
        found = apart(left, left + 1)
        assert not found.equal
        assert (found.max_abs, found.mean_abs) == (1, 1)
        large = np.uint64([2**64 - 1])
        assert apart(large, large - np.uint64(1)).max_abs == 1

    def test_bfloat16_is_compared_as_what_it_stands_for(self):
        left = np.float32([1.0, 2.5]).astype(ml_dtypes.bfloat16)
        right = np.float32([1.0, 2.0]).astype(ml_dtypes.bfloat16)
        found = apart(left, right)
        assert (found.max_abs, found.mean_abs, found.relative) == (0.5, 0.25, 0.2)

    def test_complex_numbers_are_compared_in_the_plane(self):
        found = apart(np.complex64([3 + 4j, 1]), np.complex64([0, 1]))
        assert (found.max_abs, found.relative) == (5, 1)
        assert found.cosine == pytest.approx(1 / math.sqrt(26))

    def test_a_scalar_and_an_empty_tensor(self):
        assert apart(np.float32(2), np.float32(3)).relative == 0.5
        found = apart(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
        assert (found.equal, found.max_abs, found.mean_abs) == (True, 0, 0)

    def test_truth_values(self):
        found = apart(np.array([True, False]), np.array([True, True]))
        assert (found.equal, found.max_abs, found.mean_abs) == (False, 1, 0.5)

    def test_strings_are_the_same_or_not(self):
        left = np.array([b"a", b"b"], object)
        assert compare(TensorSpec("s", (2,), "string"), left, left.copy()).equal
        assert not compare(TensorSpec("s", (2,), "string"), left, left[::-1]).equal


class TestFiles:
    @pytest.fixture
    def two(self, tmp_path):
        """Two files: of four tensors in common one is the same, three are ever further apart."""
        random = np.random.default_rng(11)
        left = {name: random.normal(size=(3, 5)).astype(np.float32) for name in "abcd"}
        right = {name: value.copy() for name, value in left.items()}
        for name, by in (("b", 0.01), ("c", 2.0), ("d", 0.3)):
            right[name][1, 2] += by
        left["extra.weight"] = np.zeros((2, 3), np.float32)
        right["extra.wieght"] = np.zeros((2, 3), np.float32)
        left["shape"], right["shape"] = np.zeros(3, np.float32), np.zeros((3, 1), np.float32)
        left["dtype"], right["dtype"] = np.ones(3, np.float32), np.ones(3, np.float64)
        save_file(left, tmp_path / "left.safetensors")
        save_file(right, tmp_path / "right.safetensors")
        return tmp_path / "left.safetensors", tmp_path / "right.safetensors", left, right

    def test_the_worst_comes_first(self, two):
        left, right, first, second = two
        found = diff(left, right)
        assert not found.same
        assert [tensor.name for tensor in found.different] == ["c", "d", "b"]
        for tensor in found.different:
            expected = oracle(first[tensor.name], second[tensor.name])
            np.testing.assert_allclose(
                (tensor.max_abs, tensor.mean_abs, tensor.relative, tensor.cosine), expected, rtol=1e-12
            )
        assert {tensor.name for tensor in found.tensors if tensor.equal} == {"a", "dtype"}

    def test_names_shapes_and_dtypes_that_do_not_agree_are_findings(self, two):
        left, right, *_ = two
        found = {finding.name: finding for finding in diff(left, right).findings}
        assert {name: finding.kind for name, finding in found.items()} == {
            "extra.weight": "missing",
            "extra.wieght": "extra",
            "shape": "shape",
            "dtype": "dtype",
        }
        assert found["extra.weight"].nearest == ("extra.wieght",)
        assert str(right) in found["extra.weight"].what
        assert (found["shape"].expected, found["shape"].got) == (f"[3], as in {left}", "[3, 1]")
        assert (found["dtype"].expected, found["dtype"].got) == (f"float32, as in {left}", "float64")

    def test_up_to_the_tolerance_two_tensors_are_the_same(self, two):
        left, right, first, second = two
        relative = oracle(first["d"], second["d"])[2]
        assert [tensor.name for tensor in diff(left, right, tolerance=relative * 1.001).different] == ["c"]
        assert [tensor.name for tensor in diff(left, right, tolerance=relative * 0.999).different] == [
            "c",
            "d",
        ]

    def test_two_checkpoints_are_compared_by_name(self, tmp_path):
        random = np.random.default_rng(3)
        values = {"a/b": random.normal(size=(3, 5)), "c": np.int64([2**60])}
        write_bundle(tmp_path / "one", values)
        values["c"] = values["c"] + 1
        write_bundle(tmp_path / "two", values)
        found = diff(tmp_path / "one", tmp_path / "two")
        assert [tensor.name for tensor in found.different] == ["c"]
        assert found.different[0].max_abs == 1
        assert diff(tmp_path / "one", tmp_path / "one").same

    def test_formats_of_one_side_are_compared_with_each_other(self, tmp_path):
        values = {"w": np.float32([[1, 2], [3, 4]])}
        save_file(values, tmp_path / "w.safetensors")
        torch.save({"w": torch.from_numpy(values["w"])}, tmp_path / "w.pth")
        assert diff(tmp_path / "w.safetensors", tmp_path / "w.pth").same

    def test_a_checkpoint_and_weights_need_a_mapping(self, tmp_path):
        save_file({"w": np.ones(1)}, tmp_path / "w.safetensors")
        write_bundle(tmp_path / "m", {"w": np.ones(1)})
        with pytest.raises(TfptError, match="only be compared through a mapping") as error:
            diff(tmp_path / "m", tmp_path / "w.safetensors")
        assert "tfpt diff --mapping" in str(error.value)

    def test_through_a_mapping_two_checkpoints_are_refused(self, tiny):
        with pytest.raises(TfptError, match="must be PyTorch weights"):
            diff(tiny.checkpoint, tiny.checkpoint, mapping=tiny.mapping)

    def test_one_file_alone_needs_a_mapping(self, tiny):
        with pytest.raises(TfptError, match="a single file"):
            diff(tiny.checkpoint)
        assert diff(tiny.checkpoint, mapping=tiny.mapping).same

    def test_through_a_mapping_values_are_turned_first(self, tiny, tmp_path):
        weights = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
        save_file(weights, tmp_path / "w.safetensors")
        assert diff(tiny.checkpoint, tmp_path / "w.safetensors", mapping=tiny.mapping).same
        weights["conv.weight"][6, 4, 1, 2] += 0.5
        weights["steps"] += 1
        del weights["fc.bias"]
        save_file(weights, tmp_path / "w.safetensors")
        found = diff(tiny.checkpoint, tmp_path / "w.safetensors", mapping=tiny.mapping)
        assert [(finding.kind, finding.name) for finding in found.findings] == [("missing", "fc.bias")]
        assert {tensor.name: tensor.max_abs for tensor in found.different} == {
            "steps": 1,
            "conv.weight": pytest.approx(0.5),
        }

    def test_as_json_infinity_is_a_word(self, tmp_path):
        save_file({"w": np.float32([0, 1])}, tmp_path / "same.safetensors")
        same = diff(tmp_path / "same.safetensors", tmp_path / "same.safetensors", tolerance=math.inf)
        assert json.loads(json.dumps(same.to_json(), allow_nan=False))["tolerance"] == "inf"
        save_file({"w": np.float32([0, 1])}, tmp_path / "a.safetensors")
        save_file({"w": np.float32([np.nan, 1])}, tmp_path / "b.safetensors")
        text = json.dumps(
            diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors").to_json(), allow_nan=False
        )
        [tensor] = json.loads(text)["tensors"]
        assert tensor["max_abs"] == "inf"
        assert tensor["equal"] is False
