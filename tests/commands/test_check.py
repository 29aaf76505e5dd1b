"""`tfpt check`: what can be said of a mapping without a checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.commands.running import refused, run
from tests.vision import import_vision
from tfpt.language.loader import bundled_mappings, load_mapping


@pytest.fixture
def copied(tmp_path):
    """i3d_rgb with its manifest, to be changed."""
    for name in ("i3d_rgb.yaml", "i3d_rgb.manifest.json"):
        shutil.copy(bundled_mappings()["i3d_rgb"].with_name(name), tmp_path)
    return tmp_path / "i3d_rgb.yaml"


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


# Their classes pad or normalize in another way: with adapt=True they agree, as their own tests show.
NEED_ADAPT = ("keras_xception", "slim_inception_v1")


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_every_bundled_mapping_is_fine(name):
    mapping = load_mapping(name)
    package = (mapping.model.factory or "tfpt").partition(".")[0].partition(":")[0]
    import_vision(package)
    found = run("check", name, "--json") if name in NEED_ADAPT else run("check", name)
    if name in NEED_ADAPT:
        assert found.code == 1
        assert {finding["kind"] for finding in json.loads(found.out)["findings"]} == {"behavior"}
        return
    assert found.code == 0, found.out
    assert "no finding" in found.out
    assert f"{len(json.loads(mapping.manifest_path.read_text())):,} parameters" in found.out


def test_parameters_that_no_row_writes_are_findings(copied):
    change(
        copied,
        '      - {tf: batch_norm/beta,            pt: batch3d.bias,         layout: "... c -> c"}\n',
        "",
    )
    found = run("check", copied)
    assert found.code == 1
    assert "57 findings" in found.out
    assert "no row writes the parameter conv3d_1a_7x7.batch3d.bias" in found.out
    assert "a row for conv3d_1a_7x7.batch3d.bias [64] float32" in found.out
    assert str(copied) in found.out


def test_a_row_that_reaches_no_parameter_is_a_note(copied):
    row = '  - {tf: "X/{id}", pt: "nowhere.{id}", layer: head}'
    change(copied, '  - {tf: "Logits/', f'{row}\n  - {{tf: "Logits/')
    found = run("check", copied)
    assert found.code == 0
    assert "3 notes" in found.out
    assert "the row writes no parameter of the model: " in found.out
    assert "nowhere.{id}.conv3d.bias" in found.out
    assert f"dead-row  {copied}:44:24  (2)" in found.out
    lines = found.out.splitlines()
    marked = lines.index('  - {tf: "X/{id}", pt: "nowhere.{id}", layer: head}')
    assert lines[marked + 1] == " " * 23 + "^" * len('"nowhere.{id}"')


def test_a_module_row_that_reaches_no_module_is_a_note(copied):
    change(copied, 'pt: "maxpool3d_{id}"', 'pt: "maxpol3d_{id}"')
    found = run("check", copied)
    assert found.code == 0
    assert "no module matches maxpol3d_{id}" in found.out
    assert "i3d_rgb.yaml:47" in found.out


def test_a_manifest_that_is_not_what_the_model_says_has_drifted(copied):
    path = copied.with_name("i3d_rgb.manifest.json")
    table = json.loads(path.read_text())
    table["conv3d_1a_7x7.conv3d.weight"]["shape"][0] = 32
    del table["conv3d_0c_1x1.conv3d.bias"]
    table["conv3d_0c_1x1.conv3d.gain"] = {"dtype": "float32", "shape": [400]}
    path.write_text(json.dumps(table))
    found = run("check", copied)
    assert found.code == 1
    for name in ("conv3d_1a_7x7.conv3d.weight", "conv3d_0c_1x1.conv3d.bias", "conv3d_0c_1x1.conv3d.gain"):
        assert f"the manifest and the model disagree on {name}" in found.out
    assert "conv3d_1a_7x7.conv3d.weight [64, 3, 7, 7, 7] float32" in found.out
    assert "conv3d_1a_7x7.conv3d.weight [32, 3, 7, 7, 7] float32" in found.out
    assert "not in the manifest" in found.out
    assert "not in the model" in found.out
    assert f"next      if the model is right: tfpt check {copied} --write-manifest" in found.out


def test_a_manifest_is_written_anew_and_then_all_is_fine(copied):
    path = copied.with_name("i3d_rgb.manifest.json")
    original = path.read_text()
    path.write_text('{"conv3d_1a_7x7.conv3d.weight": {"dtype": "float32", "shape": [1]}}')
    assert run("check", copied).code == 1
    found = run("check", copied, "--write-manifest")
    assert found.code == 0
    assert f"wrote {path}" in found.out
    assert path.read_text() == original
    assert run("check", copied).code == 0


def test_a_manifest_that_is_not_there_is_a_note_and_can_be_written(copied):
    path = copied.with_name("i3d_rgb.manifest.json")
    original = path.read_text()
    path.unlink()
    found = run("check", copied)
    assert found.code == 0
    assert "there is no manifest beside the mapping" in found.out
    assert f"next      tfpt check {copied} --write-manifest" in found.out
    assert run("check", copied, "--write-manifest").code == 0
    assert path.read_text() == original


def test_a_manifest_is_not_written_from_a_model_that_was_set_otherwise(copied):
    """The manifest is that of the mapping as it stands in its file."""
    path = copied.with_name("i3d_rgb.manifest.json")
    before = path.read_text()
    message = refused("check", copied, "--write-manifest", "--set", "num_classes=7")
    assert "--set" in message
    assert path.read_text() == before


def test_a_manifest_cannot_be_written_without_a_model(tiny):
    assert "names no model" in refused("check", tiny.mapping, "--write-manifest")


def test_a_manifest_in_a_place_that_cannot_be_written_is_refused(copied):
    path = copied.with_name("i3d_rgb.manifest.json")
    path.unlink()
    path.mkdir()
    message = refused("check", copied, "--write-manifest")
    assert "a folder cannot be the output file" in message
    assert str(path) in message


def test_a_library_that_is_not_installed_is_a_note(tiny):
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {{factory: 'timm.nonesuch:Net'}}\n")
    found = run("check", tiny.mapping)
    assert found.code == 0
    assert "unchecked" in found.out
    assert "timm.nonesuch cannot be imported" in found.out
    assert "pip install timm" in found.out
    assert "tiny.yaml:12" in found.out
    assert "4 parameters" in found.out


def test_a_layer_that_does_not_compute_what_the_mapping_says_is_a_finding(copied):
    change(copied, "eps: 1.0e-3", "eps: 1.0e-5")
    change(
        copied, 'pt: "maxpool3d_{id}",        padding: same', 'pt: "maxpool3d_{id}",        padding: valid'
    )
    found = run("check", copied)
    assert found.code == 1
    assert "conv3d_1a_7x7.batch3d (BatchNorm3d) does not compute what TensorFlow computed" in found.out
    assert "eps: 1e-05" in found.out
    assert "0.001" in found.out
    assert "maxpool3d_2a_3x3" in found.out
    assert "i3d_rgb.yaml:47" in found.out


def test_a_mistake_in_the_file_ends_with_2(tiny):
    tiny.rewrite("version: 1", "version: 2")
    message = refused("check", tiny.mapping)
    assert "version" in message
    assert "tiny.yaml:1" in message


def test_everything_is_json_too(copied):
    facts = run("check", "i3d_rgb", "--json").json
    [note] = facts.pop("notes")
    assert (note["kind"], note["severity"]) == ("unconfirmed-layout", "note")
    assert note["where"].endswith("i3d_rgb.yaml:26:76 (in the scope at line 38)")
    assert note["source"].endswith("\n" + " " * 69 + "^" * len('"t h w i o -> o i t h w"'))
    assert facts == {
        "mapping": "i3d_rgb", "ok": True, "rows": 38, "parameters": 344, "findings": [], "edits": [],
    }  # fmt: skip
    change(copied, "fill: 1, like: batch3d.bias", "fill: 1, like: batch3d.bias, optional: true")
    change(copied, "pt: batch3d.bias, ", "pt: batch3d.bios, ")
    facts = run("check", copied, "--json").json
    assert facts["ok"] is False
    assert {finding["kind"] for finding in facts["findings"]} == {"missing"}
    assert len(facts["findings"]) == 57


def test_a_mapping_of_which_nothing_could_be_checked_ends_with_1(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nmodel: {factory: 'timm.nonesuch:Net'}\nweights: [{tf: a, pt: a}]\n")
    found = run("check", path)
    assert found.code == 1
    assert "the model's parameters are not known, so no row was checked against them" in found.out
    assert "1 finding, 2 notes" in found.out
    facts = run("check", path, "--json").json
    assert (facts["ok"], [finding["kind"] for finding in facts["findings"]]) == (False, ["unknown-model"])


def test_a_configuration_wrapped_in_another_table_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"config": {"num_layers": 2}}')
    path = tmp_path / "m.yaml"
    path.write_text(
        'version: 1\nparams: {n: {from: num_layers, default: 3}}\nweights: [{tf: "a${n}", pt: a}]\n'
    )
    message = refused("check", path, "--config", tmp_path / "config.json")
    assert "config.json has no key 'num_layers', but a similar one" in message
    assert "nearest   config.num_layers" in message
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"config": {"hidden_size": 32}}')
    message = refused("check", "bert", "--config", tmp_path / "config.json")
    assert "the configuration has no key of transformers:BertConfig" in message
    assert "nearest   config.hidden_size" in message


@pytest.mark.parametrize("value", ["2024-13-01", "1" * 5000, "["], ids=["date", "digits", "list"])
def test_a_setting_that_is_no_yaml_is_refused(tiny, value):
    found = run("check", tiny.mapping, "--set", f"name={value}")
    assert found.code == 2
    assert "is not valid YAML; to pass it as text, quote it twice" in found.err
