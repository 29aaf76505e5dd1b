"""One instance against shapes and dtypes: the step that carries it out, or what does not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tfpt.mapping.layout import LayoutError
from tfpt.mapping.rows import Row
from tfpt.mapping.transform import BoundTransform
from tfpt.planning.averages import Variables
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.planning.plan import Step, shapes_text
from tfpt.tensors import DTYPES, TensorSpec, format_shape, is_exact


def fit(
    instance: Instance, variables: Variables, targets: Mapping[str, TensorSpec], dtype: str | None = None
) -> tuple[Step | None, list[Finding]]:
    """The step of an instance all of whose variables are there.

    Args:
        instance: The row with its names.
        variables: The variables' shapes and dtypes.
        targets: The model's parameters.
        dtype: The dtype in which floating-point parameters are written, if not the model's.
    """
    row = instance.row
    if row.fill is not None or row.keep:
        return _constant(instance, targets, dtype)
    reads = [variables.specs[name] for name in instance.reads]
    try:
        bound = row.transform.bind([spec.shape for spec in reads], len(instance.writes))
    except LayoutError as error:
        return None, [_misfit(instance, reads, error)]
    findings = [
        _shape_finding(instance, name, shape, targets[name], shapes_text(tuple(reads)))
        for name, shape in zip(instance.writes, bound.shapes, strict=True)
        if name in targets and targets[name].shape != shape
    ]
    read_as = tuple(TensorSpec(variables.read_name(spec.name), spec.shape, spec.dtype) for spec in reads)
    writes = []
    for name, shape in zip(instance.writes, bound.shapes, strict=True):
        target = targets.get(name)
        written = _written_dtype(row, target.dtype if target else reads[0].dtype, dtype)
        findings += _dtype_findings(instance, name, reads, written, dtype)
        writes.append(TensorSpec(name, shape, written))
    return Step(read_as, tuple(writes), bound, row.where, alike=_alike(bound)), findings


def _alike(bound: BoundTransform) -> tuple[str, str] | None:
    return bound.layout.unconfirmed if bound.layout is not None else None


def _constant(
    instance: Instance, targets: Mapping[str, TensorSpec], dtype: str | None
) -> tuple[Step | None, list[Finding]]:
    row, name = instance.row, instance.writes[0]
    target = targets.get(name)
    if target is None:
        return None, []  # reported as extra
    findings = _fill_findings(instance, name, target, dtype)
    shape = target.shape
    if row.shape is not None:
        shape = row.shape
    elif row.like is not None:
        model = row.like.render(instance.values) or row.like.text
        if model not in targets:
            finding = Finding(
                "shape",
                f"{name} is to be like {model}, which the model does not have",
                name=name,
                where=row.where,
                row=str(row),
            )
            return None, [finding]
        shape = targets[model].shape
    if shape != target.shape:
        findings.append(_shape_finding(instance, name, shape, target, "the row"))
    spec = TensorSpec(name, shape, _written_dtype(row, target.dtype, dtype))
    return Step((), (spec,), None, row.where, fill=row.fill, keep=row.keep), findings


def _fill_findings(instance: Instance, name: str, target: TensorSpec, dtype: str | None) -> list[Finding]:
    row = instance.row
    written = _written_dtype(row, target.dtype, dtype)
    held = DTYPES[written].numpy
    if row.fill is None or held is None or held.kind not in "iub":
        return []
    low, high = (0, 1) if held.kind == "b" else (int(np.iinfo(held).min), int(np.iinfo(held).max))
    if math.isfinite(row.fill) and int(row.fill) == row.fill and low <= row.fill <= high:
        return []
    return [
        Finding(
            "dtype",
            f"{name} is {written}, and is to be filled with {row.fill}",
            name=name,
            where=row.where,
            row=str(row),
            expected=f"a constant that {written} can hold",
            got=str(row.fill),
        )
    ]


def _written_dtype(row: Row, target: str, dtype: str | None) -> str:
    if row.dtype is not None:
        return row.dtype
    return dtype if dtype is not None and _is_float(target) else target


def _is_float(name: str) -> bool:
    return name.startswith(("float", "bfloat"))


def _dtype_findings(
    instance: Instance, name: str, reads: list[TensorSpec], written: str, dtype: str | None
) -> list[Finding]:
    row = instance.row
    chosen = row.dtype is not None or (written == dtype and all(_is_float(spec.dtype) for spec in reads))
    found = []
    for spec in reads:
        held = DTYPES[spec.dtype].numpy
        computes = row.transform.scale is not None or row.transform.add is not None
        if held is None or held.kind == "O":
            expected = "a variable of numbers"
        elif computes and not (_is_float(spec.dtype) or spec.dtype.startswith("complex")):
            expected = "a floating-point variable, since the row scales or adds"
        elif chosen or is_exact(spec.dtype, written):
            continue
        else:
            expected = f"a dtype whose values {written} can all hold"
        found.append(
            Finding(
                "dtype",
                f"{spec.name} is {spec.dtype}, {name} is {written}",
                name=name,
                where=row.where,
                row=str(row),
                expected=expected,
                got=spec.dtype,
                hint=""
                if held is None or held.kind == "O"
                else f"dtype: {written} on the row, if the loss is wanted",
            )
        )
    return found


def _misfit(instance: Instance, reads: list[TensorSpec], error: LayoutError) -> Finding:
    names = ", ".join(spec.name for spec in reads[:3]) + (" …" if len(reads) > 3 else "")
    return Finding(
        "shape",
        f"{names} → {instance.writes[0] if instance.writes else '?'}: {error.what}",
        name=instance.writes[0] if instance.writes else reads[0].name,
        where=instance.row.where,
        row=str(instance.row),
        expected=error.expected or "",
        got=error.got or shapes_text(tuple(reads)),
    )


def _shape_finding(
    instance: Instance, name: str, shape: tuple[int, ...], target: TensorSpec, origin: str
) -> Finding:
    layout = instance.row.transform.layout
    by = f" by {layout}" if layout is not None else ""
    return Finding(
        "shape",
        f"{name} has another shape in the model",
        name=name,
        where=instance.row.where,
        row=str(instance.row),
        expected=f"{format_shape(target.shape)}, as the model has it",
        got=f"{format_shape(shape)} from {origin}{by}",
    )
