"""What a color stands for: one rule for a whole picture, fitted to the values in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfpt.errors import ModelError, TfptError
from tfpt.report import color_maps as colors

Kind = Literal["diverging", "sequential", "rgb", "flow"]

_MAPS = {
    "diverging": colors.diverging,
    "sequential": colors.sequential,
    "rgb": colors.rgb,
    "flow": colors.flow,
}
_SAID = {
    "diverging": "blue −{limit} … 0 … +{limit} red",
    "sequential": "0 … {limit}",
    "rgb": "each channel −{limit} … +{limit}, gray is 0",
    "flow": "hue is direction, full color {limit}, white is 0",
}


@dataclass(frozen=True)
class Scale:
    """How values become colors.

    Attributes:
        kind: ``diverging``: symmetric about zero. ``sequential``: from zero. ``rgb``: three channels, each symmetric
            about zero. ``flow``: two channels, by direction and magnitude.
        limit: The absolute value (of flow: the magnitude) of full color; of `each`, the largest of the limits.
        each: Whether every tile has a limit of its own.
    """

    kind: Kind
    limit: float
    each: bool = False

    def color(self, values: np.ndarray) -> np.ndarray:
        """One tile in colors, uint8 (…, 3); `values` has a last axis of channels for ``rgb`` and ``flow``."""
        limit = largest(values, self.kind) if self.each else self.limit
        with np.errstate(over="ignore"):  # beyond the limit is beyond it, however far
            return _MAPS[self.kind](values, limit or 1.0)

    @property
    def kept(self) -> np.ndarray:
        """The colors that a picture must keep, uint8 (n, 3): all of a map; else those of zero and of the limits."""
        if self.kind in ("diverging", "sequential"):
            low = -1.0 if self.kind == "diverging" else 0.0
            return _MAPS[self.kind](np.linspace(low, 1.0, colors.STEPS), 1.0)
        axes = np.eye(3) if self.kind == "rgb" else np.eye(2)
        return _MAPS[self.kind](np.concatenate([axes, -axes, 0 * axes]), 1.0)

    @property
    def text(self) -> str:
        """In a few words.

        Example:
            >>> Scale("sequential", 0.12345).text, Scale("diverging", 0.5, each=True).text
            ('0 … 0.123', 'blue −max … 0 … +max red, max of each tile')
        """
        said = _SAID[self.kind].format(limit=self.shown_limit)
        return f"{said}, max of each tile" if self.each else said

    @property
    def shown_limit(self) -> str:
        """The limit in three digits, or ``max`` where each tile has its own."""
        return "max" if self.each else f"{self.limit:.3g}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "limit": self.limit, "each": self.each, "text": self.text}


def largest(values: np.ndarray, kind: Kind) -> float:
    """The value that gets full color, if it is the only tile's."""
    if kind == "flow":
        return float(np.hypot(values[..., 0], values[..., 1]).max(initial=0.0))
    return float(np.abs(values).max(initial=0.0))


def fit_scale(
    tiles: Sequence[np.ndarray], kind: Kind, *, each: bool, what: str, limit: float | None = None
) -> Scale:
    """The scale on which the largest value of the tiles has full color, or a limit that was given.

    Args:
        tiles: Their values.
        kind: See `Scale`.
        each: Whether every tile has its own limit.
        what: What the values are, for errors.
        limit: What has full color, and what is beyond it.

    Raises:
        TfptError: The limit is not above zero, or is given although each tile has its own.
        ModelError: Some value is infinite or not a number.

    Example:
        >>> fit_scale([np.array([0.5, -2.0]), np.array([1.0])], "diverging", each=False, what="weights").limit
        2.0
    """
    if limit is not None and (each or not 0 < limit < float("inf")):
        raise TfptError(
            "a limit must be above 0, and the same for all tiles",
            expected="a limit, or scale each" if each else "above 0, and finite",
            got=f"limit {limit:g}" + (" with scale each" if each else ""),
        )
    limits = [largest(values, kind) for values in tiles]
    if not np.isfinite(limits).all():
        wrong = sum(int((~np.isfinite(values)).sum()) for values in tiles)
        raise ModelError(
            f"{what} cannot be drawn: some of them are not finite",
            expected="finite values",
            got=f"{wrong:,} NaN or infinite",
        )
    return Scale(kind, limit or max(limits, default=0.0) or 1.0, each)
