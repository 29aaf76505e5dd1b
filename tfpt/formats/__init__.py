"""Readers, one format per file, behind one protocol."""

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
    """Open a file, a folder or a checkpoint of several files by what is in it; its name decides nothing.

    Args:
        path: A checkpoint's prefix, any of its files, its folder; a SavedModel, a graph, a file of Keras, TensorFlow
            Lite, numpy, JAX or PyTorch, the folder of one, an archive of one; a path, or a URL that fsspec knows.
        verify_checksums: Whether to compare each tensor with the checksum that its file holds, where it holds one.
        dequantize: Read quantized weights as the float32 values that they stand for, where the file has their scales.
        by_path: Call tensors by where they are stored rather than by their readable names: see `tfpt.formats.by_path`.

    Raises:
        SourceError: There is nothing there, it is of no format that tfpt reads, or it is damaged. The source that is
            returned raises nothing else either.

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
