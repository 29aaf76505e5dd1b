"""The page of two trees: TensorFlow's scopes, PyTorch's modules, and what joins them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files

from tfpt.planning import Finding
from tfpt.report.html import escape
from tfpt.report.pages.document import data, document, write
from tfpt.report.pages.matching import Matching
from tfpt.report.pages.states import STATES

# In this order: each uses what those before it define.
_SCRIPTS = ("trees_model.js", "trees_layout.js", "trees_details.js", "trees_view.js", "trees_use.js")
# The number of findings that are about no tensor and are listed.
_LISTED = 50


def write_page(
    path: str | os.PathLike[str], matchings: Sequence[Matching], *, overwrite: bool = False
) -> None:
    """Write the page atomically.

    Raises:
        SinkError: It exists already, or cannot be written.
    """
    write(path, page(matchings), overwrite=overwrite)


def page(matchings: Sequence[Matching]) -> str:
    """The page as text. Of several matchings, a list at the top chooses one.

    Example:
        >>> empty = Matching("net", "fits", True, ("TensorFlow", "PyTorch"), ("a", "b"), ("/", "."), {}, {}, [], [])
        >>> page([empty]).startswith("<!doctype html>")
        True
    """
    values = {
        "states": {name: asdict(state) for name, state in STATES.items()},
        "matchings": [matching.to_json() for matching in matchings],
    }
    body = "\n".join(
        [
            _read("trees.html"),
            *(_loose(index, matching) for index, matching in enumerate(matchings)),
            data("data", values),
        ]
    )
    script = '"use strict";\n(() => {\n' + "\n".join(map(_read, _SCRIPTS)) + "\n})();\n"
    title = matchings[0].title if len(matchings) == 1 else f"{len(matchings)} mappings"
    return document(title, _read("trees.css"), body, script=script)


def _loose(index: int, matching: Matching) -> str:
    """Findings that no tensor can show, as a list that the script moves to its place."""
    loose = matching.loose
    if not loose:
        return ""
    more = len(loose) - _LISTED
    items = "".join(_finding(finding) for finding in loose[:_LISTED])
    items += f"<li>and {more:,} more</li>" if more > 0 else ""
    stops = sum(finding.stops for finding in loose)
    counts = [
        f"{number} {word}{'s' * (number != 1)}"
        for number, word in ((stops, "finding"), (len(loose) - stops, "note"))
    ]
    label = " and ".join(text for text in counts if not text.startswith("0 "))
    opened = " open" if stops else ""
    return (
        f'<details class="loose" data-matching="{index}"{opened} hidden>'
        f"<summary>{label} not about a single tensor</summary><ul>{items}</ul></details>"
    )


def _finding(finding: Finding) -> str:
    parts = {
        "expected": finding.expected,
        "got": finding.got,
        "nearest": ", ".join(finding.nearest),
        "next": finding.hint,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items() if text)
    kind = "stops" if finding.stops else "note"
    where = f" <small>{escape(finding.where)}</small>" if finding.where else ""
    return (
        f'<li class="{kind}"><b>{escape(finding.kind)}</b> {escape(finding.what)}{where}'
        + (f"<dl>{rows}</dl>" if rows else "")
        + "</li>"
    )


def _read(name: str) -> str:
    return files("tfpt.report.pages").joinpath(name).read_text(encoding="utf-8")
