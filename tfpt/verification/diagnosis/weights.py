"""Weights as a cause: kernels with their axes exchanged or mirrored, and dense layers behind another flattening."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations, product
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.language import mapping as rows
from tfpt.verification.diagnosis.changes import Change, Hypothesis, moved
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.trace import Ran
from tfpt.verification.diagnosis.windows import CONVS

_AXES = {1: "w", 2: "h w", 3: "t h w"}


def kernel_axes(scene: Scene) -> Iterator[Hypothesis]:
    """Equal spatial axes of the convolutions' kernels in every other order."""
    found: dict[tuple[int, ...], list[Change]] = {}
    for run, weight in _convolutions(scene):
        spatial = weight.ndim - 2
        for order in permutations(range(spatial)):
            sizes = tuple(weight.shape[2:])
            if tuple(sizes[axis] for axis in order) != sizes or _fixes(order, sizes):
                continue
            axes = (0, 1, *(2 + axis for axis in order))
            found.setdefault(order, []).append(_permuted(run, weight, axes, order))
    for order, changes in found.items():
        names = _AXES[len(order)].split()
        yield Hypothesis(
            "kernel axes",
            " ".join(names[axis] for axis in order),
            "the spatial axes of a kernel are in another order than TensorFlow's",
            tuple((change,) for change in changes),
            partial(
                _layout_advice,
                scene.mapping,
                axes=(0, 1, *(2 + axis for axis in order)),
                among=[change.parameter for change in changes],
            ),
        )


def mirrored_kernels(scene: Scene) -> Iterator[Hypothesis]:
    """Kernels read backwards along all of their axes, or along some."""
    found: dict[tuple[int, ...], list[Change]] = {}
    for run, weight in _convolutions(scene):
        spatial = weight.ndim - 2
        for chosen in sorted(product((0, 1), repeat=spatial), key=lambda flags: -sum(flags)):
            flipped = [2 + axis for axis in range(spatial) if chosen[axis]]
            if not flipped or any(weight.shape[axis] == 1 for axis in flipped):
                continue
            names = " ".join(_AXES[spatial].split()[axis - 2] for axis in flipped)
            change = Change(
                run.path,
                "has its kernel as it is",
                f"the kernel mirrored along {names}",
                partial(moved, weight, partial(torch.flip, dims=flipped)),
                parameter=f"{run.path}.weight",
            )
            found.setdefault(chosen, []).append(change)
    for changes in found.values():
        yield Hypothesis(
            "mirrored kernel",
            changes[0].had,
            "a kernel is mirrored: TensorFlow's convolutions do not flip it, and neither do torch's",
            tuple((change,) for change in changes),
            partial(_rows_advice, scene.mapping),
        )


def square_weights(scene: Scene) -> Iterator[Hypothesis]:
    """Weights with as many inputs as outputs, the two exchanged."""
    changes = []
    for run in scene.trace.leaves():
        weight = getattr(run.module, "weight", None)
        kinds = (*CONVS, nn.Linear)
        if not isinstance(run.module, kinds) or weight is None or weight.shape[0] != weight.shape[1]:
            continue
        changes.append(
            Change(
                run.path,
                "has outputs along the first axis of its weight",
                "inputs there, and outputs along the second",
                partial(moved, weight, partial(torch.transpose, dim0=0, dim1=1)),
                parameter=f"{run.path}.weight",
            )
        )
    if changes:
        yield Hypothesis(
            "square weight",
            "",
            "a weight with as many inputs as outputs has the two exchanged, which no shape can show",
            tuple((change,) for change in changes),
            partial(
                _layout_advice,
                scene.mapping,
                axes=(1, 0),
                among=[change.parameter for change in changes],
            ),
        )


def flattening(scene: Scene) -> Iterator[Hypothesis]:
    """Dense layers behind a flattened activation: TensorFlow's channels come last, torch's first."""
    changes = []
    for run in scene.trace.leaves():
        if not isinstance(run.module, nn.Linear):
            continue
        before = _flattened(scene, run)
        if before is None or math.prod(before[1:]) == 1 or before[0] == 1:
            continue
        weight = run.module.weight
        changes.append(
            Change(
                run.path,
                f"has its columns in the order of a flattened {_by(before)} (channels first)",
                f"the order of a flattened {_by((*before[1:], before[0]))} (channels last)",
                partial(moved, weight, partial(_channels_first, shape=before)),
                parameter=f"{run.path}.weight",
            )
        )
    if changes:
        yield Hypothesis(
            "flattening",
            "",
            "a dense layer follows a flattened activation, which TensorFlow flattens with the channels last",
            tuple((change,) for change in changes),
            'in its row: layout: "(h w c) o -> o (c h w)", with axes: {h: …, w: …}',
        )


