"""What was drawn: the files, where each tile is in them, and what their colors mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tfpt.video.visualization.scale import Scale


@dataclass(frozen=True)
class Place:
    """Where a tile is in a picture, in pixels from the upper left; without its label and its rule."""

    label: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A file that was written.

    Attributes:
        path: Where.
        kind: ``animation`` (GIF) or ``sheet`` (PNG).
        width, height: In pixels.
        frames: 1 for a sheet.
        fps: Frames a second, as the file says: a GIF counts hundredths of a second a frame. ``None`` for a sheet, and
            for a GIF that stands still.
        nbytes: The file's size.
        tiles: Where they are; first what the network was fed, if it is there.
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
    """What `draw_filters` or `draw_activations` drew.

    Attributes:
        mapping: The mapping's name.
        layer: The module's path.
        shape: Of its weight, or of its output.
        shown: The filters or channels, in the order of the tiles.
        scale: What the colors mean.
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
