"""The text of a proposed mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfpt.proposal.templates import Item

_WIDTH = 40


@dataclass(frozen=True)
class Facts:
    """What the file says besides its rows.

    Attributes:
        summary: One line.
        scope: What every name of a variable begins with.
        names: `keras` if variables are named by layer and weight.
        ignore: Roles left out, with the reason.
        ema: Whether moving averages take the place of variables.
        model: The section `model`.
        open: Parameters without a variable, with what is known about each.
        unused: Templates of variables that nothing uses, and how many each stands for.
    """

    summary: str
    scope: str = ""
    names: str = ""
    ignore: Mapping[str, str] = field(default_factory=dict)
    ema: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    open: Sequence[str] = ()
    unused: Mapping[str, int] = field(default_factory=dict)


def written(facts: Facts, items: Sequence[Item]) -> str:
    """The mapping as YAML, in the order of the network."""
    lines = ["version: 1", f"summary: {_plain(facts.summary)}", ""]
    lines += _source(facts)
    if facts.model:
        lines += ["model:", *(f"  {key}: {_value(value)}" for key, value in facts.model.items()), ""]
    scopes = [item for item in items if item.content.startswith("use: ")]
    rows = [item for item in items if not item.content.startswith("use: ")]
    if scopes:
        lines += ["scopes:", *entries(scopes, facts.scope), ""]
    if rows:
        lines += ["weights:", *entries(rows, facts.scope), ""]
    if facts.open:
        lines += [f"# open: nothing in the checkpoint fits {_counted(len(facts.open), 'parameter')}:"]
        lines += [f"#   {text}" for text in facts.open]
        lines += [
            "# Leave one as the model computes it: {pt: NAME, keep: true}; or make it constant: {pt: NAME, fill: 0}.",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _source(facts: Facts) -> list[str]:
    lines: list[str] = []
    if facts.scope:
        lines.append(f"  scope: {_value(facts.scope)}")
    if facts.names:
        lines.append(f"  names: {facts.names}")
    if facts.ema:
        lines.append(f"  ema: {facts.ema}")
    if facts.ignore or facts.unused:
        lines.append("  ignore:")
        lines += [f"    - {{role: {role}, why: {_value(why)}}}" for role, why in facts.ignore.items()]
    if facts.unused:
        lines.append(
            "    # unsure: nothing in the model fits these. If they are not needed, remove the # before them."
        )
        lines += [
            f"    # - {{tf: {_value(_relative(text, facts.scope))}, why: {_value('not in the model')}}}"
            + (f"  # {count} variables" if count > 1 else "")
            for text, count in facts.unused.items()
        ]
        if not facts.ignore:
            lines[lines.index("  ignore:")] = "  # ignore:"
    return ["source:", *lines, ""] if lines else []


def entries(items: Sequence[Item], scope: str) -> list[str]:
    """The lines of scopes or rows, aligned, after each reason for doubt; names relative to the scope.

    Example:
        >>> print(*entries([Item(("net/a/w",), ("a.weight",), 'layout: "i o -> o i"', 0)], "net"))
          - {tf: a/w, pt: a.weight, layout: "i o -> o i"}
    """
    found = []
    for item in items:
        tf = [_relative(name, scope) for name in item.tf]
        found.append((_names(tf), _names(item.pt), item))
    wide_tf = min(max((len(tf) for tf, _, _ in found), default=0), 2 * _WIDTH)
    wide_pt = min(max((len(pt) for _, pt, _ in found), default=0), 2 * _WIDTH)
    lines: list[str] = []
    for text, pt, item in found:
        lines += [f"  # unsure: {reason}" for reason in sorted(item.unsure)]
        entry = f"tf: {text + ',':{wide_tf + 1}} " if item.tf else ""
        content = f"{item.content}" if item.content else ""
        target = f"pt: {pt + ',':{wide_pt + 1}} " if content else f"pt: {pt}"
        lines.append(f"  - {{{entry}{target}{content}}}")
    return lines


def ignore_entry(template: str, scope: str, why: str) -> str:
    """The line that leaves out what a template matches.

    Example:
        >>> ignore_entry("net/old/{path...}", "net", "not in the model")
        '  - {tf: "old/{path...}", why: not in the model}'
    """
    return f"  - {{tf: {_value(_relative(template, scope))}, why: {_value(why)}}}"


def _relative(name: str, scope: str) -> str:
    if not scope:
        return name
    if name == scope:
        return ""
    return name.removeprefix(f"{scope}/") if name.startswith(f"{scope}/") else f"/{name}"


def _names(names: Sequence[str]) -> str:
    texts = [_value(name) for name in names]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _plain(text: str) -> str:
    return _value(text)


def _value(value: Any) -> str:
    """A value in one line, quoted only where YAML needs it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
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


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
