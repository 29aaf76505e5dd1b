"""Rows against names: joins, stacks, tensors taken apart, fields that carry nothing, constants in their place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.growth import cpu_budget
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import pair_lists, single
from tfpt.planning import Finding, Plan

Planned = Callable[..., Plan]


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


def read(plan: Plan) -> list[list[str]]:
    return [[spec.name for spec in step.reads] for step in plan.steps]


# -- joins --------------------------------------------------------------------------------------------

QKV = 'weights: [{tf: ["{n}/q", "{n}/k"], pt: "{n}.qk", layout: "n i o -> (n o) i"}]'


def test_a_list_is_joined_in_its_own_order_once_for_each_place(plan: Planned) -> None:
    tf = {"b/k": (2, 3), "b/q": (2, 3), "a/k": (2, 3), "a/q": (2, 3)}
    found = plan(QKV, tf, {"a.qk": (6, 2), "b.qk": (6, 2)})
    assert found.ok
    assert read(found) == [["a/q", "a/k"], ["b/q", "b/k"]]


def test_a_member_of_a_list_that_is_not_there_is_absent_and_nothing_else(plan: Planned) -> None:
    found = only(plan(QKV, {"a/q": (2, 3)}, {"a.qk": (6, 2)}).findings)
    assert (found.kind, found.name) == ("absent", "a/k")
    assert found.expected == "a/k, for a.qk"
    assert found.where == "m.yaml:2"


def test_a_member_that_is_not_there_is_absent_even_of_an_optional_row(plan: Planned) -> None:
    found = only(plan(QKV.replace("}]", ", optional: true}]"), {"a/q": (2, 3)}, {"a.qk": (6, 2)}).findings)
    assert (found.kind, found.name) == ("absent", "a/k")


def test_a_list_of_which_nothing_is_there_names_all_its_members(plan: Planned) -> None:
    found = only(plan(QKV, {"a/q": (2, 3), "a/k": (2, 3)}, {"a.qk": (6, 2), "b.qk": (6, 2)}).findings)
    assert found.what == "the variables b/q and b/k are not in the checkpoint"


# -- stacks -------------------------------------------------------------------------------------------

STACK = 'weights: [{tf: "l{i:int}/w", pt: all, layout: "l i o -> l o i"}]'


def test_variables_are_stacked_by_their_number_and_not_by_their_spelling(plan: Planned) -> None:
    names = [f"l{i}/w" for i in range(11)]
    found = plan(STACK, dict.fromkeys(sorted(names), (2, 3)), {"all": (11, 3, 2)})
    assert found.ok
    assert read(found) == [names]


def test_a_hole_in_a_stack_is_absent(plan: Planned) -> None:
    found = only(plan(STACK, {"l0/w": (2, 3), "l2/w": (2, 3)}, {"all": (3, 3, 2)}).findings)
    assert (found.kind, found.name, found.where) == ("absent", "l1/w", "m.yaml:2")


def test_a_stack_that_is_short_of_the_models_is_a_shape_finding(plan: Planned) -> None:
    found = only(plan(STACK, {"l0/w": (2, 3), "l1/w": (2, 3)}, {"all": (3, 3, 2)}).findings)
    assert (found.kind, found.name) == ("shape", "all")
    assert (found.expected, found.got) == (
        "[3, 3, 2], as the model has it",
        "[2, 3, 2] from [2, 3], [2, 3] by l i o -> l o i",
    )


def test_a_stack_of_which_nothing_is_there_asks_for_its_first(plan: Planned) -> None:
    text = STACK.replace("]", ", {tf: b, pt: b}]")
    found = only(plan(text, {"b": (1,)}, {"all": (3, 3, 2), "b": (1,)}).findings)
    assert (found.kind, found.name) == ("absent", "l0/w")


def test_variables_of_unequal_shapes_cannot_be_stacked(plan: Planned) -> None:
    found = only(plan(STACK, {"l0/w": (2, 3), "l1/w": (2, 5)}, {"all": (2, 3, 2)}).findings)
    assert (found.kind, found.got) == ("shape", "[2, 3] and [2, 5]")


def test_a_step_number_taken_for_an_index_does_not_fill_the_memory(plan: Planned) -> None:
    with cpu_budget(10):
        found = plan(STACK, {"l1700000000/w": (2, 3)}, {"all": (3, 3, 2)})
    assert {finding.kind for finding in found.findings} == {"absent"}
    assert len(found.findings) == 100


# -- tensors taken apart --------------------------------------------------------------------------------

APART = 'weights: [{tf: all/w, pt: "l.{i:int}.w", layout: "l i o -> l o i"}]'


def test_a_variable_is_taken_apart_into_as_many_as_its_first_axis_is_long(plan: Planned) -> None:
    found = plan(APART, {"all/w": (3, 2, 5)}, {f"l.{i}.w": (5, 2) for i in range(3)})
    assert found.ok
    assert [[spec.name for spec in step.writes] for step in found.steps] == [["l.0.w", "l.1.w", "l.2.w"]]


def test_the_layout_says_which_axis_is_first(plan: Planned) -> None:
    text = APART.replace("l i o -> l o i", "i l o -> l o i")
    assert plan(text, {"all/w": (2, 3, 5)}, {f"l.{i}.w": (5, 2) for i in range(3)}).ok


def test_a_slice_says_how_many_are_left(plan: Planned) -> None:
    text = APART.replace("}]", ', slice: {l: "1:"}}]')
    assert plan(text, {"all/w": (4, 2, 5)}, {f"l.{i}.w": (5, 2) for i in range(3)}).ok


def test_two_variables_may_be_joined_and_taken_apart(plan: Planned) -> None:
    text = 'weights: [{tf: [k, q], pt: "l.{i:int}", layout: "n l i o -> l (n o) i"}]'
    pt = {f"l.{i}": (10, 2) for i in range(3)}
    assert plan(text, {"k": (3, 2, 5), "q": (3, 2, 5)}, pt).ok
    found = only(plan(text, {"q": (3, 2, 5)}, pt).findings)
    assert (found.kind, found.name) == ("absent", "k")


def test_more_pieces_than_the_model_has_are_extra(plan: Planned) -> None:
    found = only(plan(APART, {"all/w": (3, 2, 5)}, {"l.0.w": (5, 2), "l.1.w": (5, 2)}).findings)
    assert (found.kind, found.name, found.where) == ("extra", "l.2.w", "m.yaml:2")


def test_fewer_pieces_than_the_model_has_leave_the_rest_missing(plan: Planned) -> None:
    found = only(plan(APART, {"all/w": (2, 2, 5)}, {f"l.{i}.w": (5, 2) for i in range(3)}).findings)
    assert (found.kind, found.name, found.where) == ("missing", "l.2.w", "m.yaml:2")


def test_a_variable_to_take_apart_that_is_not_there_is_one_finding(plan: Planned) -> None:
    text = APART.replace("]}", "]}").replace("}]", "}, {tf: b, pt: b}]")
    pt = {**{f"l.{i}.w": (5, 2) for i in range(3)}, "b": (1,)}
    found = only(plan(text, {"b": (1,)}, pt).findings)
    assert (found.kind, found.name) == ("absent", "all/w")


def test_a_variable_that_cannot_be_taken_apart_is_one_shape_finding(plan: Planned) -> None:
    found = only(plan(APART, {"all/w": (2, 5)}, {f"l.{i}.w": (5, 2) for i in range(2)}).findings)
    assert (found.kind, found.name) == ("shape", "l.0.w")
    assert found.got == "2 axes: [2, 5]"


# -- fields that carry nothing ----------------------------------------------------------------------------


def test_a_counter_of_the_process_is_passed_over(plan: Planned) -> None:
    text = 'weights: [{tf: "dense_{_}/w", pt: dense.w}]'
    found = plan(text, {"dense_37/w": (2,)}, {"dense.w": (2,)})
    assert found.ok
    assert read(found) == [["dense_37/w"]]


def test_two_variables_that_only_a_counter_tells_apart_are_an_overlap(plan: Planned) -> None:
    text = 'weights: [{tf: "dense_{_}/w", pt: dense.w}]'
    found = only(plan(text, {"dense_1/w": (2,), "dense_2/w": (2,)}, {"dense.w": (2,)}).findings)
    assert found.kind == "overlap"
    assert found.what == "the variables dense_1/w and dense_2/w have the same place in the row"
    assert (found.where, found.hint) == ("m.yaml:2", "name the field that distinguishes them instead of {_}")


# -- constants ----------------------------------------------------------------------------------------

UNIT = """\
layers:
  unit: {weights: [{tf: w, pt: w}, {pt: one, fill: 1, like: w}, {pt: count, fill: 0, shape: [], dtype: int64}]}
