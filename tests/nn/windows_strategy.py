"""Windows to draw for the layers' tests: kernels 1 to 7, strides 1 to 4, dilations 1 to 3, sizes 1 to 40."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

# Positions per array, so that three dimensions stay quick: 40 by 40 is in, 40 by 40 by 40 is not.
MOST_POSITIONS = 3000


@st.composite
def windows(draw, paddings=("same", "same", "valid", "symmetric")):
    """(sizes, kernel, stride, dilation, padding) in one to three dimensions, drawn apart along each."""
    dimensions = draw(st.integers(1, 3))
    along = st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3)),
        min_size=dimensions,
        max_size=dimensions,
    )
    sizes, kernel, stride, dilation = zip(*draw(along), strict=True)
    # Half of all cases without any dilation, or every one would be outside of what TensorFlow does by itself.
    dilation = draw(st.sampled_from([dilation, (1,) * dimensions]))
    padding = draw(st.sampled_from(paddings))
    assume(math.prod(sizes) <= MOST_POSITIONS)
    if padding != "same":
        room = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        pads = [2 * (r // 2) if padding == "symmetric" else 0 for r in room]
        sizes = tuple(max(n, r - p) for n, r, p in zip(sizes, room, pads, strict=True))
    return sizes, kernel, stride, dilation, padding


def whole_numbers(shape, seed, most=4):
    """Small whole numbers as float32: sums of them are exact in any order."""
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.float32)
