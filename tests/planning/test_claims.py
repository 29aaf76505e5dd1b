"""Who gets what: overlaps, overrides, ignores, tied rows and fallbacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfpt.planning import Finding, Plan

Planned = Callable[..., Plan]


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


def wiring(plan: Plan) -> dict[str, str]:
    return {
        spec.name: step.reads[0].name if step.reads else "" for step in plan.steps for spec in step.writes
    }


def test_two_rows_that_claim_one_variable_are_both_named(plan: Planned) -> None:
    text = 'weights:\n  - {tf: "{x}/w", pt: "{x}.w"}\n  - {tf: a/w, pt: b.v}'
    found = only(plan(text, {"a/w": (2,)}, {"a.w": (2,), "b.v": (2,)}).findings)
    assert (found.kind, found.name) == ("overlap", "a/w")
    assert found.what == "the variable a/w is claimed by two rows"
    assert (found.where, found.row) == ("m.yaml:4", "a/w → b.v")
    assert found.got == "also {x}/w → {x}.w at m.yaml:3"
    assert "tied: true" in found.hint


def test_two_rows_that_write_one_parameter_are_both_named(plan: Planned) -> None:
    text = "weights:\n  - {tf: a, pt: c}\n  - {tf: b, pt: c}"
    found = only(plan(text, {"a": (2,), "b": (2,)}, {"c": (2,)}).findings)
    assert (found.kind, found.what) == ("overlap", "the parameter c is written by two rows")
    assert (found.where, found.got) == ("m.yaml:4", "also a → c at m.yaml:3")


def test_one_layer_at_one_place_twice_names_both_scopes(plan: Planned) -> None:
    text = """\
layers: {l: {weights: [{tf: w, pt: w}]}}
scopes:
  - {tf: a, pt: x, layer: l}
  - {tf: a, pt: y, layer: l}
"""
    found = only(plan(text, {"a/w": (2,)}, {"x.w": (2,), "y.w": (2,)}).findings)
    assert found.where == "m.yaml:2 (in the scope at line 5)"
    assert found.got == "also a/w → x.w at m.yaml:2 (in the scope at line 4)"


def test_all_of_many_rivals_are_named(plan: Planned) -> None:
    text = "weights:\n  - {tf: a, pt: x}\n  - {tf: a, pt: y}\n  - {tf: a, pt: z}"
    found = only(plan(text, {"a": (2,)}, {"x": (2,), "y": (2,), "z": (2,)}).findings)
    assert found.got == "also a → x at m.yaml:3 and a → y at m.yaml:4"


def test_a_row_that_overrides_wins_a_variable(plan: Planned) -> None:
    text = 'weights:\n  - {tf: "{x}/w", pt: "{x}.w"}\n  - {tf: a/w, pt: special, overrides: true}'
    found = plan(text, {"a/w": (2,), "b/w": (2,)}, {"special": (2,), "b.w": (2,)})
    assert found.ok
    assert wiring(found) == {"special": "a/w", "b.w": "b/w"}


def test_a_scope_may_override_for_all_its_rows(plan: Planned) -> None:
    text = """\
layers: {l: {weights: [{tf: w, pt: w}]}, turned: {weights: [{tf: w, pt: w, layout: "i o -> o i"}]}}
scopes:
  - {tf: "s_{i}", pt: "s.{i:int}", layer: l}
  - {tf: s_1, pt: s.1, layer: turned, overrides: true}
