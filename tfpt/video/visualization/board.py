"""The layout of a picture: a title, a grid of labeled tiles, an optional lead tile, and a legend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfpt.errors import TfptError
from tfpt.video.visualization.drawing import Place
from tfpt.video.visualization.lettering import PAPER, RULE, text_size, write

# Over all steps; drawing takes about ten times as many bytes.
MOST_PIXELS = 150_000_000
_MARGIN = 14
_GAP = 8
_TITLE, _TEXT, _LABEL, _COUNTER = 16, 12, 10, 14


@dataclass(frozen=True)
class Tile:
    """One tile: its label, and its images over time, uint8 (time, height, width, 3), at display size."""

    label: str
    images: np.ndarray


@dataclass(frozen=True)
class Board:
    """The contents and layout of a picture; `frames` draws it.

    Attributes:
        title: The first line, bold.
        lines: The lines below it.
        tiles: All of one size, in rows from the upper left.
        columns: Tiles per row.
        legend: The legend of the colors, to the right.
        kept: Colors, uint8 (n, 3), that are kept exactly if the number of colors has to be reduced.
        lead: A tile to the left, of any size.
    """

    title: str
    lines: tuple[str, ...]
    tiles: tuple[Tile, ...]
    columns: int
    legend: np.ndarray
    kept: np.ndarray
    lead: Tile | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """The positions of the tiles; the lead, if any, comes first."""
        left, top = self._grid
        width, height = self._cell
        shape = self.tiles[0].images.shape
        lead = [] if self.lead is None else [_place(self.lead, _MARGIN, top + self._label)]
        return (
            *lead,
            *(
                Place(
                    tile.label,
                    left + index % self.columns * (width + _GAP),
                    top + index // self.columns * (height + _GAP) + self._label,
                    shape[2],
                    shape[1],
                )
                for index, tile in enumerate(self.tiles)
            ),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        left, top = self._grid
        width, height = self._cell
        rows = math.ceil(len(self.tiles) / self.columns)
        inner = left + self.columns * (width + _GAP) - _GAP + 2 * _MARGIN + self.legend.shape[1]
        text = max(
            text_size(self.title, _TITLE, bold=True)[0],
            *(text_size(line, _TEXT)[0] for line in self.lines),
        )
        lead = 0 if self.lead is None else self.lead.images.shape[1] + self._label
        below = max(rows * (height + _GAP) - _GAP, self.legend.shape[0] + self._label, lead)
        counter = text_size("t", _COUNTER)[1] + _GAP if self.steps > 1 else 0
        return max(inner, text + _MARGIN) + _MARGIN, top + below + counter + _MARGIN

    @property
    def steps(self) -> int:
        """The number of time steps."""
        return int(self.tiles[0].images.shape[0])

    @property
    def _label(self) -> int:
        return text_size("0", _LABEL)[1] + 2

    @property
    def _cell(self) -> tuple[int, int]:
        """Width and height of a tile with its label, which may be wider than the tile."""
        _, height, width, _ = self.tiles[0].images.shape
        return max(width, *(text_size(tile.label, _LABEL)[0] for tile in self.tiles)), height + self._label

    @property
    def _grid(self) -> tuple[int, int]:
        """The upper left corner of the grid."""
        top = _MARGIN + text_size(self.title, _TITLE, bold=True)[1] + 4
        top += len(self.lines) * text_size("0", _TEXT)[1] + 8
        if self.lead is None:
            return _MARGIN, top
        lead = max(self.lead.images.shape[2], text_size(self.lead.label, _LABEL)[0])
        return _MARGIN + lead + 2 * _MARGIN, top

    def frames(self) -> Iterator[np.ndarray]:
        """The picture at each step, uint8 (height, width, 3), with a counter if there are several."""
        still = self._still()
        tiles = [*([] if self.lead is None else [self.lead]), *self.tiles]
        for step in range(self.steps):
            canvas = still.copy()
            for tile, place in zip(tiles, self.places, strict=True):
                canvas[place.y : place.y + place.height, place.x : place.x + place.width] = tile.images[step]
            if self.steps > 1:
                y = self.size[1] - _MARGIN - text_size("t", _COUNTER)[1]
                write(canvas, _MARGIN, y, f"t = {step + 1}/{self.steps}", _COUNTER, bold=True)
            yield canvas

    def _still(self) -> np.ndarray:
        """The parts that do not change over time."""
        width, height = self.size
        canvas = np.full((height, width, 3), PAPER, np.uint8)
        y = _MARGIN
        write(canvas, _MARGIN, y, self.title, _TITLE, bold=True)
        y += text_size(self.title, _TITLE, bold=True)[1] + 4
        for line in self.lines:
            write(canvas, _MARGIN, y, line, _TEXT)
            y += text_size(line, _TEXT)[1]
        for place in self.places:
            write(canvas, place.x, place.y - self._label, place.label, _LABEL)
            # A frame: a tile may have the background color.
            canvas[place.y - 1 : place.y + place.height + 1, place.x - 1 : place.x + place.width + 1] = RULE
        left, top = self._grid
        x = left + self.columns * (self._cell[0] + _GAP) - _GAP + 2 * _MARGIN
        y = top + self._label
        canvas[y : y + self.legend.shape[0], x : x + self.legend.shape[1]] = self.legend
        return canvas


def check_tiles(number: int, steps: int, height: int, width: int) -> None:
    """Reject tiles that are too large for a picture, before they are drawn.

    Raises:
        TfptError: Over all tiles and steps, they have more than `MOST_PIXELS` pixels.

    Example:
        >>> check_tiles(64, 7, 7000, 7000)
        Traceback (most recent call last):
        ...
        tfpt.errors.TfptError: the tiles are too large for one picture
          expected  at most 150,000,000 pixels
          got       21,952,000,000: 64 of 7000 × 7000, 7 steps
          next      fewer of them (0-15), a lower --zoom, or fewer --frames
    """
    pixels = number * steps * height * width
    if pixels > MOST_PIXELS:
        raise TfptError(
            "the tiles are too large for one picture",
            expected=f"at most {MOST_PIXELS:,} pixels",
            got=f"{pixels:,}: {number} of {width} × {height}, {steps} step{'s' * (steps != 1)}",
            hint="fewer of them (0-15), a lower --zoom, or fewer --frames",
        )


def _place(tile: Tile, x: int, y: int) -> Place:
    return Place(tile.label, x, y, tile.images.shape[2], tile.images.shape[1])


def columns_for(number: int, height: int, width: int) -> int:
    """The number of columns that makes the grid about square and, if possible, fills its last row.

    Example:
        >>> columns_for(64, 56, 56), columns_for(64, 35, 257), columns_for(3, 224, 224)
        (8, 4, 2)
    """
    ideal = math.sqrt(number * height / width)
    full = [
        columns
        for columns in range(1, number + 1)
        if number % columns == 0 and ideal <= columns <= 1.5 * ideal
    ]
    return max(1, min(full or [number, math.ceil(ideal - 1e-9)]))


def magnified(images: np.ndarray, zoom: int) -> np.ndarray:
    """(…, height, width, 3) with each pixel repeated as a block of `zoom` by `zoom`.

    Example:
        >>> magnified(np.arange(6).reshape(1, 1, 2, 3), 2).shape
        (1, 2, 4, 3)
    """
    return images.repeat(zoom, -3).repeat(zoom, -2)


def reduced(values: np.ndarray, most: int) -> np.ndarray:
    """(…, height, width) averaged over blocks, so that neither side is longer than `most`.

    Incomplete blocks at the lower and right border are dropped.

    Example:
        >>> reduced(np.arange(12.0).reshape(1, 3, 4), 2).tolist()
        [[[2.5, 4.5]]]
    """
    height, width = values.shape[-2:]
    factor = math.ceil(max(height, width) / most)
    if factor == 1:
        return values
    rows, columns = height // factor, width // factor
    if not rows or not columns:
        return values
    blocks = values[..., : rows * factor, : columns * factor]
    means: np.ndarray = blocks.reshape(*values.shape[:-2], rows, factor, columns, factor).mean((-3, -1))
    return means


def strip(images: np.ndarray, gap: int = 2) -> np.ndarray:
    """The images of a tile side by side, as a tile with one step: (1, height, width, 3)."""
    between = np.full((images.shape[1], gap, 3), PAPER, np.uint8)
    row: list[np.ndarray] = []
    for image in images:
        row += [image, between]
    return np.concatenate(row[:-1], 1)[None]


def fitting_zoom(sides: Sequence[int], target: int) -> int:
    """The integer factor, at least 1, that brings the longer side closest to a target.

    Example:
        >>> fitting_zoom((7, 7), 56), fitting_zoom((112, 112), 56)
        (8, 1)
    """
    return max(1, round(target / max(sides)))
