"""Parameters are substituted wherever they are used, in dependency order, and as values only."""

from __future__ import annotations

import contextlib
import itertools
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.growth import assert_linear, cpu_budget
from tfpt.errors import MappingError
from tfpt.language.configuration import Configuration
from tfpt.language.mapping import Mapping
from tfpt.language.parameters import substitute
from tfpt.language.tree import parse_document

Load = Callable[..., Mapping]


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
            "no parameters",
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


def refused(text: str, settings: dict[str, Any] | None = None, config: Any = None) -> MappingError:
    with pytest.raises(MappingError) as caught:
        substituted(text, settings, config)
    return caught.value


# -- parameters in parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "used", "result"),
    [
        ('{m: "${n}", n: 3}', "${m}", 3),
        ('{n: 3, m: "${n}"}', "${m}", 3),
        ('{a: "${b}_${c}", b: "x${c}", c: 7}', "${a}!", "x7_7!"),
        ('{a: ["${b}", {k: "${b}0"}], b: [1, x]}', "${a}", None),
        ('{a: ["${b}", {k: "${c}0"}], b: [1, 2], c: z}', "${a}", [[1, 2], {"k": "z0"}]),
        ('{a: {from: width, default: "${b}"}, b: 5}', "${a}", 5),
        ('{a: "${n}", n: true}', "${a}", True),
    ],
)
def test_a_parameter_may_hold_others_in_any_order(params: str, used: str, result: Any) -> None:
    text = f'params: {params}\nsummary: "{used}"'
    if result is None:
        error = refused(text)
        assert error.what == "${b} is used within text, but is not text, a number or a list of integers"
        assert error.where == "m.yaml:1:26"
    else:
        assert substituted(text)["summary"] == result


def test_what_a_setting_or_a_configuration_gives_reaches_those_that_hold_it() -> None:
    text = 'params: {m: "net_${n}", n: {from: layers, default: 3}}\nsummary: "${m}"'
    assert substituted(text)["summary"] == "net_3"
    assert substituted(text, {"n": 5})["summary"] == "net_5"
    assert substituted(text, config={"layers": 7})["summary"] == "net_7"
    assert substituted(text, {"m": "other"}, {"layers": 7})["summary"] == "other"


@given(st.permutations(string.ascii_lowercase[:6]), st.randoms(use_true_random=False))
def test_parameters_that_hold_others_are_what_replacing_again_and_again_gives(
    names: list[str], random: Any
) -> None:
    """Oracle: text replaced until nothing changes, for parameters each of which uses only later ones."""
    values = {}
    for place, name in enumerate(names):
        later = random.sample(names[place + 1 :], k=min(2, len(names) - place - 1))
        values[name] = name + "".join(f"<${{{other}}}>" for other in later)
    expected = f"${{{names[0]}}}"
    for name in names:
        expected = expected.replace(f"${{{name}}}", values[name])
    declared = sorted(values)
    random.shuffle(declared)
    params = ", ".join(f'{name}: "{values[name]}"' for name in declared)
    assert substituted(f'params: {{{params}}}\nsummary: "${{{names[0]}}}"')["summary"] == expected


@pytest.mark.parametrize(
    ("params", "circle"),
    [
        ('{m: "${m}"}', "m → m"),
        ('{x: 1, a: "${b}", b: "${a}"}', "a → b → a"),
        ('{a: "${b}", b: ["${c}"], c: {from: k, default: "x${a}"}}', "a → b → c → a"),
    ],
)
def test_a_circle_of_parameters_is_refused_and_printed(params: str, circle: str) -> None:
    error = refused(f"version: 1\nparams: {params}")
    names = circle.split(" → ")
    assert error.what.endswith("depends on itself")
    got = str(error.got).split(" → ")
    # The same cycle, whichever of its parameters comes first.
    start = names.index(got[0])
    assert got == [*names[start:-1], *names[:start], got[0]]
    assert error.what == f"the parameter {got[0]!r} depends on itself"
    assert str(error.where).startswith("m.yaml:2:")


def test_a_parameter_within_a_parameter_never_becomes_a_field(load: Load) -> None:
    text = 'version: 1\nparams: {m: "${n}", n: 3}\nweights: [{tf: "layer_${m}/w", pt: w}]'
    template = load(text).alternatives[0].rows[0].tf[0]
    assert template.text == "layer_3/w"
    assert template.is_literal


# -- what is not a parameter --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ('params: {a: 1, b: "${c}"}\nsummary: x', "${c} is not declared under params:", "m.yaml:1:19"),
        ('params: {a: {from: k, default: "${c}"}}', "${c} is not declared under params:", "m.yaml:1:32"),
        ('params: {a: 1}\nsummary: "x${a"', "${ without a closing }", "m.yaml:2:10"),
        ('summary: "${}"', "${} is not declared under params:", "m.yaml:1:10"),
        ('params: {a: 1}\nsummary: "${ a}"', "${ a} is not declared under params:", "m.yaml:2:10"),
        ('params: {a: 1}\nlayers: {"l${a}": {}}', "a key cannot contain a parameter", "m.yaml:2:10"),
        ('params: {a: 1}\nmodel: {kwargs: {"${a}": {}}}', "a key cannot contain a parameter", "m.yaml:2:18"),
        ('params: {a: {from: "${b}"}, b: 1}', "the parameter 'a' cannot be read", "m.yaml:1:13"),
        ("params: {a: {from: [b]}}", "the parameter 'a' cannot be read", "m.yaml:1:13"),
    ],
)
def test_what_names_no_parameter_is_refused_wherever_it_stands(text: str, what: str, where: str) -> None:
    error = refused(text)
    assert (error.what, error.where) == (what, where)


