"""Templates as messages show them: long choices of words are abbreviated."""

from __future__ import annotations

import re

# A choice with at most this many words is shown whole, and of a longer one the first two.
_WHOLE = 6
_CHOICE = re.compile(r"(\{[^{}|:]*:)([^{}|]*\|[^{}|]*)((?:\|[^{}|]*)+)\}")


def abbreviated(text: str) -> str:
    """The text of templates with long choices of words cut short.

    Example:
        >>> abbreviated("a/{b:x|y}/w")
        'a/{b:x|y}/w'
        >>> abbreviated("a/{b:q=query|k|v|o|g|gg|h|hh}/w")
        'a/{b:q=query|k|… 8 words}/w'
    """
    return _CHOICE.sub(_shortened, text)


def _shortened(found: re.Match[str]) -> str:
    start, first, others = found.groups()
    count = 2 + others.count("|")
    return found[0] if count <= _WHOLE else f"{start}{first}|… {count} words}}"
