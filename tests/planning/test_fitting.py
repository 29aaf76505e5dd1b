"""Dtypes and constants against the model's parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfpt.formats.source import Quantized
from tfpt.planning import Fill, Finding, Keep, Plan

Planned = Callable[..., Plan]


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


@pytest.mark.parametrize(
    ("source", "target", "ok"),
    [
        ("float32", "float32", True),
        ("float16", "float32", True),
        ("bfloat16", "float32", True),
        ("int32", "int64", True),
        ("float32", "float16", False),
        ("float32", "bfloat16", False),
        ("float64", "float32", False),
        ("int64", "int32", False),
        ("float32", "int64", False),
        ("int32", "float32", False),
        ("complex64", "float32", False),
    ],
)
def test_a_dtype_that_would_lose_values_is_a_finding(
    plan: Planned, source: str, target: str, ok: bool
) -> None:
    found = plan("weights: [{tf: a, pt: a}]", {"a": ((2,), source)}, {"a": ((2,), target)})
    assert found.ok == ok
    if not ok:
        finding = only(found.findings)
        assert (finding.kind, finding.name, finding.where) == ("dtype", "a", "m.yaml:2")
        assert finding.what == f"a is {source}, a is {target}"
        assert finding.expected == f"a dtype whose values {target} can all represent"
        assert finding.hint == f"dtype: {target} on the row, if the loss is acceptable"
        assert found.steps == ()


def test_a_loss_that_the_row_asks_for_is_no_finding(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: a, dtype: float16}]"
    found = plan(text, {"a": ((2,), "float64")}, {"a": ((2,), "float32")})
    assert found.ok
    assert found.steps[0].writes[0].dtype == "float16"


def test_a_dtype_asked_for_is_written_for_floats_alone(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: a}, {tf: n, pt: n}, {tf: k, pt: k, dtype: float32}, {pt: c, fill: 1}]"
    tf = {"a": (2,), "n": ((2,), "int64"), "k": (2,)}
    pt = {"a": (2,), "n": ((2,), "int64"), "k": (2,), "c": (2,)}
    found = plan(text, tf, pt, dtype="bfloat16")
    assert found.ok
    assert {spec.name: spec.dtype for spec in found.writes.values()} == {
        "a": "bfloat16",
        "n": "int64",
        "k": "float32",
        "c": "bfloat16",
    }


def test_a_dtype_asked_for_does_not_excuse_integers_that_would_be_rounded(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: a}]"
    found = only(plan(text, {"a": ((2,), "int32")}, {"a": (2,)}, dtype="float16").findings)
    assert (found.kind, found.got) == ("dtype", "int32")


@pytest.mark.parametrize("row", ["{tf: a, pt: a}", "{tf: a, pt: a, dtype: float32}"])
def test_strings_are_refused_always(plan: Planned, row: str) -> None:
    found = only(plan(f"weights: [{row}]", {"a": ((2,), "string")}, {"a": (2,)}).findings)
    assert (found.kind, found.expected, found.hint) == ("dtype", "a variable of numbers", "")


@pytest.mark.parametrize("key", ["scale: 1/7", "add: 1", "apply: square"])
def test_integers_are_not_computed_with(plan: Planned, key: str) -> None:
    text = f"weights: [{{tf: a, pt: a, {key}, dtype: int64}}]"
    found = only(plan(text, {"a": ((2,), "int64")}, {"a": ((2,), "int64")}).findings)
    assert found.kind == "dtype"
    assert found.expected == "a floating-point variable, since the row computes with it"


@pytest.mark.parametrize(
    "row",
    [
        "{tf: [a, b], pt: a, combine: [1, 1]}",
        "{tf: [a, b], pt: a, product: 'i, i -> i'}",
    ],
)
def test_integers_are_not_computed_with_when_variables_are_joined(plan: Planned, row: str) -> None:
    found = only(plan(f"weights: [{row}]", {"a": ((2,), "int64"), "b": (2,)}, {"a": (2,)}).findings)
    assert (found.kind, found.got) == ("dtype", "int64")
    assert found.expected == "a floating-point variable, since the row computes with it"


def test_no_function_of_a_complex_number_is_computed(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: a, apply: exp}]"
    found = only(plan(text, {"a": ((2,), "complex64")}, {"a": ((2,), "complex64")}).findings)
    assert (found.kind, found.got) == ("dtype", "complex64")
    assert found.expected == "a variable of real numbers, since the row computes a function of it"


def test_a_misfit_of_layouts_names_them_all(plan: Planned) -> None:
    text = "weights: [{tf: [a, b], pt: c, layout: [i o -> o i, o -> o 1], concat: i}]"
    found = only(plan(text, {"a": (2, 3), "b": (5,)}, {"c": (3, 2)}).findings)
    assert (found.kind, found.expected, found.got) == (
        "shape",
        "equal sizes in every axis but i",
        "[3, 2] and [5, 1]",
    )


@pytest.mark.parametrize(
    ("row", "said", "expected"),
    [
        ("{pt: c, fill: 1}", ((3, 2), "float32"), ((3, 2), "float32")),
        ("{pt: c, fill: 0, shape: [3, 2]}", ((3, 2), "float32"), ((3, 2), "float32")),
        ("{pt: c, fill: 0, like: w}", ((5,), "float32"), ((5,), "float32")),
        ("{pt: c, fill: 0, shape: [], dtype: int64}", ((), "float32"), ((), "int64")),
        ("{pt: c, fill: true}", ((3,), "bool"), ((3,), "bool")),
        ("{pt: c, keep: true}", ((3,), "int64"), ((3,), "int64")),
    ],
)
def test_a_constant_takes_its_shape_from_the_row_or_the_model(
    plan: Planned, row: str, said: tuple[tuple[int, ...], str], expected: tuple[tuple[int, ...], str]
) -> None:
    found = plan(f"weights: [{{tf: w, pt: w}}, {row}]", {"w": (5,)}, {"w": (5,), "c": said})
    assert found.ok
    step = next(step for step in found.steps if not step.reads)
    assert (step.writes[0].shape, step.writes[0].dtype) == expected
    assert isinstance(step, Keep if "keep" in row else Fill)


@pytest.mark.parametrize(
    ("row", "kind", "what", "got"),
    [
        ("{pt: c, fill: 0, shape: [3]}", "shape", "c has another shape in the model", "[3] from the row"),
        ("{pt: c, fill: 0, like: w}", "shape", "c has another shape in the model", "[5] from the row"),
        (
            "{pt: c, fill: 0, like: x}",
            "shape",
            "c takes its shape from x, which the model does not have",
            "",
        ),
    ],
)
def test_a_constant_of_another_shape_is_a_finding(
    plan: Planned, row: str, kind: str, what: str, got: str
) -> None:
    found = only(plan(f"weights: [{{tf: w, pt: w}}, {row}]", {"w": (5,)}, {"w": (5,), "c": (2,)}).findings)
    assert (found.kind, found.what, found.got, found.where) == (kind, what, got, "m.yaml:2")


@pytest.mark.parametrize(
    ("fill", "dtype", "ok"),
    [
        ("1", "int64", True),
        ("1.0", "int64", True),
        ("0.5", "int64", False),
        (".inf", "int32", False),
        (".nan", "int32", False),
        ("300", "uint8", False),
        ("-1", "uint8", False),
        ("-128", "int8", True),
        ("2", "bool", False),
        ("true", "bool", True),
        ("0.1", "float32", True),
        (".inf", "float32", True),
        ("100000", "float16", False),
        ("1000", "float8_e4m3fn", False),
        (".inf", "float8_e4m3fn", False),
        (".nan", "float8_e4m3fn", True),
        ("1.0e+39", "float32", False),
        ("1.0e+39", "complex64", False),
    ],
)
def test_a_constant_must_be_a_value_of_its_dtype(plan: Planned, fill: str, dtype: str, ok: bool) -> None:
    found = plan(
        f"weights: [{{tf: w, pt: w}}, {{pt: c, fill: {fill}}}]", {"w": (5,)}, {"w": (5,), "c": ((2,), dtype)}
    )
    assert found.ok == ok
    if not ok:
        assert only(found.findings).expected == f"a constant that {dtype} can represent"


def test_pieces_may_be_written_in_several_dtypes(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: [x, y], layout: 'n i -> n i'}]"
    pt = {"x": ((3,), "float64"), "y": ((3,), "float32")}
    found = plan(text, {"a": (2, 3)}, pt)
    assert found.ok
    assert [spec.dtype for spec in found.steps[0].writes] == ["float64", "float32"]


@pytest.mark.parametrize(
    ("keys", "source", "target", "got"),
    [
        ("layout: 'v -> v', pad: {axis: v, to: 3, value: 0.5}", "int64", "int64", "pad: 0.5"),
        ("layout: 'v -> v', pad: {axis: v, to: 3, value: 300}", "uint8", "uint8", "pad: 300"),
        ("layout: 'v -> v', pad: {axis: v, to: 3, value: .nan}", "int32", "int32", "pad: nan"),
        (
            "layout: 'v -> v', pad: {axis: v, to: 3, value: 1.0e+5}, dtype: float16",
            "float32",
            "float32",
            "pad: 100000.0",
        ),
        ("add: 1.0e+5, dtype: float16", "float32", "float32", "add: 100000.0"),
        ("scale: 1e39", "float32", "float32", "scale: 1e+39"),
        ("scale: 1000, dtype: float8_e4m3fn", "float32", "float32", "scale: 1000.0"),
    ],
)
def test_constants_that_the_dtype_cannot_hold_are_findings(
    plan: Planned, keys: str, source: str, target: str, got: str
) -> None:
    size = 3 if "pad" in keys else 2
    found = plan(f"weights: [{{tf: a, pt: b, {keys}}}]", {"a": ((2,), source)}, {"b": ((size,), target)})
    finding = only(found.findings)
    written = keys.partition("dtype: ")[2] or target
    assert finding.kind == "dtype"
    assert finding.what == f"b is {written}, which cannot represent {got}"
    assert found.steps == ()


def test_a_constant_is_looked_at_in_the_dtype_asked_for(plan: Planned) -> None:
    text = "weights: [{tf: w, pt: w}, {pt: c, fill: 100000}]"
    table = {"w": (5,)}, {"w": (5,), "c": (2,)}
    assert plan(text, *table).ok
    assert plan(text, *table, dtype="bfloat16").ok
    assert (
        only(plan(text, *table, dtype="float16").findings).what
        == "c is float16, which cannot represent fill: 100000"
    )


def test_what_is_cut_to_an_integer_may_be_scaled_by_a_fraction(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: b, scale: 1/7, dtype: int32}]"
    assert plan(text, {"a": (2,)}, {"b": ((2,), "int32")}).ok


HOW = Quantized((0.25, 0.5), (-3, 7), axis=0)


@pytest.mark.parametrize("source", ["int8", "uint8", "int16", "int32", "int4"])
@pytest.mark.parametrize("row", ["", ", dtype: float32", ", dtype: float16", ", dtype: bfloat16"])
def test_quantized_integers_are_no_weights(plan: Planned, source: str, row: str) -> None:
    for target in ("float32", "complex64"):
        found = plan(
            f"weights: [{{tf: a, pt: b{row}}}]",
            {"a": ((2,), source)},
            {"b": ((2,), target)},
            quantized={"a": HOW},
        )
        finding = only(found.findings)
        assert (finding.kind, finding.name, finding.stops) == ("quantized", "b", True)
        assert finding.got == f"{source}, 2 scales along axis 0, 0.25 to 0.5, zero points -3 to 7"
        assert finding.hint.startswith("--dequantize reads the encoded numbers")
        assert "dtype: float" not in finding.hint
        assert found.steps == ()


@pytest.mark.parametrize(("row", "target"), [("", "int8"), ("", "int32"), (", dtype: int8", "float32")])
def test_integers_may_be_written_as_integers_and_the_plan_says_whose(
    plan: Planned, row: str, target: str
) -> None:
    text = f"weights: [{{tf: a, pt: b{row}}}]"
    found = plan(text, {"a": ((2,), "int8")}, {"b": ((2,), target)}, quantized={"a": HOW, "other": HOW})
    assert found.ok
    assert found.writes["b"].dtype == ("int8" if row else target)
    assert found.to_json()["quantized"] == {"a": str(HOW)}


def test_the_average_of_a_variable_may_be_the_quantized_one(plan: Planned) -> None:
    text = 'source: {ema: {tf: "{path...}/ema", use: prefer}}\nweights: [{tf: a, pt: b}]'
    tf = {"a": (2,), "a/ema": ((2,), "int8")}
    assert only(plan(text, tf, {"b": (2,)}, quantized={"a/ema": HOW}).findings).kind == "quantized"
    assert plan(text, {"a": ((2,), "int8"), "a/ema": (2,)}, {"b": (2,)}, quantized={"a": HOW}).ok


@pytest.mark.parametrize("source", ["qint8", "quint8", "qint32"])
def test_tensorflows_own_quantized_dtypes_lack_their_scale(plan: Planned, source: str) -> None:
    found = only(plan("weights: [{tf: a, pt: b}]", {"a": ((2,), source)}, {"b": (2,)}).findings)
    assert (found.kind, found.hint) == (
        "quantized",
        f"dtype: {source[1:]} on the row writes the integers themselves",
    )


def test_a_scheme_that_nobody_reads_is_not_to_be_dequantized(plan: Planned) -> None:
    quantized = {"a": Quantized(scheme="blockwise")}
    found = only(
        plan("weights: [{tf: a, pt: b}]", {"a": ((2,), "int8")}, {"b": (2,)}, quantized=quantized).findings
    )
    assert (found.kind, found.got) == ("quantized", "int8, by blockwise")
    assert "--dequantize" not in found.hint
