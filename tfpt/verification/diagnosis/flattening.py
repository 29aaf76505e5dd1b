"""Causes at a flattened activation: dense layers whose columns are in another order, and the flattening itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Any

from torch import Tensor, nn

from tfpt.verification.diagnosis.advice import corrected
from tfpt.verification.diagnosis.changes import Change, Hypothesis, mapped_values
from tfpt.verification.diagnosis.trace import Context, ModuleRun

_NAMES = {2: "cw", 3: "chw", 4: "cthw"}
_FLATTENS = ("flatten", "view", "reshape")


def flattening(context: Context) -> Iterator[Hypothesis]:
    """Dense layers after a flattened activation, with columns in another order: first TensorFlow's, channels last."""
    found: dict[str, list[Change]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for run in context.trace.leaves():
        if not isinstance(run.module, nn.Linear):
            continue
        before = _flattened(context, run)
        if before is None or len(before) not in _NAMES or math.prod(before[1:]) == 1 or before[0] == 1:
            continue
        weight = run.module.weight
        shapes[f"{run.path}.weight"] = before
        places = range(len(before))
        # Channels last, as TensorFlow flattens, is the likeliest.
        last = (*places[1:], 0)
        for order in dict.fromkeys((last, *permutations(places))):
            if order == tuple(places):
                continue
            names = "".join(_NAMES[len(before)][place] for place in order)
            where = " (channels last)" if order == last else ""
            change = Change(
                run.path,
                f"has its columns in the order of a flattened {_by(before)} (channels first)",
                f"the order of a flattened {_by([before[place] for place in order])}{where}",
                partial(mapped_values, weight, partial(_reordered, shape=before, order=order)),
                parameter=f"{run.path}.weight",
            )
            found.setdefault(names, []).append(change)
    for names, changes in found.items():
        yield Hypothesis(
            "flattening",
            names,
            "the input of a dense layer is a flattened activation, which TensorFlow flattens with the channels last"
            if names.endswith("c")
            else "the columns of a dense layer are in another order than its flattened input",
            tuple((change,) for change in changes),
            partial(_advice, context, shapes=shapes, names=names),
        )


def flatten_orders(context: Context) -> Iterator[Hypothesis]:
    """A flattened activation with the channels last, as TensorFlow flattens it."""
    parts = []
    for call in context.trace.calls:
        flattens = call.name in _FLATTENS
        if flattens and len(call.shape) > 2 and len(call.output) == 2 and call.shape[0] == call.output[0]:
            words = "flattens channels first", "a flattened activation with the channels last"
            parts.append((Change(call.path, *words, call=call.key, answer=_channels_last),))
    if parts:
        yield Hypothesis(
            "flatten",
            "",
            "an activation is flattened with the channels first, TensorFlow's with the channels last",
            tuple(parts),
            "if the dense layer behind it agrees, only this endpoint is compared in another order: give it layout: "
            '"b (h w c) -> b (c h w)" with the sizes of h and w; else permute before flattening',
        )


def _flattened(context: Context, run: ModuleRun) -> tuple[int, ...] | None:
    """The shape, without the batch, that was flattened for a dense layer: of the last result with as many values."""
    module: Any = run.module
    before = context.trace.runs[: next(i for i, one in enumerate(context.trace.runs) if one.path == run.path)]
    shapes = [shape for one in reversed(before) for shape in (one.output, one.shape)]
    # The activation itself may have been computed before the span.
    shapes += [call.shape for call in reversed(context.trace.calls) if call.name in _FLATTENS]
    fits = (shape[1:] for shape in shapes if len(shape) > 2 and math.prod(shape[1:]) == module.in_features)
    return next(fits, None)


def _reordered(weight: Tensor, shape: tuple[int, ...], order: Sequence[int]) -> Tensor:
    """Columns in another order of axes, put into the order of a flattened `shape`."""
    stored = weight.reshape(weight.shape[0], *(shape[place] for place in order))
    back = [1 + list(order).index(place) for place in range(len(shape))]
    return stored.permute(0, *back).reshape(weight.shape[0], -1)


def _channels_last(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x: Tensor = args[0] if args else kwargs["input"]
    return function(x.movedim(1, -1).contiguous(), *args[1:], **kwargs)


def _advice(
    context: Context, changes: Sequence[Change], shapes: Mapping[str, tuple[int, ...]], names: str
) -> str:
    """The rows with the layout of a flattened activation, sizes included."""
    advice: dict[str, None] = {}
    for change in changes:
        shape = shapes[change.parameter]
        torch_names = _NAMES[len(shape)]
        sizes = ", ".join(f"{name}: {size}" for name, size in zip(torch_names[1:], shape[1:], strict=True))
        layout = f"({' '.join(names)}) o -> o ({' '.join(torch_names)})"
        advice[corrected(context.mapping, change.parameter, layout, f"{{{sizes}}}")] = None
    return "; ".join(advice)


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
