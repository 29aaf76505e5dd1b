"""The names of a network's classes, from the file that its mapping names."""

from __future__ import annotations

from pathlib import Path

from tfpt.errors import MappingError
from tfpt.language.mapping import Mapping


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in a text file, one a line, in the order of the logits.

    Raises:
        MappingError: It cannot be read, is empty, or a line is.

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
            "the labels are no text", where=str(path), expected="UTF-8, one class a line", got=str(error)
        ) from error
    names = tuple(line.strip() for line in lines)
    if not names:
        raise MappingError("the file of labels is empty", where=str(path), expected="one class a line")
    if "" in names:
        line = names.index("") + 1
        raise MappingError(
            "a class without a name", where=f"{path}:{line}", expected="one class a line", got="an empty line"
        )
    return names


def labels_of(mapping: Mapping, classes: int) -> tuple[tuple[str, ...] | None, str | None]:
    """The names of a network's classes, or ``None``; and what to say where the mapping has names that do not fit.

    Args:
        mapping: The mapping, which may name no labels.
        classes: How many logits the network gives.

    Raises:
        MappingError: There are more or fewer names than logits, and nobody asked for another number of classes.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> labels, note = labels_of(load_mapping("i3d_rgb", {"num_classes": 7}), 7)
        >>> labels, note
        (None, 'kinetics400.txt names 400 classes, the network has 7: they go by number')
    """
    if mapping.labels is None:
        return None, None
    names = read_labels(mapping.labels)
    if len(names) == classes:
        return names, None
    if mapping.adapted:
        return (
            None,
            f"{mapping.labels.name} names {len(names)} classes, the network has {classes}: they go by number",
        )
    raise MappingError(
        "the labels are not those of the network",
        where=str(mapping.labels),
        expected=f"{classes} names, one for each logit",
        got=f"{len(names)} names",
        hint=f"name the right file in {mapping.path.name}, labels:",
    )
