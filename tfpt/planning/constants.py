"""Numbers that a mapping states, against the dtypes in which they are written."""

from __future__ import annotations

from tfpt.language.mapping import Copy, Fill
from tfpt.operations.casting import holds
from tfpt.operations.transform import Transform
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.tensors import is_integer


def unheld_constants(instance: Instance, name: str, written: str) -> list[Finding]:
    """A finding for each constant of a row that the dtype of the parameter `name` cannot hold.

    Rounding is none: 0.1 is written in float16. Infinite, NaN, cut off or wrapped round is.
    """
    row = instance.row
    stated: dict[str, tuple[float, ...]] = {}
    if isinstance(row, Fill):
        stated = {"fill": (row.value,)}
    elif isinstance(row, Copy):
        stated = _stated(row.transform, written)
    return [
        Finding(
            "dtype",
            f"{name} is {written}, which cannot hold {key}: {value}",
            name=name,
            where=row.where,
            row=str(row),
            expected=f"a constant that {written} can hold",
            got=str(value),
            hint="another dtype: on the row, or another --dtype",
        )
        for key, values in stated.items()
        for value in values
        if not holds(written, value)
    ]


def _stated(transform: Transform, written: str) -> dict[str, tuple[float, ...]]:
    scale, add, pad = transform.scale, transform.add, transform.pad
    # What is scaled and then cut to an integer need not be scaled by one.
    scales = scale is not None and not is_integer(written)
    return {
        "scale": (scale.number,) if scale is not None and scales else (),
        "add": () if add is None else add.numbers,
        "pad": () if pad is None else (pad.value,),
    }
