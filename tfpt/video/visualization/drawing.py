"""The result of drawing: the files, the positions of the tiles, and the meaning of the colors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tfpt.video.visualization.scale import Scale


@dataclass(frozen=True)
class Place:
    """The position of a tile in a picture, in pixels from the upper left, without its label and frame."""

    label: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A file that was written.

    Attributes:
        path: The file.
        kind: ``animation`` (GIF) or ``sheet`` (PNG).
        width, height: In pixels.
        frames: 1 for a sheet.
        fps: Frames per second in the file: a GIF stores hundredths of a second per frame. ``None`` for a sheet or a GIF
            with one frame.
        nbytes: The file's size.
        tiles: The positions of the tiles; the network's input, if shown, comes first.
    """

    path: str
    kind: Literal["animation", "sheet"]
    width: int
    height: int
    frames: int
    fps: float | None
    nbytes: int
    tiles: tuple[Place, ...]


@dataclass(frozen=True)
class Drawing:
    """The result of `draw_filters` or `draw_activations`.

    Attributes:
        mapping: The mapping's name.
        layer: The module's path.
        shape: The shape of its weight, or of its output.
        shown: The filters or channels drawn, in the order of the tiles.
        scale: The meaning of the colors.
        pictures: The files.
    """

    mapping: str
    layer: str
    shape: tuple[int, ...]
    shown: tuple[int, ...]
    scale: Scale
    pictures: tuple[Picture, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping,
            "layer": self.layer,
            "shape": list(self.shape),
            "shown": list(self.shown),
            "scale": self.scale.to_json(),
            "pictures": [asdict(picture) for picture in self.pictures],
        }
