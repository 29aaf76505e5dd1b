"""Causes in the heads of attentions: axes composed of heads and their channels in another order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import permutations

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.advice import rows_advice
from tfpt.verification.diagnosis.changes import Change, Hypothesis
from tfpt.verification.diagnosis.parameters import Parameter, parameters_of
from tfpt.verification.diagnosis.trace import Context

# An axis that holds queries, keys and values has three parts, keys and values two, and with a gate there are four.
_PARTS = (3, 2, 4)
# What the last part of a projection's path is called in an attention.
_ROLES = {
    "queries": re.compile(r"(^|_)(q|query|queries|wq|q_proj|to_q|q_lin|theta)(_|$)"),
    "keys": re.compile(r"(^|_)(k|key|keys|wk|k_proj|to_k|k_lin|phi)(_|$)"),
    "values": re.compile(r"(^|_)(v|value|values|wv|v_proj|to_v|v_lin)(_|$)"),
    "packed": re.compile(r"(^|_)(qkv|in_proj|c_attn|query_key_value|kv|to_kv|to_qkv)(_|$)"),
    "outputs": re.compile(r"(^|_)(o|out|output|outputs|out_proj|o_proj|to_out|c_proj|wo|proj|out_lin)(_|$)"),
}
_PARTS_OF = ("queries", "keys", "values")


def heads(context: Context) -> Iterator[Hypothesis]:
    """Axes made of heads and their channels, composed in the other order: `(h d)` and `(d h)`."""
    found = parameters_of(context)
    for number, width in _head_sizes(context):
        size = number * width
        rows: dict[str, list[tuple[Parameter, int]]] = defaultdict(list)
        for one in found:
            role = _role(context, one)
            for axis, length in enumerate(one.tensor.shape):
                # The biases of the output projection have no axis of heads.
                if length % size == 0 and length // size in (1, 2, 3) and one.tensor.ndim <= 2:
                    if role == "outputs" and (axis != _input_axis(context, one) or one.tensor.ndim == 1):
                        continue
                    inner = role in ("queries", "keys", "values", "packed")
                    if inner and one.tensor.ndim == 2 and axis == _input_axis(context, one):
                        continue
                    rows[role].append((one, axis))
        before = [pair for role in ("queries", "keys", "values", "packed") for pair in rows[role]]
        choices = {
            "queries, keys and values": before,
            "outputs": rows["outputs"],
            "queries, keys, values and outputs": [*before, *rows["outputs"]]
            if before and rows["outputs"]
            else [],
            "queries and keys": [*rows["queries"], *rows["keys"]],
            "queries alone": rows["queries"],
            "keys alone": rows["keys"],
            "values alone": rows["values"],
            "values and outputs": [*rows["values"], *rows["outputs"]] if rows["values"] else [],
        }
        for (name, pairs), interleaved in (
            (choice, flag) for choice in choices.items() for flag in (False, True)
        ):
            if not pairs:
                continue
            right, wrong = ("(h d)", "(d h)") if not interleaved else ("(d h)", "(h d)")
            parts = _by_attention(
                (
                    one,
                    one.changed(
                        f"has an axis of {one.leaf} composed as {wrong}",
                        f"{right} with {number} heads of {width}",
                        partial(_regrouped, axis=axis, number=number, width=width, back=interleaved),
                    ),
                )
                for one, axis in pairs
            )
            yield Hypothesis(
                "heads",
                f"{number}×{width} {right} {name}",
                "heads and their channels are composed in another order than TensorFlow's",
                parts,
                partial(_heads_advice, context, number=number, width=width),
            )


def packed_heads(context: Context) -> Iterator[Hypothesis]:
    """A packed axis made of q, k and v, heads, and their channels: one of the three by channels, or another order."""
    for number, width in _head_sizes(context):
        for parts in (3, 2):
            packed = [
                (one, axis)
                for one in parameters_of(context)
                for axis, length in enumerate(one.tensor.shape)
                if one.tensor.ndim <= 2 and length == parts * number * width
            ]
            forms: dict[str, Callable[..., Tensor]] = {
                f"({' '.join('phd'[axis] for axis in order)})": partial(
                    _recomposed, order=order, sizes=(parts, number, width)
                )
                for order in permutations(range(3))
                if order != (0, 1, 2)
            }
            forms |= {
                f"{_PARTS_OF[part]} as ({'h d' if back else 'd h'})": partial(
                    _part_regrouped, part=part, parts=parts, number=number, width=width, back=back
                )
                for part in range(parts)
                for back in (False, True)
            }
            for name, function in forms.items() if packed else ():
                by_owner = _by_attention(
                    (
                        one,
                        one.changed(
                            f"has an axis of {one.leaf} with {name}",
                            f"(p h d), of {parts} parts with {number} heads of {width}",
                            partial(function, axis=axis),
                        ),
                    )
                    for one, axis in packed
                )
                yield Hypothesis(
                    "heads",
                    f"packed {number}×{width} {name}",
                    "a packed axis of heads is composed in another order than TensorFlow's",
                    by_owner,
                    partial(rows_advice, context.mapping),
                )


def _head_sizes(context: Context) -> list[tuple[int, int]]:
    """Numbers of heads, and their widths, that the code shows."""
    found: dict[tuple[int, int], None] = {}
    for run in context.trace.runs:
        module = run.module
        if isinstance(module, nn.MultiheadAttention):
            found[module.num_heads, module.head_dim] = None
    for call in context.trace.calls:
        if call.name == "scaled_dot_product_attention" and len(call.shape) == 4:
            found[call.shape[1], call.shape[3]] = None
        elif call.name in ("view", "reshape", "unflatten") and len(call.output) > len(call.shape) >= 2:
            (first, second), size = call.output[-2:], call.shape[-1]
            if first * second in (size, *(size // parts for parts in _PARTS if size % parts == 0)):
                found[first, second] = None
                found[second, first] = None
    return [(number, width) for number, width in found if min(number, width) > 1]


def _role(context: Context, one: Parameter) -> str:
    """What a parameter is in an attention, by the names in its path; ``other`` if they say nothing."""
    owner = context.model.get_submodule(one.owner)
    if isinstance(owner, nn.MultiheadAttention):
        return {"q_proj_weight": "queries", "k_proj_weight": "keys", "v_proj_weight": "values"}.get(
            one.leaf, "packed"
        )
    words = (one.owner.rpartition(".")[2], one.leaf)
    for word in words:
        for role, pattern in _ROLES.items():
            if pattern.search(word.lower()):
                return role
    return "other"


def _input_axis(context: Context, one: Parameter) -> int:
    """The axis of a matrix along which the inputs lie: the second for torch's layers, the first for others."""
    owner = context.model.get_submodule(one.owner)
    return 1 if isinstance(owner, nn.Linear | nn.MultiheadAttention) or one.leaf == "in_proj_weight" else 0


