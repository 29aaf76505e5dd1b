"""Causes in sums: a missing skip connection, and an operand that TensorFlow does not add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from tfpt.networks.endpoints import first_tensor
from tfpt.verification.diagnosis.calls import SUMS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, forward
from tfpt.verification.diagnosis.trace import Context, ModuleRun

# Skip connections start a few layers before they end.
_MAX_SOURCES = 12
_MAX_PLACES = 40


def missing_skips(context: Context) -> Iterator[Hypothesis]:
    """The result of a module plus what a module before it was given, or gave, of the same shape."""
    runs = list(context.trace.runs)
    for place in reversed(runs[-_MAX_PLACES:]):
        if not place.output:
            continue
        sources = []
        for one in reversed(runs[: runs.index(place) + 1]):
            if one.shape == place.output and one is not place:
                sources.append((one, False))
            if one.output == place.output and not _inside(one, place) and one is not place:
                sources.append((one, True))
        if place.shape == place.output:
            sources.insert(0, (place, False))
        for source, given in sources[:_MAX_SOURCES]:
            what = f"the result of {source.path}" if given else f"the input of {source.path}"
            yield Hypothesis(
                "missing skip",
                f"{place.path} {source.path} {given}",
                "a skip connection is missing",
                (
                    (
                        Change(
                            place.path,
                            "adds nothing to its result",
                            f"{what} added to it",
                            partial(_adding, place.module, source.module, given),
                        ),
                    ),
                ),
                f"add {what} to the result of {place.path or 'the model'}",
            )


def unused_branches(context: Context) -> Iterator[Hypothesis]:
    """A module that never runs, on the input of the module that it is in, added to a result: a forgotten shortcut."""
    ran = {run.path for run in context.trace.runs} | context.trace.earlier
    for place in reversed(context.trace.runs):
        inside = [
            place,
            *(one for one in context.trace.runs if _inside(one, place) and one.output == place.output),
        ]
        for name, module in place.module.named_children():
            path = f"{place.path}.{name}" if place.path else name
            if path in ran or not any(True for _ in module.parameters()):
                continue
            for one in {one.path: one for one in reversed(inside)}.values():
                yield Hypothesis(
                    "missing skip",
                    f"{one.path} {path}",
                    "a skip connection is missing",
                    (
                        (
                            Change(
                                one.path,
                                f"never runs {path}",
                                f"the result of {path} on the input of {place.path or 'the model'} added to it",
                                partial(_adding, one.module, place.module, False, module),
                            ),
                        ),
                    ),
                    f"add {path}(x) to the result of {one.path or 'the model'}",
                )


def superfluous_terms(context: Context) -> Iterator[Hypothesis]:
    """Sums without one of their two terms."""
    for index, which in ((0, "first"), (1, "second")):
        parts = tuple(
            (
                Change(
                    call.path,
                    f"adds {' and '.join(_names(call.sources))}",
                    f"the {which} alone",
                    call=call.key,
                    answer=_alone(index),
                ),
            )
            for call in context.trace.calls
            if call.name in SUMS and len(call.shapes) == 2 and call.shapes[index] == call.output
        )
        if parts:
            yield Hypothesis(
                "superfluous term",
                which,
                "something is added that TensorFlow does not add",
                parts,
                "leave the other term out",
            )


def _names(sources: Sequence[str]) -> list[str]:
    return [source or "an input" for source in sources]


def _inside(one: ModuleRun, other: ModuleRun) -> bool:
    return one.path.startswith(f"{other.path}.")


def _alone(index: int) -> Callable[..., Any]:
    def answer(_function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        terms = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        return terms[index]

    return answer


@contextmanager
def _adding(
    place: nn.Module, source: nn.Module, given: bool, through: nn.Module | None = None
) -> Iterator[None]:
    """Let a module add, to its result, what another one was given or gave; `through` a module, if there is one."""
    kept: list[Tensor] = []

    def keep_input(_module: nn.Module, args: Any) -> None:
        kept.append(args[0] if through is None else through(args[0]))

    def keep_output(_module: nn.Module, _args: Any, output: Any) -> None:
        kept.append(first_tensor(output, ""))

    handle = (
        source.register_forward_hook(keep_output) if given else source.register_forward_pre_hook(keep_input)
    )
    compute = place.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        output = compute(*args, **kwargs)
        if not kept:
            raise ValueError("the source of the skip did not run before")
        if isinstance(output, Tensor):
            return output + kept[-1]
        return type(output)((output[0] + kept[-1], *output[1:]))

    try:
        with forward(place, run):
            yield
    finally:
        handle.remove()
