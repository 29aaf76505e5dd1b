"""tfpt: a declarative translator of TensorFlow weights to PyTorch.

Importing tfpt imports neither torch nor TensorFlow: each name is loaded on first use.

Example:
    >>> import tempfile, tfpt
    >>> folder = tempfile.mkdtemp()
    >>> tfpt.sample("i3d_rgb", f"{folder}/model.ckpt")
    230
    >>> tfpt.plan("i3d_rgb", f"{folder}/model.ckpt").ok
    True
    >>> done = tfpt.convert("i3d_rgb", f"{folder}/model.ckpt", f"{folder}/i3d_rgb.safetensors")
    >>> tfpt.diff(f"{folder}/model.ckpt", done.path, mapping="i3d_rgb").same
    True
    >>> model = tfpt.load("i3d_rgb", done.path)
    >>> type(model).__name__, model.training
    ('I3D', False)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfpt._version import __version__

if TYPE_CHECKING:
    from tfpt.api import (
        convert,
        diff,
        discover,
        draw_activations,
        draw_filters,
        inspect,
        load,
        load_mapping,
        open_source,
        optimize,
        plan,
        predict,
        profile,
        propose,
        record,
        sample,
        verify,
        write_model,
    )
    from tfpt.errors import DtypeError, MappingError, ModelError, SinkError, SourceError, TfptError
    from tfpt.planning import Plan, PlanError

__all__ = [
    "DtypeError",
    "MappingError",
    "ModelError",
    "Plan",
    "PlanError",
    "SinkError",
    "SourceError",
    "TfptError",
    "__version__",
    "convert",
    "diff",
    "discover",
    "draw_activations",
    "draw_filters",
    "inspect",
    "load",
    "load_mapping",
    "open_source",
    "optimize",
    "plan",
    "predict",
    "profile",
    "propose",
    "record",
    "sample",
    "verify",
    "write_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tfpt' has no attribute {name!r}")
    if name in ("Plan", "PlanError"):
        module = "tfpt.planning"
    else:
        module = "tfpt.errors" if name.endswith("Error") else "tfpt.api"
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
