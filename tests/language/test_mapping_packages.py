"""Mappings of installed packages are found by name, after those that come with tfpt, without importing anything."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.installed import install
from tfpt.errors import MappingError
from tfpt.language.loader import load_mapping
from tfpt.language.mapping import Mapping
from tfpt.language.mapping_files import bundled_mappings, find_mapping, named_mappings, short_names
from tfpt.language.mapping_packages import mapping_packages, package_of, unusable_packages

NET = """\
version: 1
extends: _head.yaml
summary: Acme's network
scopes:
  - {tf: body, pt: body, use: blocks/dense}
  - {tf: tail, pt: tail, use: keras/dense}
"""
HEAD = "version: 1\nweights: [{tf: head, pt: head}]\n"
BLOCKS = 'layers:\n  dense: {weights: [{tf: w, pt: weight, layout: "i o -> o i"}]}\n'
FILES = {"net.yaml": NET, "_head.yaml": HEAD, "layers/blocks.yaml": BLOCKS}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def rows(mapping: Mapping) -> list[str]:
    return [str(row) for row in mapping.alternatives[0].rows]


def refused(name: str) -> MappingError:
    with pytest.raises(MappingError) as caught:
        load_mapping(name)
    return caught.value


# -- what is found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net", "net.yaml", "acme:net", "acme:net.yaml", "acme_nets.mappings:net"])
def test_a_mapping_of_a_package_is_found_with_its_parts_and_layers(site: Path, name: str) -> None:
    folder = install(site, FILES)
    mapping = load_mapping(name)
    assert mapping.path == find_mapping(name) == folder / "net.yaml"
    assert (mapping.name, mapping.named) == ("net", "acme:net")
    assert sorted(rows(mapping)) == [
        "body/w → body.weight",
        "head → head",
        "tail/bias → tail.bias",
        "tail/kernel → tail.weight",
    ]


def test_nothing_of_the_package_is_imported(site: Path) -> None:
    install(site, FILES)
    load_mapping("acme:net")
    assert not [name for name in sys.modules if name.startswith("acme_nets")]
    with pytest.raises(RuntimeError, match="was imported"):
        importlib.import_module("acme_nets.mappings")


def test_the_names_are_listed_after_the_bundled_ones(site: Path) -> None:
    install(site, FILES)
    assert list(named_mappings()) == [*bundled_mappings(), "acme:net"]
    assert short_names() == [*bundled_mappings(), "net"]


def test_a_path_of_a_package_is_a_path(site: Path) -> None:
    folder = install(site, FILES)
    assert load_mapping(folder / "net.yaml").named == str(folder / "net.yaml")
    assert (
        package_of(folder / "net.yaml") == package_of(folder / "layers/blocks.yaml") == mapping_packages()[0]
    )
    assert package_of(folder.parent / "net.yaml") is None


def test_the_packages_of_another_process_are_found_too(site: Path) -> None:
    install(site, FILES)
    code = (
        "from tfpt.language.mapping_files import find_mapping; import sys; print(find_mapping('net')); "
        "print('acme_nets' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(site)},
    )
    assert done.stdout.split() == [str(site / "acme_nets/mappings/net.yaml"), "False"]


# -- the order in which names are looked up ---------------------------------------------------------------------


def test_a_bundled_name_keeps_its_meaning(site: Path) -> None:
    folder = install(site, {"bert.yaml": HEAD, "net.yaml": HEAD})
    assert find_mapping("bert") == find_mapping("tfpt:bert") == bundled_mappings()["bert"]
    assert find_mapping("acme:bert") == folder / "bert.yaml"
    assert short_names() == [*bundled_mappings(), "acme:bert", "net"]


def test_a_name_that_several_packages_have_lists_them(site: Path) -> None:
    first = install(site, FILES)
    install(site, FILES, entry="zeta = zeta.mappings", distribution="zeta-nets", module="zeta/mappings")
    error = refused("net")
    assert error.what == "2 packages have a mapping 'net'"
    assert error.expected == "acme:net or zeta:net"
    assert error.got == "acme-nets 1.0, zeta-nets 1.0"
    assert find_mapping("acme:net") == first / "net.yaml"
    assert find_mapping("zeta:net") == site / "zeta/mappings/net.yaml"
    # Their own parts and layers are those of the package.
    assert len(rows(load_mapping("zeta:net"))) == 4
    assert short_names()[-2:] == ["acme:net", "zeta:net"]


def test_packages_with_one_name_are_told_apart_by_that_under_which_they_are_imported(site: Path) -> None:
    install(site, FILES)
    install(site, FILES, entry="acme = zeta.mappings", distribution="zeta-nets", module="zeta/mappings")
    assert refused("acme:net").what == "there is no mapping 'acme:net'"
    assert find_mapping("zeta.mappings:net") == site / "zeta/mappings/net.yaml"
    assert refused("net").expected == "acme_nets.mappings:net or zeta.mappings:net"


def test_a_package_installed_twice_is_one(site: Path) -> None:
    install(site, FILES)
    install(site, {}, distribution="acme-nets-again")
    assert [package.name for package in mapping_packages()] == ["acme"]


def test_a_name_that_no_package_has_names_the_nearest(site: Path) -> None:
    install(site, {"unusual.yaml": HEAD})
    assert refused("unusaul").nearest[0] == refused("acme:unusaul").nearest[0] == "unusual"


# -- extends and use, from elsewhere --------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["_head", "_head.yaml", "acme:_head", "acme:_head.yaml"])
def test_a_file_of_ones_own_extends_a_part(site: Path, load: Callable[..., Mapping], base: str) -> None:
    install(site, FILES)
    assert rows(load(f"version: 1\nextends: {base}\n")) == ["head → head"]


def test_a_part_that_several_packages_have_lists_them(site: Path, load: Callable[..., Mapping]) -> None:
    install(site, FILES)
    install(site, FILES, entry="zeta = zeta.mappings", distribution="zeta-nets", module="zeta/mappings")
    with pytest.raises(MappingError) as caught:
        load("version: 1\nextends: _head\n")
    assert caught.value.expected == "acme:_head or zeta:_head"
    assert caught.value.where == "m.yaml:2:10"
    # Where a package extends its own part, it means its own.
    (site / "zeta/mappings/net.yaml").write_text("version: 1\nextends: _head\n")
    assert rows(load_mapping("zeta:net")) == ["head → head"]


@pytest.mark.parametrize("use", ["blocks/dense", "acme:blocks/dense", "acme_nets.mappings:blocks/dense"])
def test_a_file_of_ones_own_uses_a_layer(site: Path, load: Callable[..., Mapping], use: str) -> None:
    install(site, FILES)
    assert rows(load(f"version: 1\nscopes: [{{tf: a, pt: a, use: {use}}}]\n")) == ["a/w → a.weight"]


def test_a_layer_that_several_packages_have_lists_them(site: Path, load: Callable[..., Mapping]) -> None:
    install(site, FILES)
    install(site, FILES, entry="zeta = zeta.mappings", distribution="zeta-nets", module="zeta/mappings")
    with pytest.raises(MappingError) as caught:
        load("version: 1\nscopes: [{tf: a, pt: a, use: blocks/dense}]\n")
    assert caught.value.what == "2 packages have a layer 'blocks/dense'"
    assert caught.value.expected == "acme:blocks/dense or zeta:blocks/dense"
    with pytest.raises(MappingError) as caught:
        load("version: 1\nextends: ['acme:net', 'zeta:net']\n")
    assert caught.value.what == "'blocks/dense' names two layers, in files of different packages"
    assert "site/acme_nets/mappings/layers/blocks.yaml:2" in str(caught.value.got)


def test_a_layer_that_no_package_has(site: Path, load: Callable[..., Mapping]) -> None:
    install(site, FILES)
    with pytest.raises(MappingError) as caught:
        load("version: 1\nscopes: [{tf: a, pt: a, use: 'acme:blocks/dens'}]\n")
    assert caught.value.what == "there is no layer 'acme:blocks/dens'"
    assert (caught.value.expected, caught.value.nearest[0]) == ("dense", "acme:blocks/dense")


def test_a_library_that_is_none(site: Path, load: Callable[..., Mapping]) -> None:
    install(site, {"layers/blocks.yaml": "- dense\n"})
    with pytest.raises(MappingError, match="a library is a table of layers") as caught:
        load("version: 1\nscopes: [{tf: a, pt: a, use: blocks/dense}]\n")
    assert caught.value.where == "site/acme_nets/mappings/layers/blocks.yaml:1:1"


# -- entry points that cannot be used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("acme = nowhere.mappings", "the package nowhere.mappings is not a folder on sys.path"),
        ("acme = acme_nets.nowhere", "the package acme_nets.nowhere is not a folder on sys.path"),
        ("acme = json", None),
        ("acme = string", "the package string is not a folder on sys.path"),
        ("acme = acme_nets.mappings:find", "an entry point for mappings names a package"),
        ("acme = ../acme_nets", "an entry point for mappings names a package"),
        ("acme:nets = acme_nets.mappings", "the name of an entry point cannot qualify mappings"),
        ("tfpt = acme_nets.mappings", "only tfpt's own mappings are called tfpt"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_said_only_where_a_name_is_missing(
    site: Path, entry: str, says: str | None
) -> None:
    install(site, FILES, entry=entry)
    assert [error.what for error in unusable_packages()] == ([] if says is None else [says])
    assert find_mapping("bert") == bundled_mappings()["bert"]
    error = refused("net")
    assert [cause.what for cause in error.causes] == ([] if says is None else [says])
    if says is not None:
        assert "acme-nets 1.0" in str(error)


def test_metadata_that_is_not_text(site: Path) -> None:
    install(site, FILES)
    (site / "acme_nets-1.0.dist-info/entry_points.txt").write_bytes(b"[tfpt.mappings]\nacme = \xff\n")
    assert find_mapping("bert") == bundled_mappings()["bert"]
    assert refused("net").causes[0].what == "cannot read the metadata of the installed packages"


@pytest.mark.parametrize("without", ["acme_nets/__init__.py", "acme_nets/mappings/__init__.py", "both"])
def test_folders_without_init_are_packages_too(site: Path, without: str) -> None:
    folder = install(site, FILES)
    for path in (folder.parent / "__init__.py", folder / "__init__.py"):
        if without in ("both", str(path.relative_to(site))):
            path.unlink()
    assert find_mapping("acme:net") == folder / "net.yaml"
    # Code belongs to the outermost package that no other distribution can add to.
    outermost = "acme_nets" if without == "acme_nets/mappings/__init__.py" else "acme_nets.mappings"
    assert mapping_packages()[0].home == outermost