"""
    found = plan(text, {"s_0/w": (2, 3), "s_1/w": (2, 3)}, {"s.0.w": (2, 3), "s.1.w": (3, 2)})
    assert found.ok


def test_a_row_that_overrides_wins_a_parameter_and_the_loser_says_to_whom(plan: Planned) -> None:
    text = 'weights:\n  - {tf: "{x}/w", pt: "{x}.w"}\n  - {tf: other, pt: a.w, overrides: true}'
    tf = {"a/w": (2,), "b/w": (2,), "other": (2,)}
    found = plan(text, tf, {"a.w": (2,), "b.w": (2,)})
    assert wiring(found) == {"a.w": "other", "b.w": "b/w"}
    unused = only(found.findings)
    assert (unused.kind, unused.name) == ("unused", "a/w")
    assert unused.hint == "its row lost to the one at m.yaml:4"
    ignoring = f"source: {{ignore: [{{tf: a/w, why: replaced}}]}}\n{text}"
    overlap = only(plan(ignoring, tf, {"a.w": (2,), "b.w": (2,)}).findings)
    assert overlap.kind == "overlap"  # the general row claims it too, until ignore overrides
    ignoring = ignoring.replace("why: replaced", "why: replaced, overrides: true")
    assert plan(ignoring, tf, {"a.w": (2,), "b.w": (2,)}).ok


def test_a_joined_row_that_loses_one_variable_loses_them_all(plan: Planned) -> None:
    text = "weights:\n  - {tf: [q, k], pt: qk}\n  - {tf: q, pt: q, overrides: true}"
    found = plan(text, {"q": (2,), "k": (2,)}, {"qk": (2, 2), "q": (2,)})
    assert [(f.kind, f.name) for f in found.findings] == [("missing", "qk"), ("unused", "k")]
    assert found.findings[1].hint == "its row lost to the one at m.yaml:4"


def test_two_rows_that_both_override_are_still_an_overlap(plan: Planned) -> None:
    text = "weights:\n  - {tf: a, pt: x, overrides: true}\n  - {tf: a, pt: y, overrides: true}"
    assert only(plan(text, {"a": (2,)}, {"x": (2,), "y": (2,)}).findings).kind == "overlap"


# -- ignore -------------------------------------------------------------------------------------------

IGNORE = (
    'source: {ignore: [{tf: "{x}/m", why: slot%s}]}\nweights:\n  - {tf: a/m, pt: a%s}\n  - {tf: b, pt: b%s}'
)


def test_a_variable_claimed_by_a_row_and_by_ignore_is_an_overlap(plan: Planned) -> None:
    found = only(plan(IGNORE % ("", "", ""), {"a/m": (2,), "b": (2,)}, {"a": (2,), "b": (2,)}).findings)
    assert (found.kind, found.name, found.where) == ("overlap", "a/m", "m.yaml:4")
    assert found.got == "ignore at m.yaml:2"
    assert found.hint == "overrides: true on the one that should win"


def test_a_row_that_overrides_is_not_ignored(plan: Planned) -> None:
    found = plan(IGNORE % ("", ", overrides: true", ""), {"a/m": (2,), "b": (2,)}, {"a": (2,), "b": (2,)})
    assert found.ok
    assert (found.ignored, wiring(found)["a"]) == ({}, "a/m")


def test_an_ignore_that_overrides_takes_the_row_away(plan: Planned) -> None:
    found = plan(IGNORE % (", overrides: true", "", ""), {"a/m": (2,), "b": (2,)}, {"b": (2,)})
    assert found.ok
    assert found.ignored == {"a/m": "slot"}


def test_a_row_and_an_ignore_that_both_override_are_an_overlap(plan: Planned) -> None:
    text = IGNORE % (", overrides: true", ", overrides: true", "")
    found = plan(text, {"a/m": (2,), "b": (2,)}, {"a": (2,), "b": (2,)})
    assert only(found.findings).kind == "overlap"


@pytest.mark.parametrize("kind", ["tied", "fallback"])
def test_a_tied_or_fallback_row_does_not_read_what_is_ignored(plan: Planned, kind: str) -> None:
    text = f"source: {{ignore: [{{tf: a, why: slot}}]}}\nweights: [{{tf: b, pt: b}}, {{tf: a, pt: a, {kind}: true}}]"
    found = only(plan(text, {"a": (2,), "b": (2,)}, {"a": (2,), "b": (2,)}).findings)
    assert (found.kind, found.what) == ("overlap", "the variable a is claimed by a row and by ignore")


# -- tied and fallback ----------------------------------------------------------------------------------


def test_a_tied_row_writes_the_same_values_a_second_time(plan: Planned) -> None:
    text = 'weights: [{tf: table, pt: emb}, {tf: table, pt: out, layout: "v d -> d v", tied: true}]'
    found = plan(text, {"table": (5, 3)}, {"emb": (5, 3), "out": (3, 5)})
    assert found.ok
    assert wiring(found) == {"emb": "table", "out": "table"}
    assert len(found.used) == 1


@pytest.mark.parametrize(("own", "source"), [(True, "head"), (False, "table")])
def test_a_fallback_writes_only_what_no_other_row_wrote(plan: Planned, own: bool, source: str) -> None:
    text = """\
