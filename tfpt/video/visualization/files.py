"""Writes pictures: GIFs with one palette and no dithering, and PNGs; each file is complete or not written."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from tfpt.errors import TfptError
from tfpt.io.output_file import AtomicFile, real_path, refuse_input
from tfpt.io.publishing import publish
from tfpt.packages import package
from tfpt.video.visualization.board import MOST_PIXELS, Board
from tfpt.video.visualization.drawing import Picture
from tfpt.video.visualization.lettering import shades

_COLORS = 256
# Number of pixels to choose a palette from.
_SAMPLE = 400_000
# The longest side that common programs open.
_LONGEST = 32_767
PathLike = str | os.PathLike[str]


class Outputs:
    """The output files of a drawing, opened before anything is computed, published when all are complete.

    Attributes:
        animation: Whether one is a GIF.
        sheet: Whether one is a PNG.
    """

    def __init__(self, files: Sequence[AtomicFile]) -> None:
        self._files = files
        self.animation = any(_is_gif(file.path) for file in files)
        self.sheet = any(not _is_gif(file.path) for file in files)

    def write(self, *, animation: Board | None, sheet: Board | None, fps: float) -> tuple[Picture, ...]:
        """Draw the boards into the files, and publish the files."""
        pictures = []
        for file in self._files:
            board = animation if _is_gif(file.path) else sheet
            assert board is not None
            _check_size(board, file.path)
            frames = list(board.frames())
            data = gif(frames, fps, board.kept) if _is_gif(file.path) else png(frames[0])
            file.write_at(0, np.frombuffer(data, np.uint8))
            is_gif = _is_gif(file.path)
            pictures.append(
                Picture(
                    path=str(file.path),
                    kind="animation" if is_gif else "sheet",
                    width=board.size[0],
                    height=board.size[1],
                    frames=len(frames) if is_gif else 1,
                    fps=100 / _hundredths(fps) if is_gif and len(frames) > 1 else None,
                    nbytes=len(data),
                    tiles=board.places,
                )
            )
        publish(self._files)
        return tuple(pictures)


@contextmanager
def outputs(
    out: PathLike | None, sheet: PathLike | None, overwrite: bool, inputs: Sequence[object] = ()
) -> Iterator[Outputs]:
    """The files to draw into: `out`, a GIF or PNG by its suffix, and `sheet`, a PNG; neither may be one of `inputs`.

    Raises:
        TfptError: Neither is given, or a suffix is wrong.
        SinkError: A file exists and may not be replaced, is an input, or cannot be written.
    """
    if out is None and sheet is None:
        raise TfptError("no output file is given", expected="out=, sheet= or both", hint="--out filters.gif")
    for path, endings in ((out, (".gif", ".png")), (sheet, (".png",))):
        if path is not None and Path(path).suffix.lower() not in endings:
            raise TfptError(
                "the picture has the wrong suffix",
                where=str(path),
                expected=" or ".join(endings),
                got=Path(path).suffix or "none",
            )
    paths = [Path(path) for path in (out, sheet) if path is not None]
    if len({real_path(path) for path in paths}) < len(paths):
        raise TfptError("two pictures cannot be written to the same file", where=str(paths[0]))
    for path in paths:
        refuse_input(path, *inputs)
    package("PIL.Image")
    with ExitStack() as stack:
        yield Outputs([stack.enter_context(AtomicFile(path, overwrite)) for path in paths])


def _is_gif(path: Path) -> bool:
    return path.suffix.lower() == ".gif"


def png(image: np.ndarray) -> bytes:
    """An RGB image, uint8 (height, width, 3), as a PNG."""
    data = io.BytesIO()
    package("PIL.Image").fromarray(image).save(data, "PNG", optimize=True)
    return data.getvalue()


def gif(images: Sequence[np.ndarray], fps: float, kept: np.ndarray) -> bytes:
    """RGB images of one size as a GIF that loops forever.

    Up to 256 colors are kept exactly. More are mapped to the nearest color of one palette for all frames, without
    dithering, so that unchanged parts do not flicker. The palette contains the colors of text and frames, and `kept`.

    Args:
        images: uint8 (height, width, 3).
        fps: Frames per second, rounded to what a GIF can store: hundredths of a second per frame, at least two.
        kept: Colors that the palette must contain, uint8 (n, 3).
    """
    image_module = package("PIL.Image")
    packed = [_packed(image) for image in images]
    palette = _palette(packed, kept)
    index_of = _nearest_indices(packed, palette)
    frames = []
    for values in packed:
        frame = image_module.fromarray(index_of[values], "P")
        frame.putpalette(palette.reshape(-1).tolist())
        frames.append(frame)
    data = io.BytesIO()
    duration = 10 * _hundredths(fps)
    options = {"append_images": frames[1:], "duration": duration, "loop": 0} if len(frames) > 1 else {}
    frames[0].save(data, "GIF", save_all=True, optimize=False, disposal=1, **options)
    return data.getvalue()


def _hundredths(fps: float) -> int:
    """The duration of a GIF frame in hundredths of a second, at most 65535.

    Browsers show frames shorter than two hundredths for ten.
    """
    return round(min(max(100 / fps, 2), 65_535))


def _check_size(board: Board, path: Path) -> None:
    width, height = board.size
    steps = board.steps if _is_gif(path) else 1
    if max(width, height) > _LONGEST or width * height * steps > MOST_PIXELS:
        raise TfptError(
            "the picture would be too large for image viewers",
            where=str(path),
            expected=f"sides of at most {_LONGEST:,}, and {MOST_PIXELS:,} pixels in all frames",
            got=f"{width:,} × {height:,}" + (f", {steps:,} frames" if steps > 1 else ""),
            hint="fewer tiles (0-15), a lower --zoom, or fewer --frames",
        )


def _packed(image: np.ndarray) -> np.ndarray:
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _unpacked(values: np.ndarray) -> np.ndarray:
    return np.stack([values >> 16, values >> 8 & 255, values & 255], -1).astype(np.uint8)


def _palette(packed: Sequence[np.ndarray], kept: np.ndarray) -> np.ndarray:
    """Up to 256 colors, uint8 (n, 3): those of the images, or `kept` and the best choice for the others."""
    seen = np.zeros(1 << 24, bool)
    for values in packed:
        seen[values] = True
    if seen.sum() <= _COLORS:
        return _unpacked(np.flatnonzero(seen).astype(np.uint32))
    fixed = np.unique(np.concatenate([_packed(shades()), _packed(kept)]))
    # Most pixels of a picture are background, whose color is fixed: scan ten times the sample in large pictures.
    step = max(sum(values.size for values in packed) // (10 * _SAMPLE), 1)
    every = np.concatenate([values.reshape(-1)[::step] for values in packed])
    others = every[~np.isin(every, fixed)]
    others = others[:: max(len(others) // _SAMPLE, 1)]
    module = package("PIL.Image")
    chosen = module.fromarray(_unpacked(others)[None]).quantize(
        _COLORS - len(fixed), method=module.Quantize.MEDIANCUT, kmeans=3, dither=module.Dither.NONE
    )
    adaptive = np.array(chosen.getpalette()[: 3 * (_COLORS - len(fixed))], np.uint8).reshape(-1, 3)
    return np.unique(np.concatenate([_unpacked(fixed), adaptive]), axis=0)


def _nearest_indices(packed: Sequence[np.ndarray], palette: np.ndarray) -> np.ndarray:
    """A table from each packed color that occurs to the index of the nearest palette color."""
    table = np.zeros(1 << 24, np.uint8)
    seen = np.zeros(1 << 24, bool)
    for values in packed:
        seen[values] = True
    colors = np.flatnonzero(seen).astype(np.uint32)
    wanted = palette.astype(np.float32)
    for start in range(0, len(colors), 1 << 14):
        part = colors[start : start + (1 << 14)]
        rgb = _unpacked(part).astype(np.float32)
        # Only the part of |a - b|² that depends on the palette color matters.
        table[part] = ((wanted**2).sum(1) - 2 * rgb @ wanted.T).argmin(1)
    return table
