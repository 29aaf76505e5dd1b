"""Color scales, and images embedded in a page as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from tfpt.packages import package
from tfpt.report.color_maps import diverging, sequential

_NOT_FINITE = (255, 0, 255)
# The number of colors of a gradient, between which the browser interpolates.
_STOPS = 17


@dataclass(frozen=True)
class Scale:
    """A mapping from numbers to colors.

    Attributes:
        low, high: The values of the first and the last color.
        diverging: Whether `low` is ``-high`` and 0 is the middle color, near white; otherwise `low` is 0.
    """

    low: float
    high: float
    diverging: bool

    @classmethod
    def over(cls, *arrays: np.ndarray) -> Scale:
        """One scale for several arrays: from 0 if nothing is negative, otherwise symmetric about 0.

        Example:
            >>> Scale.over(np.array([0.0, 2.0]), np.array([1.0, -3.0]))
            Scale(low=-3.0, high=3.0, diverging=True)
        """
        values = np.concatenate([array[np.isfinite(array)].reshape(-1) for array in arrays])
        largest = float(np.abs(values).max(initial=0.0)) or 1.0
        if values.size and values.min() >= 0:
            return cls(0.0, largest, False)
        return cls(-largest, largest, True)

    @property
    def gradient(self) -> str:
        """The scale as a CSS gradient, from left to right."""
        stops = self.colors(np.linspace(self.low, self.high, _STOPS))
        return f"linear-gradient(to right, {', '.join(f'#{bytes(stop).hex()}' for stop in stops)})"

    def colors(self, values: np.ndarray) -> np.ndarray:
        """The colors, uint8, RGB along the last axis; NaN and infinity are magenta.

        Example:
            >>> Scale(-1.0, 1.0, True).colors(np.array([-1.0, 0.0, np.nan])).tolist()
            [[5, 48, 97], [247, 246, 246], [255, 0, 255]]
        """
        finite = np.isfinite(values)
        known = np.where(finite, values, 0.0)
        found: np.ndarray = (diverging if self.diverging else sequential)(known, self.high).copy()
        found[~finite] = _NOT_FINITE
        return found


def data_uri(pixels: np.ndarray) -> str:
    """An image, uint8 of (height, width, 3), as a data URI in PNG format.

    Example:
        >>> data_uri(np.zeros((2, 3, 3), np.uint8)).partition(",")[0]
        'data:image/png;base64'
    """
    data = io.BytesIO()
    package("PIL.Image").fromarray(pixels).save(data, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
