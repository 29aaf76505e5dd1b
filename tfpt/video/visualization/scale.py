"""How values become colors: one scale for a whole picture, fitted to its values, and the legend that explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfpt.errors import ModelError, TfptError
from tfpt.report import color_maps as colors
from tfpt.video.visualization.lettering import PAPER, RULE, text_size, write

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


# The percentile that stands for the usual large values of a tile, and the multiple of it beyond which is an outlier.
_PERCENTILE = 98
_OUTLIER = 3
_FEWEST = 9


@dataclass(frozen=True)
class Scale:
    """How values become colors.

    Attributes:
        kind: ``diverging``: symmetric about zero. ``sequential``: from zero. ``rgb``: three channels, each symmetric
            about zero. ``flow``: two channels, by direction and magnitude.
        limit: The absolute value (for flow, the magnitude) of full color; with `each`, the largest of the limits.
        each: Whether each tile has its own limit.
        outliers: Whether outliers are ignored in finding a tile's own limit; see `limit_of`.
        clipped: The number of tiles whose outliers are beyond their limit.
    """

    kind: Kind
    limit: float
    each: bool = False
    outliers: bool = False
    clipped: int = 0

    def color(self, values: np.ndarray) -> np.ndarray:
        """A tile in colors, uint8 (…, 3); for ``rgb`` and ``flow``, the last axis of `values` is the channels."""
        limit = self.limit
        if self.each:
            limit = (limit_of if self.outliers else largest)(values, self.kind)
        with np.errstate(over="ignore"):  # an overflow is clipped to the limit anyway
            return _MAPS[self.kind](values, limit or 1.0)

    @property
    def kept(self) -> np.ndarray:
        """The colors that a picture must keep, uint8 (n, 3): the whole color map, or those of zero and the limits."""
        if self.kind in ("diverging", "sequential"):
            low = -1.0 if self.kind == "diverging" else 0.0
            return _MAPS[self.kind](np.linspace(low, 1.0, colors.STEPS), 1.0)
        axes = np.eye(3) if self.kind == "rgb" else np.eye(2)
        return _MAPS[self.kind](np.concatenate([axes, -axes, 0 * axes]), 1.0)

    @property
    def text(self) -> str:
        """A short description.

        Example:
            >>> Scale("sequential", 0.12345).text, Scale("diverging", 0.5, each=True).text
            ('0 … 0.123', 'blue −max … 0 … +max red, max of each tile')
        """
        said = _SAID[self.kind].format(limit=self.shown_limit)
        if not self.each:
            return said
        tiles = f"{self.clipped} tile{'s' * (self.clipped != 1)}"
        return f"{said}, max of each tile" + (f" without outliers (in {tiles})" if self.clipped else "")

    @property
    def shown_limit(self) -> str:
        """The limit in three digits, or ``max`` if each tile has its own."""
        return "max" if self.each else f"{self.limit:.3g}"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "limit": self.limit,
            "each": self.each,
            "clipped": self.clipped,
            "text": self.text,
        }


def largest(values: np.ndarray, kind: Kind) -> float:
    """The largest magnitude in a tile."""
    return float(_magnitudes(values, kind).max(initial=0.0))


def limit_of(values: np.ndarray, kind: Kind) -> float:
    """The value drawn in full color in a tile with its own limit: the largest, unless it is an outlier.

    The largest is an outlier if it exceeds three times the 98th percentile (of few values, the second largest), which
    is then the limit. A tile of fewer than 9 values has no outliers.

    Example:
        >>> limit_of(np.array([0.1, -0.2, 0.3] * 3 + [-5.0]), "diverging"), limit_of(np.array([0.1, -5.0]), "diverging")
        (0.3, 5.0)
    """
    found = np.sort(_magnitudes(values, kind), None)
    most = float(found[-1]) if found.size else 0.0
    if found.size < _FEWEST:
        return most
    usual = float(np.percentile(found, _PERCENTILE, method="lower"))
    return usual if 0 < usual < most / _OUTLIER else most


def _magnitudes(values: np.ndarray, kind: Kind) -> np.ndarray:
    found: np.ndarray = np.hypot(values[..., 0], values[..., 1]) if kind == "flow" else np.abs(values)
    return found


def fit_scale(
    tiles: Sequence[np.ndarray],
    kind: Kind,
    *,
    each: bool,
    what: str,
    limit: float | None = None,
    outliers: bool = False,
) -> Scale:
    """The scale on which the largest value of all tiles, or `limit`, has full color.

    Args:
        tiles: The values of the tiles.
        kind: See `Scale`.
        each: Whether each tile has its own limit.
        what: What the values are, for errors.
        limit: The value drawn in full color, instead of the largest.
        outliers: Ignore outliers where each tile has its own limit; see `limit_of`.

    Raises:
        TfptError: The limit is not positive, or is given although each tile has its own.
        ModelError: A value is infinite or NaN.

    Example:
        >>> fit_scale([np.array([0.5, -2.0]), np.array([1.0])], "diverging", each=False, what="weights").limit
        2.0
    """
    if limit is not None and (each or not 0 < limit < float("inf")):
        raise TfptError(
            "the limit must be above 0, and cannot be combined with a scale per tile",
            expected="either a limit or scale each" if each else "above 0, and finite",
            got=f"limit {limit:g}" + (" with scale each" if each else ""),
        )
    limits = [largest(values, kind) for values in tiles]
    if not np.isfinite(limits).all():
        wrong = sum(int((~np.isfinite(values)).sum()) for values in tiles)
        raise ModelError(
            f"{what} cannot be drawn: some are not finite",
            expected="finite values",
            got=f"{wrong:,} NaN or infinite",
        )
    clipped = 0
    if each and outliers:
        own = [limit_of(values, kind) for values in tiles]
        clipped = sum(less < most for less, most in zip(own, limits, strict=True))
        limits = own
    return Scale(kind, limit or max(limits, default=0.0) or 1.0, each, each and outliers, clipped)


_SIZE = 11
_THICK = 18
_LONG = 2 * colors.STEPS  # two pixels a step
_WHEEL = 121
_GAP = 6


def legend(scale: Scale) -> np.ndarray:
    """The legend of a scale: uint8 (height, width, 3).

    In a bar, the top row has the color of the limit, and the bottom row that of its negative, or of zero.

    Example:
        >>> bar = legend(Scale("sequential", 1.0))
        >>> tuple(map(int, bar[_top(), 0])), tuple(map(int, bar[_top() + _LONG - 1, 0]))
        ((253, 231, 37), (68, 1, 84))
    """
    if scale.kind == "flow":
        return _wheel(scale)
    if scale.kind == "rgb":
        return _bars(scale)
    low = -1.0 if scale.kind == "diverging" else 0.0
    ramp = np.linspace(1.0, low, colors.STEPS).repeat(_LONG // colors.STEPS)
    column = Scale(scale.kind, 1.0).color(ramp)
    return _labeled(np.broadcast_to(column[:, None], (_LONG, _THICK, 3)), scale, low)


def _top() -> int:
    """Where the bar starts: half a line down, to leave room for the number at its end."""
    return text_size("0", _SIZE)[1] // 2


def _labeled(bar: np.ndarray, scale: Scale, low: float, heads: tuple[str, ...] = ()) -> np.ndarray:
    sign = "+" if low < 0 else ""
    ticks = [(0.0, f"{sign}{scale.shown_limit}"), (1.0, f"−{scale.shown_limit}" if low < 0 else "0")]
    ticks += [(0.5, "0")] if low < 0 else [(0.5, "max/2" if scale.each else f"{scale.limit / 2:.3g}")]
    line = text_size("0", _SIZE)[1]
    top = _top() + (line if heads else 0)
    length, thick = bar.shape[:2]
    width = thick + _GAP + max(text_size(text, _SIZE)[0] for _, text in ticks) + 2
    canvas = np.full((top + length + _top() + 1, width, 3), PAPER, np.uint8)
    canvas[top : top + length, :thick] = bar
    for share, text in ticks:
        y = top + round(share * (length - 1))
        canvas[y, thick : thick + 3] = RULE
        write(canvas, thick + _GAP, y - line // 2, text, _SIZE)
    for index, head in enumerate(heads):
        step = thick // len(heads)
        write(canvas, index * step + (step - text_size(head, _SIZE)[0]) // 2, 0, head, _SIZE)
    return canvas


def _bars(scale: Scale) -> np.ndarray:
    """Red, green and blue, each from the limit down to its negative, with the other two channels at zero."""
    ramp = np.linspace(1.0, -1.0, _LONG)
    bars = np.full((_LONG, 3 * _THICK, 3), PAPER, np.uint8)
    for channel in range(3):
        values = np.zeros((_LONG, 3))
        values[:, channel] = ramp
        bars[:, channel * _THICK : (channel + 1) * _THICK - 2] = colors.rgb(values, 1.0)[:, None]
    return _labeled(bars, scale, -1.0, ("R", "G", "B"))


def _wheel(scale: Scale) -> np.ndarray:
    """A disc on which each point has the color of the flow from the center to it; its rim is the limit."""
    radius = _WHEEL // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1] / radius
    disc = colors.flow(np.stack([x, y], -1), 1.0)
    disc[np.hypot(x, y) > 1] = PAPER
    line = text_size("0", _SIZE)[1]
    right, down = "→ u", "↓ v"
    width = _WHEEL + _GAP + text_size(right, _SIZE)[0] + 2
    canvas = np.full((_WHEEL + 3 * line, width, 3), PAPER, np.uint8)
    canvas[:_WHEEL, :_WHEEL] = disc
    write(canvas, _WHEEL + _GAP, radius - line // 2, right, _SIZE)
    write(canvas, radius - text_size(down, _SIZE)[0] // 2, _WHEEL + 2, down, _SIZE)
    write(canvas, 0, _WHEEL + 2 + line, f"rim {scale.shown_limit}", _SIZE)
    return canvas
