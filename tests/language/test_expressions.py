"""Expressions in `${…}`, against Python's own arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.growth import cpu_budget
from tfpt.errors import MappingError
from tfpt.language.configuration import Configuration
from tfpt.language.expressions import parse_expression
from tfpt.language.mapping import Mapping
from tfpt.language.parameters import substitute
from tfpt.language.tree import parse_document

Load = Callable[..., Mapping]

VALUES: dict[str, Any] = {
    "layers": 12,
    "hidden": 35,
    "heads": 5,
    "zero": 0,
    "block_sizes": [4, 3, 7],
    "grid": [[2, 3], [5]],
    "empty": [],
    "mixed": [2, "x"],
    "model_type": "bert",
    "tied": True,
    "rate": 0.5,
    "none": None,
}


def evaluated(expression: str) -> Any:
    """The value of `${…}` where it is all of a value."""
    lines = "\n".join(f"  {name}: {json.dumps(value)}" for name, value in VALUES.items())
    text = f'params:\n{lines}\n  table: {{from: table}}\nmodel: {{kwargs: {{x: "${{{expression}}}"}}}}'
    config = Configuration({"table": {"a": 1}})
    return substitute(parse_document(text, "m.yaml"), {}, config).plain()["model"]["kwargs"]["x"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("4 + layers", 16),
        ("hidden // heads", 7),
        ("-hidden // 4", -9),
        ("hidden % 4", 3),
        ("2 * (layers - 1)", 22),
        ("sum(block_sizes)", 14),
        ("len(block_sizes)", 3),
        ("max(block_sizes) - min(block_sizes)", 4),
        ("sum(empty)", 0),
        ("block_sizes[0]", 4),
        ("block_sizes[-1]", 7),
        ("block_sizes[len(block_sizes) - 2]", 3),
        ("grid[0]", [2, 3]),
        ("grid[0][1] + sum(grid[1])", 8),
        ("model_type == 'bert'", True),
        ("model_type != 'bert'", False),
        ("model_type == 3", False),
        ("tied == 1", False),
        ("none == 'bert'", False),
        ("rate < 1", True),
        ("layers <= 12 and layers < 12", False),
        ("not tied or heads == 5", True),
        ("not (layers == 12)", False),
        ("len(empty) == 0 or empty[0] == 3", True),
        ("not tied and empty[0] == 3", False),
        ("3", 3),
    ],
)
def test_an_expression_has_the_value_that_it_has_in_python(expression: str, value: Any) -> None:
    found = evaluated(expression)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "why", "got"),
    [
        ("hidden // zero", "a division by zero", "zero = 0"),
        ("hidden % (layers - 12)", "a division by zero", "layers - 12 = 0"),
        ("block_sizes[3]", "block_sizes has no entry 3", "3 entries"),
        ("block_sizes[-4]", "block_sizes has no entry -4", "3 entries"),
        ("empty[0]", "empty has no entry 0", "0 entries"),
        ("layers[0]", "layers is not a list", "12"),
        ("model_type + 1", "model_type is not an integer", "'bert'"),
        ("tied + 1", "tied is not an integer", "true"),
        ("rate * 2", "rate is not an integer", "0.5"),
        ("none + 1", "none is not an integer", "null"),
        ("block_sizes * 2", "block_sizes is not an integer", "a list"),
        ("table + 1", "table is not an integer", "a table"),
        ("sum(mixed)", "entry 1 of mixed is not an integer", "'x'"),
        ("sum(grid)", "entry 0 of grid is not an integer", "a list"),
        ("max(empty)", "empty is empty", None),
        ("sum(layers)", "layers is not a list", "12"),
        ("not layers", "layers is neither true nor false", "12"),
        ("tied and none", "none is neither true nor false", "null"),
        ("model_type < 3", "model_type is not a number", "'bert'"),
        ("tied <= 1", "tied is not a number", "true"),
        ("grid == 3", "grid is a list", None),
        ("table != 'x'", "table is a table", None),
        (" * ".join(["9999999999999999999"] * 5), "is a number of more than 256 bits", None),
    ],
)
def test_an_expression_without_a_value_says_why_and_where(expression: str, why: str, got: str | None) -> None:
    with pytest.raises(MappingError) as caught:
        evaluated(expression)
    error = caught.value
    assert error.what.startswith(f"${{{expression}}} has no value: ")
    assert error.what.endswith(why)
    assert (error.where, error.got) == (f"m.yaml:{len(VALUES) + 3}:21", got)


@pytest.mark.parametrize(
    "expression",
    [
        "layers / 2",
        "layers ** 9",
        "layers << 9",
        "layers if tied else 3",
        "1.5 + layers",
        "1 < layers < 3",
        "layers > 3",
        "layers in block_sizes",
        "layers is none",
        "block_sizes[0:2]",
        "block_sizes[0, 1]",
        "[1, 2]",
        "(1, 2)",
        "sum([1, 2])",
        "sum(block_sizes, 3)",
        "sum(*grid)",
        "max(layers, heads)",
        "max(block_sizes, key=len)",
        "abs(layers)",
        "open('x')",
        "__import__('os').system('true')",
        "model_type.upper()",
        "table.a",
        "lambda: 3",
        "(x := 3)",
        "'bert' + 'x'",
        "not 'x'",
        "'bert'",
        "table['a']",
        "True and tied",
        "layers +",
        "layers 3",
        "1 +\n2",
        "(" * 90 + "1" + ")" * 90 + " + (",
    ],
)
def test_anything_else_cannot_be_read(expression: str) -> None:
    text = f"params: {{layers: 3}}\nsummary: {json.dumps('${' + expression + '}')}"
    with pytest.raises(MappingError) as caught:
        substitute(parse_document(text, "m.yaml"), {}, None)
    assert caught.value.what == "an expression cannot be read"
    assert (caught.value.where, caught.value.got) == ("m.yaml:2:10", f"${{{expression}}}")
    assert caught.value.hint == "write $${ for a literal ${"


def test_a_name_in_an_expression_that_is_not_declared_names_the_nearest() -> None:
    with pytest.raises(MappingError) as caught:
        evaluated("4 + layrs")
    assert caught.value.what == "layrs in ${4 + layrs} is not declared under params:"
    assert caught.value.nearest[0] == "layers"


# -- against Python -----------------------------------------------------------------------------------------

_NUMBERS = st.one_of(st.integers(0, 30).map(str), st.sampled_from(["layers", "hidden", "heads", "zero"]))


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.one_of(st.sampled_from(["block_sizes", "empty"]), inner.map(lambda index: f"grid[{index}]"))
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(" ".join),
        inner.map(lambda operand: f"({operand})"),
        inner.map(lambda operand: f"-{operand}"),
        st.tuples(lists, inner).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
        st.tuples(st.sampled_from(["sum", "len", "max", "min"]), lists).map(
            lambda pair: f"{pair[0]}({pair[1]})"
        ),
    )


_ARITHMETIC = st.recursive(_NUMBERS, _larger, max_leaves=12)
_COMPARED = st.tuples(_ARITHMETIC, st.sampled_from(["==", "!=", "<", "<="]), _ARITHMETIC).map(" ".join)
_TRUTHS = st.recursive(
    st.one_of(_COMPARED, st.just("tied")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map(lambda operand: f"not ({operand})"),
    ),
    max_leaves=5,
)


@given(st.one_of(_ARITHMETIC, _TRUTHS).filter(lambda text: len(text) <= 200))
def test_every_expression_agrees_with_python(expression: str) -> None:
    functions = {"sum": sum, "len": len, "max": max, "min": min}
    try:
        value = eval(expression, {"__builtins__": functions}, VALUES)
    except (ZeroDivisionError, IndexError, ValueError):
        with pytest.raises(MappingError, match="has no value"):
            evaluated(expression)
        return
    if isinstance(value, int) and value.bit_length() > 200:
        return  # intermediate results have a limit
    found = evaluated(expression)
    assert found == value
    assert type(found) is type(value)


# -- in a mapping -------------------------------------------------------------------------------------------


def test_expressions_reach_templates_axes_and_other_parameters(load: Load) -> None:
    text = """\
