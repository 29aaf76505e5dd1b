"""The legend of a picture: a bar of its colors with numbers, one bar a channel, or the wheel of directions."""

from __future__ import annotations

import numpy as np

from tfpt.report import color_maps as colors
from tfpt.video.visualization.lettering import PAPER, RULE, text_size, write
from tfpt.video.visualization.scale import Scale

_SIZE = 11
_THICK = 18
_LONG = 2 * colors.STEPS  # two pixels a step
_WHEEL = 121
_GAP = 6


def legend(scale: Scale) -> np.ndarray:
    """The legend of a scale: uint8 (height, width, 3).

    Of a bar, the topmost row has the color of the limit and the lowest that of its negative, or of zero.

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
    """Where the bar begins: half a line, so that the number beside its end has room."""
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
    for place, text in ticks:
        y = top + round(place * (length - 1))
        canvas[y, thick : thick + 3] = RULE
        write(canvas, thick + _GAP, y - line // 2, text, _SIZE)
    for index, head in enumerate(heads):
        step = thick // len(heads)
        write(canvas, index * step + (step - text_size(head, _SIZE)[0]) // 2, 0, head, _SIZE)
    return canvas


def _bars(scale: Scale) -> np.ndarray:
    """Red, green and blue, each from its limit down to the negative, the other two channels at zero."""
    ramp = np.linspace(1.0, -1.0, _LONG)
    bars = np.full((_LONG, 3 * _THICK, 3), PAPER, np.uint8)
    for channel in range(3):
        values = np.zeros((_LONG, 3))
        values[:, channel] = ramp
        bars[:, channel * _THICK : (channel + 1) * _THICK - 2] = colors.rgb(values, 1.0)[:, None]
    return _labeled(bars, scale, -1.0, ("R", "G", "B"))


def _wheel(scale: Scale) -> np.ndarray:
    """A disc on which each point has the color of the motion from the center to it; its rim is the limit."""
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
