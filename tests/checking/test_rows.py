"""Rows against the model: what matches nothing, has no effect, cannot fit, or cannot be confirmed."""

from __future__ import annotations

import pytest

from tests.checking.checked import check


def test_a_row_that_matches_nothing_names_the_nearest_parameter_without_a_row(tmp_path):
    found = check(tmp_path, "weights: [{tf: a, pt: fc.bios}]\n", {"fc.bias": [3]})
    [dead] = found.notes
    assert (dead.kind, dead.what) == ("dead-row", "the row writes no parameter of the model: a → fc.bios")
    assert dead.where.endswith("m.yaml:2:23")
    assert dead.source == "weights: [{tf: a, pt: fc.bios}]\n                      ^^^^^^^"
    assert dead.nearest == ("fc.bias",)
    assert dead.hint == "correct the name, or remove the row; optional: true if that is expected"
    [missing] = found.findings
    assert (missing.what, missing.expected) == (
        "no row writes the parameter fc.bias", "a row for fc.bias [3] float32",
    )  # fmt: skip
    assert missing.where == dead.where
    assert missing.hint == "add a row; fill: or keep: if TensorFlow has no such variable"


def test_a_row_that_another_one_overrides_everywhere_has_no_effect(tmp_path):
    rows = 'weights:\n  - {tf: "a{i}", pt: "x{i:int}"}\n  - {tf: "b{i}", pt: "x{i:int}", overrides: true}\n'
    found = check(tmp_path, rows, {"x1": [3], "x2": [3]})
    [note] = found.notes
    assert note.kind == "shadowed-row"
    assert note.what == (
        "the row has no effect, since another one writes everything that it would: a{i} → x{i:int}"
    )
    assert note.got.startswith("overridden by b{i} → x{i:int} at ")
    assert (note.where.endswith("m.yaml:3:22"), note.hint) == (True, "remove it")


@pytest.mark.parametrize(
    "other",
    ["{tf: b1, pt: x1, overrides: true}", '{tf: "b{i}", pt: "x{i:int}", overrides: true, optional: true}'],
    ids=["one-of-two", "optional"],
)
def test_a_row_that_may_still_write_something_is_no_note(tmp_path, other):
    rows = f'weights:\n  - {{tf: "a{{i}}", pt: "x{{i:int}}"}}\n  - {other}\n'
    assert check(tmp_path, rows, {"x1": [3], "x2": [3]}).notes == ()


def test_a_fallback_for_what_other_rows_always_write_has_no_effect(tmp_path):
    rows = "weights:\n  - {tf: a, pt: x}\n  - {pt: x, fill: 0, fallback: true}\n"
    [note] = check(tmp_path, rows, {"x": [3]}).notes
    assert (note.kind, note.got.startswith("fallback by a → x")) == ("shadowed-row", True)


def test_a_row_that_repeats_another_one_is_an_overlap(tmp_path):
    rows = 'weights:\n  - {tf: "{n}/w", pt: "{n}.w"}\n  - {tf: a/w, pt: a.w}\n'
    [finding] = check(tmp_path, rows, {"a.w": [3], "b.w": [3]}).findings
    assert finding.kind == "overlap"
    assert finding.what == "another row reads and writes the same as this one: a/w → a.w"
    assert finding.got.startswith("{n}/w → {n}.w at ")
    assert finding.hint == "remove one of them; or overrides: true on the one that should win"
    assert finding.where.endswith("m.yaml:4:19")


def test_rows_for_checkpoints_with_other_names_are_no_overlap(tmp_path):
    rows = "weights:\n  - {tf: new/w, pt: a.w}\n  - {tf: old/w, pt: a.w}\n"
    assert check(tmp_path, rows, {"a.w": [3]}).findings == ()


@pytest.mark.parametrize(
    ("row", "shape", "got"),
    [
        ('{tf: a, pt: x, layout: "i o -> o i"}', [3, 5, 7], "layout i o -> o i"),
        ('{tf: a, pt: x, layout: "... i o -> ... o i"}', [3], "layout ... i o -> ... o i"),
        ('{tf: a, pt: x, layout: "(h i) o -> o h i", axes: {h: 4}}', [5, 3, 7], "layout (h i) o -> o h i"),
        ('{tf: a, pt: x, layout: "h i o -> o (h i)", axes: {h: 4}}', [5, 6], "layout h i o -> o (h i)"),
        ('{tf: a, pt: x, layout: "i o -> o 1 i"}', [5, 2, 3], "layout i o -> o 1 i"),
        ("{pt: x, fill: 0, shape: [2]}", [3], "[2]"),
    ],
    ids=["rank", "run", "size", "product", "one", "fill"],
)
def test_a_row_that_cannot_give_the_shape_is_a_finding_without_a_checkpoint(tmp_path, row, shape, got):
    found = check(tmp_path, f"weights: [{row}]\n", {"x": shape})
    [finding] = found.findings
    assert (finding.kind, finding.what) == ("shape", "the row cannot give x its shape")
    assert (finding.expected, finding.got) == (f"{shape}, as the model has it", got)
    assert finding.hint == ("correct the layout" if "layout" in row else "leave out shape:, or correct it")


