"""`--fix`: what is changed, and what is left alone because there are several possibilities."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from tests.checking.checked import written
from tests.commands.running import refused, run
from tfpt.checking.fixing import fix
from tfpt.checking.lint import check_mapping
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.language.loader import load_mapping

SHAPES = {"fc.weight": [5, 3], "fc.bias": [5]}


def fixed(path, checkpoint=None):
    return fix(lambda: check_mapping(load_mapping(path), checkpoint=checkpoint))


def checkpoint(folder, **shapes):
    values = {name.replace("__", "/"): np.zeros(shape, np.float32) for name, shape in shapes.items()}
    write_bundle(folder / "model.ckpt", values, write_state=False)
    return folder / "model.ckpt"


def test_a_renamed_parameter_is_corrected_and_nothing_else_changes(tmp_path):
    text = """\
weights:   # of the layer
  - {tf: w, pt: fc.weight, layout: "i o -> o i"}
  - tf: b
    pt:   'fc.bios'   # offset

"""
    path = written(tmp_path, text, SHAPES)
    result = fixed(path)
    assert path.read_text() == "version: 1\n" + text.replace("bios", "bias")
    [edit] = result.edits
    assert (edit.old, edit.new, edit.why) == ("bios", "bias", "the only near parameter is fc.bias")
    assert str(edit.position).endswith("m.yaml:5:15")
    assert result.check.findings == ()
    assert [line for line in result.diff if line[0] in "+-"][2:] == [
        "-    pt:   'fc.bios'   # offset", "+    pt:   'fc.bias'   # offset",
    ]  # fmt: skip


def test_the_name_of_a_scope_is_corrected_for_all_its_rows(tmp_path):
    text = """layers: {l: {weights: [{tf: w, pt: weight}, {tf: b, pt: bias}]}}
scopes:
  - {tf: "x{i}", pt: "blocs.{i:int}", layer: l}
"""
    shapes = {f"blocks.{i}.{leaf}": [3] for i in (0, 1) for leaf in ("weight", "bias")}
    path = written(tmp_path, text, shapes)
    result = fixed(path)
    assert [(edit.old, edit.new) for edit in result.edits] == [("blocs", "blocks")]
    assert result.check.findings == ()


def test_the_name_in_a_layer_is_corrected_if_no_scope_has_it(tmp_path):
    text = """layers: {l: {weights: [{tf: w, pt: weigth}]}}
