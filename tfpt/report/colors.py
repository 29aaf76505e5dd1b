"""Numbers as colors, and pictures of them that a page can hold itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from tfpt.packages import package
from tfpt.report.color_maps import diverging, sequential

_NOT_FINITE = (255, 0, 255)
# Colors of a gradient, between which a browser mixes.
_STOPS = 17


@dataclass(frozen=True)
class Scale:
    """From numbers to colors.

    Attributes:
        low, high: The values of the first and the last color.
        diverging: Whether `low` is ``-high`` and the middle color, a near-white, is 0; else `low` is 0.
    """

    low: float
    high: float
    diverging: bool

    @classmethod
    def over(cls, *arrays: np.ndarray) -> Scale:
        """One scale for several arrays: from 0 up where nothing is negative, else the same on both sides of 0.

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
        """The scale as a gradient of CSS, from left to right."""
        stops = self.colors(np.linspace(self.low, self.high, _STOPS))
        return f"linear-gradient(to right, {', '.join(f'#{bytes(stop).hex()}' for stop in stops)})"

    def colors(self, values: np.ndarray) -> np.ndarray:
        """The colors, uint8, three along a last axis; what is not finite is magenta.

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
    """A picture, uint8 of (height, width, 3), as an address that holds it as PNG.

    Example:
        >>> data_uri(np.zeros((2, 3, 3), np.uint8)).partition(",")[0]
        'data:image/png;base64'
    """
    data = io.BytesIO()
    package("PIL.Image").fromarray(pixels).save(data, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
