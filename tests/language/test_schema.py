"""The JSON schema accepts real mapping files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tfpt.language.json_schema import json_schema


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


@pytest.mark.parametrize(
    "row",
    [
        "{tf: a, pt: b}",
        "{tf: [a, b], pt: [c, d]}",
        "{tf: a, pt: b, concat: v}",
        "{tf: a, pt: b, layout: h i -> (h i), axes: {h: '${heads}'}, when: '${not tied}'}",
        "{tf: a, pt: b, split: {axis: v, sizes: [1, 2]}}",
        "{tf: a, pt: b, scale: 1/7, add: 0.5}",
        "{tf: a, pt: b, add: {axis: o, groups: [i, f], values: {f: 1}}}",
        "{tf: a, pt: b, reorder: {axis: i, as: [2, 1, 0]}}",
        '{tf: a, pt: b, slice: {i: "1:", o: ":2"}, pad: {axis: v, to: 3}, zero: {axis: v, at: 0}}',
        "{tf: [a, b], pt: c, layout: [i -> i, i -> i], combine: [1, -1/2]}",
        "{tf: [a, b], pt: c, product: 'i k, k -> i', apply: normalize}",
        "{tf: a, pt: b, apply: [exp, square]}",
        "{tf: a, pt: b, layout: '(g i) -> g i', slice: {(g i): '1:'}}",
        "{tf: [k, m, v], pt: [w, b], layout: i o -> o i, "
        "fold: {batch_norm: [kernel, mean, variance], eps: 0.001, axis: o}}",
        "{pt: b, fill: 1, shape: []}",
        """{tf: a, pt: b, when: "${not tied}", axes: {h: "${heads}"}, zero: {axis: v, at: "${last - 1}"}}""",
    ],
)
def test_every_way_to_write_a_row_is_valid(validator: Draft202012Validator, row: str) -> None:
    validator.validate({"version": 1, "weights": [yaml.safe_load(row)]})


@pytest.mark.parametrize(
    "text",
    [
        "{version: 2}",
        "{version: 1, bogus: 1}",
        "{version: 1, weights: [{tf: a}]}",
        "{version: 1, weights: [{tf: [], pt: b}]}",
        "{version: 1, weights: [{tf: a, pt: b, reorder: v}]}",
        "{version: 1, weights: [{tf: a, pt: b, bogus: 1}]}",
        "{version: 1, weights: [{tf: a, pt: b, slice: {i: 1}}]}",
        "{version: 1, weights: [{tf: a, pt: b, pad: {axis: v, to: 0}}]}",
        "{version: 1, source: {ema: {tf: a, use: maybe}}}",
        "{version: 1, weights: [{tf: a, pt: b, when: maybe}]}",
        "{version: 1, weights: [{tf: a, pt: b, combine: 1}]}",
        "{version: 1, weights: [{tf: a, pt: b, apply: cosine}]}",
        "{version: 1, weights: [{tf: a, pt: b, layout: []}]}",
        "{version: 1, weights: [{tf: a, pt: b, fold: {batch_norm: [kernel], axis: o}}]}",
    ],
)
def test_what_is_not_a_mapping_is_not_valid(validator: Draft202012Validator, text: str) -> None:
    assert not validator.is_valid(yaml.safe_load(text))


def described(schema: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every key in the schema with its description."""
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            yield f"{path}/{key}", value.get("description", "")
        for key, value in schema.items():
            yield from described(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from described(value, path)


def test_every_key_has_a_description_of_one_sentence() -> None:
    found = dict(described(json_schema()))
    assert len(found) > 90
    assert {"/weights", "/$defs/RowEntry/layout", "/$defs/Reorder/as", "/$defs/EmaEntry/except"} <= set(found)
    for key, text in found.items():
        assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", text), (key, text)
        assert not re.search(r"\.\s", text), (key, text)


MAPPINGS = Path(str(resources.files("tfpt.mappings")))


def test_the_schema_beside_the_bundled_mappings_is_the_current_one() -> None:
    """Otherwise: tfpt schema --write mappings/schema.json."""
    assert json.loads((MAPPINGS / "schema.json").read_text()) == json_schema()


@pytest.mark.parametrize("path", sorted(MAPPINGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_file_names_its_schema_and_is_valid(
    validator: Draft202012Validator, path: Path
) -> None:
    first = path.read_text().partition("\n")[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found
    assert (path.parent / found[1]).resolve() == (MAPPINGS / "schema.json").resolve()
    validator.validate(yaml.safe_load(path.read_text()))


def test_extends_is_a_key_and_then_the_version_may_be_absent(validator: Draft202012Validator) -> None:
    validator.validate({"extends": "base.yaml"})
