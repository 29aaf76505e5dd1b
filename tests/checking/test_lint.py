"""Checks of a mapping, as the API reports them."""

from __future__ import annotations

import json

import pytest

from tfpt.checking.lint import check_mapping
from tfpt.errors import ModelError, UntrustedError
from tfpt.language.loader import load_mapping


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
    assert dead.where.endswith("tiny.yaml:9:28")
    assert dead.source.splitlines()[1].strip() == "^" * len("fc.bios")
    assert dead.nearest == ("fc.bias",)


def test_with_a_parameter_set_the_manifest_is_left_alone():
    found = check_mapping(load_mapping("i3d_rgb", {"num_classes": 7}))
    assert (found.findings, found.parameters) == ((), 344)
    assert [note.kind for note in found.notes] == ["unconfirmed-layout"]


def test_a_model_that_cannot_be_built_is_an_error(tiny):
    model = "model: {factory: 'torch.nn:Linear', kwargs: {in_features: 3, out_features: many}}"
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}{model}\n")
    with pytest.raises(ModelError, match="rejects its arguments"):
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
        ("unchecked", f"--trust for this run, or tfpt trust add {path} for all, if you know that code")
    ]


UNCHECKED = "version: 1\nweights: [{tf: a, pt: a}, {tf: b, pt: b}, {tf: c, pt: c}]\n"


@pytest.mark.parametrize("model", ["", "model: {factory: 'timm.nonesuch:Net'}\n"])
def test_where_nothing_tells_the_parameters_nothing_was_checked_and_that_is_a_finding(tmp_path, model):
    path = tmp_path / "m.yaml"
    path.write_text(UNCHECKED + model)
    found = check_mapping(load_mapping(path))
    [finding] = found.findings
    assert (finding.kind, finding.stops) == ("unknown-model", True)
    assert finding.what == "the model's parameters are not known, so no row was checked against them"
    assert found.to_json()["ok"] is False
    # A manifest is enough to check rows against.
    table = ", ".join(f'"{name}": {{"dtype": "float32", "shape": [2]}}' for name in "abc")
    (tmp_path / "m.manifest.json").write_text(f"{{{table}}}")
    assert check_mapping(load_mapping(path)).findings == ()


def test_a_manifest_of_other_settings_is_nothing_to_check_against(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(f"{UNCHECKED}params: {{n: 3}}\nmodel: {{factory: 'timm.nonesuch:Net'}}\n")
    (tmp_path / "m.manifest.json").write_text("{}")
    [finding] = check_mapping(load_mapping(path, {"n": 4})).findings
    assert finding.kind == "unknown-model"
    assert finding.got == "a model that cannot be built, and a manifest for other settings"


def test_parameters_that_have_their_defaults_all_the_same_are_a_note(tiny):
    text = "params: {n: {from: depth, default: 3}, m: {from: width, default: 4}}\n"
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}{text}model: {{factory: 'torch.nn:Linear'}}\n")
    found = check_mapping(load_mapping(tiny.mapping, config={"depth": 5}))
    assert [finding.kind for finding in found.findings] == ["arguments", "arguments", "unknown-model"]
    tiny.rewrite("model: {factory: 'torch.nn:Linear'}", "model: {factory: 'timm.nonesuch:Net'}")
    notes = check_mapping(load_mapping(tiny.mapping, config={"depth": 5})).notes
    [default] = [note for note in notes if note.kind == "default"]
    assert default.what == "a parameter has its default, since the configuration has no value for it"
    assert (default.name, default.got) == ("m", "m = 4 (width)")


def test_parameters_without_a_model_are_a_note_since_setting_them_needs_no_model(tiny):
    tiny.mapping.write_text(
        f'{tiny.mapping.read_text()}params: {{scope: net, n: 3}}\nsummary: "${{n}}"\n'.replace(
            "summary: a dense layer and a convolution\n", "", 1
        ).replace('"${n}"', '"${scope} n=${n}"')
    )
    found = check_mapping(load_mapping(tiny.mapping))
    assert not found.findings
    [note] = found.notes
    assert (note.kind, note.got) == ("unchecked", "no model, and the parameters scope, n")
    assert "--no-model" in note.what
    # With a setting, `check` refuses what `convert` refuses, and says that there is a manifest.
    [finding] = check_mapping(load_mapping(tiny.mapping, {"n": 5})).findings
    assert (finding.kind, finding.got) == ("unknown-model", "no model, and a manifest for other settings")


def test_a_row_that_is_optional_may_write_no_parameter(tiny):
    rows = tiny.mapping.read_text()
    tiny.mapping.write_text(f"{rows}  - {{tf: head/w, pt: head.weight, optional: true}}\n")
    assert check_mapping(load_mapping(tiny.mapping)).notes == ()
    tiny.mapping.write_text(f"{rows}  - {{tf: head/w, pt: head.weight}}\n")
    [note] = check_mapping(load_mapping(tiny.mapping)).notes
    assert note.kind == "dead-row"
    layer = "layers: {l: {weights: [{tf: w, pt: weight}]}}\nscopes: [{tf: head, pt: head, layer: l, optional: true}]\n"
    tiny.mapping.write_text(rows + layer)
    assert check_mapping(load_mapping(tiny.mapping)).notes == ()
