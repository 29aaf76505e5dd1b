"""The optional packages that read and work on pictures, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from tfpt.errors import TfptError

_PURPOSE = {
    "av": ("PyAV", "to read a video"),
    "cv2": ("OpenCV", "to resize pictures"),
    "cv2.optflow": ("OpenCV's optical flow (opencv-contrib-python-headless)", "to compute TV-L1 flow"),
    "PIL.Image": ("Pillow", "to read pictures"),
}


def package(name: str) -> Any:
    """An optional package, imported.

    Raises:
        TfptError: It is not installed.

    Example:
        >>> package("PIL.Image").__name__
        'PIL.Image'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        called, purpose = _PURPOSE[name]
        raise TfptError(
            f"{called} is needed {purpose}, and cannot be imported",
            got=str(error),
            hint='pip install "tfpt[video]"',
        ) from error