@pytest.mark.parametrize(
    ("used", "result"),
    [
        ("$${x}", "${x}"),
        ("$$${x}", "$3"),
        ("$$$${x}", "$${x}"),
        ("a$$b", "a$$b"),
        ("$5 {x} $", "$5 {x} $"),
        ("$$${x}_$${y}_${x}", "$3_${y}_3"),
    ],
)
def test_two_dollars_in_front_of_a_brace_are_one(used: str, result: str) -> None:
    assert substituted(f'params: {{x: 3}}\nsummary: "{used}"')["summary"] == result


@pytest.mark.parametrize("value", ["${n}", "a${n}b", "$${n}", ["x", {"k": "${n}"}]])
def test_what_comes_from_outside_holds_no_parameters(value: Any) -> None:
    text = 'params: {m: {from: key}, n: 3}\nsummary: "${m}"'
    for error in (refused(text, {"m": value}), refused(text, config={"key": value})):
        assert error.what == "only the mapping itself may use parameters"
        assert error.where == "m.yaml:1:13"
        assert "${n}" in str(error.got)
    assert "--set m" in str(refused(text, {"m": value}).got)
    assert "'key'" in str(refused(text, config={"key": value}).got)


@pytest.mark.parametrize("value", ["true", "null", "[1, x]", "{from: k, default: [true]}"])
def test_within_text_stand_texts_numbers_and_dates_alone(value: str) -> None:
    error = refused(f'params: {{x: {value}}}\nsummary: "a${{x}}"')
    assert (error.what, error.where) == (
        "${x} is used within text, but is not text, a number or a list of integers",
        "m.yaml:2:10",
    )
    assert substituted('params: {x: 2024-01-13}\nsummary: "a_${x}"')["summary"] == "a_2024-01-13"
    assert substituted('params: {x: 0.5}\nsummary: "a_${x}"')["summary"] == "a_0.5"
    assert substituted('params: {x: [3, 4]}\nsummary: "{i//${x}}"')["summary"] == "{i//[3, 4]}"


# -- limits ---------------------------------------------------------------------------------------------


def doubling(count: int, value: str, twice: str) -> str:
    names = [f"p{place}" for place in range(count)]
    pairs = [f"{a}: {twice.replace('N', b)}" for a, b in itertools.pairwise(names)]
    return f'params: {{{", ".join(pairs)}, {names[-1]}: {value}}}\nsummary: "${{p0}}"'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (doubling(60, "x", '"${N}${N}"'), "the mapping has more than 32,000,000 characters"),
        (doubling(60, "[x]", '["${N}", "${N}"]'), "the mapping has more than 200,000 values"),
        (doubling(150, "[x]", '["${N}"]'), "the mapping is more than 100 levels deep"),
        (
            f"params: {{x: {'x' * 1_000_000}}}\nmodel: {{kwargs: {{a: [{', '.join(['${x}'] * 2000)}]}}}}".replace(
                "${x}", '"${x}"'
            ),
            "the mapping has more than 32,000,000 characters",
        ),
        (
            f"params: {{x: [{', '.join('x' * 1000)}]}}\nmodel: {{kwargs: {{a: [{', '.join(['Y'] * 2000)}]}}}}".replace(
                "Y", '"${x}"'
            ),
            "the mapping has more than 200,000 values",
        ),
    ],
    ids=["texts", "lists", "depth", "a long text", "a long list"],
)
def test_parameters_that_multiply_are_refused(text: str, what: str) -> None:
    with cpu_budget(20):
        error = refused(text)
    assert error.what.startswith(what)
    assert str(error.where).startswith("m.yaml:")


def test_a_long_chain_of_parameters_is_followed() -> None:
    assert substituted(doubling(5000, "7", '"${N}"'))["summary"] == 7


@pytest.mark.parametrize("run", ["$", "${", "$${", "x${n}"])
def test_dollars_are_read_in_time_that_grows_with_their_number(run: str) -> None:
    def read(count: int) -> None:
        tree = parse_document(f'params: {{n: 1}}\nsummary: "{run * count}"', "m.yaml")
        with contextlib.suppress(MappingError):
            substitute(tree, {}, None)

    assert_linear(lambda: read(5_000), lambda: read(20_000))


@pytest.mark.parametrize(
    "value", [1 << 20_000, -(1 << 20_000), [1 << 20_000]], ids=["above", "below", "listed"]
)
def test_a_number_that_python_does_not_write_out_is_refused(value: Any) -> None:
    error = refused('params: {x: 1}\nsummary: "a${x}"', {"x": value})
    assert error.what == "--set x=… is a number of more than 256 bits"


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert "levels deep" in refused('params: {x: 1}\nsummary: "${x}"', {"x": circle}).what
