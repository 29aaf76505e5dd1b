"""A mapping in the user's list needs no `--trust`, as long as its files are those that were added."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.installed import install
from tfpt.errors import SinkError, TfptError, UntrustedError
from tfpt.language.loader import load_mapping
from tfpt.targets.model import build_model, import_factory
from tfpt.targets.permission import needed_trust
from tfpt.targets.trust import add_trusted, remove_trusted, trust_file, trusted_mappings

MODULE = """\
from torch import nn

class Net(nn.Linear):
    def __init__(self, width, path=None):
        super().__init__(width, 3)
"""
BASE = "version: 1\nmodel: {factory: 'own_net:Net', kwargs: {width: 5}}\n"
NET = "version: 1\nextends: _base.yaml\nweights: [{tf: w, pt: weight}]\n"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mapping that extends another and whose model is beside it; another folder is the working one."""
    monkeypatch.setenv("TFPT_CONFIG_DIR", str(tmp_path / "configuration"))
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "own_net.py").write_text(MODULE)
    (folder / "_base.yaml").write_text(BASE)
    (folder / "net.yaml").write_text(NET)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    sys.modules.pop("own_net", None)
    needed_trust.clear()
    return folder / "net.yaml"


def width(mapping: Path, **options: object) -> int:
    return int(build_model(load_mapping(mapping, **options)).weight.shape[1])


def refused(mapping: Path, **options: object) -> UntrustedError:
    with pytest.raises(UntrustedError) as caught:
        build_model(load_mapping(mapping, **options))
    assert "own_net" not in sys.modules
    return caught.value


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- what is trusted -----------------------------------------------------------------------------------------


def test_a_mapping_in_the_list_is_trusted_and_no_other(net: Path) -> None:
    assert (
        refused(net).hint == f"--trust for this run, or tfpt trust add {net} for all, if you know that code"
    )
    added = add_trusted(net)
    base = net.with_name("_base.yaml")
    assert added.files == {str(base): sha256(base), str(net): sha256(net)}
    assert trusted_mappings() == [added]
    assert width(net) == 5
    assert import_factory(load_mapping(net)).__name__ == "Net"
    sys.modules.pop("own_net")
    copy = net.with_name("copy.yaml")
    copy.write_text(NET)
    assert f"tfpt trust add {copy}" in str(refused(copy).hint)


@pytest.mark.parametrize(
    ("changed", "text", "says"),
    [
        ("net.yaml", f"{NET}# looked at\n", "net.yaml changed since you trusted it on 20"),
        ("_base.yaml", BASE.replace("5", "7"), "_base.yaml changed since you trusted it on 20"),
    ],
)
def test_a_changed_file_is_not_trusted_until_it_is_added_again(
    net: Path, changed: str, text: str, says: str
) -> None:
    add_trusted(net)
    net.with_name(changed).write_text(text)
    hint = str(refused(net).hint)
    assert says in hint
    assert f"tfpt trust add {net} again, or --trust for this run" in hint
    assert trusted_mappings()[0].changed() == [str(net.with_name(changed))]
    add_trusted(net)
    assert len(trusted_mappings()) == 1
    assert width(net) in (5, 7)


def test_a_file_that_the_mapping_did_not_extend_is_a_change(net: Path) -> None:
    text = net.read_text()
    add_trusted(net)
    net.with_name("more.yaml").write_text("version: 1\n")
    net.write_text(text.replace("_base.yaml", "[_base.yaml, more.yaml]"))
    assert "more.yaml, " in str(refused(net).hint)
    assert "changed since you trusted them" in str(refused(net).hint)


def test_what_was_read_counts_not_what_the_file_says_later(net: Path) -> None:
    add_trusted(net)
    text = net.read_text()
    net.write_text(f"{text}# other\n")
    other = load_mapping(net)
    net.write_text(text)
    with pytest.raises(UntrustedError):
        build_model(other)


