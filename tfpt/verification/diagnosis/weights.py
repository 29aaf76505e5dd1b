"""Causes in weights: kernels with exchanged or mirrored axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations, product

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.advice import layout_advice, rows_advice
from tfpt.verification.diagnosis.changes import Change, Hypothesis, mapped_values
from tfpt.verification.diagnosis.parameters import Parameter, parameters_of
from tfpt.verification.diagnosis.trace import Context, ModuleRun
from tfpt.verification.diagnosis.windows import CONVS

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Of a kernel in three dimensions; more axes have too many orders.
_MAX_AXES = 5
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
                layout_advice,
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
            partial(rows_advice, context.mapping),
        )


def square_weights(context: Context) -> Iterator[Hypothesis]:
    """Square weights, transposed: of layers, and of whatever else reads one."""
    changes = []
    for one in parameters_of(context):
        shape = one.tensor.shape
        if one.tensor.ndim < 2 or shape[0] != shape[1] or shape[0] == 1:
            continue
        owner = context.model.get_submodule(one.owner)
        layer = isinstance(owner, (*CONVS, nn.Linear)) and one.leaf == "weight"
        changes.append(
            Change(
                one.owner,
                "takes the first axis of its weight as outputs"
                if layer
                else f"has the first two axes of {one.leaf} as they are",
                "inputs along the first axis, and outputs along the second" if layer else "the two exchanged",
                partial(mapped_values, one.tensor, partial(torch.transpose, dim0=0, dim1=1)),
                parameter=one.name,
            )
        )
    if changes:
        yield Hypothesis(
            "square weight",
            "",
            "a square weight is transposed, which its shape cannot reveal",
            tuple((change,) for change in changes),
            partial(
                layout_advice,
                context.mapping,
                axes=(1, 0),
                among=[change.parameter for change in changes],
            ),
        )


def all_axes(context: Context) -> Iterator[Hypothesis]:
    """Axes of equal size in every other order, for parameters with three axes or more."""
    found: dict[tuple[int, ...], list[Change]] = {}
    for one in parameters_of(context):
        sizes = tuple(one.tensor.shape)
        if not 3 <= len(sizes) <= _MAX_AXES:
            continue
        for order in permutations(range(len(sizes))):
            if tuple(sizes[axis] for axis in order) != sizes or _is_trivial(order, sizes):
                continue
            if order[:2] == (0, 1) and _is_convolution(context, one):
                continue  # kernel axes
            if order[:2] == (1, 0) and order[2:] == tuple(range(2, len(sizes))):
                continue  # a square weight
            change = one.changed(
                f"has the axes of {one.leaf} as they are",
                f"the order {' '.join(str(axis) for axis in order)} of them",
                partial(torch.permute, dims=order),
            )
            found.setdefault(order, []).append(change)
    for order, changes in found.items():
        yield Hypothesis(
            "axes",
            " ".join(map(str, order)),
            "axes of equal size are not in TensorFlow's order, which the shape cannot reveal",
            tuple((change,) for change in changes),
            partial(
                layout_advice, context.mapping, axes=order, among=[change.parameter for change in changes]
            ),
        )


def _is_convolution(context: Context, one: Parameter) -> bool:
    owner = context.model.get_submodule(one.owner)
    return isinstance(owner, (*CONVS, *TRANSPOSED)) and one.leaf == "weight"


def _convolutions(context: Context) -> Iterator[tuple[ModuleRun, Tensor]]:
    for run in context.trace.leaves():
        if isinstance(run.module, (*CONVS, *TRANSPOSED)) and max(run.module.weight.shape[2:]) > 1:
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
