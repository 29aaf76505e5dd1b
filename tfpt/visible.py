"""Printing untrusted text (names, paths, messages) so that it can neither control a terminal nor fake a line."""

from __future__ import annotations

import unicodedata

# Control characters; zero-width characters and changes of direction; lone surrogates; other line ends.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, lines: bool = False) -> str:
    """The text with everything escaped that a terminal would interpret or hide.

    Args:
        text: Any text.
        lines: Keep line ends and tabs, for a message of several lines.

    Example:
        >>> print(visible("conv\\x1b[2J/w\\nerror: none\\u202e"))
        conv\\x1b[2J/w\\nerror: none\\u202e
        >>> visible("ü/w") == "ü/w"
        True
    """
    if text.isprintable():
        return text
    return "".join(each if lines and each in "\n\t" else _shown(each) for each in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
