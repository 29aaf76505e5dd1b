"""The JSON schema describes the mapping files that people write."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tfpt.language.loader import bundled_mappings
from tfpt.language.schema import json_schema

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """As much of JSON schema as pydantic writes."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(fits(value, choice, root) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return False
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        if any(key not in value for key in schema.get("required", [])):
            return False
        return all(
            fits(child, known[key], root)
            if key in known
            else bool(rest) and (rest is True or fits(child, rest, root))
            for key, child in value.items()
        )
    if isinstance(value, list) and "items" in schema:
        return len(value) >= schema.get("minItems", 0) and all(
            fits(child, schema["items"], root) for child in value
        )
    return True


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_a_bundled_mapping_fits_the_schema(name: str) -> None:
    schema = json_schema()
    assert fits(yaml.safe_load(bundled_mappings()[name].read_text()), schema, schema)


@pytest.mark.parametrize(
    "row",
    [
        "{tf: a, pt: b}",
        "{tf: [a, b], pt: [c, d]}",
        "{tf: a, pt: b, concat: v}",
        "{tf: a, pt: b, split: {axis: v, sizes: [1, 2]}}",
        "{tf: a, pt: b, scale: 1/7, add: 0.5}",
        "{tf: a, pt: b, add: {axis: o, groups: [i, f], values: {f: 1}}}",
        "{tf: a, pt: b, reorder: {axis: i, as: [2, 1, 0]}}",
        "{pt: b, fill: 1, shape: []}",
    ],
)
def test_every_way_to_write_a_row_fits(row: str) -> None:
    schema = json_schema()
    assert fits({"version": 1, "weights": [yaml.safe_load(row)]}, schema, schema)


@pytest.mark.parametrize(
    "text",
    [
        "{version: 2}",
        "{version: 1, bogus: 1}",
        "{version: 1, weights: [{tf: a}]}",
        "{version: 1, weights: [{tf: [], pt: b}]}",
        "{version: 1, weights: [{tf: a, pt: b, reorder: v}]}",
        "{version: 1, weights: [{tf: a, pt: b, bogus: 1}]}",
        "{version: 1, source: {ema: {tf: a, use: maybe}}}",
    ],
)
def test_what_is_no_mapping_does_not_fit(text: str) -> None:
    schema = json_schema()
    assert not fits(yaml.safe_load(text), schema, schema)


def test_extends_is_a_key_and_then_the_version_may_be_absent() -> None:
    schema = json_schema()
    assert fits({"extends": "base.yaml"}, schema, schema)
