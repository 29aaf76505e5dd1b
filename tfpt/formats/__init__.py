"""Readers of weight files, one package per format, with one interface."""

from __future__ import annotations

import logging
import os

from tfpt.errors import SourceError
from tfpt.formats.guard import Guarded, reading
from tfpt.formats.recognition import recognize, weights_in
from tfpt.formats.renamed import Names, renamed
from tfpt.formats.source import Source
from tfpt.io.locations import as_location

_log = logging.getLogger("tfpt")


def open_source(
    path: str | os.PathLike[str],
    *,
    verify_checksums: bool = True,
    dequantize: bool = False,
    names: Names = "readable",
) -> Source:
    """See `tfpt.api.open_source`."""
    location = as_location(path)
    with reading(location, "the file"):
        location = weights_in(location)
        found = recognize(location)
        source = found.open(location, verify_checksums=verify_checksums, dequantize=dequantize)
        _log.info("%s: %s, %s", location, source.format, f"{len(source.specs):,} tensors")
        return Guarded(renamed(source, names))


__all__ = ["Source", "SourceError", "open_source"]
