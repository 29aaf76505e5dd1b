"""Short labels for long names: they keep what differs between the names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

_WIDTH = 24
_CUT = "…"


def short_labels(names: Sequence[str], width: int = _WIDTH) -> list[str]:
    """Labels for names of scopes and operations, different for different names.

    The scopes that all names begin with are left out. Of labels that are still too long, those at the end that all
    names have are left out too, then the scopes that most names have, and then the middle.

    Args:
        names: Names with ``/`` between scopes.
        width: The most characters of a label, if that leaves them different.

    Example:
        >>> short_labels(["Call/resnet/unit_1/conv/Relu", "Call/resnet/unit_2/conv/Relu", "Call/resnet/pool/MaxPool"])
        ['unit_1/conv/Relu', 'unit_2/conv/Relu', 'pool/MaxPool']
        >>> short_labels(["encoder/layer_10/attention/output/LayerNorm", "encoder/layer_11/attention/output/LayerNorm"])
        ['layer_10', 'layer_11']
    """
    paths = [name.split("/") for name in names]
    if len(set(names)) > 1:
        paths = _without_start(paths)
        if any(len("/".join(path)) > width for path in paths):
            reverse = _without_start([path[::-1] for path in paths])
            paths = [path[::-1] for path in reverse]
    often = Counter((depth, part) for path in paths for depth, part in enumerate(path))
    labels = [_shortened(path, often, width) for path in paths]
    if len(set(names)) > 1:
        _tell_apart(labels, names, width)
    return labels


def _without_start(paths: list[list[str]]) -> list[list[str]]:
    """Paths without the parts that all begin with; at least one part of each is left."""
    shared = _in_common([path[:-1] for path in paths])
    return [path[shared:] for path in paths]


def _in_common(sequences: Sequence[Sequence[str]]) -> int:
    """How many elements all sequences begin with alike."""
    alike = (len(set(column)) == 1 for column in zip(*sequences, strict=False))
    return sum(1 for _ in takewhile(bool, alike))


def _shortened(path: Sequence[str], often: Counter[tuple[int, str]], width: int) -> str:
    """The path with its most frequent parts cut out until it fits; then with its middle cut out."""
    parts = list(path)
    for depth in sorted(range(len(path)), key=lambda depth: (-often[depth, path[depth]], -depth)):
        if len(_joined(parts)) <= width or sum(part != _CUT for part in parts) == 1:
            break
        parts[depth] = _CUT
    text = _joined(parts)
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}{_CUT}{text[-(width - 1 - head) :]}"


def _joined(parts: Sequence[str]) -> str:
    """The parts, with one sign for neighbors that are cut out."""
    kept = [part for at, part in enumerate(parts) if part != _CUT or at == 0 or parts[at - 1] != _CUT]
    return "/".join(kept)


def _tell_apart(labels: list[str], names: Sequence[str], width: int) -> None:
    """Replace equal labels of different names by what follows the start that those names have in common."""
    groups: dict[str, list[int]] = {}
    for at, label in enumerate(labels):
        groups.setdefault(label, []).append(at)
    for members in groups.values():
        distinct = list(dict.fromkeys(names[at] for at in members))
        if len(distinct) == 1:
            continue
        start = _in_common(distinct)
        length = width - 2
        while len({name[start : start + length] for name in distinct}) < len(distinct):
            length += 8
        for at in members:
            end = _CUT if len(names[at]) > start + length else ""
            labels[at] = f"{_CUT if start else ''}{names[at][start : start + length]}{end}"
    if len(set(labels)) < len(set(names)):
        labels[:] = names
