"""Convolutions and pools in one form, whether modules or function calls, and how they are padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.nn import functional

import tfpt.nn
from tfpt.errors import TfptError
from tfpt.nn.padding import pads_per_dimension, per_dimension, span
from tfpt.verification.diagnosis.calls import WINDOWS
from tfpt.verification.diagnosis.changes import Answer, Change, forward
from tfpt.verification.diagnosis.trace import FunctionCall, ModuleRun, Trace

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
LAYERS = (*CONVS, *MAX_POOLS, *AVG_POOLS)

# The names of the arguments of torch's functions.
_PARAMETERS = {
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "max_pool": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool": (
        "input",
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
}

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """A convolution or pool: a module, or a function call outside of such a module.

    Attributes:
        path: The module, or the one that makes the call.
        kind: ``conv``, ``max_pool`` or ``avg_pool``.
        sizes: The sizes of its input along the dimensions of the window, before any separate padding.
        kernel, stride, dilation: One value for each of these dimensions.
        pads: Its total padding, including a separate call of `pad`; ``None`` if unknown.
        pad: The call of `pad` before it, if there is one.
        run, call: The module's run, or the call.
    """

    path: str
    kind: str
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads | None
    pad: FunctionCall | None
    run: ModuleRun | None = None
    call: FunctionCall | None = None

    def wanted(self, rule: str) -> Pads:
        """The padding by a rule of `tfpt.nn.padding`."""
        return pads_per_dimension(rule, self.sizes, self.kernel, self.stride, self.dilation)

    def follows(self, rule: str) -> bool:
        """Whether it already pads by the rule; pads that no window reaches do not count."""
        if self.pads is None or (self.kind == "avg_pool" and self.pad is not None):
            return False
        along = zip(
            self.sizes, self.pads, self.wanted(rule), self.kernel, self.stride, self.dilation, strict=True
        )
        return all(
            actual[0] == wanted[0]
            and (size + sum(actual) - span(k, d)) // s == (size + sum(wanted) - span(k, d)) // s
            for size, actual, wanted, k, s, d in along
        )

    @property
    def rule(self) -> str:
        """The rule that it follows; empty if there is none."""
        return next((rule for rule in ("symmetric", "valid", "same") if self.follows(rule)), "")

    def padded_by(self, rule: str) -> tuple[Change, ...]:
        """The changes that pad by the rule, without the pads before it; empty if it follows the rule, or cannot."""
        try:
            if self.follows(rule):
                return ()
            before = "has custom padding" if self.pads is None else f"pads {pads_text(self.pads)}"
            actual = before + (f", {self.pad.path or 'the model'} included" if self.pad is not None else "")
            expected = f"{rule.upper()}, which pads {pads_text(self.wanted(rule))} at {_by(self.sizes)}"
            if self.run is not None:
                layer = tfpt.nn.adapt(_stock_layer(self.run.module), rule)
                put = partial(forward, self.run.module, layer.forward)
                change = Change(self.path, actual, expected, put, mistake=self.rule)
            else:
                assert self.call is not None
                answer = self._answer(rule)
                change = Change(
                    self.path, actual, expected, call=self.call.key, answer=answer, mistake=self.rule
                )
        except (TfptError, TypeError, ValueError):
            return ()  # options of the layer are incompatible with the rule
        if self.pad is None:
            return (change,)
        return (change, Change(self.pad.path, "", "", call=self.pad.key, answer=_without_pads))

    def _answer(self, rule: str) -> Answer:
        kind, dimensions = self.kind, len(self.sizes)
        if kind != "conv":
            name = f"{'Max' if kind == 'max_pool' else 'Avg'}Pool{dimensions}d"
            dilation = (self.dilation,) if kind == "max_pool" else ()
            pool = getattr(tfpt.nn, name)(self.kernel, self.stride, rule, *dilation)
            return lambda _, args, kwargs: pool(named_arguments(kind, args, kwargs)["input"])

        def convolve(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            named = named_arguments(kind, args, kwargs)
            pads = pads_per_dimension(
                rule, named["input"].shape[-dimensions:], self.kernel, self.stride, self.dilation
            )
            padded = functional.pad(named["input"], [pad for both in reversed(pads) for pad in both])
            return function(**{**named, "input": padded, "padding": 0})

        return convolve


def windows_of(trace: Trace) -> Iterator[Window]:
    """The convolutions and pools of a span, in the order in which they ran."""
    for run in trace.leaves():
        if isinstance(run.module, LAYERS) and run.shape:
            yield from _of_module(run)
    for call in trace.outside(WINDOWS, lambda module: isinstance(module, LAYERS)):
        yield from _of_call(call)


def named_arguments(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name.

    Example:
        >>> named_arguments("max_pool", ("x", 3), {"padding": 1})
        {'input': 'x', 'kernel_size': 3, 'padding': 1}
    """
    return {**dict(zip(_PARAMETERS[kind], args, strict=False)), **kwargs}


