"""Reads pictures back, with Pillow: a tile of a GIF or a PNG as the colors of its values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tfpt.video.visualization import Drawing, Place

CLIP_NET = """\
version: 1
summary: what a small network of video is fed
weights:
  - {pt: steps, fill: 0, shape: [], dtype: int64}
input: {kind: KIND, layout: "b t h w c -> b c t h w", range: [-1, 1], size: 13, fps: 25}
"""


def write_mapping(folder: Path, kind: str = "rgb", text: str = CLIP_NET) -> Path:
    path = folder / "net.yaml"
    path.write_text(text.replace("KIND", kind))
    return path


def frames(path: str | Path) -> np.ndarray:
    """All frames of a picture, (frames, height, width, 3)."""
    with Image.open(path) as image:
        found = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            found.append(np.asarray(image.convert("RGB")))
    return np.stack(found)


def cells(picture: np.ndarray, place: Place, rows: int, columns: int) -> np.ndarray:
    """A tile as (…, rows, columns, 3): each value's color, of which all pixels of its block must be."""
    tile = picture[..., place.y : place.y + place.height, place.x : place.x + place.width, :]
    zoom = place.height // rows
    assert tile.shape[-3:] == (rows * zoom, columns * zoom, 3)
    blocks = tile.reshape(*tile.shape[:-3], rows, zoom, columns, zoom, 3)
    first = blocks[..., :, :1, :, :1, :]
    assert (blocks == first).all(), "a value's block has several colors"
    return first[..., :, 0, :, 0, :]


def strip_cells(
    picture: np.ndarray, place: Place, steps: int, rows: int, columns: int, gap: int = 2
) -> np.ndarray:
    """The steps of a strip, each as `cells`: (steps, rows, columns, 3)."""
    width = (place.width + gap) // steps - gap
    return np.stack(
        [
            cells(
                picture,
                Place("", place.x + step * (width + gap), place.y, width, place.height),
                rows,
                columns,
            )
            for step in range(steps)
        ]
    )


def animation(drawing: Drawing) -> tuple[np.ndarray, tuple[Place, ...]]:
    picture = next(picture for picture in drawing.pictures if picture.kind == "animation")
    return frames(picture.path), picture.tiles


def sheet(drawing: Drawing) -> tuple[np.ndarray, tuple[Place, ...]]:
    picture = next(picture for picture in drawing.pictures if picture.kind == "sheet")
    return frames(picture.path)[0], picture.tiles
