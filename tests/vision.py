"""torchvision and timm for the tests that ask for them; all others do not see these packages.

PyPI's torchvision contains operators for one build of torch. With another build it cannot be imported, and neither can
transformers once it sees it. So the Makefile installs the two into a folder of their own, `.venv/vision`. Their models
need the operators to be declared, not to run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

PACKAGES = ("timm", "torchvision")
FOLDER = Path(sys.prefix) / "vision"
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# Declarations are withdrawn when the library is deleted.
_declared: list[torch.library.Library] = []
# Imported by earlier tests. They cannot be imported twice: their operators would be registered again.
_hidden: dict[str, ModuleType] = {}


def import_vision(package: str) -> None:
    """Make a package importable for this test, or skip the test."""
    if not available(package):
        pytest.skip(f"{package} is not installed: make test installs it")


def available(package: str) -> bool:
    """Whether a package is installed; torchvision and timm are made importable until `hide`."""
    found = importlib.util.find_spec(package) is not None
    if not found and package in PACKAGES and FOLDER.is_dir():
        _settle_transformers()
        sys.path.append(str(FOLDER))
        sys.modules.update(_hidden)
        _declare_operators()
        found = importlib.util.find_spec(package) is not None
    return found


def hide() -> None:
    """Undo `available`."""
    if str(FOLDER) in sys.path:
        sys.path.remove(str(FOLDER))
        for name in _imported(*PACKAGES):
            _hidden[name] = sys.modules.pop(name)


def _imported(*packages: str) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in packages]


def _settle_transformers() -> None:
    """Let transformers look for the packages now, while they are hidden: it remembers the answers."""
    if importlib.util.find_spec("transformers") is not None:
        utils = importlib.import_module("transformers.utils.import_utils")
        assert not utils.is_torchvision_available()
        assert not utils.is_timm_available()


def _declare_operators() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in _imported("torchvision"):
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + SIGNATURE)
        _declared.append(library)
        importlib.import_module("torchvision")
