"""tfpt: a declarative translator of TensorFlow weights to PyTorch.

Importing it imports neither torch nor tensorflow; each name below is loaded when it is first used.

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
    from tfpt.checking.comparison import diff
    from tfpt.checking.inspection import inspect
    from tfpt.errors import DtypeError, MappingError, ModelError, SinkError, SourceError, TfptError
    from tfpt.execution.jobs import convert, plan, sample
    from tfpt.formats import open_source
    from tfpt.language.loader import load_mapping
    from tfpt.networks.loading import load
    from tfpt.networks.optimization import optimize
    from tfpt.networks.recording import record
    from tfpt.planning import Plan, PlanError
    from tfpt.verification import verify
    from tfpt.video.prediction import predict
    from tfpt.video.profiling import profile
    from tfpt.video.visualization import draw_activations, draw_filters

# No module is called as a function is: importing the module would put it in the function's place.
_HOME = {
    "DtypeError": "tfpt.errors",
    "MappingError": "tfpt.errors",
    "ModelError": "tfpt.errors",
    "Plan": "tfpt.planning",
    "PlanError": "tfpt.planning",
    "SinkError": "tfpt.errors",
    "SourceError": "tfpt.errors",
    "TfptError": "tfpt.errors",
    "convert": "tfpt.execution.jobs",
    "diff": "tfpt.checking.comparison",
    "draw_activations": "tfpt.video.visualization",
    "draw_filters": "tfpt.video.visualization",
    "inspect": "tfpt.checking.inspection",
    "load": "tfpt.networks.loading",
    "load_mapping": "tfpt.language.loader",
    "open_source": "tfpt.formats",
    "optimize": "tfpt.networks.optimization",
    "plan": "tfpt.execution.jobs",
    "predict": "tfpt.video.prediction",
    "profile": "tfpt.video.profiling",
    "record": "tfpt.networks.recording",
    "sample": "tfpt.execution.jobs",
    "verify": "tfpt.verification",
}

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
    "record",
    "sample",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tfpt' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
