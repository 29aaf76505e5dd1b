"""Causes in weights: kernels with exchanged or mirrored axes, and dense layers after a flattened activation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations, product
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.language import mapping as rows
from tfpt.verification.diagnosis.changes import Change, Hypothesis, mapped_values
from tfpt.verification.diagnosis.trace import Context, ModuleRun
from tfpt.verification.diagnosis.windows import CONVS

_AXES = {1: "w", 2: "h w", 3: "t h w"}


def kernel_axes(context: Context) -> Iterator[Hypothesis]:
    """Spatial axes of equal size of the convolutions' kernels in every other order."""
    found: dict[tuple[int, ...], list[Change]] = {}
    for run, weight in _convolutions(context):
        spatial = weight.ndim - 2
        for order in permutations(range(spatial)):
            sizes = tuple(weight.shape[2:])
            if tuple(sizes[axis] for axis in order) != sizes or _is_trivial(order, sizes):
                continue
            axes = (0, 1, *(2 + axis for axis in order))
            found.setdefault(order, []).append(_permuted(run, weight, axes, order))
    for order, changes in found.items():
        names = _AXES[len(order)].split()
        yield Hypothesis(
            "kernel axes",
            " ".join(names[axis] for axis in order),
            "the spatial axes of a kernel are not in TensorFlow's order",
            tuple((change,) for change in changes),
            partial(
                _layout_advice,
                context.mapping,
                axes=(0, 1, *(2 + axis for axis in order)),
                among=[change.parameter for change in changes],
            ),
        )


def mirrored_kernels(context: Context) -> Iterator[Hypothesis]:
    """Kernels mirrored along all or some of their spatial axes."""
    found: dict[tuple[int, ...], list[Change]] = {}
    for run, weight in _convolutions(context):
        spatial = weight.ndim - 2
        for chosen in sorted(product((0, 1), repeat=spatial), key=lambda flags: -sum(flags)):
            flipped = [2 + axis for axis in range(spatial) if chosen[axis]]
            if not flipped or any(weight.shape[axis] == 1 for axis in flipped):
                continue
            names = " ".join(_AXES[spatial].split()[axis - 2] for axis in flipped)
            change = Change(
                run.path,
                "has its kernel unmirrored",
                f"the kernel mirrored along {names}",
                partial(mapped_values, weight, partial(torch.flip, dims=flipped)),
                parameter=f"{run.path}.weight",
            )
            found.setdefault(chosen, []).append(change)
    for changes in found.values():
        yield Hypothesis(
            "mirrored kernel",
            changes[0].expected,
            "a kernel is mirrored, though neither TensorFlow's nor torch's convolutions flip it",
            tuple((change,) for change in changes),
            partial(_rows_advice, context.mapping),
        )


def square_weights(context: Context) -> Iterator[Hypothesis]:
    """Square weights, transposed."""
    changes = []
    for run in context.trace.leaves():
        weight = getattr(run.module, "weight", None)
        kinds = (*CONVS, nn.Linear)
        if not isinstance(run.module, kinds) or weight is None or weight.shape[0] != weight.shape[1]:
            continue
        changes.append(
            Change(
                run.path,
                "takes the first axis of its weight as outputs",
                "inputs along the first axis, and outputs along the second",
                partial(mapped_values, weight, partial(torch.transpose, dim0=0, dim1=1)),
                parameter=f"{run.path}.weight",
            )
        )
    if changes:
        yield Hypothesis(
            "square weight",
            "",
            "a square weight is transposed, which its shape cannot reveal",
            tuple((change,) for change in changes),
            partial(
                _layout_advice,
                context.mapping,
                axes=(1, 0),
                among=[change.parameter for change in changes],
            ),
        )


def flattening(context: Context) -> Iterator[Hypothesis]:
    """Dense layers after a flattened activation: TensorFlow flattens it channels last, torch channels first."""
    changes = []
    for run in context.trace.leaves():
        if not isinstance(run.module, nn.Linear):
            continue
        before = _flattened(context, run)
        if before is None or math.prod(before[1:]) == 1 or before[0] == 1:
            continue
        weight = run.module.weight
        changes.append(
            Change(
                run.path,
                f"has its columns in the order of a flattened {_by(before)} (channels first)",
                f"the order of a flattened {_by((*before[1:], before[0]))} (channels last)",
                partial(mapped_values, weight, partial(_channels_first, shape=before)),
                parameter=f"{run.path}.weight",
            )
        )
    if changes:
        yield Hypothesis(
            "flattening",
            "",
            "the input of a dense layer is a flattened activation, which TensorFlow flattens with the channels last",
            tuple((change,) for change in changes),
            'in its row of the mapping, use layout: "(h w c) o -> o (c h w)" with axes: {h: …, w: …}',
        )


