"""Causes in the structure of a block: strides, kinds of pools and means, the order of a norm and an activation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import tfpt.nn
from tfpt.networks.behavior.layers import eps_name
from tfpt.verification.diagnosis.calls import ACTIVATIONS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute, forward
from tfpt.verification.diagnosis.trace import Context, FunctionCall
from tfpt.verification.diagnosis.windows import CONVS, windows_of

# Of groups and heads.
_MAX_PARTS = 64


def strides(context: Context) -> Iterator[Hypothesis]:
    """The strides of two convolutions of one block, exchanged."""
    convs = [run for run in context.trace.leaves() if isinstance(run.module, CONVS)]
    for a, b in combinations(convs, 2):
        first: Any = a.module
        second: Any = b.module
        if first.stride == second.stride or len(first.stride) != len(second.stride):
            continue
        at, to = (a, b) if max(first.stride) > max(second.stride) else (b, a)
        strided: Any = at.module
        yield Hypothesis(
            "stride",
            f"{a.path} {b.path}",
            "the stride is on another layer of the block than in TensorFlow",
            (
                (
                    Change(
                        at.path,
                        f"has the stride {max(strided.stride)}",
                        f"the stride {max(strided.stride)} on {to.path}",
                        partial(_exchanged, first, second, "stride"),
                    ),
                ),
            ),
            f"give {to.path} the stride, and {at.path} none",
        )


def pools(context: Context) -> Iterator[Hypothesis]:
    """Pools of the other kind, with the same windows and padding; other reductions."""
    changes = []
    for window in windows_of(context.trace):
        if window.kind == "conv" or not window.rule or window.run is None:
            continue
        other = "avg_pool" if window.kind == "max_pool" else "max_pool"
        name = f"{'Avg' if other == 'avg_pool' else 'Max'}Pool{len(window.sizes)}d"
        pool = getattr(tfpt.nn, name)(window.kernel, window.stride, window.rule)
        changes.append(
            Change(
                window.path,
                "takes the maximum" if window.kind == "max_pool" else "takes the mean",
                "the mean" if window.kind == "max_pool" else "the maximum",
                partial(forward, window.run.module, pool.forward),
            )
        )
    reductions: dict[str, list[Change]] = {}
    for call in context.trace.calls:
        for expected, function in _REDUCTIONS.get(call.name, ()):
            change = Change(call.path, f"takes the {call.name}", expected, call=call.key, answer=function)
            reductions.setdefault(f"{call.name} {expected}", []).append(change)
    for value, found in (("pool", changes), *reductions.items()):
        if found:
            yield Hypothesis(
                "reduction",
                value,
                "values are reduced by another function than TensorFlow's",
                tuple((change,) for change in found),
                f"take {found[0].expected}",
            )


def norm_orders(context: Context) -> Iterator[Hypothesis]:
    """An activation before the normalization that it now follows; and the reverse."""
    after, before = [], []
    norms = {run.path: run for run in context.trace.runs if eps_name(run.module)}
    for call in context.trace.calls:
        if call.name not in ACTIVATIONS or not call.sources:
            continue
        if (run := norms.get(call.sources[0])) is not None and call.shape == run.output:
            after.append(
                (
                    Change(
                        run.path,
                        f"is followed by {call.name}",
                        f"{call.name} before it",
                        partial(_first_activated, run.module, call),
                    ),
                    Change(call.path, "", "", call=call.key, answer=lambda _, args, kwargs: args[0]),
                )
            )
    for run in norms.values():
        origin = run.origin
        if origin is not None and origin.name in ACTIVATIONS:
            before.append(
                (
                    Change(
                        run.path,
                        f"follows {origin.name}",
                        f"{origin.name} after it",
                        partial(_then_activated, run.module, origin),
                    ),
                    Change(origin.path, "", "", call=origin.key, answer=lambda _, args, kwargs: args[0]),
                )
            )
    for value, parts in (("activation first", after), ("normalization first", before)):
        if parts:
            yield Hypothesis(
                "norm order",
                value,
                "a normalization and an activation are in another order than TensorFlow's",
                tuple(parts),
                f"the {value}",
            )


def numbers(context: Context) -> Iterator[Hypothesis]:
    """Other numbers of groups of a normalization, and of heads of an attention."""
    found: dict[tuple[str, int], list[Change]] = {}
    for run in {run.path: run for run in context.trace.runs}.values():
        for name, value in vars(run.module).items():
            if type(value) is not int or value < 1 or not re.search("group|head", name):
                continue
            size = (
                run.shape[1] if "group" in name and len(run.shape) > 1 else run.shape[-1] if run.shape else 0
            )
            for other in range(1, min(size, _MAX_PARTS) + 1):
                if size % other == 0 and other != value:
                    put = partial(_numbered, run.module, name, other, size)
                    change = Change(run.path, f"has {value} {name}", f"{other}", put)
                    found.setdefault((name, other), []).append(change)
    for (name, other), changes in found.items():
        yield Hypothesis(
            "number",
            f"{name} {other}",
            "a number of groups or heads is not TensorFlow's",
            tuple((change,) for change in changes),
            f"build it with {name}={other}",
        )


def ends(context: Context) -> Iterator[Hypothesis]:
    """The other end of a sequence: its first step in place of the last, or the reverse."""
    parts = []
    for call in context.trace.calls:
        if call.name == "__getitem__" and len(call.args) > 1:
            index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
            places = [place for place, one in enumerate(index) if type(one) is int and one in (0, -1)]
            if len(places) == 1 and places[0] > 0:
                words = f"takes step {index[places[0]]}", f"step {-1 - index[places[0]]}"
                answer = _other_end(places[0])
                parts.append((Change(call.path, *words, call=call.key, answer=answer),))
    if parts:
        yield Hypothesis(
            "step",
            "",
            "another step of a sequence is taken than in TensorFlow",
            tuple(parts),
            "take the other end of the sequence",
        )


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _, args, kwargs: function(*args, **kwargs)


def _step(index: int) -> Callable[..., Any]:
    def answer(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        axis = args[1] if len(args) > 1 else kwargs.get("dim")
        axis = axis[0] if isinstance(axis, tuple | list) and len(axis) == 1 else axis
        if not isinstance(axis, int) or kwargs.get("keepdim"):
            raise ValueError("not a reduction along one axis")
        x: Tensor = args[0]
        return x.select(axis, index)

    return answer


_REDUCTIONS: dict[str, tuple[tuple[str, Callable[..., Any]], ...]] = {
    "mean": (
        ("the sum", _reduced(torch.sum)),
        ("the maximum", _reduced(torch.amax)),
        ("the last step", _step(-1)),
        ("the first step", _step(0)),
    ),
    "sum": (("the mean", _reduced(torch.mean)),),
}


def _other_end(place: int) -> Callable[..., Any]:
    def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        index = list(args[1])
        index[place] = -1 - index[place]
        return function(args[0], tuple(index))

    return answer


@contextmanager
def _exchanged(a: nn.Module, b: nn.Module, name: str) -> Iterator[None]:
    with ExitStack() as stack:
        first, second = getattr(a, name), getattr(b, name)
        stack.enter_context(attribute(a, name, second))
        stack.enter_context(attribute(b, name, first))
        yield


@contextmanager
def _numbered(module: nn.Module, name: str, value: int, size: int) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(attribute(module, name, value))
        if "head" in name and hasattr(module, "head_dim"):
            stack.enter_context(attribute(module, "head_dim", size // value))
        yield


def _function(call: FunctionCall) -> Callable[[Tensor], Tensor]:
    """An activation with the arguments of a call."""
    name = call.name.rstrip("_")
    function = getattr(functional, name, None) or getattr(torch, name)
    kwargs = {key: value for key, value in call.kwargs.items() if key != "inplace" and key != "input"}
    rest = [value for value in call.args[1:] if not isinstance(value, bool)]
    return lambda x: function(x, *rest, **kwargs)


def _first_activated(module: nn.Module, call: FunctionCall) -> Any:
    compute, activation = module.forward, _function(call)
    return forward(module, lambda x: compute(activation(x)))


def _then_activated(module: nn.Module, call: FunctionCall) -> Any:
    compute, activation = module.forward, _function(call)
    return forward(module, lambda x: activation(compute(x)))
