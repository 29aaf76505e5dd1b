"""Untrusted text in an HTML page."""

from __future__ import annotations

import html

from tfpt.visible import visible


def escape(text: str) -> str:
    """Escape untrusted text for a page: no markup, no control characters, no change of text direction.

    Example:
        >>> print(escape("<b>w\\x1b\\u202e"))
        &lt;b&gt;w\\x1b\\u202e
    """
    return html.escape(visible(text))
