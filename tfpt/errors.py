"""The one exception family of tfpt, worded for the person who reads it."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import Self

from tfpt.visible import visible


class TfptError(Exception):
    """Bad input, with everything a reader needs to put it right.

    Args:
        what: One sentence: what is wrong.
        where: The place, as ``file``, ``file:line`` or ``file:line:column``.
        expected: What should have been there.
        got: What was there.
        nearest: The names closest to the one that was not found, best first.
        hint: The next command to run, or the next thing to do.
        causes: When several things are wrong at once: each of them.

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
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.nearest = tuple(nearest)
        self.hint = hint
        self.causes = tuple(causes)
        super().__init__(what)

    def __str__(self) -> str:
        # Names and places have no lines of their own: what follows one in a name must not look like ours.
        rows = [
            ("where", None if self.where is None else visible(self.where)),
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
        return type(self)(
            self.what,
            where=self.where,
            expected=self.expected,
            got=self.got,
            nearest=self.nearest,
            hint=hint,
            causes=self.causes,
        )

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
    """A mapping file that does not say something tfpt can carry out."""


class SourceError(TfptError):
    """A file to read that is absent, damaged, or of a kind tfpt does not know."""


class DtypeError(TfptError):
    """Values that the dtype to be written cannot hold."""


class SinkError(TfptError):
    """A file that cannot be written; nothing of it is left behind."""


class ModelError(TfptError):
    """A PyTorch model that cannot be built, or does not fit its mapping."""


class UntrustedError(ModelError):
    """A model from outside the packages that tfpt imports from, without leave to import it."""
