"""The kind of a field that several templates of a row share: any of them may state it, and it applies to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from tfpt.errors import MappingError
from tfpt.language.field_grammar import has_numbers, spell_words
from tfpt.language.fields import Domain, Field

Parts = list[str | Field]
Words = tuple[tuple[str, str], ...]


class Kinds:
    """The kinds of the fields of a row, by name, from all its templates.

    Args:
        templates: The templates of both sides.
        words: The words listed for a field, on either side.
        lonely: The fields that only one side has.

    Raises:
        MappingError: A field has two kinds.
    """

    def __init__(self, templates: Sequence[Parts], words: Mapping[str, Words], lonely: Set[str]) -> None:
        self.words = words
        # The fields whose words are numbers.
        self.numeric: set[str] = set()
        self.families: dict[str, str] = {}
        for field in fields_of(templates):
            self._unite(field)
        for name in words.keys() & lonely:
            # The index of a stack: words in an order of their own.
            if has_numbers(words[name]) and any(here != there for here, there in words[name]):
                self.numeric.add(name)

    def _unite(self, field: Field) -> None:
        known = self.families.setdefault(field.name, field.family)
        both = {known, field.family}
        if len(both) == 1:
            return
        if both == {"number", "words"} and has_numbers(self.words[field.name]):
            self.numeric.add(field.name)
            self.families[field.name] = "number"
        elif "path" in both or "component" not in both:
            raise MappingError(
                f"the field {{{field.name}}} has two kinds",
                expected="one kind wherever the name is used in a row",
                got=" and ".join(sorted(both)),
            )
        else:  # a bare {name} takes the kind of its namesakes
            self.families[field.name] = known if field.family == "component" else field.family

    def reconciled(self, side: Sequence[Parts], own_words: Mapping[str, Words]) -> list[Parts]:
        """The templates of one side, each field with what the other templates say about it.

        Args:
            side: The templates.
            own_words: The words listed on this side.
        """
        return [[self._reconciled(part, own_words) for part in parts] for parts in side]

    def _reconciled(self, field: str | Field, own_words: Mapping[str, Words]) -> str | Field:
        if isinstance(field, str) or not field.name or field.kind not in ("component", "words"):
            return field
        words = self.words.get(field.name, ())
        if field.name in self.numeric:
            here = own_words.get(field.name, ())
            return replace(field, kind="number", words=here, digits=not here)
        # The value of a choice is the word on the side that lists it; TensorFlow's if both do.
        if field.name in own_words:
            return replace(field, kind="words", words=words)
        if words:
            return replace(field, kind="translated", words=words)
        return replace(field, kind="number") if self.families.get(field.name) == "number" else field


def words_of(side: Sequence[Parts]) -> dict[str, Words]:
    """The words that the templates of one side list, by field.

    Raises:
        MappingError: Two lists for one field.
    """
    words: dict[str, Words] = {}
    for field in fields_of(side):
        if field.kind == "words" and set(words.setdefault(field.name, field.words)) != set(field.words):
            raise MappingError(
                f"two choices of words for {{{field.name}}} on one side",
                expected=spell_words(field.name, words[field.name]),
                got=spell_words(field.name, field.words),
            )
    return words


def domains_of(templates: Sequence[Parts]) -> dict[str, Domain]:
    """What each number must be in so that all templates have a name for it."""
    domains: dict[str, Domain] = {}
    for field in fields_of(templates):
        limits = [each for each in field.own_domain if each not in domains.get(field.name, ())]
        if limits:
            domains[field.name] = (*domains.get(field.name, ()), *limits)
    return domains


def fields_of(side: Sequence[Parts]) -> list[Field]:
    """The fields with a name, in order."""
    return [part for parts in side for part in parts if isinstance(part, Field) and part.name]
