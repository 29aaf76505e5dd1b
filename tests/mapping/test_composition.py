"""`extends` adds and replaces as section 7 of the language says; parameters are written out wherever they are used."""

from __future__ import annotations

from typing import Any

import pytest

from tfpt.errors import MappingError
from tfpt.mapping.composition import extend
from tfpt.mapping.configuration import Configuration
from tfpt.mapping.document import parse_document
from tfpt.mapping.parameters import substitute

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


def substituted(
    text: str, settings: dict[str, Any] | None = None, config: dict[str, Any] | None = None
) -> Any:
    given = None if config is None else Configuration(config)
    return substitute(parse_document(text, "m.yaml"), settings or {}, given).plain()


@pytest.mark.parametrize(
    ("declared", "used", "result"),
    [
        ("400", '"${x}"', 400),
        ("400", '"n=${x}!"', "n=400!"),
        ("400", '"${x}+${x}"', "400+400"),
        ("[3, 5]", '"${x}"', [3, 5]),
        ("true", '"${x}"', True),
        ("1.5", '["${x}", {a: "${x}"}]', [1.5, {"a": 1.5}]),
        ("text", '"$x {x} $"', "$x {x} $"),
    ],
)
def test_a_parameter_keeps_its_type_where_it_stands_alone(declared: str, used: str, result: Any) -> None:
    assert substituted(f"params: {{x: {declared}}}\nsummary: {used}")["summary"] == result


def test_a_setting_wins_over_the_configuration_and_that_over_the_default() -> None:
    text = 'params: {x: {from: width, default: 3}}\nsummary: "${x}"'
    assert substituted(text)["summary"] == 3
    assert substituted(text, config={"other": 1})["summary"] == 3
    assert substituted(text, config={"width": 5})["summary"] == 5
    assert substituted(text, {"x": 7}, {"width": 5})["summary"] == 7
    assert substituted(text, config={"width": 5})["params"] == {"x": 5}


def test_a_list_from_the_configuration_is_a_list_in_the_mapping() -> None:
    text = 'params: {x: {from: sizes}}\nsummary: "${x}"'
    assert substituted(text, config={"sizes": [2, {"a": 3}]})["summary"] == [2, {"a": 3}]


def test_a_parameter_that_nothing_uses_needs_no_value() -> None:
    assert substituted("params: {x: {from: width}}")["params"] == {"x": None}


@pytest.mark.parametrize(
    ("text", "settings", "what", "where", "expected", "nearest"),
    [
        (
            "params: {classes: 3}",
            {"clases": 5},
            "--set names 'clases', which the mapping does not declare",
            "m.yaml:1:9",
            "classes",
            ("classes",),
        ),
        (
            "summary: a",
            {"x": 5},
            "--set names 'x', which the mapping does not declare",
            "m.yaml:1:1",
            "no parameter at all",
            (),
        ),
        (
            'params: {width: 3}\nsource:\n  scope: "a/${widht}"',
            {},
            "${widht} is not declared under params:",
            "m.yaml:3:10",
            "width",
            ("width",),
        ),
        (
            'summary: "${x}"',
            {},
            "${x} is not declared under params:",
            "m.yaml:1:10",
            "a params: section",
            (),
        ),
        (
            "params:\n  x: {form: width}",
            {},
            "the parameter 'x' cannot be read",
            "m.yaml:2:6",
            "a value, or {from: KEY_OF_THE_CONFIGURATION, default: VALUE}",
            (),
        ),
        ("params: [x]", {}, "params: must be a table of names and values", "m.yaml:1:9", None, ()),
    ],
)
def test_a_parameter_that_makes_no_sense_says_where(
    text: str,
    settings: dict[str, Any],
    what: str,
    where: str,
    expected: str | None,
    nearest: tuple[str, ...],
) -> None:
    with pytest.raises(MappingError) as caught:
        substituted(text, settings)
    error = caught.value
    assert (error.what, error.where, error.expected, error.nearest) == (what, where, expected, nearest)


@pytest.mark.parametrize(
    ("config", "got"), [(None, "no --config"), ({"b": 1, "a": 2}, "a configuration with a, b")]
)
def test_a_parameter_without_a_value_says_what_would_give_it_one(config: Any, got: str) -> None:
    with pytest.raises(MappingError) as caught:
        substituted('params: {x: {from: width}}\nsummary: "${x}"', config=config)
    assert caught.value.what == "the parameter 'x' has no value"
    assert caught.value.where == "m.yaml:1:13"
    assert caught.value.expected == "'width' in the model's configuration"
    assert caught.value.got == got
    assert caught.value.hint == "--config config.json, or --set x=…"
