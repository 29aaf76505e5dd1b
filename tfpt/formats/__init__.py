"""Readers of weight files, one package per format, with one interface."""

from __future__ import annotations

import os

from tfpt.errors import SourceError
from tfpt.formats.by_path import ByPath
from tfpt.formats.guard import Guarded, reading
from tfpt.formats.recognition import recognize, weights_in
from tfpt.formats.source import Source
from tfpt.io.locations import as_location


def open_source(
    path: str | os.PathLike[str],
    *,
    verify_checksums: bool = True,
    dequantize: bool = False,
    by_path: bool = False,
) -> Source:
    """Open a file, a folder or a checkpoint of several files; the format is detected from the content, not the name.

    Args:
        path: A checkpoint's prefix, any of its files, its folder; a SavedModel, a graph, a file of Keras, TensorFlow
            Lite, numpy, JAX or PyTorch, the folder of one, an archive of one; a path, or a URL that fsspec knows.
        verify_checksums: Whether to compare each tensor with its checksum, if the file has one.
        dequantize: Read quantized weights as the float32 values that they represent, if the file has their scales.
        by_path: Name tensors by their storage paths instead of their readable names: see `tfpt.formats.by_path`.

    Raises:
        SourceError: It does not exist, its format is unknown, or it is damaged. The returned source raises only this
            error, too.

    Example:
        >>> import tempfile, tfpt
        >>> checkpoint = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = tfpt.sample("i3d_flow", checkpoint)
        >>> source = open_source(checkpoint)
        >>> source.format, len(source.specs)
        ('TensorFlow V2 checkpoint', 230)
    """
    location = as_location(path)
    with reading(location, "the file"):
        location = weights_in(location)
        found = recognize(location)
        source = found.open(location, verify_checksums=verify_checksums, dequantize=dequantize)
        return Guarded(ByPath(source) if by_path else source)


__all__ = ["Source", "SourceError", "open_source"]
