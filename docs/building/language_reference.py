"""Writes docs/language_reference.md from the JSON schema of mappings: every key, its type, its default, its meaning.

python docs/building/language_reference.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfpt.language.json_schema import json_schema

PAGE = Path(__file__).resolve().parents[1] / "language_reference.md"

_INTRODUCTION = """\
# Every key of a mapping

This page is written from the schema that `tfpt schema` prints and that [editors](language.md#in-an-editor) use. \
[The mapping language](language.md) explains it with examples. Tables in YAML are keys with values; a key that is \
not listed here is an error, which names the nearest one.

Wherever a value is not just text, `${name}` or [an expression](language.md#expressions) may be instead of it.

<!-- written by docs/building/language_reference.py -->
"""
# The tables of the schema in the order of the page: where they are in a mapping, and where the guide explains them.
_TABLES = {
    "": ("The file", "language.md#the-file"),
    "AboutEntry": ("about", "language.md#the-file"),
    "SourceEntry": ("source", "language.md#the-source-scope-and-ignore"),
    "IgnoreEntry": ("source.ignore", "language.md#the-source-scope-and-ignore"),
    "EmaEntry": ("source.ema", "language.md#moving-averages"),
    "ModelEntry": ("model", "language.md#the-model"),
    "LayerEntry": ("layers", "language.md#layers-scopes-and-single-rows"),
    "ScopeEntry": ("scopes", "language.md#layers-scopes-and-single-rows"),
    "RowEntry": ("weights", "language.md#a-row"),
    "Concat": ("concat", "language.md#joins-splits-and-stacks"),
    "Fold": ("fold", "language.md#folding-batch-normalization"),
    "Split": ("split", "language.md#joins-splits-and-stacks"),
    "Reorder": ("reorder", "language.md#a-row"),
    "Add": ("add", "language.md#a-row"),
    "Pad": ("pad", "language.md#a-row"),
    "Zero": ("zero", "language.md#a-row"),
    "ModuleEntry": ("modules", "language.md#how-layers-must-behave"),
    "ResponseNormEntry": ("response_norm", "language.md#how-layers-must-behave"),
    "EndpointEntry": ("endpoints", "language.md#endpoints-and-input"),
    "InputEntry": ("input", "language.md#endpoints-and-input"),
}
_FILE = "All keys of the file itself. `version` may be left to a mapping that this one extends."
_DEFINED: dict[str, Any] = json_schema()["$defs"]
# Those that may be written without a table.
_SHORT = ("Add", "Concat", "Split")
_TYPES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "null": "",
    "object": "table",
}


def page() -> str:
    """The whole page.

    Raises:
        ValueError: The schema has a table that the page does not mention, or a key without a description.
    """
    schema = json_schema()
    tables = {"": schema, **schema["$defs"]}
    if tables.keys() != _TABLES.keys():
        raise ValueError(f"not on the page: {sorted(tables.keys() ^ _TABLES.keys())}")
    return "\n".join([_INTRODUCTION, *(line for name in _TABLES for line in _section(name, tables[name]))])


def _section(name: str, schema: dict[str, Any]) -> Iterator[str]:
    title, guide = _TABLES[name]
    table = (
        schema if "properties" in schema else next(each for each in schema["anyOf"] if "properties" in each)
    )
    # A description may be a whole docstring: its first paragraph is about the table.
    said = (
        _FILE
        if not name
        else re.sub(r"\s+", " ", table["description"].partition("\n\n")[0]).replace("``", "`")
    )
    heading = title if not name else f"`{title}`"
    yield f"## {heading}\n"
    yield f"{said} [More]({guide}).\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    required = table.get("required", []) if name else ["version"]
    for key, value in table["properties"].items():
        default = "required" if key in required else _default(value.get("default"))
        cells = (f"`{key}`", _type(value), default, _meaning(title, key, value))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _meaning(title: str, key: str, value: dict[str, Any]) -> str:
    if not value.get("description"):
        raise ValueError(f"{title}.{key} has no description")
    return str(value["description"])


def _default(value: Any) -> str:
    if value in (None, "", [], {}, [""]) or isinstance(value, dict):
        return "—"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(schema: dict[str, Any]) -> str:
    """The type of a value in words."""
    words: list[str] = []
    for choice in _choices(schema):
        text = _one(choice)
        if (
            words
            and "enum" in choice.get("items", {}).get("anyOf", [{}])[0]
            and text == f"list of {words[-1]}"
        ):
            text = "list of these"
        if text and text not in words:
            words.append(text)
    return ", or ".join(words)


def _choices(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The alternatives of a value, without null, parameters and expressions."""
    if "$ref" in schema:
        yield schema
        # Short forms, such as `concat: v`.
        name = schema["$ref"].rpartition("/")[2]
        if name in _SHORT:
            yield from (each for each in _DEFINED[name]["anyOf"] if "properties" not in each)
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _choices(each)
    elif "pattern" not in schema and schema.get("type") != "null":
        yield schema


def _one(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        title, _ = _TABLES[schema["$ref"].rpartition("/")[2]]
        return f"[`{title}`](#{title.replace('.', '')})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object":
        if "propertyNames" in schema:
            return f"table with the key `{schema['propertyNames']['const']}`"
        values = schema.get("additionalProperties")
        return f"table of {_type(values)}" if isinstance(values, dict) else "table"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    # Numbers are text where they are expressions, or fractions such as 1/7.
    return " or ".join(_TYPES[kind] for kind in kinds if len(kinds) == 1 or kind != "string")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
