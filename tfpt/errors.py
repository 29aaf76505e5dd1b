"""What is reported to the user: problems, and the exceptions that carry them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from typing_extensions import Self

from tfpt.visible import visible


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or worth knowing, with everything needed to fix it.

    Attributes:
        kind: The kind of a finding (see `tfpt.planning.KINDS`), or the name of an error's class.
        what: One sentence: what is wrong.
        name: The variable or parameter that it is about.
        where: The location, as ``file``, ``file:line`` or ``file:line:column``.
        row: The row of the mapping, as text.
        expected, got: What should have been there, and what was.
        nearest: The names closest to one that was not found, best first.
        hint: The next command to run, or the next thing to do.
        source: The line of the file at `where`, and below it a line with a mark.
    """

    kind: str
    what: str
    name: str = ""
    where: str = ""
    row: str = ""
    expected: str = ""
    got: str = ""
    nearest: tuple[str, ...] = ()
    hint: str = ""
    source: str = ""


class TfptError(Exception):
    """Bad input, with everything needed to fix it.

    Args:
        what: One sentence: what is wrong.
        where: The location, as ``file``, ``file:line`` or ``file:line:column``.
        expected: What should have been there.
        got: What was there.
        nearest: The names closest to the one that was not found, best first.
        hint: The next command to run, or the next thing to do.
        causes: When several things are wrong at once: each of them.

    Attributes:
        problem: All of this but the causes.

    Example:
        >>> print(TfptError("no such axis", where="m.yaml:3:7", expected="one of i, o", got="k"))
        no such axis
          where     m.yaml:3:7
          expected  one of i, o
          got       k
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        nearest: Iterable[str] = (),
        hint: str | None = None,
        causes: Iterable[TfptError] = (),
    ) -> None:
        self.problem = Problem(
            type(self).__name__,
            what,
            where=where or "",
            expected=expected or "",
            got=got or "",
            nearest=tuple(nearest),
            hint=hint or "",
        )
        # Unlike one that is not given, an empty text is shown.
        self._given = [text is not None for text in (expected, got)]
        self.causes = tuple(causes)
        super().__init__(what)

    @property
    def what(self) -> str:
        return self.problem.what

    @property
    def where(self) -> str | None:
        return self.problem.where or None

    @where.setter
    def where(self, where: str) -> None:
        self.problem = replace(self.problem, where=where)

    @property
    def expected(self) -> str | None:
        return self.problem.expected if self._given[0] else None

    @property
    def got(self) -> str | None:
        return self.problem.got if self._given[1] else None

    @property
    def nearest(self) -> tuple[str, ...]:
        return self.problem.nearest

    @property
    def hint(self) -> str | None:
        return self.problem.hint or None

    @hint.setter
    def hint(self, hint: str) -> None:
        self.problem = replace(self.problem, hint=hint)

    def __str__(self) -> str:
        # Names and locations are shown on one line: a line break in a name must not forge one of ours.
        rows = [
            ("where", None if self.where is None else visible(self.where)),
            ("", self.problem.source or None),
            ("expected", self.expected),
            ("got", self.got),
            ("nearest", ", ".join(map(visible, self.nearest)) or None),
        ]
        lines = [visible(self.what), *(_line(label, text) for label, text in rows if text is not None)]
        lines += [str(cause) for cause in self.causes]
        if self.hint is not None:
            lines.append(_line("next", self.hint))
        return "\n".join(lines)

    def with_hint(self, hint: str | None) -> Self:
        """The same error with another next step."""
        found = type(self)(
            self.what,
            where=self.where,
            expected=self.expected,
            got=self.got,
            nearest=self.nearest,
            hint=hint,
            causes=self.causes,
        )
        found.problem = replace(found.problem, source=self.problem.source)
        return found

    def to_json(self) -> dict[str, object]:
        """The same facts as plain JSON values."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "got": self.got,
            "nearest": list(self.nearest),
            "next": self.hint,
            "causes": [cause.to_json() for cause in self.causes],
        }


def _line(label: str, text: str) -> str:
    indented = visible(text, lines=True).replace("\n", "\n" + " " * 12)
    return f"  {label:<9} {indented}"


class MappingError(TfptError):
    """A mapping file that tfpt cannot carry out."""


class SourceError(TfptError):
    """An input file that is missing, damaged, or of an unknown format."""


class DtypeError(TfptError):
    """Values that the output dtype cannot represent."""


class SinkError(TfptError):
    """An output file that cannot be written; no part of it remains."""


class ModelError(TfptError):
    """A PyTorch model that cannot be built, or does not fit its mapping."""


class UntrustedError(ModelError):
    """A model from outside the trusted packages, without permission to import it."""
