"""A TensorFlow checkpoint of any kind: the reader for what is at a place."""

from __future__ import annotations

from tfpt.sources.source import Source
from tfpt.sources.tensorflow.bundle import BundleSource


def open_checkpoint(location: str, verify_checksums: bool = True) -> Source:
    """The checkpoint that `location` names: its prefix, one of its files, or its folder.

    Raises:
        SourceError: There is none, or it is damaged.
    """
    return BundleSource(location, verify_checksums)
