"""Parameters and layers that a mapping declares and never uses."""

from __future__ import annotations

from collections.abc import Iterator

from tfpt.checking.places import Places
from tfpt.language.mapping import Mapping
from tfpt.language.unused import Unused
from tfpt.planning import Finding


def note_unused(mapping: Mapping, places: Places) -> Iterator[Finding]:
    """A note for each parameter and each layer that the mapping's own file declares and nothing uses.

    Parts of mappings, whose names start with an underscore, declare them for others.
    """
    if not mapping.name.startswith("_"):
        for unused in mapping.unused:
            yield places.at_path(_finding(unused), unused.section, unused.name)


def _finding(unused: Unused) -> Finding:
    name, by = unused.name, ", ".join(unused.by)
    if unused.section == "params":
        return Finding(
            "unused-param",
            f"nothing uses the parameter {name}" + (f", except {by}, which nothing uses" if by else ""),
            name=name,
            expected=f"${{{name}}} in a row, a scope or another value",
            hint="use it, or remove it",
        )
    return Finding(
        "unused-layer",
        f"no scope places the layer {name}" + (f", except in {by}, which no scope places" if by else ""),
        name=name,
        expected=f"a scope with layer: {name}",
        hint="place it, or remove it",
    )
