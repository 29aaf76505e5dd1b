from __future__ import annotations

import numpy as np
import pytest

from tfpt.errors import ModelError
from tfpt.nn.padding import (
    PADDINGS,
    check_padding,
    constant_pads,
    output_size,
    pads,
    per_dimension,
    same_pads,
    span,
    symmetric_pads,
)

KERNELS, STRIDES, DILATIONS, SIZES = range(1, 8), range(1, 5), range(1, 4), range(1, 41)
WINDOWS = [(k, s, d) for k in KERNELS for s in STRIDES for d in DILATIONS]


def documented_same(size, kernel, stride, dilation):
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def test_same_is_tensorflows_documented_formula():
    for window in WINDOWS:
        for size in SIZES:
            assert same_pads(size, *window) == documented_same(size, *window)


def test_same_gives_the_ceiling_of_size_over_stride():
    for window in WINDOWS:
        assert [output_size("same", n, *window) for n in SIZES] == [-(-n // window[1]) for n in SIZES]


def test_same_pads_are_those_that_tensorflow_shows():
    # One filter per tap over a ramp: the first output of a filter shows the position of its element.
    tf = pytest.importorskip("tensorflow")
    seen = 0
    for kernel, stride, dilation in WINDOWS:
        if stride > 1 and dilation > 1:
            continue  # TensorFlow refuses
        taps = np.eye(kernel, dtype=np.float32)[:, None, :]
        for size in SIZES:
            ramp = np.arange(1, size + 1, dtype=np.float32)[None, :, None]
            rows = np.asarray(
                tf.nn.convolution(ramp, taps, strides=[stride], padding="SAME", dilations=[dilation])
            )[0]
            inside = np.flatnonzero(rows[0])
            if not inside.size:
                continue  # a dilated kernel with all its taps on pads
            before = inside[0] * dilation - int(rows[0, inside[0]] - 1)
            after = max((len(rows) - 1) * stride - before + span(kernel, dilation) - size, 0)
            assert (before, after) == same_pads(size, kernel, stride, dilation)
            seen += 1
    assert seen > 1600


def test_same_is_fixed_exactly_where_no_size_differs():
    for window in WINDOWS:
        every = {documented_same(size, *window) for size in SIZES}
        assert constant_pads("same", *window) == (every.pop() if len(every) == 1 else None)


def test_symmetric_keeps_the_size_of_an_odd_kernel_at_stride_one():
    for kernel, dilation in [(1, 1), (3, 1), (7, 1), (3, 2), (5, 3), (2, 2)]:
        assert output_size("symmetric", 11, kernel, 1, dilation) == 11
    assert symmetric_pads(2) == (1, 1)


def test_each_rule_at_one_size():
    assert [pads(rule, 224, 7, 2) for rule in PADDINGS] == [(2, 3), (0, 0), (3, 3)]
    assert [constant_pads(rule, 7, 2) for rule in PADDINGS] == [None, (0, 0), (3, 3)]


@pytest.mark.parametrize("padding", ["SAME", "full", 1, None])
def test_another_rule_is_refused(padding):
    with pytest.raises(ModelError, match="no such padding rule"):
        check_padding(padding)


@pytest.mark.parametrize("value", [(3,), (3, 3, 3), 0, (3, -1)])
def test_numbers_that_do_not_fit_the_dimensions_are_refused(value):
    with pytest.raises(ModelError, match="kernel_size does not fit"):
        per_dimension(value, 2, "kernel_size")