version: 1
params: {hidden: 35, heads: 5, size: "${hidden // heads}", twice: ["${2 * size}"], tied: true}
weights:
  - {tf: "layer_{i+${size - 3}}/w", pt: "w_{i:int}", layout: "i (n h) -> n h i", axes: {h: "${twice[0] // 2}"}}
  - {tf: "n${hidden - 1}_$${x}${heads}/w", pt: "x_{x}", optional: "${tied and size == 7}"}
"""
    mapping = load(text)
    first, second = mapping.alternatives[0].rows
    assert first.tf[0].match("layer_6/w") == {"i": 2}
    assert first.transform.layout.sizes == (("h", 7),)
    assert second.tf[0].match("n34_$a5/w") == {"x": "a"}
    assert second.optional
    assert mapping.params == {"hidden": 35, "heads": 5, "size": 7, "twice": [14], "tied": True}


def test_a_circle_of_expressions_is_refused() -> None:
    text = 'params: {a: "${b + 1}", b: "${len(c)}", c: ["${a}"]}'
    with pytest.raises(MappingError, match="depends on itself"):
        substitute(parse_document(text, "m.yaml"), {}, None)


def test_an_expression_needs_the_values_of_its_parameters() -> None:
    text = 'params: {n: {from: depth}}\nsummary: "a${n + 1}"'
    with pytest.raises(MappingError, match="the parameter 'n' has no value"):
        substitute(parse_document(text, "m.yaml"), {}, None)


def test_a_declared_name_is_a_parameter_whatever_it_looks_like() -> None:
    text = 'params: {a-b: 7, a: 5, b: 2}\nsummary: "${a-b}_${a - b}"'
    assert substitute(parse_document(text, "m.yaml"), {}, None).plain()["summary"] == "7_3"


def test_truth_is_not_text() -> None:
    with pytest.raises(
        MappingError, match="is used within text, but is not text, a number or a list of integers"
    ):
        substitute(parse_document('params: {a: 1}\nsummary: "x${a == 1}"', "m.yaml"), {}, None)


# -- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["-" * 2000 + "1", "1" + "+1" * 2000, "(" * 2000, "9" * 5000])
def test_a_long_expression_is_refused(text: str) -> None:
    with pytest.raises(MappingError, match="has more than 200 characters"):
        parse_expression(text)


@pytest.mark.parametrize(
    "text", ["-" * 199 + "1", "1" + "+1" * 99, "(" * 99 + "1" + ")" * 99, "not " * 49 + "tied"]
)
def test_the_longest_expressions_are_evaluated(text: str) -> None:
    assert evaluated(text) == eval(text, {"tied": True})


def test_expressions_together_read_only_so_much() -> None:
    numbers = ", ".join("1" * 20_000)
    used = ", ".join(f'"${{sum(x) + {place}}}"' for place in range(5_000))
    text = f"params: {{x: [{numbers}]}}\nmodel: {{kwargs: {{a: [{used}]}}}}"
    with cpu_budget(20), pytest.raises(MappingError, match="read more than 2,000,000 entries of lists"):
        substitute(parse_document(text, "m.yaml"), {}, None)


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        ({"model_type": "bert", "tie_word_embeddings": True}, ["tied", "pooled"]),
        ({"model_type": "bert", "tie_word_embeddings": False}, ["pooled"]),
        ({"model_type": "roberta"}, ["tied"]),
    ],
)
def test_conditions_switch_rows_and_scopes(load: Load, config: dict[str, Any], rows: list[str]) -> None:
    text = """\
version: 1
params:
  tied: {from: tie_word_embeddings, default: true}
  type: {from: model_type}
layers: {pooler: {weights: [{tf: w, pt: w}]}}
scopes:
  - {tf: pooled, pt: pooled, layer: pooler, when: "${type == 'bert' or type == 'electra'}"}
weights:
  - {tf: tied, pt: tied, when: "${tied}"}
  - {tf: separate, pt: separate, when: "${not tied and type != 'bert'}"}
"""
    found = [str(row.pt[0]).partition(".")[0] for row in load(text, config=config).alternatives[0].rows]
    assert sorted(found) == sorted(rows)
