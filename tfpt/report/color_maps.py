"""From values to colors: maps around zero and from zero, kernels as colors themselves, and flow by its direction.

Each map takes values and the limit that stands for full color, and gives uint8 RGB. Whatever lies beyond the limit
is cut off there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tfpt.packages import package

# Odd, so that one of them is zero; and few enough that a GIF, which has 256 colors, has some left for the rest.
STEPS = 101

# The color wheel of S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011: how many
# hues lie between red, yellow, green, cyan, blue, magenta and red, as their evaluation software has them.
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
    """Three channels as the color that they are: gray for zero, brighter above it and darker below, each by itself.

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
    """Two channels as a motion: the hue is its direction, white is none, full color a magnitude of `limit`.

    Rightwards is red, downwards yellow, leftwards cyan to blue, upwards violet: the wheel of Baker et al. (2011).

    Args:
        values: (…, 2): rightwards, and downwards.
        limit: The magnitude of full color.

    Example:
        >>> flow(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), 1.0).tolist()
        [[255, 0, 0], [255, 255, 255], [255, 230, 0]]
    """
    right, down = values[..., 0], values[..., 1]
    magnitude = np.hypot(right, down)
    share = np.minimum(magnitude / limit, 1)[..., None]
    wheel = _wheel()
    # From 0 for rightwards clockwise, as y points down, to 1 for rightwards again. -0.0 must not turn the angle round.
    turn = np.arctan2(down + 0.0, right) / (2 * np.pi) % 1
    # As in their software, which leaves a small step between the last hue and the first.
    place = turn * (len(wheel) - 1)
    first = np.floor(place).astype(np.intp)
    between = (place - first)[..., None]
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
