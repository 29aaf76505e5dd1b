"""The optional packages that draw, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from tfpt.errors import TfptError

_PURPOSE = {
    "matplotlib": ("matplotlib", "for its colour maps and its font"),
    "PIL.Image": ("Pillow", "to write pictures"),
    "PIL.ImageDraw": ("Pillow", "to write pictures"),
    "PIL.ImageFont": ("Pillow", "to write pictures"),
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
            hint='pip install "tfpt[pictures]"',
        ) from error
