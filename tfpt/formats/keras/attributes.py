"""Attributes of HDF5 groups as Keras uses them: the order of layers and weights, and configurations."""

from __future__ import annotations

import json
from typing import Any

from tfpt.formats.hdf5.dataset import Tree
from tfpt.io.limits import KERAS_CONFIG


def names_of(tree: Tree, group: str, attribute: str) -> list[str] | None:
    """A list of names, which Keras splits when it is long: ``weight_names``, or ``weight_names0``, ``weight_names1`` …

    `None` where there is no such attribute. The splitting: keras/src/legacy/saving/legacy_h5_format.py,
    save_attributes_to_hdf5_group.

    Raises:
        SourceError: An attribute is damaged, or is no text.
    """
    whole = tree.texts(group, attribute)
    if whole is not None:
        return whole
    names: list[str] = []
    number = 0
    while (part := tree.texts(group, f"{attribute}{number}")) is not None:
        names += part
        number += 1
    return names if number else None


def text_of(tree: Tree, group: str, attribute: str) -> str | None:
    """An attribute that is one text, or `None`."""
    texts = tree.texts(group, attribute)
    return texts[0] if texts else None


def json_of(tree: Tree, group: str, attribute: str) -> Any:
    """An attribute that is JSON, parsed; `None` where there is none, or none that can be parsed.

    A configuration explains the weights and is not needed to read them.
    """
    text = text_of(tree, group, attribute)
    try:
        return None if text is None or len(text) > KERAS_CONFIG else json.loads(text)
    except (ValueError, RecursionError):
        return None
