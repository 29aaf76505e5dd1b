"""Fields of templates: the grammar in braces, and how each kind decodes and encodes its value."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tfpt.errors import MappingError

Value = int | str | tuple[str, ...]

# More than any count of layers or steps needs; Python itself refuses to parse more than 4300.
MAX_DIGITS = 18
# A form is an expression with a few numbers; Python's parser is slow on long ones.
_LONGEST_FORM = 1000


@dataclass(frozen=True)
class Field:
    """One field of a template.

    Attributes:
        name: The field's name; empty for the fields without a value, ``{_}`` and ``{_...}``.
        kind: ``component``, ``path``, ``skip``, ``skip-path``, ``words``, ``number``, ``linear``,
            ``quotient`` or ``remainder``.
        width: Digits of a zero-padded number; 0 for plain ones.
        words: Pairs (word on this side, word on the other side) of a choice.
        factor, offset: The linear form ``factor * name + offset``.
        divisor: The ``n`` of ``{i//n}`` and ``{i%n}``.
    """

    name: str
    kind: str
    width: int = 0
    words: tuple[tuple[str, str], ...] = ()
    factor: int = 1
    offset: int = 0
    divisor: int = 0

    @property
    def is_number(self) -> bool:
        return self.kind in ("number", "linear", "quotient", "remainder")

    @property
    def family(self) -> str:
        """The kind of its value, the same for all fields of one name in a row."""
        if self.is_number:
            return "number"
        return "words" if self.kind in ("words", "translated") else self.kind

    @property
    def spelled(self) -> tuple[str, ...]:
        """The words of a choice as spelled on this side; empty for other kinds."""
        return tuple(there if self.kind == "translated" else here for here, there in self.words)

    def decode(self, text: str, separator: str) -> Value | None:
        """The value of `text`; ``None`` if it has no value. Quotients and remainders are returned as they are."""
        if self.kind == "path":
            return tuple(text.split(separator))
        if self.kind in ("number", "quotient", "remainder"):
            return int(text)
        if self.kind == "linear":
            value, rest = divmod(int(text) - self.offset, self.factor)
            return value if rest == 0 and value >= 0 else None
        if self.kind == "translated":
            return next(here for here, there in self.words if there == text)
        return text

    def encode(self, values: Mapping[str, Value], separator: str) -> str | None:
        """The text for the value; ``None`` if this side has no name for it."""
        if not self.name or self.name not in values:
            return None
        value = values[self.name]
        if isinstance(value, int):
            return self._encode_number(value)
        if self.family == "words":
            return next(
                (there if self.kind == "translated" else here for here, there in self.words if here == value),
                None,
            )
        components = (value,) if isinstance(value, str) else value
        # A component that contains a separator would be parsed as two.
        return None if any(separator in component for component in components) else separator.join(components)

    def _encode_number(self, value: int) -> str | None:
        number = {
            "linear": self.factor * value + self.offset,
            "quotient": value // self.divisor if self.divisor else 0,
            "remainder": value % self.divisor if self.divisor else 0,
        }.get(self.kind, value)
        digits = str(number).zfill(self.width)
        return None if number < 0 or (self.width and len(digits) > self.width) else digits


def parse_field(inside: str, text: str) -> Field:
    if inside == "_":
        return Field("", "skip")
    if inside == "_...":
        return Field("", "skip-path")
    name, colon, spec = inside.partition(":")
    if inside.endswith("...") and inside[:-3].isidentifier():
        return Field(inside[:-3], "path")
    if not colon:
        return Field(name, "component") if name.isidentifier() else _parse_form(inside, text)
    width = int(spec) if re.fullmatch(r"0[1-9][0-9]?", spec) else 0
    if not name.isidentifier():
        if width:
            return replace(_parse_form(name, text), width=width)
        raise MappingError(
            "a field needs a name before its colon", expected="{name:…}", got=f"{{{inside}}} in {text}"
        )
    if spec == "int":
        return Field(name, "number")
    if width:
        return Field(name, "number", width=width)
    words = tuple(_parse_word(word, text) for word in spec.split("|"))
    if len(words) == 1 and words[0][0] == words[0][1]:
        raise MappingError(
            "unknown kind of field",
            expected="int, 03 (three digits), or words as in {b:1|2} or {b:q=query|k=key}",
            got=f"{{{inside}}} in {text}",
        )
    for side in (0, 1):
        if len({word[side] for word in words}) < len(words):
            raise MappingError("a word of a choice is repeated", got=f"{{{inside}}} in {text}")
    return Field(name, "words", words=words)


def _parse_word(word: str, text: str) -> tuple[str, str]:
    here, equals, there = word.partition("=")
    if not here or (equals and not there):
        raise MappingError("a word of a choice is empty", got=text)
    return here, there if equals else here


def _parse_form(inside: str, text: str) -> Field:
    try:
        if len(inside) > _LONGEST_FORM:
            raise ValueError
        tree = ast.parse(inside, mode="eval").body
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.FloorDiv | ast.Mod):
            name, divisor = _name_and_divisor(tree)
            kind = "quotient" if isinstance(tree.op, ast.FloorDiv) else "remainder"
            return Field(name, kind, divisor=divisor)
        form_name, factor, offset = _linear(tree)
        if form_name is None or factor == 0 or max(abs(factor), abs(offset)) >= 10**MAX_DIGITS:
            raise ValueError
        return Field(form_name, "linear", factor=factor, offset=offset)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise MappingError(
            "a field cannot be read",
            expected="{name}, {name...}, {i:int}, {i:03}, {a:x|y}, {2*i-1}, {i//2} with {i%2}, {_} or {_...}",
            got=f"{{{inside}}} in {text}",
        ) from None


def _name_and_divisor(tree: ast.BinOp) -> tuple[str, int]:
    if isinstance(tree.left, ast.Name) and isinstance(tree.right, ast.Constant):
        divisor = tree.right.value
        if type(divisor) is int and divisor > 0:
            return tree.left.id, divisor
    raise ValueError


def _linear(tree: ast.expr) -> tuple[str | None, int, int]:
    """The expression as (name, factor, offset); the name of a constant is ``None``."""
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return None, 0, tree.value
    if isinstance(tree, ast.Name):
        return tree.id, 1, 0
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        name, factor, offset = _linear(tree.operand)
        return name, -factor, -offset
    if isinstance(tree, ast.BinOp):
        left, right = _linear(tree.left), _linear(tree.right)
        if isinstance(tree.op, ast.Mult) and (left[0] is None or right[0] is None):
            form, times = (right, left[2]) if left[0] is None else (left, right[2])
            return form[0], form[1] * times, form[2] * times
        if isinstance(tree.op, ast.Add | ast.Sub) and (
            left[0] is None or right[0] is None or left[0] == right[0]
        ):
            sign = 1 if isinstance(tree.op, ast.Add) else -1
            return left[0] or right[0], left[1] + sign * right[1], left[2] + sign * right[2]
    raise ValueError
