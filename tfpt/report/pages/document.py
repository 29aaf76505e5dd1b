"""What all pages share: the frame, the palette, data for scripts, and writing the file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import SinkError
from tfpt.io.output_file import AtomicFile
from tfpt.report.html import escape

# Light, and dark where the reader's system is dark.
PALETTE = """
:root { color-scheme: light dark; --ground: #fff; --soft: #f4f5f7; --ink: #1b1f24; --dim: #5b6470; --rule: #d5d9df;
  --good: #17794a; --bad: #b3261e; --follow: #9a6200; --odd: #7b3fa0; --accent: #1f5fbf; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181c; --soft: #1f242a; --ink: #e8ebef; --dim: #a2acb8;
  --rule: #3a424c; --good: #5ccf94; --bad: #ff8a80; --follow: #f0b455; --odd: #cf9bf2; --accent: #82b1ff; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
{script}</body>
</html>
"""


def document(title: str, style: str, body: str, *, script: str = "") -> str:
    """A whole page. Its policy makes browsers refuse everything from outside, and every script but `script`.

    Args:
        title: Text; it is escaped.
        style: CSS that follows the palette.
        body: HTML.
        script: JavaScript to run after the body.

    Example:
        >>> text = document("a < b", "", "<p>fits</p>")
        >>> "<title>a &lt; b</title>" in text, "<script" in text
        (True, False)
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy + (f"; script-src 'sha256-{digest}'" if script else ""),
        "title": escape(title),
        "style": PALETTE + style,
        "body": body,
        "script": f"<script>{script}</script>\n" if script else "",
    }
    return re.sub(r"\{(policy|title|style|body|script)\}", lambda found: parts[found[1]], _PAGE)


def data(name: str, values: Any) -> str:
    """An element that holds JSON for a script; nothing in it can end the element.

    Args:
        name: The element's id.
        values: JSON values without NaN or infinity.

    Example:
        >>> data("names", ["</script>"])
        '<script type="application/json" id="names">["\\\\u003c/script\\\\u003e"]</script>'
    """
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def check_path(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Check that a page can be written, before anything is computed.

    Raises:
        SinkError: Its name is not that of a page, or it cannot be written.
    """
    if Path(path).suffix not in (".html", ".htm"):
        raise SinkError("the report must be an HTML file", where=str(path), expected=".html or .htm")
    with AtomicFile(path, overwrite):
        pass


def write(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a page atomically.

    Raises:
        SinkError: It exists already, or cannot be written.
    """
    with AtomicFile(path, overwrite) as file:
        file.write_at(0, np.frombuffer(text.encode(errors="replace"), np.uint8))
        file.commit()
