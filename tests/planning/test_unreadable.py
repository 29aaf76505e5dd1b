"""A variable that the file holds and nobody can read is not merely absent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfpt.planning import Plan

Planned = Callable[..., Plan]
REASON = "sparse_coo tensor"


@pytest.mark.parametrize(
    ("row", "skipped"),
    [
        ("{tf: a/w, pt: a.w}", "a/w"),
        ("{tf: '{n}/w', pt: '{n}.w'}", "a/w"),
        ("{tf: 'a_{_}/w', pt: a.w}", "a_17/w"),
        ("{tf: a/w, pt: a.w, optional: true}", "a/w"),
        ("{tf: a/w, pt: a.w, optional: true}, {pt: a.w, fill: 0, fallback: true}", "a/w"),
        ("{tf: [a/w, a/v], pt: a.w, layout: 'n i -> (n i)'}", "a/w"),
    ],
)
def test_a_plan_that_would_have_used_it_says_so(plan: Planned, row: str, skipped: str) -> None:
    tf = {"b/w": (5,), "a/v": (2,)} if "a/v" in row else {"b/w": (5,)}
    text = f"weights: [{{tf: b/w, pt: b.w, overrides: true}}, {row}]"
    found = plan(text, tf, {"b.w": (5,), "a.w": (4,)}, skipped={skipped: REASON, "other": "string"})
    (finding,) = found.findings
    assert (finding.kind, finding.name) == ("absent", skipped)
    assert finding.what == f"the variable {skipped} cannot be read: sparse_coo tensor"
    assert finding.got == "it is in the file, but it cannot be read: sparse_coo tensor"
    assert finding.where == "m.yaml:2"


def test_what_nobody_wants_may_be_unreadable(plan: Planned) -> None:
    text = "weights: [{tf: b/w, pt: b.w}]"
    assert plan(text, {"b/w": (5,)}, {"b.w": (5,)}, skipped={"a/w": REASON}).ok


def test_what_is_ignored_may_be_unreadable(plan: Planned) -> None:
    rows = "weights: [{tf: b/w, pt: b.w}, {tf: a/w, pt: a.w, optional: true}, {pt: a.w, fill: 0, fallback: true}]"
    text = f"source: {{ignore: [{{tf: a/w, why: replaced}}]}}\n{rows}"
    assert plan(text, {"b/w": (5,)}, {"b.w": (5,), "a.w": (4,)}, skipped={"a/w": REASON}).ok


def test_an_average_that_cannot_be_read_is_not_passed_over(plan: Planned) -> None:
    text = 'source: {ema: {tf: "{path...}/ema", use: %s}}\nweights: [{tf: b/w, pt: b.w}]'
    tables = {"b/w": (5,)}, {"b.w": (5,)}
    (finding,) = plan(text % "prefer", *tables, skipped={"b/w/ema": REASON}).findings
    assert finding.what == "the moving average b/w/ema cannot be read: sparse_coo tensor"
    assert plan(text % "ignore", *tables, skipped={"b/w/ema": REASON}).ok
