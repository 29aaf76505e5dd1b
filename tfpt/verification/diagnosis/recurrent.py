"""Causes in recurrent layers: the order of gates, their biases, exchanged directions and layers, reversed time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.advice import rows_advice
from tfpt.verification.diagnosis.changes import Change, Hypothesis, exchanged, forward, mapped_values
from tfpt.verification.diagnosis.parameters import reordered
from tfpt.verification.diagnosis.trace import Context, ModuleRun

# The gates in torch's order. TensorFlow 1 has i, j (torch's g), f, o; Keras i, f, c (torch's g), o, and z, r, h.
_GATES = {nn.LSTM: "ifgo", nn.LSTMCell: "ifgo", nn.GRU: "rzn", nn.GRUCell: "rzn"}
_USUAL = {"ifgo": ((0, 2, 1, 3), (0, 1, 3, 2)), "rzn": ((1, 0, 2),)}


def gate_orders(context: Context) -> Iterator[Hypothesis]:
    """The gates in every other order, TensorFlow's first."""
    for gates in dict.fromkeys(_GATES.values()):
        runs = [(run, named) for run, named in _layers(context) if _gates(run.module) == gates]
        orders = dict.fromkeys((*_USUAL[gates], *permutations(range(len(gates)))))
        for order in orders if runs else ():
            if order == tuple(range(len(gates))):
                continue
            held = " ".join(gates[order.index(place)] for place in range(len(gates)))
            yield Hypothesis(
                "gate order",
                str(order),
                "the gates of a recurrent layer are not in torch's order",
                tuple(
                    tuple(
                        _change(
                            run,
                            name,
                            f"has {_whose(named)} gates in the order {held}",
                            f"the order {' '.join(gates)}",
                            partial(reordered, order=order, axis=0),
                        )
                        for name in named
                        if not name.startswith("weight_hr")
                    )
                    for run, named in runs
                ),
                partial(_gate_advice, context, held=held, gates=gates),
            )
        for only in ("weight_ih", "weight_hh", "bias"):
            for order in _USUAL[gates] if runs else ():
                held = " ".join(gates[order.index(place)] for place in range(len(gates)))
                parts = tuple(
                    tuple(
                        _change(
                            run,
                            name,
                            f"has the gates of {only} in the order {held}",
                            f"the order {' '.join(gates)}",
                            partial(reordered, order=order, axis=0),
                        )
                        for name in named
                        if name.startswith(only)
                    )
                    for run, named in runs
                )
                if parts := tuple(part for part in parts if part):
                    yield Hypothesis(
                        "gate order",
                        f"{only} {order}",
                        "the gates of a recurrent layer are not in torch's order",
                        parts,
                        partial(_gate_advice, context, held=held, gates=gates),
                    )


def gate_biases(context: Context) -> Iterator[Hypothesis]:
    """Biases that are in both places; a forget bias that is missing or superfluous."""
    runs = _layers(context)
    for prefix in ("bias_hh", "bias_ih"):
        yield from _biases(
            context,
            runs,
            prefix,
            "has a bias in both places, bias_ih and bias_hh",
            f"{prefix} 0",
            torch.zeros_like,
            "torch adds the two biases; TensorFlow's one belongs to bias_ih, with bias_hh filled with 0",
        )
    for shift in (1.0, -1.0):
        words = "without TensorFlow's forget bias" if shift > 0 else "with the forget bias added twice"
        chosen = [(run, named) for run, named in runs if _gates(run.module) == "ifgo"]
        # The second gate in torch's order and the third in TensorFlow 1's.
        for index, where in ((1, ""), (2, " (in TensorFlow's order of gates)")):
            yield from _biases(
                context,
                chosen,
                "bias_ih",
                f"has its bias {words}{where}",
                f"{abs(shift):g} {'more' if shift > 0 else 'less'} for the forget gate",
                partial(_one_more, part=index, parts=4, shift=shift),
                "TensorFlow 1's cells add forget_bias=1 when they run: "
                "add: {axis: g, groups: [i, f, g, o], values: {f: 1}}",
            )


def exchanged_directions(context: Context) -> Iterator[Hypothesis]:
    """The two directions, the two biases, the two weights, or two layers of a recurrent network exchanged."""
    for value, cause, first, second in _EXCHANGES:
        parts = []
        for run, named in _recurrent(context):
            pairs = [
                (named[name], named[other])
                for name in named
                if first in name and (other := name.replace(first, second)) in named and other != name
                if not (first == "_l0" and name.endswith("_reverse"))
                if named[name].shape == named[other].shape
            ]
            if value == "directions":
                pairs = [
                    (named[name], named[f"{name}_reverse"]) for name in named if f"{name}_reverse" in named
                ]
            if pairs and any(not torch.equal(a.data, b.data) for a, b in pairs):
                parts.append(
                    (
                        Change(
                            run.path,
                            f"has its {value} exchanged",
                            "each with the other's weights",
                            partial(exchanged, *pairs),
                            parameter=_name(run, next(iter(named))),
                        ),
                    )
                )
        if parts:
            yield Hypothesis(
                "exchanged parameters", value, cause, tuple(parts), partial(rows_advice, context.mapping)
            )


