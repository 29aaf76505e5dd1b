"""torchvision and timm for tests: in a folder of their own, which only the tests that ask for it import from.

PyPI's torchvision contains operators for one build of torch. With another build it cannot be imported, and transformers
cannot be imported either if it finds it. So the Makefile installs it outside the environment's packages, in
`.venv/vision`. The models need the operators to be declared, not to run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(sys.prefix) / "vision"
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# Declarations are withdrawn when the library is deleted.
_declared: list[torch.library.Library] = []


def import_vision(package: str = "torchvision") -> None:
    """Make torchvision and timm importable, or skip the test.

    Args:
        package: The package that the test needs. Others than these two must just be installed.
    """
    if package not in ("timm", "torchvision"):
        pytest.importorskip(package)
    elif not available(package):
        pytest.skip(f"{package} is not installed: make test installs it")


def available(package: str) -> bool:
    """Whether a package is installed; torchvision and timm are made importable."""
    if package in ("timm", "torchvision"):
        if FOLDER.is_dir() and str(FOLDER) not in sys.path:
            sys.path.append(str(FOLDER))
        if importlib.util.find_spec("torchvision") is None:
            return False
        _declare_operators()
    return importlib.util.find_spec(package) is not None


def _declare_operators() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + SIGNATURE)
        _declared.append(library)
        importlib.import_module("torchvision")
