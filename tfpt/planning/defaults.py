"""Parameters left at their defaults although a configuration was given: a note, not an error."""

from __future__ import annotations

from tfpt.language.mapping import Mapping
from tfpt.planning.findings import Finding

# The number of parameters named.
_NAMED = 10


def note_defaults(mapping: Mapping) -> list[Finding]:
    """One note for all such parameters, or none."""
    found = mapping.defaulted
    if not found:
        return []
    listed = [f"{default.name} = {default.value!r} ({default.key})" for default in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    which = (
        "a parameter has its default" if len(found) == 1 else f"{len(found)} parameters have their defaults"
    )
    return [
        Finding(
            "default",
            f"{which}, since the configuration has no value for {'it' if len(found) == 1 else 'them'}",
            name=found[0].name,
            where=found[0].position.row,
            got=", ".join(listed) + more,
            hint="--set NAME=VALUE, to set another value",
        )
    ]
