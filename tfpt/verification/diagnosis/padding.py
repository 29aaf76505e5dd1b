"""Causes in padding: the rule (uneven SAME pads), zeros that a max-pool sees, pads that an average counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor

from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute
from tfpt.verification.diagnosis.trace import Context, FunctionCall
from tfpt.verification.diagnosis.windows import named_arguments, windows_of

# TensorFlow has only the first two; the last is torch's, for a layer that was given TensorFlow's by mistake.
_RULES = ("same", "valid", "symmetric")


def paddings(context: Context) -> Iterator[Hypothesis]:
    """Each rule in place of the padding of layers and functions, and of separate pads before them."""
    found = list(windows_of(context.trace))
    for rule in _RULES:
        parts = tuple(part for window in found if (part := window.padded_by(rule)))
        if parts:
            yield Hypothesis(
                "padding",
                rule,
                f"the layer does not pad as {rule.upper()} does",
                parts,
                f"use tfpt.nn.adapt(module, {rule!r}), or a layer of tfpt.nn, which pads as TensorFlow does",
                mapping_entry=f"padding: {rule}",
            )


def zero_pads(context: Context) -> Iterator[Hypothesis]:
    """Zero padding before a max-pool, which is the maximum where all other values in the window are negative."""
    pads = {
        window.pad.key: (window.path, window.pad)
        for window in windows_of(context.trace)
        if window.kind == "max_pool" and window.pad is not None
    }
    # Pads made in the forward method of a subclass of a pool.
    for call in context.trace.calls:
        if call.name.startswith("max_pool") and call.pad is not None:
            pads.setdefault(call.pad.key, (call.path, call.pad))
    parts = tuple((_padded_with_infinity(pool, pad),) for pool, pad in pads.values())
    if parts:
        yield Hypothesis(
            "zero pads",
            "",
            "a max-pool pads with zeros, which become the maximum where its input is negative",
            parts,
            "pad with minus infinity, or use a pool of tfpt.nn, which does",
        )


def counted_pads(context: Context) -> Iterator[Hypothesis]:
    """Average pools that count their padding."""
    found: list[Change] = []
    words = "counts its padding (count_include_pad=True)", "averages without the padding"
    for window in windows_of(context.trace):
        if window.kind != "avg_pool" or window.pads == ((0, 0),) * len(window.sizes):
            continue
        if window.run is not None and getattr(window.run.module, "count_include_pad", False):
            put = partial(attribute, window.run.module, "count_include_pad", False)
            found.append(Change(window.path, *words, put))
        elif window.call is not None and _counts(window.call):
            found.append(Change(window.path, *words, call=window.call.key, answer=_without_pads))
    if found:
        yield Hypothesis(
            "counted pads",
            "",
            "an average pool counts its padding, which TensorFlow leaves out",
            tuple((change,) for change in found),
            "set count_include_pad=False, or use an average pool of tfpt.nn",
        )


def _padded_with_infinity(pool: str, pad: FunctionCall) -> Change:
    def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor: Tensor = args[0] if args else kwargs["input"]
        pads = args[1] if len(args) > 1 else kwargs["pad"]
        return function(tensor, pads, value=float("-inf"))

    return Change(pool, "pads with zeros", "minus infinity in their place", call=pad.key, answer=answer)


def _counts(call: FunctionCall) -> bool:
    return bool(named_arguments("avg_pool", call.args, call.kwargs).get("count_include_pad", True))


def _without_pads(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(**{**named_arguments("avg_pool", args, kwargs), "count_include_pad": False})
