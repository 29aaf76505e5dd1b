"""Whether the constants of a mapping can be represented in the dtypes in which they are written."""

from __future__ import annotations

from tfpt.language.mapping import Copy, Fill
from tfpt.operations.casting import holds
from tfpt.operations.transform import Transform
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.tensors import is_integer


def unheld_constants(instance: Instance, name: str, written: str) -> list[Finding]:
    """A finding for each constant of a row that the dtype of the parameter `name` cannot represent.

    Rounding is fine: 0.1 is written as float16. Overflow, NaN, truncation and wrap-around are not.
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
            f"{name} is {written}, which cannot represent {key}: {value}",
            name=name,
            where=row.where,
            row=str(row),
            expected=f"a constant that {written} can represent",
            got=str(value),
            hint="a different dtype: on the row, or a different --dtype",
        )
        for key, values in stated.items()
        for value in values
        if not holds(written, value)
    ]


def _stated(transform: Transform, written: str) -> dict[str, tuple[float, ...]]:
    scale, add, pad = transform.scale, transform.add, transform.pad
    # The factor need not be an integer where only the scaled value is truncated to one.
    scales = scale is not None and not is_integer(written)
    return {
        "scale": (scale.number,) if scale is not None and scales else (),
        "add": () if add is None else add.numbers,
        "pad": () if pad is None else (pad.value,),
    }