def test_a_library_of_an_installed_package_is_part_of_it(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    folder = install(site, {"layers/blocks.yaml": "layers: {dense: {weights: [{tf: w, pt: weight}]}}\n"})
    net.write_text(f"{NET}scopes: [{{tf: a, pt: a, use: blocks/dense}}]\n")
    assert str(folder / "layers/blocks.yaml") in add_trusted(net).files
    assert width(net) == 5


def test_a_mapping_that_needs_a_configuration_can_be_added(net: Path) -> None:
    net.write_text(f"{NET}params: {{width: {{from: hidden}}}}\nmodel: {{kwargs: {{width: '${{width}}'}}}}\n")
    add_trusted(net)
    assert width(net, config={"hidden": 11}) == 11


def test_arguments_that_a_configuration_supplies_are_checked(net: Path) -> None:
    net.write_text(
        f"{NET}params: {{path: {{from: path, default: a}}}}\nmodel: {{kwargs: {{width: 5, path: '${{path}}'}}}}\n"
    )
    add_trusted(net)
    assert width(net) == 5
    with pytest.raises(UntrustedError) as caught:
        build_model(load_mapping(net, config={"path": "/etc/passwd"}))
    assert caught.value.hint == "leave it out; or --trust, if you know what it names"
    net.write_text(net.read_text().replace("default: a", "default: /srv/vocabulary"))
    add_trusted(net)
    assert width(net) == 5


def test_modules_of_the_working_folder_are_not_imported(net: Path) -> None:
    """They would be those of another folder in another run."""
    (net.parent / "own_net.py").rename("own_net.py")
    add_trusted(net)
    with pytest.raises(TfptError, match="own_net cannot be imported"):
        build_model(load_mapping(net))
    assert build_model(load_mapping(net), trust=True).weight.shape == (3, 5)


def test_a_link_elsewhere_is_the_file_itself(net: Path, tmp_path: Path) -> None:
    """Its modules are those beside the file, not those beside the link."""
    add_trusted(net)
    Path("net.yaml").symlink_to(net)
    Path("_base.yaml").symlink_to(net.with_name("_base.yaml"))
    Path("own_net.py").write_text("raise RuntimeError('beside the link')\n")
    with pytest.raises(TfptError, match="names a link out of"):
        load_mapping("net.yaml")
    net.write_text(BASE)
    add_trusted(net)
    assert width(Path("net.yaml")) == 5


def test_a_mapping_that_was_replaced_by_a_link(net: Path, tmp_path: Path) -> None:
    add_trusted(net)
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(BASE)
    net.unlink()
    net.symlink_to(elsewhere)
    refused(net)


def test_a_mapping_is_removed_also_when_the_file_is_gone(net: Path) -> None:
    add_trusted(net)
    net.rename(net.with_name("moved.yaml"))
    assert remove_trusted(net).mapping == str(net)
    assert trusted_mappings() == []
    with pytest.raises(TfptError, match="does not have") as caught:
        remove_trusted(net)
    assert caught.value.hint == "tfpt trust list"


def test_a_bundled_mapping_needs_no_entry(net: Path) -> None:
    with pytest.raises(TfptError, match="is always trusted"):
        add_trusted("i3d_rgb")
    with pytest.raises(TfptError, match="there is no mapping"):
        add_trusted("nonesuch")
    assert not trust_file().exists()


def test_what_trust_was_needed_for_is_known(net: Path) -> None:
    build_model(load_mapping("i3d_rgb"), trust=True)
    assert list(needed_trust) == []
    build_model(load_mapping(net), trust=True)
    assert list(needed_trust) == [str(net)]
    needed_trust.clear()
    add_trusted(net)
    build_model(load_mapping(net), trust=True)
    assert list(needed_trust) == []


# -- the list itself ---------------------------------------------------------------------------------------------


def test_the_list_is_the_users_alone_and_written_in_one_piece(net: Path) -> None:
    before = os.umask(0)
    try:
        add_trusted(net)
    finally:
        os.umask(before)
    assert stat.S_IMODE(trust_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(trust_file().parent.stat().st_mode) == 0o700
    assert [path.name for path in trust_file().parent.iterdir()] == ["trusted.json"]


def test_the_folder_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFPT_CONFIG_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert trust_file() == tmp_path / "own/trusted.json"
    monkeypatch.delenv("TFPT_CONFIG_DIR")
    assert trust_file() == tmp_path / "xdg/tfpt/trusted.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert trust_file() == tmp_path / "home/.config/tfpt/trusted.json"


ENTRY = {"mapping": "/m.yaml", "added": "2026-05-17", "files": {"/m.yaml": "0" * 64}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"version": 2, "trusted": []}',
        b'{"version": 1, "trusted": {}}',
        b'{"version": 1, "trusted": [], "all": true}',
        json.dumps({"version": 1, "trusted": ["*"]}).encode(),
        json.dumps({"version": 1, "trusted": [{**ENTRY, "files": ["/m.yaml"]}]}).encode(),
        json.dumps({"version": 1, "trusted": [{**ENTRY, "files": {}}]}).encode(),
        json.dumps({"version": 1, "trusted": [{**ENTRY, "mapping": None}]}).encode(),
        json.dumps({"version": 1, "trusted": [{**ENTRY, "files": {"/m.yaml": None}}]}).encode(),
        json.dumps({"version": 1, "trusted": [ENTRY, {}]}).encode(),
    ],
)
def test_a_damaged_list_is_one_error_and_trusts_nothing(net: Path, content: bytes) -> None:
    add_trusted(net)
    trust_file().write_bytes(content)
    for use in (lambda: build_model(load_mapping(net)), trusted_mappings, lambda: add_trusted(net)):
        with pytest.raises(TfptError) as caught:
            use()
        assert caught.value.what == "the list of trusted mappings is damaged, so nothing in it is trusted"
        assert caught.value.where == str(trust_file())
    assert "own_net" not in sys.modules
    assert trust_file().read_bytes() == content
    # It concerns nothing else.
    build_model(load_mapping("i3d_rgb"))
    assert build_model(load_mapping(net), trust=True).weight.shape == (3, 5)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_may_write_is_refused(net: Path, mode: int) -> None:
    add_trusted(net)
    trust_file().chmod(mode)
    with pytest.raises(TfptError, match="other users may write the list") as caught:
        build_model(load_mapping(net))
    assert caught.value.got == f"mode {mode:o}"


def test_a_list_that_is_a_folder_or_cannot_be_written(net: Path) -> None:
    trust_file().mkdir(parents=True)
    with pytest.raises(TfptError, match="cannot read the list"):
        build_model(load_mapping(net))
    trust_file().rmdir()
    trust_file().parent.rmdir()
    trust_file().parent.write_text("a file")
    with pytest.raises((TfptError, SinkError), match="cannot"):
        add_trusted(net)
