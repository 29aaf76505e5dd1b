"""Exactly one of the scopes that a mapping lists must fit the checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfpt.planning import Plan

Planned = Callable[..., Plan]

TEXT = 'source: {scope: ["", module]%s}\nweights: [{tf: net/w, pt: w}]'


@pytest.mark.parametrize(("prefix", "scope"), [("", ""), ("module/", "module")])
def test_the_scope_that_fits_is_taken(plan: Planned, prefix: str, scope: str) -> None:
    found = plan(TEXT % "", {f"{prefix}net/w": (2,)}, {"w": (2,)})
    assert found.ok
    assert found.scope == scope


def test_what_stands_outside_the_scope_is_unused(plan: Planned) -> None:
    found = plan(TEXT % "", {"module/net/w": (2,), "step": ()}, {"w": (2,)})
    assert [(finding.kind, finding.name) for finding in found.findings] == [("unused", "step")]


def test_no_scope_that_fits_is_one_finding_with_an_example_of_both(plan: Planned) -> None:
    text = "source: {scope: RGB/net}\nweights: [{pt: one, fill: 1}, {tf: w, pt: w}]"
    found = plan(text, {"Flow/net/w": (2,)}, {"w": (2,), "one": ()})
    (finding,) = found.findings
    assert (finding.kind, finding.where) == ("scope", "m.yaml")
    assert finding.what == "the checkpoint has no variable under the scope of the mapping: RGB/net"
    assert finding.expected == "names such as RGB/net/w"
    assert finding.got == "names such as Flow/net/w"
    assert finding.nearest[0] == "Flow/net"
    assert found.steps == ()


def test_an_empty_checkpoint_fits_no_scope(plan: Planned) -> None:
    (finding,) = plan(TEXT % "", {}, {"w": (2,)}).findings
    assert (finding.kind, finding.got) == ("scope", "names such as no names at all")


def test_two_scopes_that_fit_are_an_error(plan: Planned) -> None:
    (finding,) = plan(TEXT % "", {"net/w": (2,), "module/net/w": (2,)}, {"w": (2,)}).findings
    assert (finding.kind, finding.what) == ("scope", "the checkpoint has variables under the root and module")


def test_an_absolute_name_does_not_make_every_scope_fit(plan: Planned) -> None:
    text = "source: {scope: [a, b]}\nweights: [{tf: w, pt: w}, {tf: /shared, pt: s}]"
    found = plan(text, {"b/w": (2,), "shared": (2,)}, {"w": (2,), "s": (2,)})
    assert found.ok
    assert found.scope == "b"


PATHS = 'source: {scope: ["", module]}\nweights: [{tf: "{path...}/w", pt: "{path...}.w"}]'


def test_a_path_that_reaches_into_another_scope_does_not_make_both_fit(plan: Planned) -> None:
    found = plan(PATHS, {"module/a/b/w": (2,), "module/c/w": (2,)}, {"a.b.w": (2,), "c.w": (2,)})
    assert found.ok
    assert found.scope == "module"
    found = plan(PATHS, {"a/b/w": (2,), "c/w": (2,)}, {"a.b.w": (2,), "c.w": (2,)})
    assert found.ok
    assert found.scope == ""


def test_variables_inside_and_outside_of_a_scope_are_still_two_that_fit(plan: Planned) -> None:
    (finding,) = plan(PATHS, {"module/a/w": (2,), "c/w": (2,)}, {"a.w": (2,), "c.w": (2,)}).findings
    assert finding.what == "the checkpoint has variables under the root and module"


def test_what_a_scope_ignores_does_not_make_it_fit(plan: Planned) -> None:
    text = PATHS.replace("module]", "module], ignore: [{tf: /step/w, why: counter}]")
    found = plan(text, {"module/a/w": (2,), "step/w": (2,)}, {"a.w": (2,)})
    assert found.ok
    assert found.scope == "module"


def test_a_scope_is_found_by_its_averages_where_only_those_were_kept(plan: Planned) -> None:
    text = TEXT % ', ema: {tf: "{path...}/EMA", use: prefer}'
    found = plan(text, {"module/net/w/EMA": (2,)}, {"w": (2,)})
    assert found.ok
    assert found.scope == "module"
