"""A mapping that an installed package registered may build that package's models; no other mapping may."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import install
from tfpt.errors import ModelError, UntrustedError
from tfpt.language.loader import load_mapping
from tfpt.targets.model import build_model

MODELS = """\
import os
from os import getcwd
from torch import nn

class Net(nn.Linear):
    def __init__(self, width, path=None):
        super().__init__(width, 3)

def make(width):
    return Net(width)
"""
NET = "version: 1\nmodel: {factory: 'acme_nets.models:%s', kwargs: {width: 5}}\nweights: [{tf: w, pt: weight}]\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed package, `acme_nets`, and a working folder beside it."""
    folder, work = tmp_path / "site", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    install(
        folder,
        {
            f"{name}.yaml": NET % factory
            for name, factory in (("net", "Net"), ("made", "make"), ("os", "getcwd"))
        },
        initial="",
    )
    (folder / "acme_nets/models.py").write_text(MODELS)
    monkeypatch.chdir(work)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("acme_nets", "zeta")]:
        del sys.modules[name]


def refused(name: str) -> UntrustedError:
    with pytest.raises(UntrustedError) as caught:
        build_model(load_mapping(name))
    return caught.value


@pytest.mark.parametrize("name", ["acme:net", "net", "acme:made"])
def test_a_registered_mapping_builds_the_models_of_its_package(site: Path, name: str) -> None:
    mapping = load_mapping(name)
    assert "acme_nets" not in sys.modules
    assert tuple(build_model(mapping).weight.shape) == (3, 5)


def test_its_path_means_the_same(site: Path) -> None:
    assert tuple(build_model(load_mapping(site / "acme_nets/mappings/net.yaml")).weight.shape) == (3, 5)


def test_what_the_package_imports_from_elsewhere_is_not_its_own(site: Path) -> None:
    error = refused("acme:os")
    assert error.what == "acme_nets.models:getcwd was defined outside the packages that tfpt imports from"
    assert "acme_nets" in str(error.expected)


@pytest.mark.parametrize(
    "text",
    [
        NET % "Net",
        "version: 1\nextends: acme:net\nmodel: {factory: 'acme_nets.models:make'}\n",
        "version: 1\nextends: acme:net\nmodel: {config: 'acme_nets.models:make'}\n",
    ],
)
def test_any_other_mapping_is_refused_before_the_package_is_imported(site: Path, text: str) -> None:
    Path("m.yaml").write_text(text)
    assert "lies outside the packages that tfpt imports from" in refused("m.yaml").what
    assert "acme_nets" not in sys.modules


def test_a_link_to_a_registered_mapping_is_that_mapping_and_a_copy_is_not(site: Path) -> None:
    Path("link.yaml").symlink_to(site / "acme_nets/mappings/net.yaml")
    assert build_model(load_mapping("link.yaml")).weight.shape == (3, 5)
    Path("copy.yaml").write_text((site / "acme_nets/mappings/net.yaml").read_text())
    refused("copy.yaml")


def test_a_mapping_that_extends_a_registered_one_builds_its_model_with_checked_arguments(site: Path) -> None:
    Path("m.yaml").write_text("version: 1\nextends: acme:net\nmodel: {kwargs: {width: 7}}\n")
    assert tuple(build_model(load_mapping("m.yaml")).weight.shape) == (3, 7)
    Path("m.yaml").write_text("version: 1\nextends: acme:net\nmodel: {kwargs: {path: /etc/passwd}}\n")
    assert refused("m.yaml").got == "'/etc/passwd'"


def test_one_package_does_not_vouch_for_another(site: Path) -> None:
    install(
        site,
        {"theirs.yaml": NET % "Net"},
        entry="zeta = zeta.mappings",
        distribution="zeta-nets",
        module="zeta/mappings",
        initial="",
    )
    assert "lies outside" in refused("zeta:theirs").what


def test_a_package_that_shares_its_outer_name_vouches_for_its_own_part_only(site: Path) -> None:
    """Without `__init__.py`, a folder on the way belongs to every distribution that adds to it."""
    (site / "acme_nets/__init__.py").unlink()
    assert "lies outside" in refused("acme:net").what
    (site / "acme_nets/mappings/models.py").write_text(MODELS)
    mapping = site / "acme_nets/mappings/net.yaml"
    mapping.write_text((NET % "Net").replace("acme_nets.models", "acme_nets.mappings.models"))
    assert build_model(load_mapping("acme:net")).weight.shape == (3, 5)


def test_a_module_that_fails_while_it_is_imported(site: Path) -> None:
    (site / "acme_nets/models.py").write_text("raise RuntimeError('no driver')\n")
    with pytest.raises(ModelError, match="RuntimeError: no driver"):
        build_model(load_mapping("acme:net"))
