"""Checks of a mapping without a checkpoint: rows that match nothing, parameters that no row writes, drift."""

from __future__ import annotations

import os
from collections.abc import Mapping as Table
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tfpt.checking.against_checkpoint import compare_with
from tfpt.checking.arguments import check_arguments
from tfpt.checking.edits import Edit
from tfpt.checking.fields import check_fields
from tfpt.checking.places import Places
from tfpt.checking.renames import renamed_parameters
from tfpt.checking.rows import RowsOfModel, check_rows
from tfpt.checking.shapes import check_shapes, layout_edits
from tfpt.checking.unused import note_unused
from tfpt.errors import MappingError, ModelError, UntrustedError
from tfpt.formats.joined import open_for
from tfpt.language.mapping import Keep, Mapping
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import PT_SEPARATOR
from tfpt.language.tree import display_path
from tfpt.planning import Finding
from tfpt.planning.defaults import note_defaults
from tfpt.targets.manifest import read_manifest, write_manifest
from tfpt.targets.model import build_model, model_specs
from tfpt.tensors import TensorSpec

# The number of parameters named.
_NAMED = 10
# What a plan for a checkpoint says better than names and shapes of the model alone.
_PLANNED = ("missing", "overlap", "shape", "unconfirmed-layout")


@dataclass(frozen=True)
class Check:
    """The result of checking a mapping.

    Attributes:
        mapping: The mapping.
        parameters: The number of parameters in the manifest, or else in the model.
        findings: What is wrong with the mapping.
        notes: What is worth knowing, and what could not be checked.
        edits: Changes of the mapping's text that remove some of the findings, where only one is possible.
    """

    mapping: Mapping
    parameters: int
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    edits: tuple[Edit, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping.name,
            "ok": not self.findings,
            "rows": len(self.mapping.alternatives[0].rows),
            "parameters": self.parameters,
            "findings": [finding.to_json() for finding in self.findings],
            "notes": [note.to_json() for note in self.notes],
            "edits": [edit.to_json() for edit in self.edits],
        }


