"""Check one instance against shapes and dtypes: the step that carries it out, or findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tfpt.formats.source import Quantized
from tfpt.language.mapping import Copy, Fill, Keep, Row
from tfpt.operations.bound_transform import BoundTransform
from tfpt.operations.layout import LayoutError
from tfpt.planning import steps
from tfpt.planning.averages import Variables
from tfpt.planning.constants import unheld_constants
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.planning.plan import shapes_text
from tfpt.tensors import DTYPES, TensorSpec, format_shape, is_exact, is_integer

# Schemes of TensorFlow Lite that no reader of tfpt can decode.
_UNKNOWN_SCHEMES = ("custom", "blockwise", "unknown")


def fit(
    instance: Instance,
    variables: Variables,
    targets: Mapping[str, TensorSpec],
    dtype: str | None = None,
    quantized: Mapping[str, Quantized] = MappingProxyType({}),
) -> tuple[steps.Step | None, list[Finding]]:
    """The step for an instance whose variables all exist.

    Args:
        instance: The row with its names.
        variables: The variables' shapes and dtypes.
        targets: The model's parameters.
        dtype: The dtype in which floating-point parameters are written, if not the model's.
        quantized: Tensors whose integers encode real numbers, by the name under which they are read.
    """
    row = instance.row
    if not isinstance(row, Copy):
        return _constant(instance, targets, dtype)
    reads = [variables.specs[name] for name in instance.reads]
    transform = row.transform
    if all(name in targets for name in instance.writes):
        transform = transform.for_outputs([targets[name].shape for name in instance.writes])
    try:
        bound = transform.bind([spec.shape for spec in reads], len(instance.writes))
    except LayoutError as error:
        return None, [_misfit(instance, reads, error)]
    findings = [
        _shape_finding(instance, name, shape, targets[name], shapes_text(tuple(reads)), tuple(reads))
        for name, shape in zip(instance.writes, bound.shapes, strict=True)
        if name in targets and targets[name].shape != shape
    ]
    read_as = tuple(TensorSpec(variables.read_name(spec.name), spec.shape, spec.dtype) for spec in reads)
    writes = []
    for name, shape in zip(instance.writes, bound.shapes, strict=True):
        target = targets.get(name)
        written = _written_dtype(row, target.dtype if target else reads[0].dtype, dtype)
        findings += _dtype_findings(instance, name, read_as, written, dtype, quantized)
        findings += unheld_constants(instance, name, written)
        writes.append(TensorSpec(name, shape, written))
    findings += _common_findings(instance, bound, read_as)
    step = steps.Copy(
        reads=read_as,
        writes=tuple(writes),
        transform=transform,
        position=row.position,
        scopes=row.scopes,
    )
    return step, findings


def _constant(
    instance: Instance, targets: Mapping[str, TensorSpec], dtype: str | None
) -> tuple[steps.Step | None, list[Finding]]:
    row, name = instance.row, instance.writes[0]
    target = targets.get(name)
    if target is None:
        return None, []  # reported as extra
    written = _written_dtype(row, target.dtype, dtype)
    findings = unheld_constants(instance, name, written)
    shape = target.shape
    if isinstance(row, Fill) and row.shape is not None:
        shape = row.shape
    elif isinstance(row, Fill) and row.like is not None:
        model = row.like.render_in(instance.values, targets) or row.like.text
        if model not in targets:
            finding = Finding(
                "shape",
                f"{name} takes its shape from {model}, which the model does not have",
                name=name,
                where=row.where,
                row=str(row),
            )
            return None, [finding]
        shape = targets[model].shape
    if shape != target.shape:
        findings.append(_shape_finding(instance, name, shape, target, "the row"))
    spec = TensorSpec(name, shape, written)
    if isinstance(row, Fill):
        return steps.Fill(writes=(spec,), position=row.position, scopes=row.scopes, value=row.value), findings
    drawn = isinstance(row, Keep) and row.random
    return steps.Keep(writes=(spec,), position=row.position, scopes=row.scopes, random=drawn), findings


def _written_dtype(row: Row, target: str, dtype: str | None) -> str:
    if row.dtype is not None:
        return row.dtype
    return dtype if dtype is not None and _is_float(target) else target


def _is_float(name: str) -> bool:
    return name.startswith(("float", "bfloat"))


def _dtype_findings(
    instance: Instance,
    name: str,
    reads: Sequence[TensorSpec],
    written: str,
    dtype: str | None,
    quantized: Mapping[str, Quantized],
) -> list[Finding]:
    row = instance.row
    chosen = row.dtype is not None or (written == dtype and all(_is_float(spec.dtype) for spec in reads))
    found = []
    for spec in reads:
        held = DTYPES[spec.dtype].numpy
        how = quantized.get(spec.name)
        hint = f"dtype: {written} on the row, if the loss is acceptable"
        if held is None or held.kind == "O":
            expected, hint = "a variable of numbers", ""
        elif encodes_numbers(spec, how) and _is_real(written):
            found.append(_quantized(instance, name, spec, written, how))
            continue
        elif isinstance(row, Copy) and row.transform.computes and not _is_real(spec.dtype):
            expected, hint = "a floating-point variable, since the row computes with it", ""
        elif isinstance(row, Copy) and row.transform.needs_real_numbers and not _is_float(spec.dtype):
            expected, hint = "a variable of real numbers, since the row computes a function of it", ""
        elif chosen or is_exact(spec.dtype, written):
            continue
        else:
            expected = f"a dtype whose values {written} can all represent"
        found.append(
            Finding(
                "dtype",
                f"{spec.name} is {spec.dtype}, {name} is {written}",
                name=name,
                where=row.where,
                row=str(row),
                expected=expected,
                got=spec.dtype,
                hint=hint,
                variables=(spec,),
            )
        )
    return found


def encodes_numbers(spec: TensorSpec, how: Quantized | None) -> bool:
    """Whether the integers of a variable encode real numbers."""
    # TensorFlow's own quantized dtypes do not include the scale, which is in other tensors of the graph.
    return spec.dtype.startswith(("qint", "quint")) or (how is not None and is_integer(spec.dtype))


def _is_real(name: str) -> bool:
    return _is_float(name) or name.startswith("complex")


def _quantized(
    instance: Instance, name: str, spec: TensorSpec, written: str, how: Quantized | None
) -> Finding:
    """Integers that encode real numbers, written to a parameter of real numbers."""
    known = how is not None and how.scheme not in _UNKNOWN_SCHEMES
    integers = spec.dtype.removeprefix("q")
    return Finding(
        "quantized",
        f"{spec.name} has integers that encode real numbers, and {name} is {written}",
        name=name,
        where=instance.row.where,
        row=str(instance.row),
        expected="the numbers that they encode" if known else "weights that are not quantized",
        got=f"{spec.dtype}, {how if how is not None else 'without its scale'}",
        hint=("--dequantize reads the encoded numbers; " if known else "")
        + f"dtype: {integers} on the row writes the integers themselves",
        variables=(spec,),
    )


def _common_findings(instance: Instance, bound: BoundTransform, reads: Sequence[TensorSpec]) -> list[Finding]:
    """A finding if no dtype can represent every value of all variables that are joined."""
    held = [DTYPES[spec.dtype].numpy for spec in reads]
    numbers = [dtype for dtype in held if dtype is not None and dtype.kind != "O"]
    if len(numbers) < len(held) or bound.carrier(numbers) is not None:
        return []
    return [
        Finding(
            "dtype",
            f"the variables that are joined to {instance.writes[0]} have no dtype in common",
            name=instance.writes[0],
            where=instance.row.where,
            row=str(instance.row),
            expected="dtypes of which one can represent all values of the others",
            got=", ".join(dict.fromkeys(spec.dtype for spec in reads)),
            variables=tuple(reads),
        )
    ]


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
        variables=tuple(reads),
    )


def _shape_finding(
    instance: Instance,
    name: str,
    shape: tuple[int, ...],
    target: TensorSpec,
    origin: str,
    reads: tuple[TensorSpec, ...] = (),
) -> Finding:
    row = instance.row
    layouts = row.transform.stated_layouts if isinstance(row, Copy) else ()
    by = f" by {' and '.join(map(str, layouts))}" if layouts else ""
    return Finding(
        "shape",
        f"{name} has another shape in the model",
        name=name,
        where=instance.row.where,
        row=str(instance.row),
        expected=f"{format_shape(target.shape)}, as the model has it",
        got=f"{format_shape(shape)} from {origin}{by}",
        variables=reads,
        parameters=(target,),
        made=shape,
    )