scopes:
  - {tf: "s_{i}", pt: "s.{i:int}", layer: unit}
"""


def test_constants_stand_where_their_layer_stands(plan: Planned) -> None:
    tf = {"s_0/w": (3,), "s_1/w": (3,)}
    pt = {f"s.{i}.{leaf}": said for i in (0, 1) for leaf, said in UNIT_PARAMETERS.items()}
    found = plan(UNIT, tf, pt)
    assert found.ok
    assert [(s.writes[0].name, s.writes[0].shape, s.value) for s in found.steps if not s.reads] == [
        ("s.0.one", (3,), 1),
        ("s.0.count", (), 0),
        ("s.1.one", (3,), 1),
        ("s.1.count", (), 0),
    ]
    assert found.filled == 4


UNIT_PARAMETERS = {"w": (3,), "one": (3,), "count": ((), "int64")}


def test_a_layer_that_is_not_in_the_checkpoint_fills_nothing(plan: Planned) -> None:
    pt = {f"s.{i}.{leaf}": said for i in (0, 1) for leaf, said in UNIT_PARAMETERS.items()}
    found = plan(UNIT, {"s_0/w": (3,)}, pt)
    assert [(finding.kind, finding.name) for finding in found.findings] == [
        ("absent", "s_1/w"),
        ("missing", "s.1.one"),
        ("missing", "s.1.count"),
    ]
    assert found.findings[1].got == (
        "the row at m.yaml:3 (in the scope at line 5) would, if its layer were in the checkpoint"
    )


def test_a_layers_constants_stand_beside_every_piece_of_a_variable_taken_apart(plan: Planned) -> None:
    text = UNIT.replace('"s_{i}"', "stack").replace("pt: w}", 'pt: w, layout: "l c -> l c"}')
    pt = {f"s.{i}.{leaf}": said for i in (0, 1) for leaf, said in UNIT_PARAMETERS.items()}
    assert plan(text, {"stack/w": (2, 3)}, pt).ok


def test_a_constant_of_one_literal_name_that_the_model_does_not_have_is_extra(plan: Planned) -> None:
    found = only(plan("weights: [{tf: a, pt: a}, {pt: b, fill: 0}]", {"a": (2,)}, {"a": (2,)}).findings)
    assert (found.kind, found.name, found.got) == ("extra", "b", "a constant, 0")


def test_a_constant_may_reach_by_a_field_that_carries_nothing(plan: Planned) -> None:
    text = 'weights: [{tf: a, pt: a}, {pt: "{_...}.count", fill: 0}]'
    found = plan(text, {"a": (2,)}, {"a": (2,), "x.count": (), "y.z.count": ()})
    assert found.ok
    assert found.filled == 2


@pytest.mark.parametrize(
    ("names", "field", "got"),
    [
        (("layer_07/w", "layer_7/w"), "{i:int}", "07 and 7, which {i} reads as one number"),
        (("layer_08/w", "layer_8/w"), "{i+1}", "08 and 8, which {i} reads as one number"),
    ],
)
def test_two_variables_that_are_one_number_are_an_overlap_that_says_so(
    plan: Planned, names: tuple[str, str], field: str, got: str
) -> None:
    text = f'weights: [{{tf: "layer_{field}/w", pt: "l.{{i}}.w"}}]'
    found = only(plan(text, dict.fromkeys(names, (2,)), {"l.7.w": (2,)}).findings)
    assert (found.kind, found.got) == ("overlap", got)
    assert "{_}" not in found.hint
    assert "{i:02}" in found.hint


# -- the index of names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("a/w", ["a/w"]),
        ("{x}/w", ["a/w", "b/w"]),
        ("{x}", ["w", "aw"]),
        ("{x...}/w", ["a/w", "b/w", "a/b/w"]),
        ("w", ["w"]),
        ("{x}w", ["aw"]),
        ("a/{x}", ["a/w", "a/v"]),
        ("{p...}/b/w", ["a/b/w"]),
        ("none", []),
        ("", []),
    ],
)
def test_an_index_finds_what_trying_every_name_finds(text: str, matches: list[str]) -> None:
    names = ["a/w", "b/w", "a/b/w", "a/v", "w", "aw"]
    template = single(text)
    assert [name for name, _ in NameIndex(names, "/").matches(template)] == matches
    assert [name for name in names if template.match(name) is not None] == matches


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "", "layer_1", "layer_12", "w"]), min_size=1, max_size=4)


@given(
    st.lists(PIECES.map("/".join), unique=True, max_size=30),
    st.lists(
        st.sampled_from(["a", "ab", "layer_1", "w", "{_}", "{x}", "{p...}", "layer_{i:int}", "a{y}", "{z}b"]),
        min_size=1,
        max_size=4,
        unique=True,
    ),
)
def test_an_index_finds_whatever_trying_every_name_finds(names: list[str], components: list[str]) -> None:
    template = single("/".join(components))
    found = NameIndex(names, "/").matches(template)
    assert found == [(name, template.match(name)) for name in names if template.match(name) is not None]


def test_an_index_of_parameters_goes_by_dots() -> None:
    _, (template,) = pair_lists([], ["{x}.w"])
    assert NameIndex(["a.w", "a/w", "b.v"], ".").matches(template) == [("a.w", {"x": "a"})]