weights:
  - {tf: table, pt: emb}
  - {tf: table, pt: out, fallback: true}
  - {tf: head, pt: out, optional: true}
"""
    tf = {"table": (5, 3), **({"head": (5, 3)} if own else {})}
    found = plan(text, tf, {"emb": (5, 3), "out": (5, 3)})
    assert found.ok
    assert wiring(found) == {"emb": "table", "out": source}


@pytest.mark.parametrize(("optional", "kinds"), [("", {"absent"}), (", optional: true", set())])
def test_a_fallback_does_not_hide_that_a_row_lacks_its_variable(
    plan: Planned, optional: str, kinds: set[str]
) -> None:
    for fallback in ("tf: table, ", "fill: 0, "):
        rows = (
            f"{{tf: table, pt: emb}}, {{tf: head, pt: out{optional}}}, {{{fallback}pt: out, fallback: true}}"
        )
        text = f"weights: [{rows}]"
        found = plan(text, {"table": (5, 3)}, {"emb": (5, 3), "out": (5, 3)})
        assert {finding.kind for finding in found.findings} == kinds
        assert [finding.name for finding in found.findings] == ["head"] * len(kinds)


def test_of_two_fallbacks_the_first_is_taken(plan: Planned) -> None:
    rows = (
        "{tf: a, pt: x}, {tf: a, pt: out, fallback: true}, {tf: b, pt: y}, {tf: b, pt: out, fallback: true}"
    )
    text = f"weights: [{rows}]"
    found = plan(text, {"a": (2,), "b": (2,)}, {"x": (2,), "y": (2,), "out": (2,)})
    assert found.ok
    assert wiring(found)["out"] == "a"


def test_a_variable_that_only_an_unused_fallback_reads_is_unused(plan: Planned) -> None:
    text = "weights: [{tf: a, pt: out}, {tf: b, pt: out, fallback: true}]"
    found = only(plan(text, {"a": (2,), "b": (2,)}, {"out": (2,)}).findings)
    assert (found.kind, found.name) == ("unused", "b")


def test_variables_are_ignored_by_what_they_are_for(plan: Planned) -> None:
    text = "source: {ignore: [{role: slot, why: optimizer}, {role: counter, why: step}]}\nweights: [{tf: w, pt: w}]"
    found = plan(text, {"w": (2,), "w/Adam": (2,), "w/Adam_1": (2,), "global_step": ()}, {"w": (2,)})
    assert found.ok
    assert found.ignored == {"w/Adam": "optimizer", "w/Adam_1": "optimizer", "global_step": "step"}


def test_a_row_that_claims_what_is_ignored_by_role_is_an_overlap(plan: Planned) -> None:
    text = "source: {ignore: [{role: slot, why: optimizer}]}\nweights: [{tf: w, pt: w}, {tf: w/Adam, pt: m}]"
    found = plan(text, {"w": (2,), "w/Adam": (2,)}, {"w": (2,), "m": (2,)})
    assert [finding.kind for finding in found.findings] == ["overlap"]
    assert found.findings[0].got == "ignore at m.yaml:2"