scopes: [{tf: a, pt: a, layer: l}, {tf: b, pt: b, layer: l}]
"""
    path = written(tmp_path, text, {"a.weight": [3], "b.weight": [3]})
    assert [(edit.old, edit.new) for edit in fixed(path).edits] == [("weigth", "weight")]
    # One of the scopes has the name: then it is not the layer's that is wrong.
    path = written(tmp_path, text, {"a.weight": [3], "b.weigth": [3]})
    before = path.read_text()
    assert fixed(path).edits == ()
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("row", "shapes"),
    [
        ("{tf: b, pt: fc.bios}", {"fc.bias": [5], "fc.bits": [5]}),
        ("{tf: b, pt: fc.offset}", {"fc.bias": [5]}),
        ("{tf: b, pt: conv1.bias}", {"conv2.bias": [5]}),
        ('{tf: b, pt: fc.bios, layout: "i o -> o i"}', {"fc.bias": [5]}),
        ("{tf: b, pt: f.bios}", {"fc.bias": [5]}),
        ("{tf: b, pt: fc.bios, optional: true}", {"fc.bias": [5]}),
    ],
    ids=["two-candidates", "not-near", "another-number", "another-rank", "two-components", "optional"],
)
def test_what_would_be_a_guess_is_left_alone(tmp_path, row, shapes):
    path = written(tmp_path, f"weights: [{row}]\n", shapes)
    before = path.read_text()
    assert fixed(path).edits == ()
    assert path.read_text() == before


def test_optional_rows_of_a_scope_do_not_need_a_match(tmp_path):
    text = 'scopes:\n  - {tf: "x{i}", pt: "blocs.{i:int}", use: keras/dense}\n'
    path = written(
        tmp_path, text, {"blocks.0.weight": [3, 5], "blocks.1.weight": [3, 5], "blocks.1.bias": [3]}
    )
    result = fixed(path)
    assert [(edit.old, edit.new) for edit in result.edits] == [("blocs", "blocks")]
    assert result.check.findings == ()


def test_of_several_names_in_a_row_the_wrong_one_is_corrected(tmp_path):
    text = "weights: [{tf: a, pt: [bias, fc.bias], layout: o -> o, split: o}, {tf: b, pt: w, also: [x.w, y.ww]}]\n"
    shapes = {"bias": [5], "fc.bais": [5], "w": [3], "x.w": [3], "y.www": [3]}
    path = written(tmp_path, text, shapes)
    result = fixed(path)
    assert [(edit.old, edit.new) for edit in result.edits] == [("ww", "www")]
    assert "also: [x.w, y.www]" in path.read_text()


def test_a_parameter_that_two_rows_could_mean_is_left_alone(tmp_path):
    path = written(tmp_path, "weights: [{tf: a, pt: fc.bios}, {tf: b, pt: fc.bia}]\n", {"fc.bias": [5]})
    assert fixed(path).edits == ()


def test_a_computed_name_is_left_alone(tmp_path):
    text = 'params: {n: fc}\nweights: [{tf: b, pt: "${n}.bios"}]\n'
    path = written(tmp_path, text, {"fc.bias": [5]})
    assert fixed(path).edits == ()


def test_a_layout_of_which_one_order_fits_is_corrected_without_a_checkpoint(tmp_path):
    text = 'weights: [{tf: a, pt: x, layout: "h w i o -> t o i h w", axes: {t: 7}}]  # inflated\n'
    path = written(tmp_path, text, {"x": [64, 3, 7, 5, 3]})
    result = fixed(path)
    # o, i, h and w may have any size: only the place of t is known, so several orders fit.
    assert result.edits == ()
    [finding] = result.check.findings
    assert (finding.kind, len(finding.nearest)) == ("shape", 24)
    text = 'weights: [{tf: a, pt: x, layout: "c n -> (n c)  1", axes: {c: 4}}]\n'
    path = written(tmp_path, text, {"x": [1, 12]})
    assert [edit.new for edit in fixed(path).edits] == ['"c n -> 1 (n c)"']


def test_a_layout_is_corrected_by_the_shapes_of_a_checkpoint(tmp_path):
    text = 'weights:\n  - {tf: w, pt: conv.weight, layout: "h w i o -> i o h w"}   # swapped\n'
    path = written(tmp_path, text, {"conv.weight": [7, 5, 2, 3]})
    result = fixed(path, checkpoint(tmp_path, w=(2, 3, 5, 7)))
    assert [edit.why for edit in result.edits] == [
        "of all orders of the axes, this one alone gives the shapes of the model"
    ]
    assert result.check.findings == ()
    assert path.read_text() == "version: 1\n" + text.replace("i o h w", "o i h w")


def test_equal_axes_leave_a_layout_alone(tmp_path):
    text = 'weights: [{tf: w, pt: conv.weight, layout: "h w i o -> i o h w"}]\n'
    path = written(tmp_path, text, {"conv.weight": [7, 5, 3, 3]})
    assert fixed(path, checkpoint(tmp_path, w=(3, 3, 5, 7))).edits == ()


def test_a_renamed_variable_is_corrected_by_a_checkpoint(tmp_path):
    text = """source: {scope: net}
