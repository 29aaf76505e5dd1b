"""A TensorFlow checkpoint of any kind: the reader for what is at a place."""

from __future__ import annotations

from tfpt.sources.source import Source
from tfpt.sources.tensorflow.bundle import BundleSource, sniff
from tfpt.sources.tensorflow.object_graph import GRAPH_KEY
from tfpt.sources.tensorflow.objects import ObjectSource
from tfpt.sources.tensorflow.v1 import V1Source


def open_checkpoint(location: str, verify_checksums: bool = True) -> Source:
    """The checkpoint that `location` names: its prefix, one of its files, or its folder.

    Which of TensorFlow's three kinds it is, is told by what is in it: V1, V2 with the names of variables, or V2 with
    the paths of objects.

    Raises:
        SourceError: There is none, or it is damaged.
    """
    if sniff(location) == "V1":
        return V1Source(location, verify_checksums)
    bundle = BundleSource(location, verify_checksums)
    return ObjectSource(bundle) if GRAPH_KEY in bundle.specs else bundle
