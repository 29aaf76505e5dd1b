"""Names and roles of arrays in dicts and lists: the keys that lead to them, joined by slashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.numpy.layout import Layout
from tfpt.formats.pickle.calls import Array
from tfpt.formats.pickle.opcodes import Payload
from tfpt.formats.source import Role
from tfpt.io.blobs import Blob, InMemory, Joined, part_of
from tfpt.io.limits import TREE_LEVELS, TREE_NAME, TREE_VALUES

# flax.training.train_state.TrainState, and flax.optim.Optimizer before it.
_OPTIMIZER = re.compile(r"(?:.*/)?(?:opt_state|optimizer_state|optimizer/state|state/param_states)(?:/.*)?")
_COUNTER = re.compile(r"(?:.*/)?(?:count|step|mini_step|gradient_step|notfinite_count|total_notfinite)")
_STEP = re.compile(r"(?:(?:.*/)?state/)?step")


@dataclass(frozen=True)
class Entry:
    """One array: its layout and its bytes.

    Attributes:
        layout: Shape and element type.
        blob: Bytes that end with the array.
        begin: The offset of the array in them; a checksum includes the header.
    """

    layout: Layout
    blob: Blob
    begin: int = 0


def named(
    where: str, content: object, data: Blob, prefix: str = ""
) -> tuple[dict[str, Entry], dict[str, str]]:
    """The arrays in the content of a pickle, by name, and the other values, with the reason.

    Numbers are arrays without axes (int64, float64, complex128, bool), texts likewise, of strings. Items of lists,
    and of arrays of objects, are named by their index.

    Args:
        where: The location, for errors.
        content: The result of `tfpt.formats.pickle.contents.read_pickle`.
        data: The bytes of the pickle.
        prefix: The prefix of all names.

    Raises:
        SourceError: There are too many values or levels, or a duplicate name.

    Example:
        >>> entries, skipped = named("w", {"conv": [1.5, None], "n": 3}, InMemory(b""))
        >>> list(entries), skipped
        (['conv/0', 'n'], {'conv/1': 'None'})
    """
    entries: dict[str, Entry] = {}
    skipped: dict[str, str] = {}
    for name, value in _leaves(where, content, prefix):
        found = _entry(value, data)
        if name in entries or name in skipped:
            raise SourceError(f"two values have the name {name!r}", where=where)
        if isinstance(found, str):
            skipped[name] = found
        else:
            entries[name] = found
    return entries, skipped


def _leaves(where: str, content: object, prefix: str) -> Iterator[tuple[str, object]]:
    """Depth first, in the order of the file."""
    levels: list[Iterator[tuple[str, object]]] = [iter([(prefix, content)])]
    visited = 0
    while levels:
        step = next(levels[-1], None)
        if step is None:
            levels.pop()
            continue
        name, value = step
        visited += 1
        below = _items(name, value)
        if visited > TREE_VALUES or len(levels) > TREE_LEVELS or len(name) > TREE_NAME:
            raise SourceError(
                "the pickle has too many values, too many levels, or too long names",
                where=where,
                expected=f"at most {TREE_VALUES:,} values, {TREE_LEVELS} levels, names of {TREE_NAME:,} characters",
                got=f"{visited:,} values, level {len(levels)}, a name of {len(name):,} characters",
            )
        if below is None:
            yield name, value
        else:
            levels.append(below)


def _items(name: str, value: object) -> Iterator[tuple[str, object]] | None:
    """The items of a container, with their names; None if it is not a container."""
    start = f"{name}/" if name else ""
    if isinstance(value, Mapping):
        return ((start + _key(key), item) for key, item in value.items())
    if isinstance(value, Array) and isinstance(value.content, list) and value.layout is not None:
        if not value.layout.shape:
            return iter([(name, value.content[0])])
        places = np.ndindex(*value.layout.shape)
        items = value.content
        return ((start + "/".join(map(str, at)), item) for at, item in zip(places, items, strict=True))
    if isinstance(value, (list, tuple)):
        return ((f"{start}{index}", item) for index, item in enumerate(value))
    return None


def _key(key: object) -> str:
    # Long keys of bytes stay in the file as a `Payload`.
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _entry(value: object, data: Blob) -> Entry | str:
    """The array in a value, or the reason why it is skipped."""
    if isinstance(value, Array):
        if value.layout is None:
            return "an array without content"
        content = value.content
        if isinstance(content, Payload):
            return Entry(value.layout, part_of(data, content.begin, content.size))
        if isinstance(content, tuple):
            return Entry(value.layout, Joined([part_of(data, part.begin, part.size) for part in content]))
        assert isinstance(content, bytes)  # objects were expanded by `_items`
        return Entry(value.layout, InMemory(content))
    if isinstance(value, Payload):
        return _text(data[value.begin : value.begin + value.size].tobytes())
    if isinstance(value, (str, bytes)):
        return _text(value if isinstance(value, bytes) else value.encode(errors="replace"))
    if value is None or not isinstance(value, (bool, int, float, complex)):
        return "None" if value is None else type(value).__name__
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "an integer of more than 64 bits"
    array = np.asarray(value)
    if array.dtype == np.int32:  # numpy 1 on Windows
        array = array.astype(np.int64)
    return Entry(Layout((), array.dtype.str), InMemory(array.tobytes()))


def _text(value: bytes) -> Entry:
    # numpy also gives an empty string one byte.
    width = max(1, len(value))
    return Entry(Layout((), f"|S{width}"), InMemory(value.ljust(width, b"\0")))


def training_roles(names: Iterable[str]) -> dict[str, Role]:
    """The roles of those that are not weights, by name.

    Example:
        >>> training_roles(["params/w", "opt_state/0/mu/w", "opt_state/0/count", "step"])
        {'opt_state/0/mu/w': 'slot', 'opt_state/0/count': 'counter', 'step': 'counter'}
    """
    roles: dict[str, Role] = {}
    for name in names:
        if _OPTIMIZER.fullmatch(name):
            roles[name] = "counter" if _COUNTER.fullmatch(name) else "slot"
        elif _STEP.fullmatch(name):
            roles[name] = "counter"
    return roles