weights: [{tf: dens/kernel, pt: fc.weight, layout: "i o -> o i"}, {tf: /b, pt: fc.bias}]
"""
    path = written(tmp_path, text, SHAPES)
    result = fixed(path, checkpoint(tmp_path, net__dense__kernel=(3, 5), b=(5,)))
    assert [(edit.old, edit.new) for edit in result.edits] == [("dens", "dense")]
    assert result.edits[0].why == "the only near variable is net/dense/kernel"
    assert result.check.findings == ()


def test_a_variable_of_another_shape_is_no_candidate(tmp_path):
    text = "weights: [{tf: dens/bias, pt: fc.bias}]\n"
    path = written(tmp_path, text, {"fc.bias": [5]})
    assert fixed(path, checkpoint(tmp_path, dense__bias=(6,))).edits == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "\nsource:\n  ignore:\n    - ENTRY\n"),
        ("source:\n  scope: ''\n", "source:\n  scope: ''\n  ignore:\n    - ENTRY\n"),
        (
            "source:\n    ignore:   # not weights\n      - {tf: x, why: y}   # one\n",
            "source:\n    ignore:   # not weights\n      - {tf: x, why: y}   # one\n      - ENTRY\n",
        ),
        (
            "source: {scope: '', ignore: [{tf: x, why: y}]}\n",
            "source: {scope: '', ignore: [{tf: x, why: y}, ENTRY]}\n",
        ),
    ],
    ids=["no-source", "no-ignore", "block", "flow"],
)
def test_variables_that_are_not_weights_are_ignored_by_role(tmp_path, before, after):
    rows = "weights: [{tf: b, pt: fc.bias}]\n"
    path = written(tmp_path, before + rows, {"fc.bias": [5]})
    made = checkpoint(tmp_path, b=(5,), b__Adam=(5,), b__Adam_1=(5,))
    result = fixed(path, made)
    assert result.check.findings == ()
    entry = "{role: slot, why: optimizer slot}"
    expected = rows + after[1:] if not before else after + rows
    assert path.read_text() == "version: 1\n" + expected.replace("ENTRY", entry)


def test_averages_are_not_ignored_since_they_may_be_what_is_wanted(tmp_path):
    path = written(tmp_path, "weights: [{tf: b, pt: fc.bias}]\n", {"fc.bias": [5]})
    made = checkpoint(tmp_path, b=(5,), b__ExponentialMovingAverage=(5,))
    assert fixed(path, made).edits == ()


def test_a_file_elsewhere_is_left_alone(tmp_path):
    """Layers of a bundled mapping are shared by others."""
    text = "extends: _tf1.yaml\nweights: [{tf: b, pt: fc.bios}]\n"
    path = written(tmp_path, text, {"fc.bias": [5]})
    assert [edit.position.file for edit in fixed(path).edits] == [os.fspath(path)]


def test_carriage_returns_are_kept(tmp_path):
    path = written(tmp_path, "weights: [{tf: b, pt: fc.bios}]\n", {"fc.bias": [5]})
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(fixed(path).edits) == 1
    assert path.read_bytes() == b"version: 1\r\nweights: [{tf: b, pt: fc.bias}]\r\n"


def test_the_command_shows_what_it_changed_and_what_remains(tmp_path):
    path = written(tmp_path, "weights: [{tf: b, pt: fc.bios}]\n", SHAPES)
    found = run("check", path)
    assert found.out.splitlines()[-3:] == [
        "1 correction without alternative",
        f"  {path}:2:26  bios → bias",
        f"  next      tfpt check {path} --fix",
    ]
    found = run("check", path, "--fix")
    assert found.code == 1
    assert found.out.splitlines()[:9] == [
        f"fixed {path}:2:26  bios → bias",
        "  the only near parameter is fc.bias",
        f"--- {path}",
        f"+++ {path}",
        "@@ -1,2 +1,2 @@",
        " version: 1",
        "-weights: [{tf: b, pt: fc.bios}]",
        "+weights: [{tf: b, pt: fc.bias}]",
        "",
    ]
    assert "no row writes the parameter fc.weight" in found.out
    found = run("check", path, "--fix")
    assert found.out.startswith("nothing to fix: no finding has exactly one correction\n")


def test_fixes_are_json_too(tmp_path):
    path = written(tmp_path, "weights: [{tf: b, pt: fc.bios}]\n", {"fc.bias": [5]})
    edit = {
        "where": f"{path}:2:26",
        "old": "bios",
        "new": "bias",
        "why": "the only near parameter is fc.bias",
    }
    assert run("check", path, "--json").json["edits"] == [edit]
    facts = json.loads(run("check", path, "--fix", "--json").out)
    assert (facts["ok"], facts["fixed"], facts["edits"]) == (True, [edit], [])


def test_a_bundled_mapping_is_not_changed():
    message = refused("check", "crepe", "--fix")
    assert "a mapping that comes with tfpt is not changed" in message


def test_a_mapping_that_cannot_be_written_stays_as_it_is(tmp_path, monkeypatch):
    path = written(tmp_path, "weights: [{tf: b, pt: fc.bios}]\n", {"fc.bias": [5]})
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    message = refused("check", path, "--fix")
    assert "No space left on device" in message or "disk" in message
    assert path.read_text() == before
    assert {file.name for file in tmp_path.iterdir()} == {"m.yaml", "m.manifest.json"}
