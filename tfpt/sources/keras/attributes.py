"""Attributes of HDF5 groups as text: Keras keeps the order of layers and weights, and configurations, in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.sources.keras.opening import Opened
from tfpt.sources.keras.references import check_references

# Attributes of one number of elements are read whole by h5py, whatever that number claims.
_ROOM = 256 << 20

# Classes of datatypes (H5Tpublic.h). Numbers are no texts, but a list of no names was saved as an array of no floats.
_INTEGER, _FLOAT, _STRING = 0, 1, 3
_TEXTS = (_INTEGER, _FLOAT, _STRING)


def names_of(opened: Opened, group: Any, attribute: str) -> list[str] | None:
    """A list of names, which Keras splits when it is long: ``weight_names``, or ``weight_names0``, ``weight_names1`` …

    `None` where there is no such attribute. The splitting: keras/src/legacy/saving/legacy_h5_format.py,
    save_attributes_to_hdf5_group.

    Raises:
        SourceError: An attribute claims more than the file holds.
    """
    whole = _texts(opened, group, attribute)
    if whole is not None:
        return whole
    names: list[str] = []
    number = 0
    while (part := _texts(opened, group, f"{attribute}{number}")) is not None:
        names += part
        number += 1
    return names if number else None


def text_of(opened: Opened, group: Any, attribute: str) -> str | None:
    """An attribute that is one text, or `None`."""
    texts = _texts(opened, group, attribute)
    return texts[0] if texts else None


def json_of(opened: Opened, group: Any, attribute: str) -> Any:
    """An attribute that is JSON, parsed; `None` where there is none, or none that can be parsed.

    A configuration explains the weights and is not needed to read them.
    """
    text = text_of(opened, group, attribute)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def _texts(opened: Opened, group: Any, attribute: str) -> list[str] | None:
    if attribute not in group.attrs:
        return None
    held = group.attrs.get_id(attribute)
    claimed = int(np.prod([float(size) for size in held.shape or (1,)])) * held.get_type().get_size()
    if claimed > min(_ROOM, opened.file_size):
        raise SourceError(
            f"attribute {attribute!r} claims more than the file holds",
            where=f"{opened.storage.location}, {group.name}",
            expected=f"{min(_ROOM, opened.file_size):,} bytes at most",
            got=f"{claimed:,} bytes",
            hint="the file is damaged or forged: do not trust it",
        )
    kind = held.get_type()
    if kind.get_class() not in _TEXTS:
        # Of runs of other things the library believes every length, and it ends the process at a forged one.
        raise SourceError(
            f"attribute {attribute!r} is not text",
            where=f"{opened.storage.location}, {group.name}",
            hint="the file is damaged or forged: do not trust it",
        )
    if kind.get_class() == _STRING and kind.is_variable_str():
        check_references(opened, attribute)
    values = np.asarray(group.attrs[attribute], dtype=np.object_).reshape(-1).tolist()
    # Bytes of Keras 1 and 2, text of Keras 3; a list of no names was saved as an array of no float64s.
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
