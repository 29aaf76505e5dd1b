"""The two trees of a page: the state of each tensor, what is joined, and which findings are about what."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import save_file

import tfpt
from tests.checking.test_histograms import BINS
from tests.report.pages.test_document import HOSTILE
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.planning import KINDS
from tfpt.report.pages.matching import Matching
from tfpt.report.pages.matching_of import of_diff, of_plan
from tfpt.report.pages.states import STATES, of_kind, worse


@pytest.fixture
def planned(tiny):
    """The page of the tiny mapping's plan, after a change of its text."""

    def make(old: str = "", new: str = "", **settings) -> Matching:
        if old:
            tiny.rewrite(old, new)
        with closing(tfpt.open_source(tiny.checkpoint)) as source:
            specs = source.specs
        return of_plan(tfpt.plan(tiny.mapping, tiny.checkpoint, **settings), specs, "my:Net")

    return make


def states(entries):
    return {name: entry.state for name, entry in entries.items()}


def kinds(matching, entry):
    return [matching.findings[index].kind for index in entry.findings]


def test_every_tensor_of_both_sides_has_its_state(planned):
    made = planned()
    assert states(made.left) == {
        "net/conv/w": "written",
        "net/dense/bias": "written",
        "net/dense/kernel": "written",
        "net/dense/kernel/Momentum": "ignored",
    }
    assert states(made.right) == {
        "fc.weight": "written", "fc.bias": "written", "conv.weight": "written", "steps": "filled"
    }  # fmt: skip
    assert made.left["net/dense/kernel/Momentum"].reason == "optimizer slot"
    assert (made.verdict, made.good, made.files[1]) == ("fits", True, "my:Net")


def test_a_join_has_the_work_and_the_row(planned, tiny):
    joins = {join.right: join for join in planned().joins}
    assert joins["conv.weight",].left == ("net/conv/w",)
    assert joins["conv.weight",].work == "layout h w i o -> o i h w"
    assert joins["conv.weight",].row == f"{tiny.mapping}:10"
    assert joins["steps",].left == ()


def test_shapes_that_do_not_fit_are_joined_all_the_same(planned):
    made = planned('"h w i o -> o i h w"', '"h w i o -> i o h w"')
    assert made.left["net/conv/w"].state == made.right["conv.weight"].state == "shape"
    assert kinds(made, made.right["conv.weight"]) == ["shape"]
    assert made.right["conv.weight"].spec.shape == (7, 5, 2, 3)
    assert [join.right for join in made.joins if join.left == ("net/conv/w",)] == [("conv.weight",)]
    assert (made.verdict, made.good) == ("1 finding", False)


def test_what_no_row_writes_or_reads_is_there_as_well(planned):
    made = planned('  - {tf: dense/bias,   pt: fc.bias,     layout: "o -> o"}\n', "")
    assert made.left["net/dense/bias"].state == "unused"
    assert made.right["fc.bias"].state == "missing"
    assert made.right["fc.bias"].spec.shape == (5,)


def test_a_variable_that_is_not_in_the_checkpoint_is_absent(planned):
    made = planned("dense/bias", "dense/b")
    assert made.right["fc.bias"].state == "absent"
    assert made.left["net/dense/bias"].state == "unused"


def test_a_note_on_layouts_is_about_each_tensor_with_equal_axes(tmp_path):
    write_bundle(tmp_path / "m", {name: np.zeros(shape, np.float32) for name, shape in
                                  {"a/w": (3, 3), "b/w": (3, 5), "c/w": (7, 7)}.items()})  # fmt: skip
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        'version: 1\nweights:\n  - {tf: "{n}/w", pt: "{n}.weight", layout: "i o -> o i"}\n', "utf-8"
    )
    plan = tfpt.plan(mapping, tmp_path / "m", use_model=False)
    with closing(tfpt.open_source(tmp_path / "m")) as source:
        made = of_plan(plan, source.specs)
    noted = {name for name, entry in {**made.left, **made.right}.items() if entry.findings}
    assert noted == {"a/w", "a.weight", "c/w", "c.weight"}
    assert set(states(made.right).values()) == {"written"}
    assert [finding.kind for finding in made.loose] == ["unchecked"]


@pytest.fixture
def compared(tiny, tmp_path):
    """The page of the comparison of the tiny checkpoint with changed weights."""

    def make(changed, **options) -> Matching:
        weights = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
        changed(weights)
        save_file(weights, tmp_path / "w.safetensors")
        words = {"mapping": tiny.mapping, "histograms": True, **options}
        return of_diff(tfpt.diff(tiny.checkpoint, tmp_path / "w.safetensors", **words))

    return make


@pytest.mark.parametrize(
    ("relative", "state"),
    [(1e-6, "apart-1"), (1e-4, "apart-2"), (1e-2, "apart-3"), (0.3, "apart-4"), (1e6, "apart-4")],
)
def test_what_differs_is_in_the_band_of_its_relative_difference(compared, relative, state):
    def change(weights):
        # The largest of four values by 4 * relative of the others' size.
        largest = np.abs(weights["conv.weight"]).max()
        weights["conv.weight"].reshape(-1)[0] += np.float32(largest * relative * 1.5)

    made = compared(change)
    assert made.right["conv.weight"].state == made.left["net/conv/w"].state == state
    assert states(made.right)["fc.weight"] == states(made.left)["net/dense/kernel"] == "identical"
    assert (made.verdict, made.good) == ("1 tensor different", False)