def _convolutions(scene: Scene) -> Iterator[tuple[Ran, Tensor]]:
    for run in scene.trace.leaves():
        if isinstance(run.module, CONVS) and max(run.module.weight.shape[2:]) > 1:
            yield run, run.module.weight


def _fixes(order: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether an order moves nothing but axes of size 1."""
    return all(axis == place or sizes[axis] == 1 for place, axis in enumerate(order))


def _permuted(run: Ran, weight: Tensor, axes: tuple[int, ...], order: Sequence[int]) -> Change:
    names = _AXES[len(order)].split()
    return Change(
        run.path,
        f"has the axes of its kernel in the order {' '.join(names)}",
        f"the order {' '.join(names[axis] for axis in order)}",
        partial(moved, weight, partial(torch.permute, dims=axes)),
        parameter=f"{run.path}.weight",
    )


def _flattened(scene: Scene, run: Ran) -> tuple[int, ...] | None:
    """The shape, without the batch, that was flattened for a dense layer: of the last result of that many values."""
    module: Any = run.module
    before = scene.trace.runs[: next(i for i, one in enumerate(scene.trace.runs) if one.path == run.path)]
    for one in reversed(before):
        if len(one.output) > 2 and math.prod(one.output[1:]) == module.in_features:
            return one.output[1:]
        if len(one.shape) > 2 and math.prod(one.shape[1:]) == module.in_features:
            return one.shape[1:]
    return None


def _channels_first(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Columns in the order of (space…, channels), put into that of (channels, space…)."""
    rest = shape[1:]
    moved = weight.reshape(weight.shape[0], *rest, shape[0]).movedim(-1, 1)
    return moved.reshape(weight.shape[0], -1)


def row_of(mapping: rows.Mapping, parameter: str) -> rows.Row | None:
    """The row of the mapping that writes a parameter."""
    for rowset in mapping.alternatives:
        for row in rowset.rows:
            if any(template.match(parameter) is not None for template in row.pt):
                return row
    return None


def _rows_advice(mapping: rows.Mapping, changes: Sequence[Change]) -> str:
    """To look at the rows that write these parameters."""
    found = [row_of(mapping, change.parameter) for change in changes]
    told = [
        f"look at the row {row} ({row.where}), and at the file of weights" for row in found if row is not None
    ]
    return "; ".join(dict.fromkeys(told)) or "look at where the weights come from"


def _layout_advice(
    mapping: rows.Mapping, changes: Sequence[Change], axes: Sequence[int], among: Sequence[str]
) -> str:
    """What the layouts of the rows would have to be, if it is the rows that are wrong.

    Args:
        axes: The first axes of a parameter in the right order; those behind them stay.
        among: All parameters of this kind; a row that writes one that is right, too, cannot be changed for it.
    """
    needed = [change.parameter for change in changes]
    layouts: dict[str, None] = {}
    others: dict[str, None] = {}
    for change in changes:
        row = row_of(mapping, change.parameter)
        layout = row.transform.layout if isinstance(row, rows.Copy) else None
        left, _, right = str(layout or "").partition("->")
        names = right.split()
        if row is None or layout is None or not len(names) == len(layout.right) >= len(axes):
            others[_rows_advice(mapping, (change,))] = None
            continue
        wanted = " ".join((*(names[axis] for axis in axes), *names[len(axes) :]))
        told = f'layout: "{left.strip()} -> {wanted}" in place of "{layout}" ({row.where})'
        if any(row_of(mapping, other) is row for other in among if other not in needed):
            told = f"a row for {change.parameter} alone, with {told}"
        layouts[told] = None
    blamed = [f"if the mapping is to blame: {', '.join(layouts)}; else the weights"] if layouts else []
    return "; ".join((*blamed, *others))


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
