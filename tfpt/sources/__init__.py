"""Readers, one format per file, behind one protocol."""

from __future__ import annotations

import os
from pathlib import Path

from tfpt.errors import SourceError
from tfpt.sources import bundle, safetensors, torch
from tfpt.sources.source import Source


def open_source(path: str | os.PathLike[str], *, verify_checksums: bool = True) -> Source:
    """Open a file, or a checkpoint of several files, by what is in it; its name decides nothing.

    Args:
        path: A checkpoint's prefix, any of its files, its folder; or a file of PyTorch weights.
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
    path = Path(path).expanduser()
    if path.is_file():
        if safetensors.looks_like_safetensors(path):
            return safetensors.SafetensorsSource(path)
        if torch.looks_like_torch(path):
            return torch.TorchSource(path)
    return bundle.BundleSource(path, verify_checksums)


__all__ = ["Source", "SourceError", "open_source"]
