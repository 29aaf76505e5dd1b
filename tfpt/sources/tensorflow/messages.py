"""Telling TensorFlow's messages apart by their first bytes."""

from __future__ import annotations

from tfpt.sources.storage import Storage


def looks_like_saved_model(head: bytes) -> bool:
    """Whether these bytes begin a SavedModel message, binary or as text."""
    return False


def looks_like_graph(head: bytes, storage: Storage) -> bool:
    """Whether the file holds a GraphDef or a MetaGraphDef, binary or as text."""
    return False
