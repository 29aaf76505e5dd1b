"""Numbers as colours, and pictures of them: PNG without any library, for pages that hold their own pictures."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np

# Anchors of two maps of even lightness: matplotlib's viridis (CC0), and blue over grey to red.
_SEQUENTIAL = (
    *("440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c"),
    *("1fa088", "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725"),
)
_DIVERGING = ("174ea6", "4a7fd0", "8fb3e8", "c9d6e8", "eeeeee", "efcdc2", "e79a83", "cc5a4a", "9b1c1c")
_NOT_FINITE = (255, 0, 255)


@dataclass(frozen=True)
class Scale:
    """From numbers to colours.

    Attributes:
        low, high: The values of the first and the last colour.
        diverging: Whether the middle colour, a grey, is the middle value.
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
        anchors = _DIVERGING if self.diverging else _SEQUENTIAL
        return f"linear-gradient(to right, {', '.join(f'#{colour}' for colour in anchors)})"

    def colours(self, values: np.ndarray) -> np.ndarray:
        """The colours, uint8, three along a last axis; what is not finite is magenta.

        Example:
            >>> Scale(-1.0, 1.0, True).colours(np.array([-1.0, 0.0, np.nan])).tolist()
            [[23, 78, 166], [238, 238, 238], [255, 0, 255]]
        """
        anchors = _DIVERGING if self.diverging else _SEQUENTIAL
        table = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in anchors], float)
        finite = np.isfinite(values)
        place = np.clip((np.where(finite, values, 0.0) - self.low) / (self.high - self.low), 0, 1)
        along = np.linspace(0, 1, len(anchors))
        mixed = np.stack([np.interp(place, along, table[:, i]) for i in range(3)], axis=-1)
        mixed[~finite] = _NOT_FINITE
        return np.round(mixed).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG of an array of uint8, (height, width, 3).

    Example:
        >>> picture = png(np.zeros((2, 3, 3), np.uint8))
        >>> picture[:8], struct.unpack(">II", picture[16:24])
        (b'\\x89PNG\\r\\n\\x1a\\n', (3, 2))
    """
    height, width, _ = pixels.shape
    # Each line begins with the number of its filter; 0 is none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def data_uri(pixels: np.ndarray) -> str:
    """A picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()
