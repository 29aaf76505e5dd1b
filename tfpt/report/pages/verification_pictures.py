"""Pictures of a verification, as SVG and HTML: the error by depth, and the first endpoint that departs.

The SVG is written by hand rather than by matplotlib, which was tried: a scatter of 1,000 points takes 155 kB instead of
14, the bars 29 kB instead of 3, the error by depth of 60 endpoints 67 kB instead of 23. matplotlib also writes fixed
colors, which do not follow the page's dark mode, and no tooltips or hover areas, so its output would need rewriting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfpt.report.colors import Scale, data_uri
from tfpt.report.html import escape
from tfpt.report.labels import short_labels
from tfpt.report.verifications import short
from tfpt.verification import Closeup, Verification
from tfpt.verification.agreement import ComparedEndpoint, reals
from tfpt.verification.diagnosis.evidence import indices_of

_TILES = 6
# The most points of a scatter; more would only make the page larger.
_POINTS = 1000
_DECADE = 30
# The width of the page without its margins.
_PAGE = 1040


@dataclass(frozen=True)
class _Depth:
    """The geometry of the error by depth: a column for each endpoint, powers of ten from bottom to top."""

    low: int
    high: int
    columns: int
    left: int = 62
    top: int = 18
    label: float = 108

    @property
    def step(self) -> float:
        return max(15.0, min(46.0, 820 / max(1, self.columns)))

    @property
    def width(self) -> float:
        # Wide enough for the label of the tolerance next to the ticks.
        return self.left + max(150.0, self.step * self.columns) + 20

    @property
    def bottom(self) -> float:
        return self.top + _DECADE * (self.high - self.low)

    def x(self, column: int) -> float:
        return self.left + self.step * (column + 0.5)

    def y(self, value: float) -> float:
        power = math.log10(value) if value > 0 else self.low
        return self.bottom - _DECADE * (min(max(power, self.low), self.high) - self.low)


def depth_chart(result: Verification) -> str:
    """The relative difference of every endpoint in network order, on a scale of powers of ten, with the tolerance."""
    figures = [
        measure.rel
        for one in result.endpoints
        for measure in (one.free, one.own)
        if measure and 0 < measure.rel < math.inf
    ]
    low = math.floor(math.log10(min([*figures, result.tolerance]))) - 1
    high = math.ceil(math.log10(max([*figures, result.tolerance]))) + 1
    labels = short_labels([one.name for one in result.endpoints])
    longest = max(map(len, labels))
    label = 22 + 4.6 * longest
    low = min(max(low, -17), 2)
    # The first label reaches to the left of its column by its width at 50 degrees.
    depth = _Depth(
        low,
        min(max(high, low + 4), 6),
        len(result.endpoints),
        left=max(62, round(4.4 * longest)),
        label=label,
    )
    height = depth.bottom + depth.label
    parts = [*_grid(depth, result.tolerance), *_lines(depth, result.endpoints)]
    parts += [
        part
        for column, one in enumerate(result.endpoints)
        for part in _column(depth, column, one, labels[column])
    ]
    body = "\n".join(parts)
    # On a narrow screen it shrinks only as far as its text stays legible; with very many endpoints it scrolls.
    least = depth.width if depth.width > _PAGE else min(depth.width, 680)
    return (
        f'<svg class="chart" viewBox="0 0 {depth.width:.0f} {height:.0f}" role="img" '
        f'style="min-width:{least:.0f}px;max-width:{depth.width * 1.3:.0f}px" '
        f'aria-label="Relative difference by depth">\n{body}\n</svg>'
    )


def closeup(found: Closeup) -> str:
    """The first endpoint that departs: recorded against computed, by channel, and if possible as images."""
    recorded = found.recorded
    truth, computed = reals(recorded.values), reals(recorded.samples_of(found.computed))
    channels = indices_of(recorded, found.computed)[found.channel]
    parts = []
    if recorded.whole and found.computed.ndim >= 3 and found.computed.dtype.kind != "c":
        parts.append(_tiles(found))
    scatter = _figure(
        _scatter(truth, computed),
        "Recorded (horizontal) against computed (vertical) values; on the line both are equal.",
    )
    number = (found.computed.shape or (1,))[found.channel]
    by_channel = _figure(
        _by_channel(channels, np.abs(computed - truth), number),
        f"The absolute difference by channel, 0 to {number - 1}.",
    )
    parts.append(f'<div class="pair">{scatter}{by_channel}</div>')
    return "\n".join(parts)


def _grid(depth: _Depth, tolerance: float) -> Iterator[str]:
    right = depth.width - 20
    for power in range(depth.low, depth.high + 1):
        y = depth.y(10.0**power)
        yield f'<line class="grid" x1="{depth.left}" x2="{right:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        if (power - depth.high) % (2 if depth.high - depth.low > 8 else 1) == 0:
            label = f'10<tspan dy="-5" font-size="9">{str(power).replace("-", "−")}</tspan>'
            yield f'<text class="tick" x="{depth.left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    y = depth.y(tolerance)
    yield f'<line class="tolerance" x1="{depth.left}" x2="{right:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    # At the left, where it is visible on a narrow screen too.
    yield f'<text class="tolerance-text" x="{depth.left + 4}" y="{y - 5:.1f}">tolerance {tolerance:g}</text>'


def _lines(depth: _Depth, endpoints: Sequence[ComparedEndpoint]) -> Iterator[str]:
    """One line through the differences of the unchanged model."""
    points = [
        f"{depth.x(column):.1f},{depth.y(one.free.rel):.1f}"
        for column, one in enumerate(endpoints)
        if one.free is not None and math.isfinite(one.free.rel)
    ]
    if len(points) > 1:
        yield f'<polyline class="line" points="{" ".join(points)}"/>'


def _column(depth: _Depth, column: int, one: ComparedEndpoint, label: str) -> Iterator[str]:
    x, bottom = depth.x(column), depth.bottom
    free = one.free.rel if one.free is not None else math.nan
    own = f", own {short(one.own.rel)}" if one.own is not None else ""
    seen = f"{short(free)}{own}" if one.free is not None else "not measured"
    title = escape(f"{one.name}: {one.verdict}, {seen}" + (f" ({one.note})" if one.note else ""))
    yield f"<g><title>{title}</title>"
    yield (
        f'<rect class="hit" x="{x - depth.step / 2:.1f}" y="{depth.top}" '
        f'width="{depth.step:.1f}" height="{bottom - depth.top:.1f}"/>'
    )
    if one.own is not None and math.isfinite(one.own.rel):
        y = depth.y(one.own.rel)
        yield f'<path class="own" d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"/>'
    y = depth.y(free) if math.isfinite(free) else depth.top + 6
    if one.verdict != "unrecorded":
        yield f'<path class="mark {_class(one.verdict)}" d="{_mark(one.verdict, x, y)}"/>'
    yield (
        f'<text class="tick{" bad" if one.departs else ""}" text-anchor="end" '
        f'transform="translate({x + 4:.1f} {bottom + 12:.1f}) rotate(-50)">{escape(label)}</text></g>'
    )


def _mark(verdict: str, x: float, y: float) -> str:
    """A shape for each verdict, so that they can be distinguished without color."""
    if verdict == "agrees":
        return f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"
    if verdict == "follows":
        return f"M{x - 5:.1f} {y - 4:.1f}h10l-5 9z"
    if verdict == "missing":
        return f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z"
    return "".join(
        f"M{x + a * 6:.1f} {y + b * 6:.1f}L{x - a * 6:.1f} {y - b * 6:.1f}" for a, b in ((-1, -1), (1, -1))
    )


def _class(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _scatter(truth: np.ndarray, computed: np.ndarray) -> str:
    # Random rather than every n-th value, which could all be of the same channel.
    chosen = np.random.default_rng(0).permutation(truth.size)[:_POINTS]
    truth, computed = truth[chosen], computed[chosen]
    finite = np.isfinite(truth) & np.isfinite(computed)
    truth, computed = truth[finite], computed[finite]
    both = np.concatenate([truth, computed]) if truth.size else np.zeros(1)
    low, high = float(both.min()), float(both.max())
    reach = (high - low) or 1.0
    x = 46 + 290 * (truth - low) / reach
    y = 310 - 290 * (computed - low) / reach
    points = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    return (
        '<svg class="chart" viewBox="0 0 350 340" role="img" aria-label="Recorded against computed">'
        '<rect class="frame" x="40" y="14" width="302" height="302"/>'
        '<line class="tolerance" x1="46" y1="310" x2="336" y2="20"/>'
        f'<path class="points" d="{points}"/>'
        f'<text class="tick" x="40" y="332">{low:.3g}</text>'
        f'<text class="tick" x="342" y="332" text-anchor="end">{high:.3g}</text>'
        '<text class="tick" x="191" y="332" text-anchor="middle">recorded by TensorFlow</text>'
        '<text class="tick" transform="translate(30 165) rotate(-90)" text-anchor="middle">computed</text></svg>'
    )


def _by_channel(channels: np.ndarray, apart: np.ndarray, number: int) -> str:
    largest = float(np.nanmax(np.where(np.isfinite(apart), apart, 0.0), initial=0.0)) or 1.0
    # The largest difference in each column of the chart: a line for each channel would be too thin to see.
    columns = min(number, 145)
    heights = np.zeros(columns)
    np.maximum.at(heights, channels * columns // number, np.where(np.isfinite(apart), apart, largest))
    width = 290 / columns
    bars = "".join(
        f"M{46 + width * (i + 0.5):.1f} 310v{-290 * height / largest:.1f}"
        for i, height in enumerate(heights)
        if height > 0
    )
    return (
        '<svg class="chart" viewBox="0 0 350 340" role="img" aria-label="Difference by channel">'
        '<rect class="frame" x="40" y="14" width="302" height="302"/>'
        f'<path class="bars" style="stroke-width:{max(1.0, width * 0.8):.1f}" d="{bars}"/>'
        '<text class="tick" x="40" y="332">0</text>'
        f'<text class="tick" x="342" y="332" text-anchor="end">{number - 1}</text>'
        '<text class="tick" x="191" y="332" text-anchor="middle">channel</text>'
        f'<text class="tick" transform="translate(30 165) rotate(-90)" text-anchor="middle">up to {largest:.3g}'
        "</text></svg>"
    )


def _tiles(found: Closeup) -> str:
    """The channels that differ most, each as three images above one another, on shared color scales."""
    truth = np.moveaxis(found.recorded.values.astype(np.float64), found.channel, -1)
    ours = np.moveaxis(found.computed.astype(np.float64), found.channel, -1)
    # The element of the batch that differs most.
    one = _most(ours - truth)
    when = "" if len(truth) == 1 else f", in element {one} of the batch of {len(truth)}"
    truth, ours = truth[one], ours[one]
    apart = ours - truth
    while truth.ndim > 3:
        # The time step of a clip that differs most.
        moment = _most(apart)
        when += f", at time step {moment} of {len(truth)}"
        truth, ours, apart = truth[moment], ours[moment], apart[moment]
    if truth.ndim == 2:
        truth, ours, apart = (array.T[..., None] for array in (truth, ours, apart))
        chosen, names = [0], ["channels down, positions across"]
    else:
        worst = np.nan_to_num(np.abs(apart), nan=np.inf).max((0, 1))
        chosen = sorted(np.argsort(-worst, kind="stable")[:_TILES].tolist())
        names = [f"channel {channel}" for channel in chosen]
    values, differences = Scale.over(truth[..., chosen], ours[..., chosen]), Scale.over(-np.abs(apart), apart)
    rows = (("TensorFlow", truth, values), ("PyTorch", ours, values), ("difference", apart, differences))
    cells = "".join(
        f"<tr><th>{name}</th>"
        + "".join(
            f'<td><img alt="{name}, {escape(label)}" src="{data_uri(scale.colors(array[..., channel]))}"></td>'
            for channel, label in zip(chosen, names, strict=True)
        )
        + "</tr>"
        for name, array, scale in rows
    )
    head = "".join(f"<th>{escape(label)}</th>" for label in names)
    bars = _bar("both activations", values) + _bar("difference", differences)
    return (
        f'<figure><div class="wide"><table class="tiles"><tr><th></th>{head}</tr>{cells}</table></div>'
        f"{bars}<figcaption>The channels that differ most{when}.</figcaption></figure>"
    )


def _most(apart: np.ndarray) -> int:
    """The index along the first axis of the largest difference."""
    return int(np.nan_to_num(np.abs(apart), nan=np.inf).reshape(len(apart), -1).max(1).argmax())


def _bar(name: str, scale: Scale) -> str:
    middle = "0" if scale.diverging else f"{(scale.low + scale.high) / 2:.3g}"
    return (
        f'<div class="bar"><span>{name}</span><div style="background:{scale.gradient}"></div>'
        f"<div><span>{scale.low:.3g}</span><span>{middle}</span><span>{scale.high:.3g}</span></div></div>"
    )


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
