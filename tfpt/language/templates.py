"""Templates of names: the two sides of a row, each of which can match a name and render one.

A template is literal text with fields in braces (see docs/language.md, "Templates"). `pair` parses both sides
of a row together, since either side may state a field's kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tfpt.errors import MappingError
from tfpt.language.abbreviation import abbreviated
from tfpt.language.fields import Field, Value, parse_field
from tfpt.language.name_matching import Cutter

__all__ = [
    "PT_SEPARATOR",
    "TF_SEPARATOR",
    "Field",
    "Template",
    "Value",
    "join",
    "pair",
    "pair_lists",
    "single",
]

TF_SEPARATOR = "/"
PT_SEPARATOR = "."

Parts = list[str | Field]


@dataclass(frozen=True)
class Template:
    """A compiled template for one side of a row.

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

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the named fields."""
        return frozenset(part.name for part in self.parts if isinstance(part, Field) and part.name)

    @property
    def is_literal(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)

    @property
    def renders(self) -> bool:
        """Whether a name can be rendered from field values: not with ``{_}``, which has no value."""
        return not any(isinstance(part, Field) and not part.name for part in self.parts)

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self.parts, self.separator)

    def cut(self, name: str) -> list[tuple[Field, str]] | None:
        """Each field with the piece of `name` that it matches; ``None`` if the name does not match."""
        pieces = self._cutter.cut(name)
        return None if pieces is None else list(zip(self._cutter.fields, pieces, strict=True))

    def match(self, name: str) -> dict[str, Value] | None:
        """The field values for which this template renders `name`; ``None`` if it does not match."""
        cut = self.cut(name)
        if cut is None:
            return None
        values: dict[str, Value] = {}
        pieces: dict[str, dict[str, int]] = {}
        for part, text in cut:
            if not part.name:
                continue
            if part.kind in ("quotient", "remainder"):
                piece = pieces.setdefault(part.name, {})
                if piece.setdefault(part.kind, int(text)) != int(text):
                    return None
                continue
            value = part.decode(text, self.separator)
            if value is None or values.setdefault(part.name, value) != value:
                return None
        for name_, piece in pieces.items():
            divisor = next(
                part.divisor for part in self._cutter.fields if part.name == name_ and part.divisor
            )
            if piece["remainder"] >= divisor:
                return None
            value = piece["quotient"] * divisor + piece["remainder"]
            if values.setdefault(name_, value) != value:
                return None
        return values

    def render(self, values: Mapping[str, Value]) -> str | None:
        """The name for these field values; ``None`` if there is none (a negative index, too long a number)."""
        text = []
        for part in self.parts:
            piece = part if isinstance(part, str) else part.encode(values, self.separator)
            if piece is None:
                return None
            text.append(piece)
        return "".join(text)

    def __str__(self) -> str:
        """The template as messages show it."""
        return abbreviated(self.text)


def pair(tf: str | Sequence[str], pt: str | Sequence[str]) -> tuple[Template, Template]:
    """The two sides of a row with one template each, fields reconciled.

    Raises:
        MappingError: A template is invalid, or the sides disagree on a field.
    """
    tf_side, pt_side = pair_lists([tf] if isinstance(tf, str) else tf, [pt] if isinstance(pt, str) else pt)
    return tf_side[0], pt_side[0]


def pair_lists(tf: Sequence[str], pt: Sequence[str]) -> tuple[tuple[Template, ...], tuple[Template, ...]]:
    """Both sides of a row, any number of templates on each; either side may be empty.

    The kind that one template states for a field applies to all: a number, a choice of words.

    Raises:
        MappingError: A template is invalid, or a field has two kinds.
    """
    tf_parts, pt_parts = [_parse(text) for text in tf], [_parse(text) for text in pt]
    families = _families([*tf_parts, *pt_parts])
    tf_words, pt_words = _words_of(tf_parts), _words_of(pt_parts)
    for name in tf_words.keys() & pt_words.keys():
        if {(there, here) for here, there in pt_words[name]} != set(tf_words[name]):
            raise MappingError(
                f"both sides list words for {{{name}}}, but not the same pairs",
                expected=_spell_words(name, tf_words[name]),
                got=_spell_words(name, pt_words[name]),
                hint="list them on one side and write the bare name on the other",
            )
        del pt_words[name]
    return (
        _templates(tf, tf_parts, TF_SEPARATOR, families, tf_words, pt_words),
        _templates(pt, pt_parts, PT_SEPARATOR, families, pt_words, tf_words),
    )


def single(text: str, separator: str = TF_SEPARATOR) -> Template:
    """A template without a counterpart, such as those of `ignore`.

    Example:
        >>> single("{path...}/Momentum").match("a/b/Momentum")
        {'path': ('a', 'b')}
    """
    parts = [_parse(text)]
    return _templates([text], parts, separator, _families(parts), _words_of(parts), {})[0]


def join(outer: str, inner: str, separator: str) -> str:
    """The template of `inner` below `outer`; either may be empty."""
    return separator.join(part for part in (outer, inner) if part)


# -- parsing -----------------------------------------------------------------------------------------


def _parse(text: str) -> Parts:
    parts: Parts = []
    rest = text
    while rest:
        literal, brace, rest = rest.partition("{")
        if "}" in literal:
            raise MappingError("} without an opening {", got=text)
        if literal:
            parts.append(literal)
        if not brace:
            break
        inside, closing, rest = rest.partition("}")
        if not closing or "{" in inside:
            raise MappingError("{ without a closing }", got=text)
        field = parse_field(inside.strip(), text)
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


# -- reconciling the uses of one field in several templates -------------------------------------------


def _fields(side: Sequence[Parts]) -> list[Field]:
    return [part for parts in side for part in parts if isinstance(part, Field) and part.name]


def _families(templates: Sequence[Parts]) -> dict[str, str]:
    """The family of each field; a bare `{name}` takes that of its namesakes, unless they are paths."""
    families: dict[str, str] = {}
    for field in _fields(templates):
        known = families.setdefault(field.name, field.family)
        if known == field.family:
            continue
        if "path" in (known, field.family) or "component" not in (known, field.family):
            raise MappingError(
                f"the field {{{field.name}}} has two kinds",
                expected="one kind wherever the name is used in a row",
                got=" and ".join(sorted({known, field.family})),
            )
        families[field.name] = known if field.family == "component" else field.family
    return families


def _words_of(side: Sequence[Parts]) -> dict[str, tuple[tuple[str, str], ...]]:
    words: dict[str, tuple[tuple[str, str], ...]] = {}
    for field in _fields(side):
        if field.kind == "words" and set(words.setdefault(field.name, field.words)) != set(field.words):
            raise MappingError(
                f"two choices of words for {{{field.name}}} on one side",
                expected=_spell_words(field.name, words[field.name]),
                got=_spell_words(field.name, field.words),
            )
    return words


def _spell_words(name: str, words: Sequence[tuple[str, str]]) -> str:
    spelled = "|".join(here if here == there else f"{here}={there}" for here, there in words)
    return f"{{{name}:{spelled}}}"


def _templates(
    texts: Sequence[str],
    side: Sequence[Parts],
    separator: str,
    families: Mapping[str, str],
    words: Mapping[str, tuple[tuple[str, str], ...]],
    other_words: Mapping[str, tuple[tuple[str, str], ...]],
) -> tuple[Template, ...]:
    def reconciled(part: str | Field) -> str | Field:
        if isinstance(part, str) or part.kind not in ("component", "words"):
            return part
        # The value of a choice is the word on the side that lists it; TensorFlow's if both do.
        if part.name in words:
            return replace(part, kind="words", words=words[part.name])
        if part.name in other_words:
            return replace(part, kind="translated", words=other_words[part.name])
        return replace(part, kind="number") if families.get(part.name) == "number" else part

    return tuple(
        Template(text, separator, tuple(map(reconciled, parts)))
        for text, parts in zip(texts, side, strict=True)
    )
