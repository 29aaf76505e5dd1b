"""Clips made for tests: pictures whose values are known, written to files by the libraries that own the formats."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


def noise(frames: int, height: int = 22, width: int = 30, seed: int = 0) -> np.ndarray:
    """Pictures of which no two are alike, (frames, height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def plain(levels: Sequence[int], height: int = 22, width: int = 30) -> np.ndarray:
    """Gray pictures, one of each level: a lossy codec, too, leaves them what they are."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def texture(height: int, width: int) -> np.ndarray:
    """A smooth picture without a repetition, on which flow can be seen."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    values = np.sin(x / 5.3) + np.sin(y / 4.1 + x / 17) + np.sin((x + 2 * y) / 9.7) + np.cos((x - y) / 6.9)
    values = (values - values.min()) / (values.max() - values.min())
    return np.repeat((255 * values).astype(np.uint8)[..., None], 3, axis=2)


def write_video(
    path: Path,
    pictures: np.ndarray,
    *,
    rate: int | Fraction = 25,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    times: Sequence[int] | None = None,
    unit: Fraction = Fraction(1, 1000),
    matrix: Sequence[int] | None = None,
    sound: bool = False,
    key_frames: int = 12,
    **options: Any,
) -> Path:
    """A video by FFmpeg; with `times` in that unit, its frames come at those."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": str(key_frames)})
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = unit
        if matrix is not None:
            stream.set_display_matrix(matrix)
        speech = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if speech is not None:
            write_silence(container, speech, seconds=5)
    return path


def write_sound(path: Path) -> Path:
    """A file of sound alone."""
    with av.open(str(path), "w") as container:
        write_silence(container, container.add_stream("aac", rate=8000, layout="mono"), seconds=1)
    return path


def write_silence(container: Any, stream: Any, seconds: int) -> None:
    silence = av.AudioFrame.from_ndarray(
        np.zeros((1, 8000 * seconds), np.float32), format="fltp", layout="mono"
    )
    silence.sample_rate, silence.pts, silence.time_base = 8000, 0, Fraction(1, 8000)
    container.mux(stream.encode(silence))
    container.mux(stream.encode())


def write_gif(path: Path, pictures: np.ndarray, milliseconds: int | list[int] = 40) -> Path:
    """An animated GIF by Pillow; pictures of up to 256 colors keep their values."""
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path


def write_folder(path: Path, pictures: np.ndarray) -> Path:
    """A folder of PNGs, numbered without leading zeros."""
    path.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"frame{index + 1}.png")
    return path
