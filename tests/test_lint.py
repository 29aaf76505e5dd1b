"""Checks of a mapping, as the API reports them."""

from __future__ import annotations

import json

import pytest

from tfpt.errors import ModelError, UntrustedError
from tfpt.lint import check_mapping
from tfpt.mapping.loading import load_mapping


def test_a_good_mapping_has_neither_findings_nor_notes(tiny):
    found = check_mapping(load_mapping(tiny.mapping))
    assert (found.findings, found.notes, found.parameters) == ((), (), 4)


def test_the_nearest_row_is_named_for_a_parameter_that_no_row_writes(tiny):
    tiny.rewrite("pt: fc.bias, ", "pt: fc.bios, ")
    found = check_mapping(load_mapping(tiny.mapping))
    [missing] = found.findings
    assert (missing.kind, missing.name) == ("missing", "fc.bias")
    assert missing.nearest[0] == "fc.bios"
    [dead] = found.notes
    assert dead.kind == "dead-row"
    assert dead.where.endswith("tiny.yaml:9")


def test_with_a_parameter_set_the_manifest_is_left_alone():
    found = check_mapping(load_mapping("i3d_rgb", {"num_classes": 7}))
    assert (found.findings, found.notes, found.parameters) == ((), (), 344)


def test_a_model_that_cannot_be_built_is_an_error(tiny):
    model = "model: {factory: 'torch.nn:Linear', kwargs: {depth: 3}}"
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}{model}\n")
    with pytest.raises(ModelError, match="refuses its arguments"):
        check_mapping(load_mapping(tiny.mapping))


def test_what_a_check_found_is_json(tiny):
    tiny.rewrite("pt: fc.bias, ", "pt: fc.bios, ")
    facts = json.loads(json.dumps(check_mapping(load_mapping(tiny.mapping)).to_json()))
    assert facts["ok"] is False
    assert (facts["rows"], facts["parameters"]) == (4, 4)
    assert [note["kind"] for note in facts["notes"]] == ["dead-row"]


def test_a_model_that_may_not_be_imported_is_unchecked_where_there_is_a_manifest(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nmodel: {factory: 'mine:Net'}\nweights: [{tf: a, pt: a}]\n")
    with pytest.raises(UntrustedError):
        check_mapping(load_mapping(path))
    (tmp_path / "m.manifest.json").write_text('{"a": {"dtype": "float32", "shape": [2]}}')
    found = check_mapping(load_mapping(path))
    assert not found.findings
    assert [(note.kind, note.hint) for note in found.notes] == [
        ("unchecked", "--trust, if you know that code")
    ]
