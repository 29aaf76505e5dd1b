"""Which filters or channels to draw: numbers and ranges, the strongest so many, or all."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tfpt.errors import TfptError

_EXPECTED = "0,5,7-11 or: top 16 or: all"


def select(text: str, number: int, strength: Callable[[], np.ndarray], noun: str) -> tuple[int, ...]:
    """The indices that a selection means, in its order.

    Args:
        text: Such as ``0,5,7-11``, ``top 16`` or ``all``.
        number: How many there are.
        strength: Gives a number for each, by which ``top`` takes them, the largest first.
        noun: What they are, for errors.

    Raises:
        TfptError: It cannot be read, or means one that is not there.

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
            raise TfptError(f"a selection of {noun}s that cannot be read", expected=_EXPECTED, got=text)
        first, last = int(span[1]), int(span[2] or span[1])
        if last >= number or first > last:
            raise TfptError(f"no such {noun}", expected=f"0 to {number - 1}", got=part.strip())
        chosen.update(dict.fromkeys(range(first, last + 1)))
    return tuple(chosen)
