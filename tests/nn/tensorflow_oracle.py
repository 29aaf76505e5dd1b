"""What TensorFlow computes, in torch's layout: the oracle of the layers' tests.

TensorFlow refuses some combinations that torch has: a stride together with a dilation, and SAME pooling together
with a dilation. And of three dimensions, where a stride exceeds the kernel by two or more, its kernel for CPUs reads
other positions than its documentation and its kernel for GPUs do, on some processors: of size 3, kernel 1 and stride 3
it reads index 1. In these cases the padding is put on by `tf.pad`, as many as TensorFlow's documentation says, the
operator runs VALID at stride 1, and numpy takes every stride-th output. `test_padding` holds those pads against
TensorFlow.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")


def documented_pads(padding, size, kernel, stride, dilation):
    """(before, after), written from https://www.tensorflow.org/api_docs/python/tf/nn, not from tfpt."""
    reach = (kernel - 1) * dilation + 1
    if padding == "valid":
        return 0, 0
    if padding == "symmetric":
        return reach // 2, reach // 2
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def strays(kernel, stride):
    """Whether TensorFlow's CPU kernel may read elsewhere than its documentation says."""
    return len(kernel) == 3 and any(s >= k + 2 for k, s in zip(kernel, stride, strict=True))


def _pad(x, padding, kernel, stride, dilation, value):
    pads = [
        documented_pads(padding, *along)
        for along in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
    ]
    return tf.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)


def _every(y, stride):
    return np.asarray(y)[(slice(None), *(slice(None, None, s) for s in stride))]


def _channels_last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _channels_first(y):
    return np.moveaxis(np.asarray(y), -1, 1)


def conv(x, weight, bias, stride, padding, dilation, groups=1):
    """`weight` in torch's layout, (out, in / groups, *kernel); one group after the other."""
    kernel = weight.shape[2:]
    x = _channels_last(x)
    together = (max(stride) > 1 and max(dilation) > 1) or strays(kernel, stride)
    alone = padding == "same" and not together
    if not alone:
        x = _pad(x, padding, kernel, stride, dilation, 0)
    outputs = []
    for inputs, filters in zip(np.split(x, groups, -1), np.split(weight, groups, 0), strict=True):
        filters = np.moveaxis(filters, (0, 1), (-1, -2))
        y = tf.nn.convolution(
            inputs,
            np.ascontiguousarray(filters),
            strides=[1] * len(kernel) if together else list(stride),
            padding="SAME" if alone else "VALID",
            dilations=list(dilation),
        )
        outputs.append(_every(y, stride) if together else np.asarray(y))
    return _channels_first(np.concatenate(outputs, -1) + bias)


def pool(x, kind, kernel, stride, padding, dilation, count_include_pad=False):
    """`kind` is MAX or AVG."""
    x = _channels_last(x)
    apart = max(dilation) > 1 or strays(kernel, stride)
    if padding == "same" and not apart and not count_include_pad:
        # Not tf.nn.pool, which refuses strides above the kernel.
        by_itself = getattr(tf.nn, f"{kind.lower()}_pool{len(kernel)}d")
        return _channels_first(by_itself(x, list(kernel), list(stride), "SAME"))

    def run(x, value):
        padded = _pad(x, padding, kernel, stride, dilation, value)
        y = tf.nn.pool(
            padded, list(kernel), kind, strides=[1] * len(kernel), padding="VALID", dilations=list(dilation)
        )
        return _every(y, stride)

    if kind == "MAX":
        most = run(x, -np.inf)
        # TensorFlow starts from the lowest finite number, which is what is left of a window of pads alone.
        return _channels_first(np.where(most == np.finfo(most.dtype).min, -np.inf, most))
    means = run(x, 0)
    if not count_include_pad:
        with np.errstate(invalid="ignore"):
            means = means / run(np.ones_like(x), 0)
    return _channels_first(means)