def reversed_time(context: Context) -> Iterator[Hypothesis]:
    """Recurrent layers that run backwards in time, with the output as it comes or put back into order."""
    runs = [run for run, _ in _recurrent(context) if isinstance(run.module, nn.RNNBase)]
    for back in (True, False):
        parts = tuple(
            (
                Change(
                    run.path,
                    "runs forwards in time",
                    "backwards in time" + (", with its output in the order of the input" if back else ""),
                    partial(_backwards, run.module, back),
                ),
            )
            for run in runs
            if not getattr(run.module, "bidirectional", False)
        )
        if parts:
            yield Hypothesis(
                "time",
                str(back),
                "a recurrent layer runs in the other direction (go_backwards)",
                parts,
                "flip the input along time" + (", and the output, too" if back else ""),
            )


_EXCHANGES = (
    ("directions", "the two directions of a recurrent layer have each other's weights", "", ""),
    ("biases", "the two biases of a recurrent layer are exchanged", "bias_ih", "bias_hh"),
    ("weights", "a kernel and a recurrent kernel of equal shapes are exchanged", "weight_ih", "weight_hh"),
    ("layers", "two layers of a recurrent network have each other's weights", "_l0", "_l1"),
)


def _recurrent(context: Context) -> list[tuple[ModuleRun, dict[str, Tensor]]]:
    """The recurrent layers that ran, each once, with their parameters."""
    found = {
        run.path: run for run in context.trace.runs if isinstance(run.module, nn.RNNBase | nn.RNNCellBase)
    }
    return [(run, dict(run.module.named_parameters(recurse=False))) for run in found.values()]


def _layers(context: Context) -> list[tuple[ModuleRun, dict[str, Tensor]]]:
    """The recurrent layers that ran, with the parameters of each layer and direction by themselves."""
    found: dict[tuple[str, str], tuple[ModuleRun, dict[str, Tensor]]] = {}
    for run, named in _recurrent(context):
        for name, tensor in named.items():
            which = re.sub(r"^(weight|bias)_[a-z]+", "", name)
            found.setdefault((run.path, which), (run, {}))[1][name] = tensor
    return list(found.values())


def _whose(named: dict[str, Tensor]) -> str:
    """Whether these are a layer's own parameters, or those of its second direction, or of a further layer."""
    name = next(iter(named))
    layer = re.search(r"_l(\d+)", name)
    direction = "its backward direction's" if name.endswith("_reverse") else "its"
    return f"{direction} layer {layer[1]}'s" if layer is not None and layer[1] != "0" else direction


def _gates(module: nn.Module) -> str:
    return next((gates for kind, gates in _GATES.items() if isinstance(module, kind)), "")


def _change(
    run: ModuleRun, name: str, actual: str, expected: str, function: Callable[[Tensor], Tensor]
) -> Change:
    tensor = run.module.get_parameter(name)
    put = partial(mapped_values, tensor, function)
    return Change(run.path, actual, expected, put, parameter=_name(run, name))


def _name(run: ModuleRun, name: str) -> str:
    return f"{run.path}.{name}" if run.path else name


def _biases(
    context: Context,
    runs: Sequence[tuple[ModuleRun, dict[str, Tensor]]],
    prefix: str,
    actual: str,
    expected: str,
    function: Callable[[Tensor], Tensor],
    why: str,
) -> Iterator[Hypothesis]:
    parts = []
    for run, named in runs:
        names = [name for name in named if name.startswith(prefix)]
        if any(not torch.equal(function(named[name].data), named[name].data) for name in names):
            whose = actual.replace("has its bias", f"has {_whose(named)} bias")
            parts.append(tuple(_change(run, name, whose, expected, function) for name in names))
    if parts:
        yield Hypothesis(
            "gate bias",
            f"{actual}: {expected}",
            "a bias of a recurrent layer is not TensorFlow's",
            tuple(parts),
            lambda changes: f"{why}; {rows_advice(context.mapping, changes)}",
        )


def _one_more(tensor: Tensor, part: int, parts: int, shift: float) -> Tensor:
    pieces = list(tensor.chunk(parts))
    pieces[part] = pieces[part] + shift
    return torch.cat(pieces)


@contextmanager
def _backwards(module: Any, back: bool) -> Iterator[None]:
    compute = module.forward
    time = 1 if module.batch_first else 0

    def run(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        output, state = compute(x.flip(time), *args, **kwargs)
        return (output.flip(time) if back else output), state

    with forward(module, run):
        yield


def _gate_advice(context: Context, changes: Sequence[Change], held: str, gates: str) -> str:
    key = f"reorder: {{axis: g, groups: [{', '.join(held.split())}], as: [{', '.join(gates)}]}}"
    return (
        f"add {key} to these rows, with g for the axis of the gates; {rows_advice(context.mapping, changes)}"
    )
