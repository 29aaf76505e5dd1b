"""Color maps: diverging, sequential, RGB, and optical flow by direction.

Each map takes values and the limit drawn in full color, and returns uint8 RGB. Values beyond the limit are clipped.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tfpt.packages import package

# Odd, so that one of them is zero; few enough to leave some of a GIF's 256 colors for the rest.
STEPS = 101

# The color wheel of S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011: the number of
# hues between red, yellow, green, cyan, blue, magenta and red, from their evaluation software.
_WHEEL = (15, 6, 4, 11, 13, 6)
_CORNERS = np.array(
    [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0)],
    np.float64,
)


def diverging(values: np.ndarray, limit: float) -> np.ndarray:
    """Blue below zero, red above it, and a near-white for zero: matplotlib's ``RdBu_r``.

    Example:
        >>> diverging(np.array([-1.0, 0.0, 1.0, 7.0]), 1.0).tolist()
        [[5, 48, 97], [247, 246, 246], [103, 0, 31], [103, 0, 31]]
    """
    share = np.clip(values / limit, -1, 1)
    return _table("RdBu_r")[np.rint((share + 1) / 2 * (STEPS - 1)).astype(np.intp)]


def sequential(values: np.ndarray, limit: float) -> np.ndarray:
    """Dark for zero and below, bright for the limit: matplotlib's ``viridis``, which is perceptually uniform.

    Example:
        >>> sequential(np.array([0.0, 0.5, 1.0]), 1.0).tolist()
        [[68, 1, 84], [33, 145, 140], [253, 231, 37]]
    """
    share = np.clip(values / limit, 0, 1)
    return _table("viridis")[np.rint(share * (STEPS - 1)).astype(np.intp)]


def rgb(values: np.ndarray, limit: float) -> np.ndarray:
    """Three channels as RGB: each channel is gray at zero, brighter above it and darker below.

    Args:
        values: (…, 3).
        limit: The value of 255; its negative is 0.

    Example:
        >>> rgb(np.array([[2.0, 0.0, -2.0]]), 2.0).tolist()
        [[255, 128, 0]]
    """
    share = np.clip(values / limit, -1, 1)
    return np.floor((share + 1) * 127.5 + 0.5).astype(np.uint8)


def flow(values: np.ndarray, limit: float) -> np.ndarray:
    """Two channels as optical flow: the hue is the direction, white is 0, full color is a magnitude of `limit`.

    Right is red, down is yellow, left is cyan to blue, up is violet: the wheel of Baker et al. (2011).

    Args:
        values: (…, 2): right and down.
        limit: The magnitude drawn in full color.

    Example:
        >>> flow(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), 1.0).tolist()
        [[255, 0, 0], [255, 255, 255], [255, 230, 0]]
    """
    right, down = values[..., 0], values[..., 1]
    magnitude = np.hypot(right, down)
    share = np.minimum(magnitude / limit, 1)[..., None]
    wheel = _wheel()
    # From 0 for right, clockwise (y points down), to 1 for right again. -0.0 must not change the angle.
    turn = np.arctan2(down + 0.0, right) / (2 * np.pi) % 1
    # As in their software, which has a small step between the last hue and the first.
    position = turn * (len(wheel) - 1)
    first = np.floor(position).astype(np.intp)
    between = (position - first)[..., None]
    hue = (1 - between) * wheel[first % len(wheel)] + between * wheel[(first + 1) % len(wheel)]
    color: np.ndarray = np.floor(255 - share * (255 - hue) + 0.5).astype(np.uint8)
    return color


@lru_cache
def _table(name: str) -> np.ndarray:
    package("matplotlib")
    import matplotlib

    colors: np.ndarray = matplotlib.colormaps[name](np.linspace(0, 1, STEPS))[:, :3]
    return np.floor(colors * 255 + 0.5).astype(np.uint8)


@lru_cache
def _wheel() -> np.ndarray:
    return np.concatenate(
        [
            _CORNERS[index] + (_CORNERS[index + 1] - _CORNERS[index]) * np.arange(count)[:, None] / count
            for index, count in enumerate(_WHEEL)
        ]
    )
