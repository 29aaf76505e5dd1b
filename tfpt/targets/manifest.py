"""Manifests: lists of the parameters that a mapping writes, so that conversion does not need PyTorch."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping as Table
from pathlib import Path

import numpy as np

from tfpt.errors import MappingError, SinkError
from tfpt.io.output_file import AtomicFile
from tfpt.language.mapping import Mapping
from tfpt.language.referenced_files import stays_beside
from tfpt.language.tree import display_path
from tfpt.targets.model import build_model, model_specs
from tfpt.tensors import DTYPES, TensorSpec

_log = logging.getLogger("tfpt")


def target_specs(mapping: Mapping, *, trust: bool = False) -> dict[str, TensorSpec]:
    """The parameters and buffers that the mapping must write, in the model's order.

    From the manifest if there is one and no setting changes the model; else from the model, built on the meta device.

    Raises:
        MappingError: There is neither a manifest nor a model.
        ModelError: The model cannot be built.
    """
    if mapping.manifest_path.is_file() and not mapping.adapted:
        _log.info("parameters from %s", mapping.manifest_path)
        return read_manifest(mapping.manifest_path)
    if mapping.model.factory is None:
        what = (
            "has settings or a configuration that its manifest does not cover"
            if mapping.adapted
            else "has no manifest"
        )
        raise MappingError(
            f"the mapping {mapping.name} {what} and names no model, so its parameters are unknown",
            where=display_path(mapping.path),
            expected=f"{mapping.manifest_path.name} beside it, or model: {{factory: package.module:Class}}",
            hint="--no-model takes the names and shapes that the rows give",
        )
    return model_specs(build_model(mapping, trust=trust))


def read_manifest(path: Path) -> dict[str, TensorSpec]:
    """Read a manifest.

    Raises:
        MappingError: It cannot be read, or is not a valid manifest.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: TensorSpec(name, tuple(map(int, entry["shape"])), _known(entry["dtype"]))
            for name, entry in table.items()
        }
    except OSError as error:
        raise MappingError(f"cannot read the manifest: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MappingError(
            "the manifest is not a table of parameters",
            where=display_path(path),
            expected='{"NAME": {"dtype": "float32", "shape": [3, 5]}}',
            got=str(error),
            hint="tfpt check MAPPING --write-manifest",
        ) from error


def write_manifest(path: Path, specs: Table[str, TensorSpec]) -> None:
    """Write a manifest, one parameter per line, in the model's order.

    Raises:
        SinkError: It cannot be written, or is a link to a file outside its folder.
    """
    if path.is_symlink() and not stays_beside(path):
        # The folder may come from someone else, and the link point to any file of the user.
        raise SinkError(
            "the manifest is a link to a file outside its folder",
            where=str(path),
            got=f"a link to {os.readlink(path)}",
            hint=f"remove it and try again: rm {path}",
        )
    lines = [
        f"{json.dumps(spec.name)}: {json.dumps({'dtype': spec.dtype, 'shape': list(spec.shape)})}"
        for spec in specs.values()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    with AtomicFile(path, overwrite=True) as file:
        file.write_at(0, np.frombuffer(text.encode(), np.uint8))
        file.commit()


def _known(name: str) -> str:
    if name not in DTYPES:
        raise ValueError(f"no dtype is called {name!r}")
    return name