def test_within_the_tolerance_it_is_good(compared):
    def change(weights):
        weights["fc.bias"] *= np.float32(1.001)

    made = compared(change, tolerance=0.01)
    assert made.right["fc.bias"].state == "within"
    assert (made.verdict, made.good) == ("equal within 0.01", True)


def test_tensors_of_one_side_alone_are_shown_and_shapes_are_those_of_the_file(compared):
    def change(weights):
        weights["more"] = np.zeros(3, np.float32)
        del weights["fc.bias"]
        weights["fc.weight"] = weights["fc.weight"][:3]

    made = compared(change)
    expected = {"more": "extra", "fc.bias": "missing", "fc.weight": "shape", "conv.weight": "identical"}
    assert states(made.right) == {**expected, "steps": "identical"}
    assert made.right["fc.weight"].spec.shape == (3, 3)
    assert kinds(made, made.right["more"]) == ["extra"]
    assert made.verdict == "3 findings"


def test_another_dtype_does_not_hide_the_difference(compared):
    def change(weights):
        weights["fc.bias"] = weights["fc.bias"].astype(np.float64)

    made = compared(change)
    assert made.right["fc.bias"].state == "equal"
    assert kinds(made, made.right["fc.bias"]) == ["dtype"]


def test_figures_and_histograms_are_numpys(compared, tiny):
    def change(weights):
        weights["conv.weight"] += np.float32(0.25)

    values = compared(change).to_json()
    names = [entry[0] for entry in values["right"]]
    [join] = [join for join in values["joins"] if names[join[1][0]] == "conv.weight"]
    [figures] = join[4]
    assert names[figures[0]] == "conv.weight"
    left, right = tiny.parameters["conv.weight"], tiny.parameters["conv.weight"] + np.float32(0.25)
    assert figures[1] == pytest.approx(0.25, rel=1e-4)
    assert figures[3] == pytest.approx(0.25 / np.abs(left).max(), rel=1e-4)
    assert figures[7:9] == [left.min(), right.max()]
    for counts, side in ((figures[9], left), (figures[10], right)):
        expected, _ = np.histogram(side.astype(np.float64), BINS, (left.min(), right.max()))
        assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= 1  # a value on an edge
    # Equal counts are written once.
    [same] = [join for join in values["joins"] if names[join[1][0]] == "fc.weight"]
    assert sum(same[4][0][9]) == 15
    assert same[4][0][10] == 0


def test_two_files_are_joined_by_name(tmp_path):
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"x.w": np.zeros(3, np.float32), "x.gone": np.ones(2, np.float32)}, one)
    save_file({"x.w": np.zeros(3, np.float32), "y": np.ones(2, np.float32)}, other)
    made = of_diff(tfpt.diff(one, other))
    assert states(made.left) == {"x.w": "identical", "x.gone": "extra"}
    assert states(made.right) == {"x.w": "identical", "y": "extra"}
    assert [(join.left, join.right) for join in made.joins] == [(("x.w",), ("x.w",))]
    assert made.separators == (".", ".")
    assert not made.loose


def test_without_weights_it_is_the_plan(tiny):
    made = of_diff(tfpt.diff(tiny.checkpoint, mapping=tiny.mapping))
    assert states(made.right)["fc.weight"] == "written"
    assert states(made.left)["net/dense/kernel/Momentum"] == "ignored"


def test_what_is_unsure_about_a_proposal_is_marked(tmp_path):
    from tfpt.proposal.writing import propose
    from tfpt.report.pages.matching_of import of_proposal

    shapes = {"one/kernel": (3, 5), "two/kernel": (5, 3), "two/bias": (3,)}
    write_bundle(tmp_path / "m", {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    save_file(
        {
            "one.weight": np.zeros((5, 3), np.float32),
            "two.weight": np.zeros((3, 5), np.float32),
            "two.bias": np.zeros(3, np.float32),
        },
        tmp_path / "w.safetensors",
    )
    path = tmp_path / "net.yaml"
    proposal = propose(tmp_path / "m", path, target=tmp_path / "w.safetensors")
    made = of_proposal(proposal, str(path), "m", "w.safetensors")
    assert {name for name, entry in made.right.items() if entry.state == "unsure"} == set(proposal.unsure)
    assert made.good == proposal.settled
    # Rows are named as in the file that was written, not in the temporary one that was planned.
    assert made.joins
    assert all(str(path) in join.row for join in made.joins)


def test_every_kind_that_stops_has_a_state_and_notes_have_none():
    for kind, stops in KINDS.items():
        assert (of_kind(kind) in STATES) == stops
    assert worse("identical", "missing") == worse("missing", "identical") == "missing"


def test_states_are_told_apart_by_more_than_color():
    # A page has either of the two.
    assert STATES["identical"].mark == STATES["written"].mark
    marks = [state.mark for name, state in STATES.items() if name != "identical"]
    assert len(set(marks)) == len(marks)


def test_texts_from_files_are_visible_and_the_json_is_strict(planned):
    made = planned()
    entry = made.left["net/conv/w"]
    for name in HOSTILE:
        entry.spec = dataclasses.replace(entry.spec, name=name)
        entry.reason = name
        values = made.to_json()
        text = json.dumps(values, allow_nan=False, ensure_ascii=False)
        text.encode()
        assert not set("\x00\x1b\u2028\u202e\ud800") & set("".join(map(str, values["left"])))