def pads_text(pads: Pads) -> str:
    """Pads as text: one pair if all dimensions have the same.

    Example:
        >>> pads_text(((3, 3), (3, 3))), pads_text(((0, 0), (2, 3)))
        ('(3, 3)', '(0, 0) (2, 3)')
    """
    return str(pads[0]) if len(set(pads)) == 1 else " ".join(map(str, pads))


def _of_module(run: ModuleRun) -> Iterator[Window]:
    module: Any = run.module
    name = next(kind.__name__ for kind in LAYERS if isinstance(module, kind))
    dimensions = int(name[-2])
    sizes, before = _unpadded(run.shape[-dimensions:], run.pad)
    try:
        kernel, stride, dilation = (
            per_dimension(getattr(module, what, 1), dimensions, what)
            for what in ("kernel_size", "stride", "dilation")
        )
    except (TfptError, TypeError):
        return
    own = _own_pads(module, run.shape[-dimensions:], kernel, stride, dilation)
    kind = {"C": "conv", "M": "max_pool", "A": "avg_pool"}[name[0]]
    yield Window(run.path, kind, sizes, kernel, stride, dilation, _summed(before, own), run.pad, run=run)


def _own_pads(module: Any, sizes: Sequence[int], *window: tuple[int, ...]) -> Pads | None:
    """The padding of the layer itself; ``None`` if unknown, as for a subclass."""
    rule = getattr(module, "tf_padding", None)
    if rule is not None:
        return pads_per_dimension(rule, sizes, *window)
    if type(module) not in LAYERS or getattr(module, "ceil_mode", False):
        return None
    if module.padding == "same":  # torch's own, which requires a stride of 1
        return pads_per_dimension("same", sizes, *window)
    return _symmetric_pads(0 if module.padding == "valid" else module.padding, len(sizes))


def _of_call(call: FunctionCall) -> Iterator[Window]:
    kind, dimensions = call.name[:-2], int(call.name[-2])
    named = named_arguments(kind, call.args, call.kwargs)
    sizes, before = _unpadded(call.shape[-dimensions:], call.pad)
    try:
        kernel = per_dimension(
            tuple(named["weight"][2:]) if kind == "conv" else named["kernel_size"], dimensions, "kernel_size"
        )
        default = 1 if kind == "conv" else kernel
        # To torch, an empty list means "as large as the kernel".
        stride = per_dimension(named.get("stride") or default, dimensions, "stride")
        dilation = per_dimension(named.get("dilation", 1), dimensions, "dilation")
        rule = named.get("padding", 0)
        if isinstance(rule, str):
            own: Pads | None = pads_per_dimension(rule, call.shape[-dimensions:], kernel, stride, dilation)
        else:
            own = None if named.get("ceil_mode") else _symmetric_pads(rule, dimensions)
    except (TfptError, TypeError, KeyError):
        return
    yield Window(call.path, kind, sizes, kernel, stride, dilation, _summed(before, own), call.pad, call=call)


def _symmetric_pads(padding: Any, dimensions: int) -> Pads:
    numbers = (
        (padding,) * dimensions if isinstance(padding, int) else tuple(padding) * (dimensions // len(padding))
    )
    return tuple((pad, pad) for pad in numbers)


def _summed(before: Pads, own: Pads | None) -> Pads | None:
    if own is None:
        return None
    return tuple((b0 + o0, b1 + o1) for (b0, b1), (o0, o1) in zip(before, own, strict=True))


def _unpadded(sizes: Sequence[int], pad: FunctionCall | None) -> tuple[tuple[int, ...], Pads]:
    """The sizes before a call of `pad`, and the pads that it added."""
    if pad is None:
        return tuple(sizes), ((0, 0),) * len(sizes)
    flat = list(pad.args[1] if len(pad.args) > 1 else pad.kwargs["pad"])
    pairs = list(zip(flat[::2], flat[1::2], strict=True))[: len(sizes)]
    added = tuple(reversed(pairs + [(0, 0)] * (len(sizes) - len(pairs))))
    return tuple(size - sum(both) for size, both in zip(sizes, added, strict=True)), added


def _stock_layer(module: Any) -> nn.Module:
    """A stock layer with the same window and weights, without the behavior of a subclass."""
    kind: Any = next(kind for kind in LAYERS if isinstance(module, kind))
    if kind in CONVS:
        layer = kind(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            0,
            module.dilation,
            module.groups,
            bias=False,
            device="meta",
        )
        layer.weight, layer.bias = module.weight, module.bias
        return layer  # type: ignore[no-any-return]
    options = {"dilation": module.dilation} if kind in MAX_POOLS else {}
    return kind(module.kernel_size, module.stride, **options)  # type: ignore[no-any-return]


def _without_pads(_function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs["input"]


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
