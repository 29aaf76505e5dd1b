"""Causes in parameters, whichever code reads them: axes, blocks, heads, values, and pairs that were exchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.advice import rows_advice
from tfpt.verification.diagnosis.calls import SHAPES
from tfpt.verification.diagnosis.changes import Change, Hypothesis, exchanged, mapped_values
from tfpt.verification.diagnosis.trace import Context

# A packed weight has two parts (gates of a gated unit), three (q, k and v) or four (an LSTM's gates).
_PARTS = (3, 2, 4)


@dataclass(frozen=True)
class Parameter:
    """One parameter that was read in the span.

    Attributes:
        name: Its name in the state_dict.
        tensor: The parameter.
        owner: The module that has it.
        leaf: Its name in that module.
    """

    name: str
    tensor: Tensor
    owner: str
    leaf: str

    def changed(self, actual: str, expected: str, function: Callable[[Tensor], Tensor]) -> Change:
        """The change that replaces its values by a function of them."""
        put = partial(mapped_values, self.tensor, function)
        return Change(self.owner, actual, expected, put, parameter=self.name)


def parameters_of(context: Context) -> list[Parameter]:
    """The parameters that were read, in the order of reading."""
    found = []
    for name in context.trace.parameters:
        owner, _, leaf = name.rpartition(".")
        found.append(Parameter(name, context.model.get_parameter(name), owner, leaf))
    return found


def blocks(context: Context) -> Iterator[Hypothesis]:
    """Square blocks of packed weights, each transposed."""
    for parts in _PARTS:
        for axis in (0, 1):
            changes = [
                one.changed(
                    f"has the {parts} square blocks of {one.leaf} as they are",
                    "each block transposed",
                    partial(_blocks_transposed, parts=parts, axis=axis),
                )
                for one in parameters_of(context)
                if one.tensor.ndim == 2 and one.tensor.shape[axis] == parts * one.tensor.shape[1 - axis]
            ]
            if changes:
                yield Hypothesis(
                    "square weight",
                    f"{parts} blocks along axis {axis}",
                    "the square blocks of a packed weight are transposed, which its shape cannot reveal",
                    tuple((change,) for change in changes),
                    partial(rows_advice, context.mapping),
                )


def packed_orders(context: Context) -> Iterator[Hypothesis]:
    """The parts of packed weights (q, k and v; the gates of a gated unit) in every other order."""
    counts = _part_counts(context)
    for parts in _PARTS:
        families = [family for family in _families(context, parts, counts) if family]
        for order in permutations(range(parts)):
            if order == tuple(range(parts)) or not families:
                continue
            held = [order.index(part) for part in range(parts)]
            groups = tuple(
                tuple(
                    one.changed(
                        f"has the {parts} parts of {one.leaf} in the order {_numbers(held)}",
                        f"the order {_numbers(range(parts))}",
                        partial(reordered, order=order, axis=axis),
                    )
                    for one, axis in family
                )
                for family in families
            )
            yield Hypothesis(
                "packed order",
                str(order),
                "the parts of a packed weight are not in TensorFlow's order",
                groups,
                partial(_reorder_advice, context, order=order),
            )


def scaled_values(context: Context) -> Iterator[Hypothesis]:
    """Vectors with other values: twice or half, without or with 1 added, another sign, a square, a root, 0 or 1."""
    found = [one for one in parameters_of(context) if one.tensor.ndim == 1 and one.tensor.is_floating_point()]
    for actual, expected, function in _VALUES:
        parts = tuple(
            (one.changed(f"{actual.format(one.leaf)}", expected, function),)
            for one in found
            if not torch.equal(function(one.tensor.data), one.tensor.data)
        )
        if parts:
            yield Hypothesis(
                "values",
                expected,
                "a parameter's values are not TensorFlow's",
                parts,
                partial(rows_advice, context.mapping),
            )


def exchanged_parameters(context: Context) -> Iterator[Hypothesis]:
    """Two parameters of one module, exchanged."""
    by_owner: dict[str, list[Parameter]] = defaultdict(list)
    for one in parameters_of(context):
        by_owner[one.owner].append(one)
    found: dict[str, list[Change]] = defaultdict(list)
    for owner, owned in by_owner.items():
        for a, b in combinations(owned, 2):
            if a.tensor.shape == b.tensor.shape and not torch.equal(a.tensor.data, b.tensor.data):
                put = partial(exchanged, (a.tensor, b.tensor))
                change = Change(
                    owner,
                    f"has {a.leaf} and {b.leaf} exchanged",
                    "each with the other's values",
                    put,
                    parameter=a.name,
                )
                found[f"{a.leaf} {b.leaf}"].append(change)
    for value, changes in found.items():
        yield Hypothesis(
            "exchanged parameters",
            value,
            "two parameters of one module have each other's values, which shapes cannot reveal",
            tuple((change,) for change in changes),
            partial(rows_advice, context.mapping),
        )


def shifted_rows(context: Context) -> Iterator[Hypothesis]:
    """Tables whose rows are numbered from another number."""
    found = parameters_of(context)
    tables = {
        f"{path}.weight" for path, module in context.model.named_modules() if isinstance(module, nn.Embedding)
    }
    for shift in (1, -1, 2, -2):
        parts = tuple(
            (
                one.changed(
                    f"has the rows of {one.leaf} where they are",
                    f"each row {abs(shift)} {'further up' if shift < 0 else 'further down'}",
                    partial(torch.roll, shifts=shift, dims=axis),
                ),
            )
            for one in found
            if one.tensor.ndim >= 2 and (one.name in tables or not _is_weight(one))
            for axis in (range(one.tensor.ndim - 1))
            if one.tensor.shape[axis] > 2
        )
        if parts:
            yield Hypothesis(
                "rows",
                str(shift),
                "the rows of a table are numbered from another number than TensorFlow's",
                parts,
                partial(rows_advice, context.mapping),
            )


_VALUES: tuple[tuple[str, str, Callable[[Tensor], Tensor]], ...] = (
    ("has {} as it is", "half of it", lambda x: x / 2),
    ("has {} as it is", "twice as much", lambda x: x * 2),
    ("has {} as it is", "1 more", lambda x: x + 1),
    ("has {} as it is", "1 less", lambda x: x - 1),
    ("has {} as it is", "the negative of it", lambda x: -x),
    ("has a {}", "none (0)", torch.zeros_like),
    ("has a {}", "none (1)", torch.ones_like),
    ("has {} as it is", "its square", lambda x: x**2),
    ("has {} as it is", "its square root", lambda x: x.abs().sqrt()),
    ("has {} as it is", "its reciprocal", lambda x: 1 / x),
    ("has {} as it is", "its exponential", torch.exp),
)


def reordered(tensor: Tensor, order: Sequence[int], axis: int) -> Tensor:
    """A tensor whose equal parts along an axis are put into another order: part `order[i]` comes to place i.

    Example:
        >>> reordered(torch.arange(6), (2, 0, 1), 0)
        tensor([4, 5, 0, 1, 2, 3])
    """
    parts = tensor.chunk(len(order), axis)
    return torch.cat([parts[part] for part in order], axis)


def _blocks_transposed(tensor: Tensor, parts: int, axis: int) -> Tensor:
    return torch.cat([block.T for block in tensor.chunk(parts, axis)], axis)


def _part_counts(context: Context) -> dict[int, set[int]]:
    """For each number of parts, the sizes of axes that the code divides into so many."""
    found: dict[int, set[int]] = defaultdict(set)
    for call in context.trace.calls:
        if call.name not in SHAPES or not call.shape:
            continue
        if call.name == "chunk" and len(call.args) > 1 and isinstance(call.args[1], int):
            found[call.args[1]].update(call.shape)
        elif call.name in ("split", "tensor_split", "unbind"):
            for parts in _PARTS:
                found[parts].update(size for size in call.shape if size % parts == 0)
        else:
            for parts in _PARTS:
                if parts in call.output:
                    found[parts].update(size for size in call.shape if size % parts == 0)
    return found


def _families(
    context: Context, parts: int, counts: dict[int, set[int]]
) -> Iterator[list[tuple[Parameter, int]]]:
    """For each module, its parameters that have an axis of so many parts, with the axis."""
    by_owner: dict[str, list[Parameter]] = defaultdict(list)
    for one in parameters_of(context):
        by_owner[one.owner].append(one)
    for owner, owned in by_owner.items():
        module = context.model.get_submodule(owner)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            continue  # see recurrent.py
        if isinstance(module, nn.MultiheadAttention):
            if parts == 3:
                yield [(one, 0) for one in owned if one.leaf in ("in_proj_weight", "in_proj_bias")]
            continue
        for axis in (0, 1):
            sizes = {
                one.tensor.shape[axis]
                for one in owned
                if one.tensor.ndim == 2
                and one.tensor.shape[axis] % parts == 0
                and (
                    one.tensor.shape[axis] in counts.get(parts, ())
                    or one.tensor.shape[axis] == parts * one.tensor.shape[1 - axis]
                )
            }
            for size in sizes:
                yield [
                    (one, axis if one.tensor.ndim == 2 else 0)
                    for one in owned
                    if one.tensor.shape[axis if one.tensor.ndim == 2 else 0 :][:1] == (size,)
                    and one.tensor.ndim <= 2
                ]


def _is_weight(one: Parameter) -> bool:
    return one.leaf in ("weight", "weight_v", "original", "original0", "original1", "in_proj_weight")


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(str(number + 1) for number in numbers)


def _reorder_advice(context: Context, changes: Sequence[Change], order: Sequence[int]) -> str:
    held = [order.index(part) for part in range(len(order))]
    key = f"reorder: {{axis: …, groups: [{', '.join(map(str, held))}], as: [{', '.join(map(str, range(len(order))))}]}}"
    return f"{rows_advice(context.mapping, changes)}; there {key} puts the parts into order"
