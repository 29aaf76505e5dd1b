"""Templates of names: the two sides of a row, each of which can match a name and render one.

A template is literal text with fields in braces (see docs/language.md, "Templates"). `pair` parses both sides
of a row together, since either side may state a field's kind.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from math import prod

from tfpt.errors import MappingError
from tfpt.language.abbreviation import abbreviated
from tfpt.language.adjacent_fields import check_adjacent
from tfpt.language.field_grammar import parse_field, spell_words
from tfpt.language.field_kinds import Kinds, Parts, domains_of, fields_of, words_of
from tfpt.language.fields import Domain, Field, Value, undivide
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
    "parent",
    "single",
]

TF_SEPARATOR = "/"
PT_SEPARATOR = "."

# The names that one name with alternatives may have.
_MOST_VARIANTS = 64


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
        return all(isinstance(part, str) or part.name or part.kind == "alternative" for part in self.parts)

    @cached_property
    def variants(self) -> tuple[Template, ...]:
        """This template once for each of its alternatives, the first ones first; usually just itself."""
        choices = [
            [word for word, _ in part.words]
            if isinstance(part, Field) and part.kind == "alternative"
            else [part]
            for part in self.parts
        ]
        if all(len(choice) == 1 for choice in choices):
            return (self,)
        return tuple(replace(self, parts=parts) for parts in product(*choices))

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
            value = part.decode(text, self.separator)
            if part.divisor:
                if not isinstance(value, int):
                    return None
                if pieces.setdefault(part.name, {}).setdefault(part.kind, value) != value:
                    return None
                continue
            if value is None or values.setdefault(part.name, value) != value:
                return None
        for name_, piece in pieces.items():
            divided = next(part for part in self._cutter.fields if part.name == name_ and part.divisor)
            number = undivide(piece["quotient"], piece["remainder"], divided.divisor)
            if number is None or not divided.holds(number) or values.setdefault(name_, number) != number:
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

    def render_in(self, values: Mapping[str, Value], names: Container[str]) -> str | None:
        """The name for these field values with the first alternatives for which it is in `names`.

        If none is, the name with the first alternatives.

        Example:
            >>> _, pt = pair("norm_{i}/scale", "norm.{i:int}.{_:weight|gamma}")
            >>> pt.render_in({"i": 3}, {"norm.3.gamma"}), pt.render_in({"i": 3}, {})
            ('norm.3.gamma', 'norm.3.weight')
        """
        if len(self.variants) == 1:
            return self.render(values)
        rendered = [variant.render(values) for variant in self.variants]
        return next((name for name in rendered if name in names), rendered[0])

    def first_alternatives(
        self, matches: Iterable[tuple[str, dict[str, Value]]]
    ) -> list[tuple[str, dict[str, Value]]]:
        """Of names that this template matches, and that differ only in its alternatives, the first."""
        found = list(matches)
        if len(self.variants) == 1:
            return found
        best: dict[tuple[str, ...], tuple[tuple[int, ...], str]] = {}
        for name, _ in found:
            cut = self.cut(name) or ()
            rest = tuple(text for field, text in cut if field.kind != "alternative")
            rank = tuple(field.spelled.index(text) for field, text in cut if field.kind == "alternative")
            best[rest] = min(best.get(rest, (rank, name)), (rank, name))
        chosen = {name for _, name in best.values()}
        return [(name, values) for name, values in found if name in chosen]

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
    if not any("{" in text or "}" in text for text in (*tf, *pt)):  # most rows of most mappings
        return _literal(tf, TF_SEPARATOR), _literal(pt, PT_SEPARATOR)
    tf_parts = [_parse(text) for text in tf]
    pt_parts = [_with_alternatives(_parse(text), text) for text in pt]
    tf_words, pt_words = words_of(tf_parts), words_of(pt_parts)
    for name in tf_words.keys() & pt_words.keys():
        if {(there, here) for here, there in pt_words[name]} != set(tf_words[name]):
            raise MappingError(
                f"both sides list words for {{{name}}}, but not the same pairs",
                expected=spell_words(name, tf_words[name]),
                got=spell_words(name, pt_words[name]),
                hint="list them on one side and write the bare name on the other",
            )
        del pt_words[name]
    lonely = {field.name for field in fields_of(tf_parts)} ^ {field.name for field in fields_of(pt_parts)}
    kinds = Kinds([*tf_parts, *pt_parts], {**pt_words, **tf_words}, lonely if tf and pt else set())
    tf_parts, pt_parts = kinds.reconciled(tf_parts, tf_words), kinds.reconciled(pt_parts, pt_words)
    domains = domains_of([*tf_parts, *pt_parts])
    return (
        _templates(tf, tf_parts, TF_SEPARATOR, domains),
        _templates(pt, pt_parts, PT_SEPARATOR, domains),
    )


def _literal(texts: Sequence[str], separator: str) -> tuple[Template, ...]:
    return tuple(Template(text, separator, (text,) if text else ()) for text in texts)


def single(text: str, separator: str = TF_SEPARATOR) -> Template:
    """A template without a counterpart, such as those of `ignore`.

    Example:
        >>> single("{path...}/Momentum").match("a/b/Momentum")
        {'path': ('a', 'b')}
    """
    parts = [_parse(text)]
    words = words_of(parts)
    parts = Kinds(parts, words, set()).reconciled(parts, words)
    return _templates([text], parts, separator, domains_of(parts))[0]


def join(outer: str, inner: str, separator: str) -> str:
    """The template of `inner` below `outer`; either may be empty."""
    return separator.join(part for part in (outer, inner) if part)


def parent(text: str, separator: str) -> str:
    """The template without its last component; separators in braces do not count.

    Example:
        >>> parent("norm.{b:gamma=weight|beta=a.b}", "."), parent("weight", ".")
        ('norm', '')
    """
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] == "}") - (text[at] == "{")
        if text[at] == separator and not depth:
            return text[:at]
    return ""


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
        parts.append(_field(inside.strip()) or parse_field(inside.strip(), text))
    divided = [part for part in parts if isinstance(part, Field) and part.divisor]
    for field in divided:
        if {(other.kind, other.divisor) for other in divided if other.name == field.name} != {
            ("quotient", field.divisor),
            ("remainder", field.divisor),
        }:
            raise MappingError(
                "a quotient needs its remainder in the same template, by the same number",
                expected=f"{{{field.name}//{_spell(field)}}} and {{{field.name}%{_spell(field)}}}",
                got=text,
            )
    return parts


@lru_cache(maxsize=4096)
def _field(inside: str) -> Field | None:
    """The field; None for a mistake, whose message names the whole template."""
    try:
        return parse_field(inside, "")
    except MappingError:
        return None


def _with_alternatives(parts: Parts, text: str) -> Parts:
    """A name to write: text of which only one word of a choice is discarded is a choice of names."""
    found: Parts = [
        replace(part, kind="alternative")
        if isinstance(part, Field) and part.kind == "words" and not part.name
        else part
        for part in parts
    ]
    count = prod(len(part.words) for part in found if isinstance(part, Field) and part.kind == "alternative")
    if count > _MOST_VARIANTS:
        raise MappingError(
            "a name has too many alternatives", expected=f"at most {_MOST_VARIANTS}", got=f"{count} in {text}"
        )
    return found


def _spell(field: Field) -> str:
    return str(list(field.divisor)) if isinstance(field.divisor, tuple) else str(field.divisor)


def _templates(
    texts: Sequence[str], side: Sequence[Parts], separator: str, domains: Mapping[str, Domain]
) -> tuple[Template, ...]:
    templates = []
    for text, parts in zip(texts, side, strict=True):
        finished = tuple(parts)
        if domains:
            finished = tuple(
                replace(part, domain=domains[part.name])
                if isinstance(part, Field) and part.is_number and part.name in domains
                else part
                for part in parts
            )
        check_adjacent(finished, text)
        templates.append(Template(text, separator, finished))
    return tuple(templates)
