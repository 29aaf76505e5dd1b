"""Carries out the edits that a check proposes, and checks that they help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfpt.checking.edits import Edit, apply, difference
from tfpt.checking.lint import Check
from tfpt.errors import MappingError, TfptError
from tfpt.io.output_file import write_text
from tfpt.language.mapping_files import bundled_mappings

# One edit may make another possible: a row that matches again, a layout that can be compared.
_ROUNDS = 5


@dataclass(frozen=True)
class Fixed:
    """What was changed.

    Attributes:
        check: The check of the mapping as it is now.
        edits: The changes, in the order in which they were made.
        diff: The lines of a unified diff.
    """

    check: Check
    edits: tuple[Edit, ...]
    diff: tuple[str, ...]


def fix(check: Callable[[], Check]) -> Fixed:
    """Change the text of a mapping as long as a check proposes edits that leave fewer findings and notes.

    Only files in the folder of the mapping are changed. Edits that do not help are taken back.

    Args:
        check: Loads the mapping and checks it.

    Raises:
        MappingError: The mapping comes with tfpt.
        SinkError: A file cannot be written.
    """
    found = check()
    path = found.mapping.path
    if path in bundled_mappings().values():
        raise MappingError(
            "a mapping that comes with tfpt is not changed",
            where=str(path),
            expected="a mapping of your own",
            hint=f"cp {path} . && tfpt check {path.name} --fix",
        )
    made: list[Edit] = []
    before: dict[Path, str] = {}
    after: dict[Path, str] = {}
    for _ in range(_ROUNDS):
        if not found.edits:
            break
        edits = found.edits
        changes = apply(edits)
        now = _checked(check)
        if now is None or _amount(now) >= _amount(found):
            for file, (old, _) in changes.items():
                write_text(file, old)
            break
        found = now
        made += edits
        for file, (old, new) in changes.items():
            before.setdefault(file, old)
            after[file] = new
    return Fixed(
        found, tuple(made), tuple(difference({file: (old, after[file]) for file, old in before.items()}))
    )


def _amount(check: Check) -> tuple[int, int]:
    return len(check.findings), len(check.notes)


def _checked(check: Callable[[], Check]) -> Check | None:
    try:
        return check()
    except TfptError:
        return None
