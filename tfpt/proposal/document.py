"""The text of a proposed mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfpt.language.inline import inline
from tfpt.proposal.templates import Item

_WIDTH = 40
# The most reasons for doubt written above one row.
_REASONS = 2


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
        modules: How modules without a scope must behave: their keys, by path.
        endpoints: The activations that both networks were found to compute: TensorFlow's name, module, other keys.
        input: The layout of the input.
        proof: What is known from running both networks, one line each.
    """

    summary: str
    scope: str = ""
    names: str = ""
    ignore: Mapping[str, str] = field(default_factory=dict)
    ema: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    open: Sequence[str] = ()
    unused: Mapping[str, int] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    endpoints: Sequence[tuple[str, str, str]] = ()
    input: str = ""
    proof: Sequence[str] = ()


def written(facts: Facts, items: Sequence[Item]) -> str:
    """The mapping as YAML, in the order of the network."""
    lines = [*(f"# {line}" for line in facts.proof), "version: 1", f"summary: {inline(facts.summary)}", ""]
    lines += _source(facts)
    if facts.model:
        lines += ["model:", *(f"  {key}: {inline(value)}" for key, value in facts.model.items()), ""]
    scopes = [item for item in items if item.content.startswith("use: ")]
    rows = [item for item in items if not item.content.startswith("use: ")]
    if scopes:
        lines += ["scopes:", *entries(scopes, facts.scope), ""]
    if rows:
        lines += ["weights:", *entries(rows, facts.scope), ""]
    if facts.modules:
        lines += [
            "modules:",
            *(f"  - {{pt: {inline(path)}, {keys}}}" for path, keys in facts.modules.items()),
            "",
        ]
    if facts.endpoints:
        lines += ["endpoints:"]
        for tf, pt, keys in facts.endpoints:
            lines.append(f"  - {{tf: {inline(tf)}, pt: {inline(pt)}{', ' + keys if keys else ''}}}")
        lines.append("")
    if facts.input:
        lines += [f"input: {{layout: {inline(facts.input)}}}", ""]
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
        lines.append(f"  scope: {inline(facts.scope)}")
    if facts.names:
        lines.append(f"  names: {facts.names}")
    if facts.ema:
        lines.append(f"  ema: {facts.ema}")
    if facts.ignore:
        lines.append("  ignore:")
        lines += [f"    - {{role: {role}, why: {inline(why)}}}" for role, why in facts.ignore.items()]
    if facts.unused:
        unused = [
            f"- {{tf: {inline(_relative(text, facts.scope))}, why: not in the model}}"
            + (f"  # {count} variables" if count > 1 else "")
            for text, count in facts.unused.items()
        ]
        # Without the "# " before them, these lines continue the section.
        head = [] if facts.ignore else (["  # ignore:"] if lines else ["# source:", "#   ignore:"])
        indent = "    # " if facts.ignore else ("  #   " if lines else "#     ")
        lines.append(
            f"{indent[: indent.index('#')]}# unsure: nothing in the model fits these. Leave them out?"
        )
        lines += [*head, *(f"{indent}{entry}" for entry in unused)]
    if not lines:
        return []
    return [*([] if lines[0].startswith("#") else ["source:"]), *lines, ""]


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
        reasons = sorted(item.unsure)
        lines += [f"  # unsure: {reason}" for reason in reasons[:_REASONS]]
        if len(reasons) > _REASONS:
            lines.append(f"  # … and {len(reasons) - _REASONS} more")
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
    return f"  - {{tf: {inline(_relative(template, scope))}, why: {inline(why)}}}"


def _relative(name: str, scope: str) -> str:
    if not scope:
        return name
    if name == scope:
        return ""
    return name.removeprefix(f"{scope}/") if name.startswith(f"{scope}/") else f"/{name}"


def _names(names: Sequence[str]) -> str:
    texts = [inline(name) for name in names]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