def test_a_layout_that_fits_some_variable_is_no_finding(tmp_path):
    rows = """weights:
  - {tf: a, pt: x, layout: "... i o -> ... o i"}
  - {tf: b, pt: y, layout: "h i o -> o (h i)", axes: {h: 3}}
  - {tf: c, pt: z, layout: "v d -> v d", pad: {axis: v, to: 8}}
  - {tf: d, pt: ["q{i}", "k"], layout: "i o -> o i", split: o}
"""
    shapes = {"x": [2, 3, 5], "y": [5, 6], "z": [8, 3]}
    assert (
        check(
            tmp_path, rows.replace('["q{i}", "k"]', "[q, k]"), {**shapes, "q": [4, 3], "k": [4, 3]}
        ).findings
        == ()
    )


def test_axes_of_equal_size_are_one_note_for_each_row(tmp_path):
    rows = 'weights: [{tf: "{n}/w", pt: "{n}.w", layout: "h w i o -> o i h w"}]\n'
    shapes = {"a.w": [7, 5, 3, 3], "b.w": [5, 5, 2, 3], "c.w": [7, 5, 2, 3]}
    [note] = check(tmp_path, rows, shapes).notes
    assert note.kind == "unconfirmed-layout"
    assert note.what == (
        "2 parameters, a.w first, have equal axes h and w; i and o: the shapes cannot confirm the layout"
    )
    assert note.source.endswith(" " * 45 + "^" * len('"h w i o -> o i h w"'))
    assert note.hint == "tfpt verify compares what both networks compute"


def test_a_square_without_a_layout_may_need_one(tmp_path):
    [note] = check(tmp_path, "weights: [{tf: a, pt: x}, {tf: b, pt: y}]\n", {"x": [4, 4], "y": [4, 5]}).notes
    assert note.what == "x has equal axes 0 and 1: the shapes cannot confirm that no axes need exchanging"


def test_a_field_with_one_value_could_be_written(tmp_path):
    rows = 'weights:\n  - {tf: "conv{n:int}/w", pt: "conv{n}.w"}\n  - {tf: "{m}/b", pt: "{m}.b"}\n'
    [note] = check(tmp_path, rows, {"conv1.w": [3], "a.b": [3], "c.b": [3]}).notes
    assert (note.kind, note.name) == ("single-value", "n")
    assert note.what == "the field {n} has one value in the whole model: 1"
    assert note.hint == "write 1 instead of the field, unless the mapping is for other models, too"
    assert note.where.endswith("m.yaml:3:31")


def test_a_field_of_a_scope_counts_for_all_rows_of_its_layer(tmp_path):
    text = """layers: {l: {weights: [{tf: w, pt: w}, {tf: b, pt: b}]}}
scopes:
  - {tf: "s{i}", pt: "s{i:int}", layer: l}
"""
    shapes = {"s1.w": [3], "s1.b": [3], "s2.b": [3]}
    assert check(tmp_path, text, {**shapes, "s2.w": [3]}).notes == ()
    [note] = check(tmp_path, text, {"s1.w": [3], "s1.b": [3]}).notes
    assert note.what == "the field {i} has one value in the whole model: 1"
    assert note.where.endswith("m.yaml:4:22")


def test_with_parameters_a_field_may_have_more_values_in_another_model(tmp_path):
    text = 'params: {n: 1}\nsummary: "n=${n}"\nweights: [{tf: "a{i}", pt: "x{i:int}"}]\n'
    assert [note.kind for note in check(tmp_path, text, {"x1": [3]}).notes] == ["unchecked"]


def test_a_drift_points_to_the_line_of_the_manifest(tmp_path):
    text = "model: {factory: 'torch.nn:Linear', kwargs: {in_features: 3, out_features: 5}}\n"
    rows = 'weights: [{tf: a, pt: weight, layout: "i o -> o i"}, {tf: b, pt: bias}]\n'
    found = check(tmp_path, text + rows, {"weight": [5, 3], "bias": [4]})
    [finding] = found.findings
    assert finding.kind == "drift"
    assert finding.where.endswith("m.manifest.json:1:51")
    assert finding.source.endswith("^" * len('"bias"'))


@pytest.mark.parametrize(
    ("kwargs", "messages"),
    [
        ("in_featurs: 3, out_features: 5", [
            ("torch.nn:Linear has no argument in_featurs", ("in_features", "bias"), 2, 46),
            ("torch.nn:Linear needs the argument in_features", (), 2, 18),
        ]),
        ("in_features: 3", [("torch.nn:Linear needs the argument out_features", (), 2, 18)]),
    ],
    ids=["misspelled", "lacking"],
)  # fmt: skip
def test_arguments_that_the_model_does_not_accept_or_lacks_are_findings(tmp_path, kwargs, messages):
    text = f"model: {{factory: 'torch.nn:Linear', kwargs: {{{kwargs}}}}}\nweights: [{{tf: a, pt: a}}]\n"
    found = check(tmp_path, text, {"a": [3]}).findings
    assert [(each.kind, each.what, each.nearest, each.where.split(":")[-2:]) for each in found] == [
        ("arguments", what, close, [str(line), str(column)]) for what, close, line, column in messages
    ]
    assert all(each.source for each in found)


def test_a_factory_that_takes_anything_is_not_checked_for_unknown_arguments(tmp_path):
    text = "model: {factory: 'timm:create_model', kwargs: {bogus: 3}}\nweights: [{tf: a, pt: a}]\n"
    pytest.importorskip("timm")
    found = check(tmp_path, text, {"a": [3]}).findings
    assert [each.what for each in found] == ["timm:create_model needs the argument model_name"]
