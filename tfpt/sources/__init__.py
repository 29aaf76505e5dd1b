"""Readers, one format per file, behind one protocol."""

from __future__ import annotations

import importlib
import os

from tfpt.errors import SourceError
from tfpt.sources.formats import recognise
from tfpt.sources.places import as_location
from tfpt.sources.source import Source


def open_source(path: str | os.PathLike[str], *, verify_checksums: bool = True) -> Source:
    """Open a file, a folder or a checkpoint of several files by what is in it; its name decides nothing.

    Args:
        path: A checkpoint's prefix, any of its files, its folder; a SavedModel, a graph, a file of Keras, TensorFlow
            Lite, numpy or PyTorch; a path, or a URL that fsspec knows.
        verify_checksums: Whether to compare each tensor with the checksum that its file holds, where it holds one.

    Raises:
        SourceError: There is nothing there, or it is of no format that tfpt reads.

    Example:
        >>> import tempfile, tfpt
        >>> checkpoint = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = tfpt.sample("i3d_flow", checkpoint)
        >>> source = open_source(checkpoint)
        >>> source.format, len(source.specs)
        ('TensorFlow V2 checkpoint', 230)
    """
    location = as_location(path)
    found = recognise(location)
    reader = getattr(importlib.import_module(found.module), found.reader)
    source: Source = (
        reader(location, verify_checksums=verify_checksums) if found.checked else reader(location)
    )
    return source


__all__ = ["Source", "SourceError", "open_source"]
