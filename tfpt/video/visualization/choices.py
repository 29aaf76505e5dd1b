"""The options of both kinds of drawings, checked before anything is computed; which filters or channels to draw."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from tfpt.errors import TfptError

SCALES = ("common", "each")


def check_choices(*, scale: str, zoom: int | None, fps: float | None) -> None:
    """Reject invalid options.

    Raises:
        TfptError: An unknown scale, a zoom below 1, or a frame rate that is not positive.

    Example:
        >>> check_choices(scale="common", zoom=None, fps=0.0)
        Traceback (most recent call last):
        ...
        tfpt.errors.TfptError: the frame rate must be above 0
          expected  frames per second, such as 4 or 12.5
          got       0
    """
    if scale not in SCALES:
        raise TfptError("no such scale", expected=", ".join(SCALES), got=str(scale))
    if zoom is not None and zoom < 1:
        raise TfptError("zoom must be at least 1", expected="pixels per value", got=str(zoom))
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise TfptError(
            "the frame rate must be above 0",
            expected="frames per second, such as 4 or 12.5",
            got=f"{fps:g}",
        )


_EXPECTED = "0,5,7-11 or: top 16 or: all"


def select(text: str, number: int, strength: Callable[[], np.ndarray], noun: str) -> tuple[int, ...]:
    """Parse a selection of indices, in its order.

    Args:
        text: Such as ``0,5,7-11``, ``top 16`` or ``all``.
        number: How many there are to choose from.
        strength: Returns a number for each; ``top`` selects the largest.
        noun: What is selected, for errors.

    Raises:
        TfptError: The selection is invalid, or contains an index out of range.

    Example:
        >>> select("5, 0, 7-9", 64, lambda: np.zeros(64), "filter")
        (5, 0, 7, 8, 9)
        >>> select("top 2", 3, lambda: np.array([3.0, 1.0, 2.0]), "filter")
        (0, 2)
    """
    words = text.strip().lower()
    if words == "all":
        return tuple(range(number))
    if top := re.fullmatch(r"top\s*(\d{1,18})", words):
        if not int(top[1]):
            raise TfptError(f"no {noun} is selected", expected=_EXPECTED, got=text)
        return tuple(map(int, np.argsort(-strength(), kind="stable")[: int(top[1])]))
    chosen: dict[int, None] = {}
    for part in words.split(","):
        span = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if span is None:
            raise TfptError(f"the selection of {noun}s is invalid", expected=_EXPECTED, got=text)
        first, last = int(span[1]), int(span[2] or span[1])
        if last >= number or first > last:
            raise TfptError(f"no such {noun}", expected=f"0 to {number - 1}", got=part.strip())
        chosen.update(dict.fromkeys(range(first, last + 1)))
    return tuple(chosen)
