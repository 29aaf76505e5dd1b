"""Padding as a cause: uneven SAME pads, pads that a maximum sees, and pads that an average counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor

from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.trace import Called
from tfpt.verification.diagnosis.windows import bound, windows_of

# TensorFlow has only the first two; the last is torch's habit, for a port that was given TensorFlow's by mistake.
_RULES = ("same", "valid", "symmetric")


def paddings(scene: Scene) -> Iterator[Hypothesis]:
    """Each rule in place of what the layers and functions have, and of the pads before them."""
    found = list(windows_of(scene.trace))
    for rule in _RULES:
        parts = tuple(part for window in found if (part := window.padded_by(rule)))
        if parts:
            yield Hypothesis(
                "padding",
                rule,
                f"{rule.upper()} padding is not what the layer does",
                parts,
                f"give it TensorFlow's padding: tfpt.nn.adapt(module, {rule!r}), or a layer of tfpt.nn",
                stated=f"padding: {rule}",
            )


def zero_pads(scene: Scene) -> Iterator[Hypothesis]:
    """Pads of zeros before a max-pool, which win where everything else in the window is negative."""
    pads = {
        window.pad.key: (window.path, window.pad)
        for window in windows_of(scene.trace)
        if window.kind == "max_pool" and window.pad is not None
    }
    # Those that a class of pools makes in its own forward.
    for call in scene.trace.calls:
        if call.name.startswith("max_pool") and call.pad is not None:
            pads.setdefault(call.pad.key, (call.path, call.pad))
    parts = tuple((_lowest(pool, pad),) for pool, pad in pads.values())
    if parts:
        yield Hypothesis(
            "zero pads",
            "",
            "a max-pool sees pads of zeros, and they win where its input is negative",
            parts,
            "pad with minus infinity, or use a pool of tfpt.nn, whose pads are below every value",
        )


def counted_pads(scene: Scene) -> Iterator[Hypothesis]:
    """Average pools that divide by their pads, too."""
    found: list[Change] = []
    words = "counts its pads (count_include_pad=True)", "averages that leave the pads out"
    for window in windows_of(scene.trace):
        if window.kind != "avg_pool" or window.pads == ((0, 0),) * len(window.sizes):
            continue
        if window.run is not None and getattr(window.run.module, "count_include_pad", False):
            put = partial(attribute, window.run.module, "count_include_pad", False)
            found.append(Change(window.path, *words, put))
        elif window.call is not None and _counts(window.call):
            found.append(Change(window.path, *words, call=window.call.key, answer=_uncounted))
    if found:
        yield Hypothesis(
            "counted pads",
            "",
            "an average pool counts its pads as zeros, which TensorFlow leaves out",
            tuple((change,) for change in found),
            "set count_include_pad=False, or use an average pool of tfpt.nn",
        )


def _lowest(pool: str, pad: Called) -> Change:
    def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor: Tensor = args[0] if args else kwargs["input"]
        pads = args[1] if len(args) > 1 else kwargs["pad"]
        return function(tensor, pads, value=float("-inf"))

    return Change(
        pool, "takes the maximum over pads of 0", "pads below every value", call=pad.key, answer=answer
    )


def _counts(call: Called) -> bool:
    return bool(bound("avg_pool", call.args, call.kwargs).get("count_include_pad", True))


def _uncounted(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(**{**bound("avg_pool", args, kwargs), "count_include_pad": False})
