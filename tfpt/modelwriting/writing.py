"""`tfpt.write_model`: reads a Keras file, writes the module and its mapping, and proves them."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import re
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import SinkError, SourceError, TfptError
from tfpt.formats import open_source
from tfpt.formats.roles import roles_of
from tfpt.io.output_file import AtomicFile
from tfpt.modelwriting.block import Missing, Written
from tfpt.modelwriting.configuration import keras_generation, read_graph
from tfpt.modelwriting.mapping_text import mapping_text
from tfpt.modelwriting.names import class_name
from tfpt.modelwriting.proof import Proof, prove
from tfpt.modelwriting.python_text import python_text
from tfpt.modelwriting.translate import write_block

_AUTOMATIC = re.compile(r"(sequential|functional|model)(_\d+)?")


@dataclass(frozen=True)
class WrittenModel:
    """What was written.

    Attributes:
        module: The Python file.
        mapping: The mapping.
        factory: The class, as ``module:Class``.
        layers: The number of calls of layers in the Keras model.
        missing: The layers that were not written.
        notes: What differs during training.
        proof: The comparison of both networks.
    """

    module: Path
    mapping: Path
    factory: str
    layers: int
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    proof: Proof

    @property
    def settled(self) -> bool:
        """Whether every layer was written, and the comparison, if Keras is installed, found no difference."""
        compared = self.proof.difference is not None or self.proof.failed
        return not self.missing and (self.proof.equal or not compared)

    def to_json(self) -> dict[str, Any]:
        """Everything as values that JSON can represent."""
        return {
            "module": str(self.module),
            "mapping": str(self.mapping),
            "factory": self.factory,
            "layers": self.layers,
            "missing": [
                {"layer": each.layer, "kind": each.kind, "shapes": each.shapes, "reason": each.reason}
                for each in self.missing
            ],
            "notes": list(self.notes),
            "proof": {
                "equal": self.proof.equal,
                "difference": self.proof.difference,
                "reason": self.proof.reason,
                "inputs": {name: list(shape) for name, shape in self.proof.inputs.items()},
            },
        }


def write_model(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    mapping_out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    trust: bool = False,
) -> WrittenModel:
    """See `tfpt.write_model`."""
    module = Path(out)
    mapping = Path(mapping_out) if mapping_out is not None else module.with_suffix(".yaml")
    _check_names(module, mapping, overwrite)
    location = os.fspath(path)
    with closing(open_source(location)) as source:
        config = source.config
    if config is None and "Keras" not in source.format:
        raise SourceError(
            "this is not a Keras model",
            where=location,
            expected="MODEL.keras, or an .h5 file of a whole model",
            got=source.format,
            hint="tfpt init CHECKPOINT --model PACKAGE:CLASS, with a module of your own",
        )
    graph = read_graph(config, location)
    with closing(open_source(location, names="keras")) as source:
        roles = roles_of(source)
        specs = {name: spec for name, spec in source.specs.items() if name not in roles}
    written = Written(specs, keras_generation(config), roles=set(roles.values()))
    name = class_name(module.stem if _AUTOMATIC.fullmatch(graph.name) else graph.name)
    written.class_names.add(name)
    try:
        block = write_block(graph, written, name)
    except SourceError as error:
        error.where = error.where or location
        raise
    factory = f"{module.stem}:{name}"
    base = os.path.basename(location.rstrip("/"))
    _write(module, python_text(written, base), overwrite)
    _write(mapping, mapping_text(written, factory, base), overwrite)
    sys.modules.pop(module.stem, None)  # an earlier version
    importlib.invalidate_caches()
    if written.missing:
        proof = Proof(None, {}, "not every layer was written", failed=True)
    else:
        proof = prove(block, location, mapping, trust=trust)
    notes = tuple(dict.fromkeys(written.notes))
    return WrittenModel(module, mapping, factory, written.count, tuple(written.missing), notes, proof)


def _check_names(module: Path, mapping: Path, overwrite: bool) -> None:
    if module.suffix != ".py" or not module.stem.isidentifier():
        raise TfptError(
            "the module cannot be imported under this name",
            expected="a Python file with a name of letters, digits and _, such as net.py",
            got=module.name,
        )
    if module.resolve().parent != mapping.resolve().parent:
        raise TfptError(
            "the mapping would not find the module",
            expected=f"both in one folder: {module.resolve().parent / mapping.name}",
            got=str(mapping),
        )
    if module.stem in sys.stdlib_module_names or _installed(module):
        raise TfptError(
            f"{module.stem} is the name of an installed package, which would be imported instead",
            where=str(module),
            hint=f"another name, such as my_{module.stem}.py",
        )
    for path, what in ((module, "module"), (mapping, "mapping")):
        if path.exists() and not overwrite:
            raise SinkError(
                f"the {what} exists already", where=str(path), hint="--overwrite, or another name"
            )


def _installed(module: Path) -> bool:
    """Whether another module of that name is found first."""
    spec = importlib.machinery.PathFinder.find_spec(module.stem)
    origin = None if spec is None else spec.origin
    return spec is not None and (origin is None or Path(origin).resolve() != module.resolve())


def _write(path: Path, text: str, overwrite: bool) -> None:
    with AtomicFile(path, overwrite=overwrite) as file:
        file.write_at(0, np.frombuffer(text.encode(), np.uint8))
        file.commit()
