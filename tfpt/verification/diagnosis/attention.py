"""Causes in attentions: the scale of the scores, and masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.changes import Change, Hypothesis
from tfpt.verification.diagnosis.trace import Context, FunctionCall

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def score_scales(context: Context) -> Iterator[Hypothesis]:
    """Scores that are divided by the root of the width of a head, or not, or twice."""
    for power, expected in ((-1, "multiplied by 1/√{}"), (1, "multiplied by √{}")):
        parts = []
        for call in context.trace.calls:
            if (width := _width(context, call)) is None:
                continue
            factor = math.sqrt(width) ** power
            parts.append(
                (
                    Change(
                        call.path,
                        "has the scores of its attention as they are",
                        f"the scores {expected.format(width)}",
                        call=call.key,
                        answer=_scaled(call, factor),
                    ),
                )
            )
        if parts:
            yield Hypothesis(
                "score scale",
                str(power),
                "the scores of an attention have another scale than TensorFlow's",
                tuple(parts),
                "Keras's and most attentions divide the scores by √(width of a head); "
                + (
                    "do so, once"
                    if power < 0
                    else "the model does so where TensorFlow does not, or does it twice"
                ),
            )


def masks(context: Context) -> Iterator[Hypothesis]:
    """Masks that are missing, superfluous or inverted: causal ones, and those that the model is given."""
    given = [
        name
        for name, value in (context.inputs.items() if isinstance(context.inputs, Mapping) else ())
        if value.ndim == 2 and not value.is_complex() and bool(((value == 0) | (value == 1)).all())
    ]
    fed: dict[str, Tensor] = {}
    choices: list[tuple[str, str, str, Callable[[Tensor], Tensor | None]]] = [
        ("causal", "masks no later positions", "later positions masked (a causal mask)", _causal),
    ]
    for name in given:
        actual = f"does not use the mask {name} as TensorFlow does"
        later = f"later positions masked, and those where {name} is 0"
        choices.append((f"causal {name}", actual, later, partial(_of_both, fed=fed, name=name)))
        for hidden in (0, 1):
            where = partial(_of_keys, fed=fed, name=name, hidden=hidden)
            choices.append((f"{name} {hidden}", actual, f"positions masked where {name} is {hidden}", where))
    for choice, actual, expected, mask in choices:
        for replaced in (False, True):
            parts = tuple(
                (
                    Change(
                        call.path,
                        actual,
                        expected + (", and no others" if replaced else ""),
                        partial(_noting, context.model, fed),
                        call=call.key,
                        answer=answer,
                    ),
                )
                for call in context.trace.calls
                if (answer := _masked(call, mask, replaced)) is not None
            )
            if parts:
                yield Hypothesis(
                    "mask",
                    f"{choice} {replaced}",
                    "an attention masks other positions than TensorFlow's",
                    parts,
                    f"TensorFlow has {expected}",
                )
    parts = tuple(
        (Change(call.path, "masks positions", "no mask", call=call.key, answer=answer),)
        for call in context.trace.calls
        if (answer := _unmasked(call)) is not None
    )
    if parts:
        yield Hypothesis(
            "mask",
            "none",
            "an attention masks positions that TensorFlow's does not",
            parts,
            "leave the mask out",
        )


def _width(context: Context, call: FunctionCall) -> int | None:
    """The width of a head where scores can be scaled: at an attention, or at a softmax after a product."""
    if call.name == "scaled_dot_product_attention":
        return call.shape[-1]
    if call.name == "multi_head_attention_forward":
        number = call.args[4] if len(call.args) > 4 else call.kwargs["num_heads"]
        return int(call.shape[-1] // number)
    if call.name == "softmax" and len(call.shape) >= 3:
        for one in context.trace.calls:
            if one.name in ("matmul", "bmm", "einsum") and one.output == call.shape and one.path == call.path:
                return one.shape[-1]
    return None


def _scaled(call: FunctionCall, factor: float) -> Callable[..., Any]:
    def scores(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # The argument of a softmax, or the queries.
        return _with_first(function, args, kwargs, lambda x: x * factor)

    def packed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # The queries are the first third of the packed projection.
        args, kwargs = _named(args, kwargs)
        for name in ("in_proj_weight", "in_proj_bias", "q_proj_weight"):
            value = kwargs.get(name)
            if value is not None:
                scale = torch.ones_like(value)
                rows = value.shape[0] if name == "q_proj_weight" else value.shape[0] // 3
                scale[:rows] = factor
                kwargs[name] = value * scale
        return function(*args, **kwargs)

    return packed if call.name == "multi_head_attention_forward" else scores


_MHA = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias"),
    *("bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias"),
)


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Arguments:
    """The arguments of `multi_head_attention_forward` by name."""
    return (), {**dict(zip(_MHA, args, strict=False)), **kwargs}


def _masked(
    call: FunctionCall, mask: Callable[[Tensor], Tensor | None], replaced: bool
) -> Callable[..., Any] | None:
    """The call with a mask more, or with it alone; ``None`` if the call has no scores, or no mask to lose."""
    if call.name == "softmax":
        if replaced or len(call.shape) < 3:
            return None

        def softmax(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return _with_first(function, args, kwargs, lambda x: x.masked_fill(_hidden(mask, x), -1e9))

        return softmax
    if call.name == "scaled_dot_product_attention":

        def attention(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given, before = _attention_arguments(args, kwargs)
            scores = given["query"].new_zeros(*given["query"].shape[:-1], given["key"].shape[-2])
            added = scores.masked_fill(_hidden(mask, scores), -1e9)
            if before is not None and not replaced:
                added = added + (scores.masked_fill(~before, -1e9) if before.dtype == torch.bool else before)
            return function(**given, attn_mask=added)

        return attention
    if call.name == "multi_head_attention_forward":

        def packed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            args, kwargs = _named(args, kwargs)
            query, key = kwargs["query"], kwargs["key"]  # [time, batch, width]
            scores = query.new_zeros(query.shape[1], 1, query.shape[0], key.shape[0])
            added = (
                scores.masked_fill(_hidden(mask, scores), -1e9)
                .expand(-1, kwargs["num_heads"], -1, -1)
                .flatten(0, 1)
            )
            if replaced:
                kwargs["key_padding_mask"] = None
            elif (padding := kwargs.get("key_padding_mask")) is not None and padding.dtype == torch.bool:
                kwargs["key_padding_mask"] = query.new_zeros(padding.shape).masked_fill(padding, -1e9)
            return function(**{**kwargs, "attn_mask": added, "is_causal": False})

        return packed
    return None


def _unmasked(call: FunctionCall) -> Callable[..., Any] | None:
    if call.name in ("masked_fill", "masked_fill_"):
        return lambda function, args, kwargs: args[0]
    if call.name == "scaled_dot_product_attention":

        def attention(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given, _ = _attention_arguments(args, kwargs)
            return function(**given)

        return attention
    if call.name == "multi_head_attention_forward":

        def packed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            args, kwargs = _named(args, kwargs)
            return function(**{**kwargs, "attn_mask": None, "key_padding_mask": None, "is_causal": False})

        return packed
    return None


def _attention_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], Tensor | None]:
    """What `scaled_dot_product_attention` was called with, but for the mask; and the mask, also a causal one."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    mask = given.get("attn_mask")
    if given.get("is_causal"):
        mask = ~_causal(given["query"].new_zeros(given["query"].shape[-2], given["key"].shape[-2]))
    kept = ("query", "key", "value", "scale", "enable_gqa")
    return {name: given[name] for name in kept if name in given}, mask


