"""The grammar of a field: what may be in the braces of a template."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from tfpt.errors import MappingError
from tfpt.language.fields import MAX_DIGITS, Divisor, Field

# A form is an expression with a few numbers; Python's parser is slow on long ones.
_LONGEST_FORM = 1000
_NUMBER = re.compile(f"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")

Words = tuple[tuple[str, str], ...]


def parse_field(inside: str, text: str) -> Field:
    """The field with `inside` between its braces, in the template `text`.

    Raises:
        MappingError: There is no such field.

    Example:
        >>> parse_field("2*i-1:02", "unit{2*i-1:02}")
        Field(name='i', kind='linear', width=2, words=(), factor=2, offset=-1, ...)
    """
    if inside == "_":
        return Field("", "skip")
    if inside == "_...":
        return Field("", "skip-path")
    if inside.endswith("...") and inside[:-3].isidentifier():
        return Field(inside[:-3], "path")
    name, colon, spec = inside.partition(":")
    if not colon:
        return Field(name, "component") if name.isidentifier() else _parse_form(inside, text)
    if not name:
        raise MappingError(
            "a field needs a name before its colon", expected="{name:…}", got=f"{{{inside}}} in {text}"
        )
    plain = name.isidentifier()
    number = Field("" if name == "_" else name, "number") if plain else _parse_form(name, text)
    if spec == "int":
        return number
    if spec == "counter":
        return replace(number, counter=True)
    if re.fullmatch(r"0[1-9][0-9]?", spec):
        return replace(number, width=int(spec))
    words = _parse_words(spec, inside, text)
    if name == "_":
        return Field("", "words", words=_alternatives(words, inside, text))
    mapped = tuple(word for word in words if word != ("int", "int"))
    if len(words) > len(mapped) > 0 and has_numbers(mapped) and all(here != there for here, there in mapped):
        _check_not_digits(mapped, inside, text)
        return replace(number, words=mapped)
    if not plain:
        if not has_numbers(words):
            raise MappingError(
                "a computed number is written with words that are not mapped to numbers",
                expected="{i%3:a=0|b=1|c=2}",
                got=f"{{{inside}}} in {text}",
            )
        return replace(number, words=words, digits=False)
    return Field(name, "words", words=words)


def has_numbers(words: Words) -> bool:
    """Whether every word is mapped to a number."""
    return all(_NUMBER.fullmatch(number) for _, number in words)


def spell_words(name: str, words: Words) -> str:
    """The field of a choice, as in a template."""
    spelled = "|".join(here if here == there != "" else f"{here}={there}" for here, there in words)
    return f"{{{name}:{spelled}}}"


def _parse_words(spec: str, inside: str, text: str) -> Words:
    words = tuple(_parse_word(word, text) for word in spec.split("|"))
    if len(words) == 1 and words[0][0] == words[0][1]:
        raise MappingError(
            "unknown kind of field",
            expected="int, 03 (three digits), counter, or words as in {b:1|2} or {b:q=query|k=key}",
            got=f"{{{inside}}} in {text}",
        )
    for side in (0, 1):
        if len({word[side] for word in words}) < len(words):
            raise MappingError("a word of a choice is repeated", got=f"{{{inside}}} in {text}")
    return words


def _parse_word(word: str, text: str) -> tuple[str, str]:
    here, equals, there = word.partition("=")
    if not word:
        raise MappingError(
            "a word of a choice is empty",
            expected="{d:forward=|backward=_reverse}: an empty word is written with its =",
            got=text,
        )
    return here, there if equals else here


def _alternatives(words: Words, inside: str, text: str) -> Words:
    if any(here != there for here, there in words):
        raise MappingError(
            "{_} has no value, so its words are not mapped to others",
            expected="{_:layer_norm|rms_norm}; an empty word is =",
            got=f"{{{inside}}} in {text}",
        )
    return words


def _check_not_digits(words: Words, inside: str, text: str) -> None:
    for word, _ in words:
        if word.isdecimal():
            raise MappingError(
                "a word beside int is a number itself",
                expected="words such as stem in {i:stem=0|int}",
                got=f"{{{inside}}} in {text}",
            )


# -- forms -----------------------------------------------------------------------------------------------

# A field, or its quotient or remainder: (name, kind, divisor).
_Atom = tuple[str, str, Divisor]


def _parse_form(inside: str, text: str) -> Field:
    try:
        if len(inside) > _LONGEST_FORM:
            raise ValueError
        atom, factor, offset = _linear(ast.parse(inside, mode="eval").body)
        if atom is None or factor == 0 or max(abs(factor), abs(offset)) >= 10**MAX_DIGITS:
            raise ValueError
        name, kind, divisor = atom
        if name == "_":
            raise ValueError
        return Field(name, kind, factor=factor, offset=offset, divisor=divisor)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise MappingError(
            "a field cannot be read",
            expected="{name}, {name...}, {i:int}, {i:03}, {i:counter}, {a:x|y}, {2*i-1}, {i//2} with {i%2}, "
            "{i//[3,4]} with {i%[3,4]}, {_}, {_:x|y} or {_...}",
            got=f"{{{inside}}} in {text}",
        ) from None


def _linear(tree: ast.expr) -> tuple[_Atom | None, int, int]:
    """The expression as (atom, factor, offset); a constant has no atom."""
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return None, 0, tree.value
    if isinstance(tree, ast.Name):
        return (tree.id, "linear", 0), 1, 0
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        atom, factor, offset = _linear(tree.operand)
        return atom, -factor, -offset
    if not isinstance(tree, ast.BinOp):
        raise ValueError
    if isinstance(tree.op, ast.FloorDiv | ast.Mod):
        if not isinstance(tree.left, ast.Name):
            raise ValueError
        kind = "quotient" if isinstance(tree.op, ast.FloorDiv) else "remainder"
        return (tree.left.id, kind, _divisor(tree.right)), 1, 0
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


def _divisor(tree: ast.expr) -> Divisor:
    if isinstance(tree, ast.List) and tree.elts:
        sizes = tuple(map(_size, tree.elts))
        if sum(sizes) >= 10**MAX_DIGITS:
            raise ValueError
        return sizes
    return _size(tree)


def _size(tree: ast.expr) -> int:
    if isinstance(tree, ast.Constant) and type(tree.value) is int and tree.value > 0:
        return tree.value
    raise ValueError