def check_mapping(
    mapping: Mapping,
    *,
    trust: bool = False,
    update_manifest: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Check:
    """Check a mapping's rows against its manifest and its model.

    Args:
        mapping: The compiled mapping.
        trust: Import the model even from outside the trusted packages.
        update_manifest: Rewrite the manifest from the model.
        checkpoint: A checkpoint whose names and shapes the rows are checked against, too. No weight is read.

    Raises:
        MappingError: The manifest cannot be read, or cannot be written because settings or a configuration were given.
        ModelError: The manifest cannot be written as the model cannot be built, or the model refuses its arguments.
    """
    if update_manifest and mapping.adapted:
        raise MappingError(
            "a manifest must be written without settings or a configuration",
            where=display_path(mapping.path),
            expected="--write-manifest without --set and --config",
        )
    found: list[Finding] = []
    edits: list[Edit] = []
    places = Places(mapping)
    listed: Table[str, TensorSpec] | None = None
    built: Table[str, TensorSpec] | None = None
    if mapping.model.factory is not None:
        try:
            wrong = [] if update_manifest else check_arguments(mapping, places, trust=trust)
            found += wrong
            if not wrong:
                model = build_model(mapping, trust=trust)
                built = model_specs(model)
                from tfpt.networks.behavior import check_behavior

                found += check_behavior(model, mapping)
                found += _random(mapping, built, trust)
        except ModelError as error:
            unseen = isinstance(error.__cause__, ImportError) or (
                isinstance(error, UntrustedError) and mapping.manifest_path.is_file()
            )
            if update_manifest or not unseen:
                raise
            found.append(
                Finding(
                    "unchecked", f"the model: {error.what}", where=error.where or "", hint=error.hint or ""
                )
            )
    elif update_manifest:
        build_model(mapping)  # raises, saying that the mapping names no model
    if update_manifest and built is not None:
        write_manifest(mapping.manifest_path, built)
    if mapping.manifest_path.is_file() and not mapping.adapted:
        listed = read_manifest(mapping.manifest_path)
        if built is not None:
            found += _drift(mapping, listed, built)
    elif not mapping.adapted and mapping.model.factory is not None:
        where = display_path(mapping.path)
        hint = f"tfpt check {where} --write-manifest"
        unlisted = Finding("unchecked", "there is no manifest beside the mapping", hint=hint)
        found.append(places.at_path(unlisted, "model", "factory"))
    parameters = listed if listed is not None else built
    if parameters is None:
        found.append(places.at_path(_unknown(mapping), "model"))
    else:
        rows = RowsOfModel(mapping, parameters)
        of_rows = [*check_rows(rows, places), *check_shapes(rows, places), *check_fields(rows, places)]
        edits = [*renamed_parameters(rows, places), *layout_edits(rows, places)]
        if checkpoint is not None:
            with closing(open_for(mapping.files, checkpoint, names=mapping.names)) as source:
                compared = compare_with(mapping, source, parameters, places)
            planned = compared.findings(places)
            of_rows = [each for each in of_rows if each.kind not in _PLANNED] + planned
            edits = edits or list(compared.edits)
        found += of_rows
    if mapping.params and mapping.model.factory is None and not mapping.adapted:
        found.append(places.at_path(_fixed(mapping), "params"))
    found += note_defaults(mapping)
    found += note_unused(mapping, places)
    found = [places.completed(finding) for finding in found]
    return Check(
        mapping,
        len(parameters or {}),
        tuple(finding for finding in found if finding.stops),
        tuple(finding for finding in found if not finding.stops),
        tuple(filter(places.editable, edits)),
    )


def _fixed(mapping: Mapping) -> Finding:
    names = ", ".join(list(mapping.params)[:_NAMED]) + (", …" if len(mapping.params) > _NAMED else "")
    return Finding(
        "unchecked",
        "parameters can be set, but no model says how that changes the shapes: with --set or --config, "
        "tfpt convert needs --no-model",
        where=display_path(mapping.path),
        expected="model: {factory: package.module:Class}",
        got=f"no model, and the parameters {names}",
    )


def _unknown(mapping: Mapping) -> Finding:
    where = display_path(mapping.path)
    if mapping.model.factory is None:
        hint = f"{mapping.manifest_path.name} beside it, or model: {{factory: package.module:Class}}"
        got = "no manifest and no model"
        if mapping.manifest_path.is_file():
            got = "no model, and a manifest for other settings"
            hint = (
                "model: {factory: package.module:Class}; tfpt convert --no-model takes the shapes of the rows"
            )
    elif mapping.adapted and mapping.manifest_path.is_file():
        got, hint = "a model that cannot be built, and a manifest for other settings", f"tfpt check {where}"
    else:
        got, hint = "no manifest, and a model that cannot be built", ""
    return Finding(
        "unknown-model",
        "the model's parameters are not known, so no row was checked against them",
        where=where,
        expected="a manifest beside the mapping, or a model that can be built",
        got=got,
        hint=hint,
    )


def _random(mapping: Mapping, built: Table[str, TensorSpec], trust: bool) -> list[Finding]:
    """A finding for each parameter kept by `keep: true` that is random. Builds no model if no row keeps any."""
    names = NameIndex(built, PT_SEPARATOR)
    rows = {
        name: row.where
        for row in mapping.alternatives[0].rows
        if isinstance(row, Keep) and not row.random
        for template in row.pt
        for name, _ in names.matches(template)
    }
    if not rows:
        return []
    from tfpt.execution.kept_values import kept_values, random_finding

    kept = kept_values(lambda: build_model(mapping, device="cpu", trust=trust), rows, random_too=False)
    return [random_finding(name, where) for name, where in rows.items() if name in kept.random]


def _drift(mapping: Mapping, listed: Table[str, TensorSpec], built: Table[str, TensorSpec]) -> list[Finding]:
    where = display_path(mapping.manifest_path)
    hint = f"if the model is right: tfpt check {display_path(mapping.path)} --write-manifest"

    def finding(name: str, expected: str, got: str) -> Finding:
        what = f"the manifest and the model disagree on {name}"
        return Finding("drift", what, name=name, where=where, expected=expected, got=got, hint=hint)

    found = [
        finding(name, str(spec), "not in the manifest") for name, spec in built.items() if name not in listed
    ]
    found += [
        finding(name, "not in the model", str(spec)) for name, spec in listed.items() if name not in built
    ]
    found += [
        finding(name, str(spec), str(listed[name]))
        for name, spec in built.items()
        if name in listed and listed[name] != spec
    ]
    return found
