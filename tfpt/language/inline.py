"""Values as YAML in one line, in the style of the rows of a mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def inline(value: Any) -> str:
    """A value in one line, quoted only where YAML needs it.

    Example:
        >>> inline({"tf": "conv1/Relu", "layout": "b c -> b c", "pt": "no"})
        '{tf: conv1/Relu, layout: "b c -> b c", pt: "no"}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if (
        re.fullmatch(r"[A-Za-z_/][\w./:() -]*", value)
        and ": " not in value
        and not re.fullmatch(r"(?i)y|n|yes|no|on|off|true|false|null", value)
        and not value.endswith((":", " "))
    ):
        return value
    return json.dumps(value)
