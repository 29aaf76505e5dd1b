"""The text of the mapping that belongs to a written module."""

from __future__ import annotations

import json

from tfpt.modelwriting.block import Block, Endpoint, Row, Scope, Written
from tfpt.modelwriting.python_text import argument_names
from tfpt.modelwriting.translate import comment_text

_RECURRENT = """  {name}:
    weights:
      - {{tf: kernel,           pt: weight_ih_l0{end}, layout: "i g -> g i"{gates}}}
      - {{tf: recurrent_kernel, pt: weight_hh_l0{end}, layout: "h g -> g h"{gates}}}
"""
_ONE_BIAS = """      - {{tf: bias,             pt: bias_ih_l0{end},   layout: "g -> g", optional: true}}
      - {{pt: bias_hh_l0{end}, fill: 0, like: bias_ih_l0{end}, optional: true}}
"""
_TWO_BIASES = (
    "      - {{tf: bias, pt: [bias_ih_l0{end}, bias_hh_l0{end}], "
    'layout: "b g -> b g"{gates}, optional: true}}\n'
)
_BIAS_OF_THE_INPUT = '      - {{tf: bias, pt: bias_ih_l0{end}, layout: "g -> g"{gates}, optional: true}}\n'
_GRU = ", reorder: {axis: g, groups: [z, r, n], as: [r, z, n]}"

_ROLES = {
    "slot": "of the optimizer",
    "counter": "counts steps",
    "metric": "a metric of the training",
    "average": "a moving average of a weight",
    "constant": "a constant",
    "record": "not a weight",
}


def mapping_text(written: Written, factory: str, source: str) -> str:
    """The mapping in YAML.

    Args:
        written: The classes; the last one is the model.
        factory: ``module:Class``.
        source: The name of the file that the model was written from.
    """
    block = written.classes[-1]
    summary = quoted(f"{comment_text(source)} in PyTorch, written by tfpt init --write-model")
    lines = ["version: 1", f"summary: {summary}", "source:", "  names: keras"]
    if written.ignored or written.roles:
        lines.append("  ignore:")
        lines += [f"    - {{role: {role}, why: {_ROLES[role]}}}" for role in _ROLES if role in written.roles]
        lines += [f"    - {{tf: {quoted(name)}, why: {why}}}" for name, why in written.ignored.items()]
    lines += [f"model: {{factory: {quoted(factory)}}}"]
    if written.layers:
        lines += [
            "",
            "layers:",
            *"".join(_layer(name) for name in sorted(written.layers)).rstrip().split("\n"),
        ]
    scopes = [each for each in written.scopes if isinstance(each, Scope)]
    if scopes:
        lines += ["", "scopes:", *(f"  - {{{_scope(each)}}}" for each in scopes)]
    rows = [each for each in written.scopes if isinstance(each, Row)]
    if rows:
        lines += ["", "weights:", *(f"  - {{{_row(each)}}}" for each in rows)]
    for missing in written.missing:
        lines.append(
            f"\n# TODO: {comment_text(missing.layer)}, a {comment_text(missing.kind)}, was not written."
        )
        lines += [f"#   {comment_text(spec.name)} {list(spec.shape)}" for spec in missing.variables]
    endpoints = list({each.pt: each for each in written.endpoints}.values())
    if endpoints:
        lines += ["", "endpoints:", *(f"  - {{{_endpoint(each)}}}" for each in endpoints)]
    described = _input(block)
    if described:
        lines += ["", f"input: {{{described}}}"]
    return "\n".join(lines) + "\n"


def _layer(name: str) -> str:
    """A layer that the library does not have: simple recurrent ones, and the backward direction."""
    end = "_reverse" if name.endswith("_reverse") else ""
    gru = name.startswith("gru")
    biases = _TWO_BIASES if gru else _ONE_BIAS
    text = _RECURRENT + (_BIAS_OF_THE_INPUT if name.startswith("gru_reset_before") else biases)
    return text.format(name=name, end=end, gates=_GRU if gru else "")


def _scope(scope: Scope) -> str:
    parts = [f"tf: {quoted(scope.tf)}", f"pt: {quoted(scope.pt)}"]
    parts.append(f"use: {scope.use}" if scope.use else f"layer: {scope.layer}")
    if scope.eps is not None:
        parts.append(f"eps: {yaml_number(scope.eps)}")
    return ", ".join(parts)


def _row(row: Row) -> str:
    parts = [f"tf: {quoted(row.tf)}"] if row.tf else []
    return ", ".join([*parts, f"pt: {quoted(row.pt)}", *([row.more] if row.more else [])])


def _endpoint(endpoint: Endpoint) -> str:
    layout = f', layout: "{endpoint.layout}"' if endpoint.layout else ""
    return f"tf: {quoted(endpoint.tf)}, pt: {quoted(endpoint.pt)}{layout}{endpoint.more}"


def _input(block: Block) -> str:
    parts = []
    values = list(block.inputs.values())
    layout = values[0].layout
    if layout:
        parts.append(f'layout: "{layout}"')
    elif len(values) == 1 and len(values[0].shape) == 2 and values[0].rows:
        parts.append('layout: "b t -> b t"')
    rows = [value.rows for value in values if value.rows]
    if rows and len(rows) == len(values):
        parts.append(f"range: [0, {max(min(rows) - 1, 1)}]")
    sizes = values[0].shape[1:-1]
    if len(values) == 1 and len(values[0].shape) in (4, 5) and sizes[-1] and sizes[-1] == sizes[-2]:
        parts.append(f"size: {sizes[-1]}")
    names = dict(zip(block.inputs, argument_names(block), strict=True))
    other = {name: argument for name, argument in names.items() if name != argument}
    if len(names) > 1 and other:
        parts.append(f"names: {{{', '.join(f'{quoted(a)}: {b}' for a, b in other.items())}}}")
    return ", ".join(parts)


def quoted(text: str) -> str:
    """A text in YAML, quoted if it has to be.

    Example:
        >>> quoted("block1/conv"), quoted("on"), quoted("a: b")
        ('block1/conv', '"on"', '"a: b"')
    """
    plain = text.replace("/", "a").replace("_", "a").replace(".", "a").replace("-", "a").replace(":", "a")
    words = ("on", "off", "yes", "no", "true", "false", "null", "y", "n")
    safe = plain.isascii() and plain.isalnum() and text[0].isalpha() and text.lower() not in words
    return text if safe and not text.endswith(":") else json.dumps(text)


def yaml_number(value: float) -> str:
    """A number that YAML reads as one.

    Example:
        >>> yaml_number(0.001), yaml_number(1e-12), yaml_number(1.001e-05)
        ('1.0e-3', '1.0e-12', '1.001e-5')
    """
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        text = f"{float(value):.15e}"
        mantissa, _, exponent = text.partition("e")
        mantissa = repr(float(mantissa))
    if "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}e{'-' if int(exponent) < 0 else '+'}{abs(int(exponent))}"
