"""Writers of weights, one module per format.

They import torch only when they save with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tfpt.errors import SinkError
from tfpt.execution.sinks.safetensors import SafetensorsSink
from tfpt.execution.sinks.sink import FileSink
from tfpt.execution.sinks.torch import TorchSink
from tfpt.tensors import TensorSpec

_BY_SUFFIX: dict[str, Callable[..., FileSink]] = {
    ".safetensors": SafetensorsSink,
    ".pth": TorchSink,
    ".pt": TorchSink,
}


def open_sink(
    path: str | os.PathLike[str],
    specs: Iterable[TensorSpec],
    metadata: Mapping[str, str],
    overwrite: bool = False,
) -> FileSink:
    """A sink for the format given by the suffix of `path`.

    Args:
        path: The output file: `.safetensors`, `.pth` or `.pt`.
        specs: All tensors that will be written.
        metadata: Facts about the file; safetensors stores them, the other formats cannot.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The suffix is unknown, or the file cannot be created.

    Example:
        >>> open_sink("weights.onnx", [], {})
        Traceback (most recent call last):
        tfpt.errors.SinkError: no output format has the suffix '.onnx'
          where     weights.onnx
          expected  .safetensors, .pth, .pt
    """
    suffix = Path(path).suffix
    sink = _BY_SUFFIX.get(suffix.lower())
    if sink is None:
        what = f"no output format has the suffix {suffix!r}" if suffix else "the output has no suffix"
        raise SinkError(what, where=os.fspath(path), expected=", ".join(_BY_SUFFIX))
    return sink(path, specs, metadata, overwrite)
