"""Fields of templates: how each kind decodes and encodes its value."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

Value = int | str | tuple[str, ...]
Divisor = int | tuple[int, ...]
Domain = tuple[Container[int], ...]

# More than any count of layers or steps needs; Python itself refuses to parse more than 4300.
MAX_DIGITS = 18

_SEPARATORS = re.compile("[/.]")


@dataclass(frozen=True)
class Field:
    """One field of a template.

    A number is written in two steps: its form computes a number from the value (``{2*i+1}``, ``{i//3}``), its kind
    writes that number (``:int``, ``:03``, ``:counter``, or words mapped to numbers).

    Attributes:
        name: The field's name; empty for discarded text and for alternatives.
        kind: ``component``, ``path``, ``skip``, ``skip-path``, ``words``, ``translated`` (words listed on the other
            side), ``alternative``, ``number``, ``linear``, ``quotient`` or ``remainder``.
        width: Digits of a zero-padded number; 0 for plain ones.
        words: Pairs (word on this side, word on the other side) of a choice. Of a number: pairs (word, number).
        factor, offset: The linear form ``factor * name + offset``, or that of the quotient or remainder.
        divisor: The ``n`` of ``{i//n}`` and ``{i%n}``, or the sizes of consecutive stages.
        counter: Whether 0 is written as nothing and any other number as ``_n``.
        digits: Whether numbers other than those of `words` are written as digits.
        domain: What the value must be in, according to all templates of the row.

    Example:
        >>> field = Field("i", "remainder", divisor=(3, 4), words=(("a", "0"), ("b", "1")), digits=False)
        >>> field.encode({"i": 4}, "/")
        'b'
    """

    name: str
    kind: str
    width: int = 0
    words: tuple[tuple[str, str], ...] = ()
    factor: int = 1
    offset: int = 0
    divisor: Divisor = 0
    counter: bool = False
    digits: bool = True
    domain: Domain = ()

    @property
    def is_number(self) -> bool:
        return self.kind in ("number", "linear", "quotient", "remainder")

    @property
    def is_open(self) -> bool:
        """Whether it matches any text, within one component or several."""
        return self.kind in ("component", "path", "skip", "skip-path")

    @property
    def family(self) -> str:
        """The kind of its value, the same for all fields of one name in a row."""
        if self.is_number:
            return "number"
        return "words" if self.kind in ("words", "translated") else self.kind

    @cached_property
    def spelled(self) -> tuple[str, ...]:
        """The words of a choice as spelled on this side; empty for other kinds."""
        return tuple(there if self.kind == "translated" else here for here, there in self.words)

    @property
    def own_domain(self) -> Domain:
        """The values that this field can write, if these are limited."""
        stages: Domain = (range(sum(self.divisor)),) if isinstance(self.divisor, tuple) else ()
        if self.digits or not self.is_number:
            return stages
        values = (self._value(number) for number in self._numbers.values())
        written = frozenset(value for value in values if value is not None)
        return (*stages, Pieces(self.kind, self.divisor, written) if self.divisor else written)

    def holds(self, value: int) -> bool:
        """Whether the value is in the field's domain."""
        return all(value in values for values in self.domain)

    def decode(self, text: str, separator: str) -> Value | None:
        """The value of `text`; ``None`` if it has no value. Quotients and remainders are returned as they are."""
        if self.kind == "path":
            # Of both sides, so that a/b.c and a.b.c have the same value.
            return tuple(_SEPARATORS.split(text))
        if self.is_number:
            number = self._number(text)
            value = None if number is None else self._value(number)
            return value if value is None or self.divisor or self.holds(value) else None
        return self._by_text[text] if self.kind == "translated" else text

    def encode(self, values: Mapping[str, Value], separator: str) -> str | None:
        """The text for the value; ``None`` if this side has no name for it."""
        if self.kind == "alternative":
            return self.words[0][0]
        if not self.name or self.name not in values:
            return None
        value = values[self.name]
        if isinstance(value, int):
            return self._encode_number(value)
        if self.family == "words":
            return self._by_value.get(value)
        if isinstance(value, str):
            # A component that contains a separator would be parsed as two.
            return None if separator in value else value
        whole = separator.join(value)
        return whole if all(value) and tuple(_SEPARATORS.split(whole)) == value else None

    # -- choices ---------------------------------------------------------------------------------------

    @cached_property
    def _by_text(self) -> dict[str, str]:
        return {there: here for here, there in self.words}

    @cached_property
    def _by_value(self) -> dict[Value, str]:
        return {here: there if self.kind == "translated" else here for here, there in self.words}

    # -- numbers ---------------------------------------------------------------------------------------

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: int(number) for word, number in self.words}

    @cached_property
    def _words(self) -> dict[int, str]:
        return {number: word for word, number in self._numbers.items()}

    def _number(self, text: str) -> int | None:
        """The number that the text spells."""
        if self.counter:
            return int(text[1:] or 0)
        if text in self._numbers:
            return self._numbers[text]
        number = int(text)
        return None if number in self._words else number

    def _value(self, number: int) -> int | None:
        """The value (or quotient, or remainder) for which the form gives this number."""
        value, rest = divmod(number - self.offset, self.factor)
        return value if rest == 0 and value >= 0 else None

    def _encode_number(self, value: int) -> str | None:
        if not self.holds(value):
            return None
        if self.divisor:
            parts = divide(value, self.divisor)
            if parts is None:
                return None
            value = parts[self.kind == "remainder"]
        number = self.factor * value + self.offset
        if number < 0:
            return None
        if number in self._words:
            return self._words[number]
        if not self.digits:
            return None
        digits = str(number).zfill(self.width)
        if len(digits) > (self.width or MAX_DIGITS):
            return None
        return digits if not self.counter else f"_{digits}" if number else ""


@dataclass(frozen=True)
class Pieces:
    """The numbers whose quotient or remainder is one of those that have words.

    Example:
        >>> [number for number in range(9) if number in Pieces("remainder", (3, 4), frozenset({0, 3}))]
        [0, 3, 6]
    """

    kind: str
    divisor: Divisor
    written: frozenset[int]

    def __contains__(self, value: object) -> bool:
        parts = divide(value, self.divisor) if isinstance(value, int) else None
        return parts is not None and parts[self.kind == "remainder"] in self.written


def divide(value: int, divisor: Divisor) -> tuple[int, int] | None:
    """Quotient and remainder; with sizes of stages, the stage and the place in it, ``None`` beyond the last.

    Example:
        >>> divide(14, 3), divide(4, (3, 4, 6)), divide(13, (3, 4, 6))
        ((4, 2), (1, 1), None)
    """
    if isinstance(divisor, int):
        return divmod(value, divisor)
    ends = _ends(divisor)
    stage = bisect_right(ends, value)
    if stage == len(ends):
        return None
    return stage, value - (ends[stage] - divisor[stage])


def undivide(quotient: int, remainder: int, divisor: Divisor) -> int | None:
    """The number with this quotient and remainder; ``None`` if there is none.

    Example:
        >>> undivide(4, 2, 3), undivide(1, 1, (3, 4, 6)), undivide(1, 4, (3, 4, 6))
        (14, 4, None)
    """
    if isinstance(divisor, int):
        return quotient * divisor + remainder if remainder < divisor else None
    if quotient >= len(divisor) or remainder >= divisor[quotient]:
        return None
    return _ends(divisor)[quotient] - divisor[quotient] + remainder


@lru_cache(maxsize=256)
def _ends(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The first number after each stage."""
    return tuple(accumulate(sizes))