def _convolutions(context: Context) -> Iterator[tuple[ModuleRun, Tensor]]:
    for run in context.trace.leaves():
        if isinstance(run.module, CONVS) and max(run.module.weight.shape[2:]) > 1:
            yield run, run.module.weight


def _is_trivial(order: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether an order only moves axes of size 1."""
    return all(axis == place or sizes[axis] == 1 for place, axis in enumerate(order))


def _permuted(run: ModuleRun, weight: Tensor, axes: tuple[int, ...], order: Sequence[int]) -> Change:
    names = _AXES[len(order)].split()
    return Change(
        run.path,
        f"has the axes of its kernel in the order {' '.join(names)}",
        f"the order {' '.join(names[axis] for axis in order)}",
        partial(mapped_values, weight, partial(torch.permute, dims=axes)),
        parameter=f"{run.path}.weight",
    )


def _flattened(context: Context, run: ModuleRun) -> tuple[int, ...] | None:
    """The shape, without the batch, that was flattened for a dense layer: of the last result with as many values."""
    module: Any = run.module
    before = context.trace.runs[: next(i for i, one in enumerate(context.trace.runs) if one.path == run.path)]
    for one in reversed(before):
        if len(one.output) > 2 and math.prod(one.output[1:]) == module.in_features:
            return one.output[1:]
        if len(one.shape) > 2 and math.prod(one.shape[1:]) == module.in_features:
            return one.shape[1:]
    return None


def _channels_first(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reorder columns from (space…, channels) to (channels, space…)."""
    rest = shape[1:]
    columns = weight.reshape(weight.shape[0], *rest, shape[0]).movedim(-1, 1)
    return columns.reshape(weight.shape[0], -1)


def row_of(mapping: rows.Mapping, parameter: str) -> rows.Row | None:
    """The row of the mapping that writes a parameter."""
    for rowset in mapping.alternatives:
        for row in rowset.rows:
            if any(template.match(parameter) is not None for template in row.pt):
                return row
    return None


def _rows_advice(mapping: rows.Mapping, changes: Sequence[Change]) -> str:
    """Advice to check the rows that write these parameters."""
    found = [row_of(mapping, change.parameter) for change in changes]
    text = [f"check the row {row} ({row.where}) and the weights file" for row in found if row is not None]
    return "; ".join(dict.fromkeys(text)) or "check where the weights come from"


def _layout_advice(
    mapping: rows.Mapping, changes: Sequence[Change], axes: Sequence[int], among: Sequence[str]
) -> str:
    """The layouts that the rows need, if the rows are wrong.

    Args:
        axes: The right order of a parameter's first axes; the others keep their order.
        among: All parameters of this kind. A row that also writes a correct parameter must not be changed itself.
    """
    needed = [change.parameter for change in changes]
    layouts: dict[str, None] = {}
    others: dict[str, None] = {}
    for change in changes:
        row = row_of(mapping, change.parameter)
        stated = row.transform.stated_layouts if isinstance(row, rows.Copy) else ()
        layout = stated[0] if len(stated) == 1 else None
        left, _, right = str(layout or "").partition("->")
        names = right.split()
        if row is None or layout is None or not len(names) == len(layout.right) >= len(axes):
            others[_rows_advice(mapping, (change,))] = None
            continue
        wanted = " ".join((*(names[axis] for axis in axes), *names[len(axes) :]))
        text = f'layout: "{left.strip()} -> {wanted}" instead of "{layout}" ({row.where})'
        if any(row_of(mapping, other) is row for other in among if other not in needed):
            text = f"a separate row for {change.parameter}, with {text}"
        layouts[text] = None
    blamed = (
        [f"if the mapping is wrong, use {', '.join(layouts)}; otherwise check the weights"] if layouts else []
    )
    return "; ".join((*blamed, *others))


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
