"""The names of a network's classes, from the file that its mapping names."""

from __future__ import annotations

from pathlib import Path

from tfpt.errors import MappingError
from tfpt.language.mapping import Mapping


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in a text file, one per line, in the order of the logits.

    Raises:
        MappingError: The file cannot be read, or it or one of its lines is empty.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> names = read_labels(load_mapping("i3d_rgb").labels)
        >>> len(names), names[1]
        (400, 'air drumming')
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise MappingError("the labels cannot be read", where=str(path), got=error.strerror) from error
    except UnicodeDecodeError as error:
        raise MappingError(
            "the labels are not text", where=str(path), expected="UTF-8, one class per line", got=str(error)
        ) from error
    names = tuple(line.strip() for line in lines)
    if not names:
        raise MappingError("the file of labels is empty", where=str(path), expected="one class per line")
    if "" in names:
        line = names.index("") + 1
        raise MappingError(
            "a class has no name", where=f"{path}:{line}", expected="one class per line", got="an empty line"
        )
    return names


def labels_of(mapping: Mapping, classes: int) -> tuple[tuple[str, ...] | None, str | None]:
    """The names of a network's classes, or ``None``; and a note if the mapping's names do not fit.

    Args:
        mapping: The mapping, possibly without labels.
        classes: The number of logits.

    Raises:
        MappingError: There are more or fewer names than logits, and the number of classes was not changed.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> labels, note = labels_of(load_mapping("i3d_rgb", {"num_classes": 7}), 7)
        >>> labels, note
        (None, 'kinetics400.txt names 400 classes, the network has 7: classes are shown by number')
    """
    if mapping.labels is None:
        return None, None
    names = read_labels(mapping.labels)
    if len(names) == classes:
        return names, None
    if mapping.adapted:
        return (
            None,
            f"{mapping.labels.name} names {len(names)} classes, the network has {classes}: classes are shown by number",
        )
    raise MappingError(
        "the labels do not match the network",
        where=str(mapping.labels),
        expected=f"{classes} names, one for each logit",
        got=f"{len(names)} names",
        hint=f"set labels: in {mapping.path.name} to the right file",
    )
