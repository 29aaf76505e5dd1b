"""Moving averages: which of a variable and its shadow is read, and that the mapping says so."""

from __future__ import annotations

from collections.abc import Callable

from tfpt.planning import Finding, Plan

Planned = Callable[..., Plan]

ROWS = "weights: [{tf: a/w, pt: a}, {tf: b/w, pt: b}]"
PT = {"a": (3,), "b": (3,)}
RAW = {"a/w": (3,), "b/w": (3,)}
SHADOWS = {"a/w/ExponentialMovingAverage": (3,), "b/w/ExponentialMovingAverage": (3,)}


def ema(use: str, rest: str = "", scope: str = '""') -> str:
    name = "{path...}/ExponentialMovingAverage"
    return f'source: {{scope: {scope}, ema: {{tf: "{name}", use: {use}{rest}}}}}\n{ROWS}'


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


def read(plan: Plan) -> list[str]:
    return [spec.name for step in plan.steps for spec in step.reads]


def test_both_without_a_word_in_the_mapping_is_an_error_and_not_a_guess(plan: Planned) -> None:
    found = only(plan(ROWS, {**RAW, **SHADOWS}, PT).findings)
    assert (found.kind, found.where) == ("ambiguous-ema", "m.yaml")
    assert found.what.startswith("2 variables have a moving average beside them")
    assert found.got == "a/w and a/w/ExponentialMovingAverage"
    assert "use: prefer | ignore | require" in found.expected


def test_shadows_that_are_ignored_by_name_leave_no_choice_to_make(plan: Planned) -> None:
    ignore = 'source: {ignore: [{tf: "{p...}/ExponentialMovingAverage", why: average}]}\n'
    found = plan(ignore + ROWS, {**RAW, **SHADOWS}, PT)
    assert found.ok
    assert read(found) == ["a/w", "b/w"]
    assert found.ignored_by_reason == {"average": 2}


def test_prefer_reads_the_average_where_there_is_one_and_counts_it(plan: Planned) -> None:
    tf = {**RAW, "a/w/ExponentialMovingAverage": ((3,), "float64")}
    found = plan(ema("prefer"), tf, {"a": ((3,), "float64"), "b": (3,)})
    assert found.ok
    assert read(found) == ["a/w/ExponentialMovingAverage", "b/w"]
    assert found.steps[0].reads[0].dtype == "float64"
    assert found.shadows == {"a/w": "a/w/ExponentialMovingAverage"}
    assert found.used == {"a/w", "a/w/ExponentialMovingAverage", "b/w"}


def test_ignore_reads_the_variables_and_counts_the_averages(plan: Planned) -> None:
    found = plan(ema("ignore"), {**RAW, **SHADOWS}, PT)
    assert found.ok
    assert read(found) == ["a/w", "b/w"]
    assert found.ignored == dict.fromkeys(SHADOWS, "moving average, not used")


def test_what_is_excepted_is_read_itself(plan: Planned) -> None:
    found = plan(ema("prefer", ', except: ["a/{x}"]'), {**RAW, **SHADOWS}, PT)
    assert found.ok
    assert read(found) == ["a/w", "b/w/ExponentialMovingAverage"]
    assert found.ignored == {"a/w/ExponentialMovingAverage": "moving average, not used"}


def test_require_asks_for_the_average_of_all_that_is_used_and_not_excepted(plan: Planned) -> None:
    tf = {**RAW, "a/w/ExponentialMovingAverage": (3,)}
    found = only(plan(ema("require"), tf, PT).findings)
    assert (found.kind, found.name, found.where) == ("absent", "b/w", "m.yaml:2")
    assert found.what == "the moving average of b/w, which the mapping requires"
    assert found.expected == "a variable as in {path...}/ExponentialMovingAverage"
    assert plan(ema("require", ", except: [b/w]"), tf, PT).ok
    assert plan(ema("require"), {**RAW, **SHADOWS}, PT).ok


def test_a_checkpoint_of_averages_alone_is_read_by_prefer_and_require(plan: Planned) -> None:
    for use in ("prefer", "require"):
        found = plan(ema(use), SHADOWS, PT)
        assert found.ok
        assert read(found) == list(SHADOWS)


def test_a_checkpoint_of_averages_alone_has_nothing_that_ignore_would_read(plan: Planned) -> None:
    found = only(plan(ema("ignore"), SHADOWS, PT).findings)
    assert found.kind == "scope"


def test_the_average_of_a_variable_that_is_ignored_is_ignored_with_it(plan: Planned) -> None:
    text = ema("prefer").replace("ema:", "ignore: [{tf: c, why: counter}], ema:")
    found = plan(text, {**RAW, **SHADOWS, "c": (), "c/ExponentialMovingAverage": ()}, PT)
    assert found.ok
    assert found.ignored == {"c": "counter", "c/ExponentialMovingAverage": "counter"}
    assert "c" not in found.shadows


def test_an_average_under_the_sources_scope_shadows_what_stands_there(plan: Planned) -> None:
    tf = {f"net/{name}": shape for name, shape in {**RAW, **SHADOWS}.items()}
    found = plan(ema("prefer", scope="net/"), tf, PT)
    assert found.ok
    assert read(found) == [f"net/{name}" for name in SHADOWS]


def test_averages_may_stand_in_a_tree_of_their_own(plan: Planned) -> None:
    text = f'source: {{scope: net, ema: {{tf: "/ema/{{path...}}", use: prefer}}}}\n{ROWS}'
    tf = {f"net/{name}": shape for name, shape in RAW.items()} | {"ema/net/b/w": (3,)}
    found = plan(text, tf, PT)
    assert found.ok
    assert read(found) == ["net/a/w", "ema/net/b/w"]
