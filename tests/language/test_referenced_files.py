"""A mapping can open only files in its own folder and bundled ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.running import refused
from tfpt.errors import MappingError, SinkError
from tfpt.language.loader import load_mapping
from tfpt.targets.manifest import write_manifest

BASE = "version: 1\nweights: []\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder inside one with a secret that is valid both as a mapping and as a labels file."""
    (tmp_path / "secret").write_text(BASE)
    (tmp_path / "secret.yaml").write_text(BASE)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/below").mkdir()
    (tmp_path / "own/below/secret.yaml").write_text(BASE)
    return tmp_path / "own"


@pytest.mark.parametrize("key", ["labels", "extends"])
@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret", "../secret.yaml", "below/secret.yaml", "./below/../../secret", "~/.bashrc", "..", "",
     "a\\..\\secret", "file:///etc/passwd", "a\0b"],
)  # fmt: skip
def test_only_plain_names_are_opened(folder, key, name):
    (folder / "m.yaml").write_text(f"version: 1\n{key}: {json.dumps(name)}\nweights: []\n")
    with pytest.raises(MappingError, match=f"{key}: names a file outside the mapping's folder") as caught:
        load_mapping(folder / "m.yaml")
    assert "m.yaml:2:" in str(caught.value.where)
    assert caught.value.got == name


@pytest.mark.parametrize("key", ["labels", "extends"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "../../own/../secret.yaml"])
def test_a_link_that_leads_out_is_not_followed(folder, key, target):
    (folder / "link").symlink_to(target if target != "../../own/../secret.yaml" else "../secret.yaml")
    (folder / "m.yaml").write_text(f"version: 1\n{key}: link\nweights: []\n")
    with pytest.raises(MappingError, match=f"{key}: names a link out of") as caught:
        load_mapping(folder / "m.yaml")
    assert "a link to /" in caught.value.got


@pytest.mark.parametrize("key", ["labels", "extends"])
def test_a_link_inside_and_a_link_to_itself(folder, key):
    (folder / "link").symlink_to("below/secret.yaml")
    (folder / "m.yaml").write_text(f"{BASE}{key}: link\n")
    load_mapping(folder / "m.yaml")
    (folder / "circle").symlink_to("circle")
    (folder / "m.yaml").write_text(f"{BASE}{key}: circle\n")
    with pytest.raises(MappingError, match="there is no"):
        load_mapping(folder / "m.yaml")
    (folder / "m.yaml").write_text(f"{BASE}{key}: {'x' * 5000}\n")
    with pytest.raises(MappingError, match="there is no"):
        load_mapping(folder / "m.yaml")


def test_the_working_folder_is_not_beside_the_mapping(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / "m.yaml").write_text("version: 1\nextends: secret.yaml\n")
    with pytest.raises(MappingError, match=r"there is no mapping 'secret\.yaml' to extend"):
        load_mapping(folder / "m.yaml")


def test_a_base_is_held_to_it_too(folder):
    (folder / "base.yaml").write_text("version: 1\nlabels: ../secret\n")
    (folder / "m.yaml").write_text("extends: base.yaml\nweights: []\n")
    with pytest.raises(MappingError, match="labels: names a file") as caught:
        load_mapping(folder / "m.yaml")
    assert "base.yaml:2:9" in str(caught.value.where)


def test_a_manifest_is_not_written_through_a_link(folder):
    (folder / "m.manifest.json").symlink_to("../secret")
    with pytest.raises(SinkError, match="a link to a file outside its folder"):
        write_manifest(folder / "m.manifest.json", {})
    assert (folder.parent / "secret").read_text() == BASE
    (folder / "m.yaml").write_text(f"{BASE}model: {{factory: 'torch.nn:Identity'}}\n")
    assert "a link to a file outside its folder" in refused("check", folder / "m.yaml", "--write-manifest")
    assert (folder.parent / "secret").read_text() == BASE
