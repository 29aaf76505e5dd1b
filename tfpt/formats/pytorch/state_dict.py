"""The one dict of tensors in what `torch.save` wrote, whatever stands around it."""

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
        content: What the pickle holds.
        skipped: Takes what is beside the tensors, by its path of keys, with the reason.

    Raises:
        SourceError: There is no such dict, there are several, or the dicts are too many or too deep.
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
            continue  # looked into above
        name = _text(key)
        if name is None:
            skipped[f"{start}{key}"] = f"its key is no string but {key!r}"
        elif not isinstance(item, (Tensor, Sparse)):
            skipped[f"{start}{name}"] = _what(item)
        elif name in tensors:
            raise SourceError(f"two tensors are called {name!r}", where=where)
        else:
            tensors[name] = item
    return inside, tensors


def _entries(entries: dict[object, object]) -> Iterator[tuple[object, object]]:
    """What is in the dict; of tuples and lists with tensors in them, as quantized layers have, the items."""
    for key, item in entries.items():
        if isinstance(item, (list, tuple)) and any(map(_is_tensor, item)) and _text(key) is not None:
            yield from ((f"{_text(key)}.{index}", each) for index, each in enumerate(item))
        else:
            yield key, item


def _dicts(
    where: str, content: object, skipped: dict[str, str]
) -> Iterator[tuple[tuple[str, ...], dict[object, object]]]:
    """All dicts, outer ones first; what else is in those that hold no tensors is skipped."""
    left: list[tuple[tuple[str, ...], object]] = [((), content)]
    visited = 0
    while left:
        keys, value = left.pop()
        visited += 1
        if visited > TREE_VALUES or len(keys) > TREE_LEVELS:
            raise SourceError(
                "the dicts of the file are too many, or too deep in each other",
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
    """A key that is a text; the strings of Python 2 are bytes of it."""
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return key if isinstance(key, str) else None


def _unwrapped(value: object) -> object:
    return value.tensor if isinstance(value, Wrapped) and value.tensor is not None else value


def _is_tensor(value: object) -> bool:
    return isinstance(_unwrapped(value), (Tensor, Sparse, Nameless))


def _what(value: object) -> str:
    """What a value is, in a few words."""
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
    return SourceError("no dict of tensors is in the file", where=where, expected="a state_dict", got=got)


def _several(where: str, found: list[str]) -> SourceError:
    one = next(key for key in found if key)
    keys = "".join(f"[{key!r}]" for key in one.split("."))
    return SourceError(
        "more than one dict of tensors is in the file",
        where=where,
        expected="one",
        got=", ".join(key or "the top" for key in found[:20]),
        hint=f"save the one you mean: torch.save(torch.load({where!r})" + f"{keys}, 'one.pth')",
    )
