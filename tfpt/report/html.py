"""Text of strangers in a page of HTML."""

from __future__ import annotations

import html

from tfpt.visible import visible


def escape(text: str) -> str:
    """A name, a path or another text for a page: no markup, no control, nothing that turns the direction of writing.

    Example:
        >>> print(escape("<b>w\\x1b\\u202e"))
        &lt;b&gt;w\\x1b\\u202e
    """
    return html.escape(visible(text))
