"""A TensorFlow checkpoint of any kind: the reader for what is at a place."""

from __future__ import annotations

from tfpt.formats.source import Source
from tfpt.formats.tensorflow.bundle import BundleSource, version_of
from tfpt.formats.tensorflow.bundle_index import index_bytes
from tfpt.formats.tensorflow.location import locate
from tfpt.formats.tensorflow.object_graph import GRAPH_KEY
from tfpt.formats.tensorflow.objects import ObjectSource
from tfpt.formats.tensorflow.v1 import V1Source


def open_checkpoint(location: str, verify_checksums: bool = True) -> Source:
    """The checkpoint that `location` names: its prefix, one of its files, or its folder.

    Which of TensorFlow's three kinds it is, is told by what is in it: V1, V2 with the names of variables, or V2 with
    the paths of objects.

    Raises:
        SourceError: There is none, or it is damaged.
    """
    files = locate(location)
    index = index_bytes(files.index)
    if version_of(index, files.index) == "V1":
        return V1Source(location, verify_checksums)
    bundle = BundleSource(files, verify_checksums, index)
    return ObjectSource(bundle) if GRAPH_KEY in bundle.specs else bundle
