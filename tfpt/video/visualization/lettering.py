"""Draws text into pictures, in few shades, because a GIF has only 256 colors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.packages import package

PAPER = (255, 255, 255)
INK = (32, 32, 32)
RULE = (176, 176, 176)
_SHADES = 8


def shades() -> np.ndarray:
    """All colors of text on the background, and the color of frames: (n, 3), uint8."""
    share = np.arange(_SHADES)[:, None] / (_SHADES - 1)
    mixed = np.rint(np.array(PAPER) * (1 - share) + np.array(INK) * share)
    return np.concatenate([mixed, [RULE]]).astype(np.uint8)


def text_size(text: str, size: int, *, bold: bool = False) -> tuple[int, int]:
    """Width and height of a line in pixels; all lines of one font size have the same height.

    Example:
        >>> narrow, height = text_size("i", 12)
        >>> wide, same = text_size("Wg", 12)
        >>> narrow < wide, height == same
        (True, True)
    """
    text = _printable(text)
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    return round(font.getlength(text) + 0.499), ascent + descent


def write(
    canvas: np.ndarray,
    x: int,
    y: int,
    text: str,
    size: int,
    *,
    bold: bool = False,
    color: tuple[int, int, int] = INK,
) -> None:
    """Write a line into an RGB canvas, its upper left corner at (x, y), clipped to the canvas."""
    text = _printable(text)
    width, height = text_size(text, size, bold=bold)
    mask = package("PIL.Image").new("L", (width + 2, height), 0)
    package("PIL.ImageDraw").Draw(mask).text((0, 0), text, fill=255, font=_font(size, bold))
    share = np.rint(np.asarray(mask) / 255 * (_SHADES - 1)) / (_SHADES - 1)
    region = canvas[y : y + height, x : x + width + 2]
    share = share[: region.shape[0], : region.shape[1], None]
    mixed = np.rint(np.array(PAPER) * (1 - share) + np.array(color) * share).astype(np.uint8)
    region[...] = np.where(share > 0, mixed, region)


def _printable(text: str) -> str:
    """The text on one line: unprintable characters, such as line breaks in file names, are replaced."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


@lru_cache
def _font(size: int, bold: bool) -> Any:
    # DejaVu, which comes with matplotlib: Pillow's own font lacks × − → and other characters used here.
    fonts = Path(package("matplotlib").get_data_path(), "fonts", "ttf")
    return package("PIL.ImageFont").truetype(str(fonts / f"DejaVuSans{'-Bold' if bold else ''}.ttf"), size)