def _with_first(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], change: Callable[[Tensor], Tensor]
) -> Any:
    """A call with its first argument, `input` or `query`, changed."""
    if args:
        return function(change(args[0]), *args[1:], **kwargs)
    name = "input" if "input" in kwargs else "query"
    return function(**{**kwargs, name: change(kwargs[name])})


def _hidden(mask: Callable[[Tensor], Tensor | None], scores: Tensor) -> Tensor:
    """Where a mask hides scores.

    Raises:
        ValueError: The scores do not have its axes.
    """
    hidden = mask(scores)
    if hidden is None:
        raise ValueError("the scores do not have the axes of this mask")
    return hidden


def _causal(scores: Tensor) -> Tensor:
    size = scores.shape[-2:]
    return torch.ones(size, dtype=torch.bool, device=scores.device).triu(1)


def _of_both(scores: Tensor, fed: Mapping[str, Tensor], name: str) -> Tensor | None:
    keys = _of_keys(scores, fed, name, 0)
    return None if keys is None else keys | _causal(scores)


def _of_keys(scores: Tensor, fed: Mapping[str, Tensor], name: str, hidden: int) -> Tensor | None:
    """Where the model's input has a value, [batch, keys], for scores [batch, …, queries, keys]."""
    mask = fed[name] == hidden
    if scores.shape[0] != mask.shape[0] or scores.shape[-1] != mask.shape[1]:
        return None
    return mask.reshape(mask.shape[0], *(1,) * (scores.ndim - 2), mask.shape[1])


@contextmanager
def _noting(model: nn.Module, fed: dict[str, Tensor]) -> Iterator[None]:
    """Keep what the model is fed by name while it runs."""

    def note(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        fed.update(kwargs)

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
