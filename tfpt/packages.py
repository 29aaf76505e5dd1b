"""Optional packages, imported on demand."""

from __future__ import annotations

import importlib
from typing import Any

from tfpt.errors import TfptError

# Module → its common name, its purpose, and the extra that installs it.
_OPTIONAL = {
    "av": ("PyAV", "to read a video", "video"),
    "cv2": ("OpenCV", "to resize pictures", "video"),
    "cv2.optflow": (
        "OpenCV's optical flow (opencv-contrib-python-headless)",
        "to compute TV-L1 flow",
        "video",
    ),
    "matplotlib": ("matplotlib", "for its color maps and its font", "pictures"),
    "PIL.Image": ("Pillow", "to read and write pictures", "pictures"),
    "PIL.ImageDraw": ("Pillow", "to draw pictures", "pictures"),
    "PIL.ImageFont": ("Pillow", "to draw pictures", "pictures"),
}


def package(name: str, extra: str | None = None) -> Any:
    """An optional package, imported.

    Args:
        name: The module.
        extra: The extra of tfpt to suggest if the package is missing, instead of the usual one.

    Raises:
        TfptError: The package is not installed.

    Example:
        >>> package("PIL.Image").__name__
        'PIL.Image'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        called, purpose, usual = _OPTIONAL[name]
        raise TfptError(
            f"{called} is needed {purpose}, and cannot be imported",
            got=str(error),
            hint=f'pip install "tfpt[{extra or usual}]"',
        ) from error
