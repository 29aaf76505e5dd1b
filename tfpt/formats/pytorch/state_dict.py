"""Finds the only dict of tensors in the content of a `torch.save` file."""

from __future__ import annotations

from collections.abc import Iterator

from tfpt.errors import SourceError
from tfpt.formats.pickle.calls import Array, Symbol
from tfpt.formats.pickle.opcodes import Payload
from tfpt.formats.pytorch.rebuilding import Wrapped
from tfpt.formats.pytorch.tensors import Nameless, Sparse, StorageRef, Tensor
from tfpt.io.limits import TREE_LEVELS, TREE_VALUES


def find_tensors(
    where: str, content: object, skipped: dict[str, str]
) -> tuple[str, dict[str, Tensor | Sparse]]:
    """The keys that lead to the dict of tensors, joined by dots, and the tensors in it by name.

    Args:
        where: The file, for errors.
        content: The content of the pickle.
        skipped: Receives the other values, by their path of keys, with the reason.

    Raises:
        SourceError: There is no such dict, there are several, or there are too many dicts or levels.
    """
    found: dict[str, dict[object, object]] = {}
    for keys, value in _dicts(where, content, skipped):
        if any(isinstance(key, str) and _is_tensor(item) for key, item in value.items()):
            found[".".join(keys)] = value
    if not found:
        raise _none(where, content)
    if len(found) > 1:
        raise _several(where, list(found))
    inside, entries = next(iter(found.items()))
    start = f"{inside}." if inside else ""
    tensors: dict[str, Tensor | Sparse] = {}
    for key, item in _entries(entries):
        item = _unwrapped(item)
        if isinstance(item, dict):
            continue  # traversed above
        name = _text(key)
        if name is None:
            skipped[f"{start}{key}"] = f"its key is not a string but {key!r}"
        elif not isinstance(item, (Tensor, Sparse)):
            skipped[f"{start}{name}"] = _what(item)
        elif name in tensors:
            raise SourceError(f"two tensors have the name {name!r}", where=where)
        else:
            tensors[name] = item
    return inside, tensors


def _entries(entries: dict[object, object]) -> Iterator[tuple[object, object]]:
    """The items of the dict; tuples and lists of tensors, as in quantized layers, are expanded."""
    for key, item in entries.items():
        if isinstance(item, (list, tuple)) and any(map(_is_tensor, item)) and _text(key) is not None:
            yield from ((f"{_text(key)}.{index}", each) for index, each in enumerate(item))
        else:
            yield key, item


def _dicts(
    where: str, content: object, skipped: dict[str, str]
) -> Iterator[tuple[tuple[str, ...], dict[object, object]]]:
    """All dicts, outer ones first; other values in dicts without tensors are skipped."""
    left: list[tuple[tuple[str, ...], object]] = [((), content)]
    visited = 0
    while left:
        keys, value = left.pop()
        visited += 1
        if visited > TREE_VALUES or len(keys) > TREE_LEVELS:
            raise SourceError(
                "the file has too many dicts, or too many levels of them",
                where=where,
                expected=f"at most {TREE_VALUES:,} values and {TREE_LEVELS} levels",
            )
        if not isinstance(value, dict):
            skipped[".".join(keys)] = _what(value)
            continue
        named: dict[str, object] = {}
        whole: dict[object, object] = {}
        for key, item in value.items():
            text = _text(key)
            whole[key if text is None else text] = item
            if text is not None:
                named[text] = item
        yield keys, whole
        holds = any(map(_is_tensor, named.values()))
        below = [
            ((*keys, key), item)
            for key, item in named.items()
            if not _is_tensor(item) and (isinstance(item, dict) or not holds)
        ]
        left += reversed(below)


def _text(key: object) -> str | None:
    """A key as text, decoded if it is a string of Python 2; None for other keys."""
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return key if isinstance(key, str) else None


def _unwrapped(value: object) -> object:
    return value.tensor if isinstance(value, Wrapped) and value.tensor is not None else value


def _is_tensor(value: object) -> bool:
    return isinstance(_unwrapped(value), (Tensor, Sparse, Nameless))


def _what(value: object) -> str:
    """A short description of a value."""
    if isinstance(value, Nameless):
        return value.why
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, Array):
        return "a numpy array"
    if isinstance(value, (Payload, StorageRef)):
        return "bytes"
    return type(value).__name__


def _none(where: str, content: object) -> SourceError:
    got = f"a {'Tensor' if _is_tensor(content) else _what(content)}"
    if isinstance(content, dict):
        got += f" with {', '.join(repr(key)[:80] for key in list(content)[:8]) or 'nothing in it'}"
    return SourceError("the file contains no dict of tensors", where=where, expected="a state_dict", got=got)


def _several(where: str, found: list[str]) -> SourceError:
    one = next(key for key in found if key)
    keys = "".join(f"[{key!r}]" for key in one.split("."))
    return SourceError(
        "the file contains more than one dict of tensors",
        where=where,
        expected="one",
        got=", ".join(key or "the top" for key in found[:20]),
        hint=f"save the one you mean: torch.save(torch.load({where!r})" + f"{keys}, 'one.pth')",
    )
