"""`extends` adds and replaces as docs/language.md says."""

from __future__ import annotations

from typing import Any

import pytest

from tfpt.language.inheritance import extend
from tfpt.language.tree import parse_document

BASE = """\
summary: base
source: {scope: RGB, ignore: [a], ema: {tf: x, use: ignore}}
model: {factory: f, kwargs: {n: 3, m: 4, nested: {p: 1, q: 2}}}
params: {k: 1, l: {from: z}}
layers: {conv: {eps: 0.1, weights: [u, v]}, head: {weights: [w]}}
scopes: [s1]
weights: [w1]
modules: [m1]
endpoints: [e1]
input: {size: 224, fps: 25}
"""


@pytest.mark.parametrize(
    ("child", "path", "result"),
    [
        ("{summary: child}", ["summary"], "child"),
        ("{source: {scope: Flow}}", ["source", "scope"], "Flow"),
        ("{source: {scope: Flow}}", ["source", "ignore"], ["a"]),
        ("{source: {ignore: [b]}}", ["source", "ignore"], ["a", "b"]),
        ("{source: {ema: {use: prefer}}}", ["source", "ema"], {"tf": "x", "use": "prefer"}),
        ("{scopes: [s2]}", ["scopes"], ["s1", "s2"]),
        ("{weights: [w2]}", ["weights"], ["w1", "w2"]),
        ("{modules: [m2]}", ["modules"], ["m1", "m2"]),
        ("{endpoints: [e2]}", ["endpoints"], ["e2"]),
        ("{layers: {conv: {weights: [t]}}}", ["layers", "conv"], {"weights": ["t"]}),
        ("{layers: {conv: {weights: [t]}}}", ["layers", "head"], {"weights": ["w"]}),
        ("{layers: {new: {}}}", ["layers", "new"], {}),
        ("{model: {kwargs: {n: 2}}}", ["model", "kwargs"], {"n": 2, "m": 4, "nested": {"p": 1, "q": 2}}),
        ("{model: {kwargs: {nested: {r: 5}}}}", ["model", "kwargs", "nested"], {"r": 5}),
        ("{model: {kwargs: {n: 2}}}", ["model", "factory"], "f"),
        ("{params: {l: 7}}", ["params"], {"k": 1, "l": 7}),
        ("{input: {fps: 30}}", ["input"], {"size": 224, "fps": 30}),
    ],
)
def test_a_mapping_adds_to_what_it_extends_or_replaces_it(child: str, path: list[str], result: Any) -> None:
    value = extend(parse_document(BASE, "base.yaml"), parse_document(child, "child.yaml")).plain()
    for step in path:
        value = value[step]
    assert value == result


def test_each_value_keeps_the_place_it_was_written_at() -> None:
    merged = extend(parse_document(BASE, "base.yaml"), parse_document("scopes: [s2]", "child.yaml"))
    assert str(merged.locate(["scopes", 0])) == "base.yaml:6:10"
    assert str(merged.locate(["scopes", 1])) == "child.yaml:1:10"