def _regrouped(tensor: Tensor, axis: int, number: int, width: int, back: bool) -> Tensor:
    """An axis composed as (d h) put into the order (h d); or back."""
    parts = tensor.shape[axis] // (number * width)
    sizes = (parts, number, width) if back else (parts, width, number)
    index = torch.arange(tensor.shape[axis]).reshape(sizes).transpose(1, 2).reshape(-1)
    return tensor.index_select(axis, index.to(tensor.device))


def _recomposed(tensor: Tensor, axis: int, order: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """An axis composed in an order of parts, heads and channels, put into theirs."""
    stored = torch.arange(tensor.shape[axis]).reshape([sizes[one] for one in order])
    index = stored.permute([order.index(place) for place in range(3)]).reshape(-1)
    return tensor.index_select(axis, index.to(tensor.device))


def _part_regrouped(
    tensor: Tensor, axis: int, part: int, parts: int, number: int, width: int, back: bool
) -> Tensor:
    pieces = list(tensor.chunk(parts, axis))
    pieces[part] = _regrouped(pieces[part], axis, number, width, back)
    return torch.cat(pieces, axis)


def _by_attention(pairs: Iterable[tuple[Parameter, Change]]) -> tuple[tuple[Change, ...], ...]:
    """The changes, one part for each attention: parameters of one module, or of its direct children."""
    found: dict[str, list[Change]] = defaultdict(list)
    for one, change in pairs:
        found[one.owner.rpartition(".")[0] if "." in one.owner else ""].append(change)
    return tuple(tuple(changes) for changes in found.values())


def _heads_advice(context: Context, changes: Sequence[Change], number: int, width: int) -> str:
    right = changes[0].expected.split(" with ")[0]
    return (
        f"{rows_advice(context.mapping, changes)}; their layouts need the axis {right} "
        f"with axes: {{h: {number}, d: {width}}}"
    )
