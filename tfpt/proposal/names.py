"""Names taken apart: words, numbers, and the scopes they are in.

Names are compared by their words, so that `LayerNorm_1/gamma` and `layer_norm.1.weight` have words in common. Numbers
are kept apart, since most names differ in these alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

# `2d` in `conv2d`, abbreviations, words in camel case, numbers; `4b` is a number and a letter that counts.
_WORDS = re.compile(
    r"(?P<rank>(?<=[a-zA-Z])[1-3][dD](?![a-zA-Z]))|(?P<number>\d+)(?P<letter>[a-h](?![a-zA-Z0-9]))?"
    r"|(?P<word>[A-Z]+(?![a-z])|[A-Z]?[a-z]+)"
)
# Pairs of words that make one.
_PAIRS = {
    ("layer", "norm"): "layernorm",
    ("layer", "normalization"): "layernorm",
    ("batch", "norm"): "batchnorm",
    ("batch", "normalization"): "batchnorm",
    ("group", "norm"): "groupnorm",
    ("group", "normalization"): "groupnorm",
    ("rms", "norm"): "rmsnorm",
    ("instance", "norm"): "instancenorm",
    ("moving", "mean"): "moving_mean",
    ("running", "mean"): "moving_mean",
    ("moving", "variance"): "moving_variance",
    ("running", "var"): "moving_variance",
}
# What the file format adds to the name of a variable: the number of an operation's output, the key of an object-based
# checkpoint.
_ADDED = re.compile(r"(:\d+|/\.ATTRIBUTES/VARIABLE_VALUE)$")


@dataclass(frozen=True)
class Word:
    """A word or a number of a name.

    Attributes:
        text: In lower case; a number without leading zeros.
        start, end: Where it is in the name.
        number: Its value, if it is one.
    """

    text: str
    start: int
    end: int
    number: int | None = None


@dataclass(frozen=True)
class Name:
    """The name of a variable or a parameter.

    Attributes:
        text: The whole name.
        separator: What separates its components: ``/`` or ``.``.

    Example:
        >>> name = Name("encoder/layer_03/attention/LayerNorm/gamma", "/")
        >>> name.words
        ('encoder', 'layer', '3', 'attention', 'layernorm', 'gamma')
        >>> name.pattern, name.numbers
        (('encoder', 'layer', '#', 'attention', 'layernorm', 'gamma'), (3,))
        >>> name.scope, name.leaf
        ('encoder/layer_03/attention/LayerNorm', ('gamma',))
        >>> Name("Mixed_4b/Conv2d_0a_1x1", "/").words
        ('mixed', '4', '1', 'conv', '2d', '0', '0', '1', 'x', '1')
    """

    text: str
    separator: str

    @cached_property
    def parts(self) -> tuple[tuple[Word, ...], ...]:
        """The words of each component that has any."""
        plain = _ADDED.sub("", self.text)
        parts, start = [], 0
        for component in plain.split(self.separator):
            words = tuple(_words(component, start))
            if words:
                parts.append(words)
            start += len(component) + len(self.separator)
        return tuple(parts)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the whole name."""
        return tuple(word.text for part in self.parts for word in part)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The numbers among the words."""
        return tuple(word.number for part in self.parts for word in part if word.number is not None)

    @cached_property
    def pattern(self) -> tuple[str, ...]:
        """The words, with `#` for each number."""
        return tuple("#" if word.number is not None else word.text for part in self.parts for word in part)

    @cached_property
    def scope(self) -> str:
        """Everything before the last component."""
        return self.text.rpartition(self.separator)[0]

    @cached_property
    def leaf(self) -> tuple[str, ...]:
        """The words of the last component."""
        return tuple(word.text for word in self.parts[-1]) if self.parts else ()

    @property
    def order(self) -> tuple[tuple[bool, int, str], ...]:
        """A key that sorts names with numbers by value, scope by scope."""
        return tuple(
            (word.number is None, word.number or 0, word.text) for part in self.parts for word in part
        )


@lru_cache(maxsize=200_000)
def parsed(text: str, separator: str) -> Name:
    """A name, taken apart once however often it is asked for."""
    return Name(text, separator)


def _words(component: str, start: int) -> Iterable[Word]:
    found: list[Word] = []
    for match in _WORDS.finditer(component):
        begin, end = start + match.start(), start + match.end()
        if match["number"] is None:
            found.append(Word(match[0].lower(), begin, end))
            continue
        middle = start + match.end("number")
        value = int(match["number"])
        found.append(Word(str(value), begin, middle, value))
        if match["letter"] is not None:
            value = ord(match["letter"]) - ord("a")
            found.append(Word(str(value), middle, end, value))
    joined: list[Word] = []
    for word in found:
        pair = _PAIRS.get((joined[-1].text, word.text)) if joined else None
        if pair is not None:
            joined[-1] = Word(pair, joined[-1].start, word.end)
        else:
            joined.append(word)
    return joined
