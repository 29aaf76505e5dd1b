"""Templates of names: the two sides of a row, each able to match a name and to write one.

A template is literal text with fields in braces (see docs/language.md, section 2). `pair` reads both sides
of a row together, since a field's kind may be written on either side.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tfpt.errors import MappingError

Value = int | str | tuple[str, ...]

TF_SEPARATOR = "/"
PT_SEPARATOR = "."


@dataclass(frozen=True)
class Field:
    """One field of a template, as written.

    Attributes:
        name: What the field is called; empty for the fields that carry nothing, ``{_}`` and ``{_...}``.
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


@dataclass(frozen=True)
class Template:
    """A compiled template of one side.

    Example:
        >>> tf, pt = pair("h{i}/attn/{b:q=query|k=key}", "h.{i:int}.{b}")
        >>> tf.match("h11/attn/q")
        {'i': 11, 'b': 'q'}
        >>> pt.render(tf.match("h11/attn/q"))
        'h.11.query'
    """

    text: str
    separator: str
    parts: tuple[str | Field, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that carry something."""
        return frozenset(part.name for part in self.parts if isinstance(part, Field) and part.name)

    @property
    def is_literal(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)

    @property
    def renders(self) -> bool:
        """Whether a name can be written from field values: not so with ``{_}``, which carries nothing."""
        return not any(isinstance(part, Field) and not part.name for part in self.parts)

    def match(self, name: str) -> dict[str, Value] | None:
        """The field values with which this template gives `name`; ``None`` if there are none."""
        found = _pattern(self).fullmatch(name)
        if found is None:
            return None
        values: dict[str, Value] = {}
        pieces: dict[str, dict[str, int]] = {}
        for index, part in enumerate(self.parts):
            if isinstance(part, str) or not part.name:
                continue
            text = found[f"f{index}"]
            if part.kind in ("quotient", "remainder"):
                piece = pieces.setdefault(part.name, {})
                if piece.setdefault(part.kind, int(text)) != int(text):
                    return None
                continue
            value = _decode(part, text, self.separator)
            if value is None or values.setdefault(part.name, value) != value:
                return None
        for name_, piece in pieces.items():
            divisor = next(
                p.divisor for p in self.parts if isinstance(p, Field) and p.name == name_ and p.divisor
            )
            if piece["remainder"] >= divisor:
                return None
            value = piece["quotient"] * divisor + piece["remainder"]
            if values.setdefault(name_, value) != value:
                return None
        return values

    def render(self, values: Mapping[str, Value]) -> str | None:
        """The name that these field values give; ``None`` if there is none (a negative index, a longer number)."""
        text = []
        for part in self.parts:
            piece = part if isinstance(part, str) else _encode(part, values, self.separator)
            if piece is None:
                return None
            text.append(piece)
        return "".join(text)

    def __str__(self) -> str:
        return self.text


def pair(tf: str | Sequence[str], pt: str | Sequence[str]) -> tuple[Template, Template]:
    """The two sides of a row with one template each, fields reconciled.

    Raises:
        MappingError: A template cannot be read, or the sides do not have the same fields.
    """
    tf_side, pt_side = pair_lists([tf] if isinstance(tf, str) else tf, [pt] if isinstance(pt, str) else pt)
    return tf_side[0], pt_side[0]


def pair_lists(tf: Sequence[str], pt: Sequence[str]) -> tuple[tuple[Template, ...], tuple[Template, ...]]:
    """Both sides of a row, any number of templates on each; either side may be empty.

    What one side says of a field holds for the other: a number, a choice of words.
    """
    sides = [[_parse(text) for text in tf], [_parse(text) for text in pt]]
    numbers = {
        p.name for side in sides for parts in side for p in parts if isinstance(p, Field) and p.is_number
    }
    words = [_words_of(side) for side in sides]
    compiled: list[tuple[Template, ...]] = []
    for side, texts, separator, other in (
        (sides[0], tf, TF_SEPARATOR, words[1]),
        (sides[1], pt, PT_SEPARATOR, words[0]),
    ):
        compiled.append(
            tuple(
                Template(text, separator, tuple(_reconcile(part, numbers, other) for part in parts))
                for text, parts in zip(texts, side, strict=True)
            )
        )
    return compiled[0], compiled[1]


def single(text: str, separator: str = TF_SEPARATOR) -> Template:
    """A template that stands alone, such as those of `ignore`.

    Example:
        >>> single("{path...}/Momentum").match("a/b/Momentum")
        {'path': ('a', 'b')}
    """
    return Template(text, separator, tuple(_parse(text)))


def join(outer: str, inner: str, separator: str) -> str:
    """The template of `inner` standing below `outer`; either may be empty."""
    return separator.join(part for part in (outer, inner) if part)


# -- parsing -----------------------------------------------------------------------------------------


def _parse(text: str) -> list[str | Field]:
    parts: list[str | Field] = []
    rest = text
    while rest:
        literal, brace, rest = rest.partition("{")
        if "}" in literal:
            raise MappingError("a } without its {", got=text)
        if literal:
            parts.append(literal)
        if not brace:
            break
        inside, closing, rest = rest.partition("}")
        if not closing or "{" in inside:
            raise MappingError("a { without its }", got=text)
        field = _parse_field(inside.strip(), text)
        if parts and isinstance(parts[-1], Field):
            raise MappingError("two fields with nothing between them cannot be told apart", got=text)
        parts.append(field)
    divided = [part for part in parts if isinstance(part, Field) and part.divisor]
    for field in divided:
        if {(other.kind, other.divisor) for other in divided if other.name == field.name} != {
            ("quotient", field.divisor),
            ("remainder", field.divisor),
        }:
            raise MappingError(
                "a quotient needs its remainder in the same template, by the same number",
                expected=f"{{{field.name}//{field.divisor}}} and {{{field.name}%{field.divisor}}}",
                got=text,
            )
    return parts


def _parse_field(inside: str, text: str) -> Field:
    if inside == "_":
        return Field("", "skip")
    if inside == "_...":
        return Field("", "skip-path")
    name, colon, spec = inside.partition(":")
    if inside.endswith("...") and inside[:-3].isidentifier():
        return Field(inside[:-3], "path")
    if not colon:
        return Field(name, "component") if name.isidentifier() else _parse_form(inside, text)
    if not name.isidentifier():
        raise MappingError(
            "a field needs a name before its colon", expected="{name:…}", got=f"{{{inside}}} in {text}"
        )
    if spec == "int":
        return Field(name, "number")
    if re.fullmatch(r"0[1-9][0-9]?", spec):
        return Field(name, "number", width=int(spec))
    words = tuple(_parse_word(word, text) for word in spec.split("|"))
    if len(words) == 1 and words[0][0] == words[0][1]:
        raise MappingError(
            "the kind of a field is not known",
            expected="int, 03 (three digits), or words as in {b:1|2} or {b:q=query|k=key}",
            got=f"{{{inside}}} in {text}",
        )
    for side in (0, 1):
        if len({word[side] for word in words}) < len(words):
            raise MappingError("a word of a choice stands twice", got=f"{{{inside}}} in {text}")
    return Field(name, "words", words=words)


def _parse_word(word: str, text: str) -> tuple[str, str]:
    here, equals, there = word.partition("=")
    if not here or (equals and not there):
        raise MappingError("a word of a choice is empty", got=text)
    return here, there if equals else here


def _parse_form(inside: str, text: str) -> Field:
    try:
        tree = ast.parse(inside, mode="eval").body
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.FloorDiv | ast.Mod):
            name, divisor = _name_and_divisor(tree)
            kind = "quotient" if isinstance(tree.op, ast.FloorDiv) else "remainder"
            return Field(name, kind, divisor=divisor)
        form_name, factor, offset = _linear(tree)
        if form_name is None or factor == 0:
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
    """The expression as (name, factor, offset): a constant has no name."""
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


# -- reconciling the sides ---------------------------------------------------------------------------


def _words_of(side: list[list[str | Field]]) -> dict[str, tuple[tuple[str, str], ...]]:
    return {p.name: p.words for parts in side for p in parts if isinstance(p, Field) and p.kind == "words"}


def _reconcile(
    part: str | Field, numbers: set[str], other_words: Mapping[str, tuple[tuple[str, str], ...]]
) -> str | Field:
    if isinstance(part, str) or part.kind != "component":
        return part
    if part.name in other_words:
        # The value of a choice is the word on the side that lists it: here the pairs stand reversed.
        return Field(part.name, "translated", words=other_words[part.name])
    if part.name in numbers:
        return Field(part.name, "number")
    return part


# -- matching and writing ----------------------------------------------------------------------------


@cache
def _pattern(template: Template) -> re.Pattern[str]:
    component = f"[^{re.escape(template.separator)}]"
    path = f"{component}+(?:{re.escape(template.separator)}{component}+)*?"
    expressions: dict[str, Callable[[Field], str]] = {
        "component": lambda _: f"{component}+?",
        "skip": lambda _: f"{component}+?",
        "path": lambda _: path,
        "skip-path": lambda _: path,
        "number": lambda f: f"[0-9]{{{f.width}}}" if f.width else "[0-9]+",
        "linear": lambda _: "[0-9]+",
        "quotient": lambda _: "[0-9]+",
        "remainder": lambda _: "[0-9]+",
        "words": lambda f: "|".join(re.escape(here) for here, _ in f.words),
        "translated": lambda f: "|".join(re.escape(there) for _, there in f.words),
    }
    text = ""
    for index, part in enumerate(template.parts):
        if isinstance(part, str):
            text += re.escape(part)
        else:
            text += f"(?P<f{index}>{expressions[part.kind](part)})"
    return re.compile(text)


def _decode(field: Field, text: str, separator: str) -> Value | None:
    if field.kind == "path":
        return tuple(text.split(separator))
    if field.kind == "number":
        return int(text)
    if field.kind == "linear":
        value, rest = divmod(int(text) - field.offset, field.factor)
        return value if rest == 0 and value >= 0 else None
    if field.kind == "translated":
        return next(here for here, there in field.words if there == text)
    return text


def _encode(field: Field, values: Mapping[str, Value], separator: str) -> str | None:
    if not field.name or field.name not in values:
        return None
    value = values[field.name]
    if isinstance(value, int):
        number = {
            "linear": field.factor * value + field.offset,
            "quotient": value // field.divisor if field.divisor else 0,
            "remainder": value % field.divisor if field.divisor else 0,
        }.get(field.kind, value)
        digits = str(number).zfill(field.width)
        return None if number < 0 or (field.width and len(digits) > field.width) else digits
    if isinstance(value, tuple):
        return separator.join(value)
    if field.kind == "translated":
        return next((there for here, there in field.words if here == value), None)
    if field.kind == "words":
        return value if any(here == value for here, _ in field.words) else None
    return value
