"""Calls of torch functions inside a model: intercepted, and replaced, wherever its code makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

# The calling module, the function's name, and how many calls of that name the module made before in this run.
CallKey = tuple[str, str, int]

WINDOWS = frozenset(
    f"{kind}{dimensions}d" for kind in ("conv", "max_pool", "avg_pool") for dimensions in (1, 2, 3)
)
ACTIVATIONS = frozenset(
    (
        *("relu", "relu_", "relu6", "hardtanh", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus"),
        *("hardswish", "hardsigmoid", "sigmoid", "tanh"),
    )
)
CONCATENATIONS = frozenset(("cat", "concat", "concatenate"))
NORMS = frozenset(("batch_norm", "layer_norm", "group_norm", "instance_norm"))
ATTENTIONS = frozenset(("scaled_dot_product_attention", "multi_head_attention_forward"))
SUMS = frozenset(("add", "add_", "sub", "sub_"))
PRODUCTS = frozenset(("mul", "mul_", "div", "div_", "matmul", "bmm", "baddbmm", "einsum"))
# Methods and functions that only say how a tensor is divided into parts.
SHAPES = frozenset(("view", "reshape", "unflatten", "flatten", "chunk", "split", "tensor_split", "unbind"))
OTHERS = frozenset(
    (
        *("pad", "interpolate", "softmax", "linear", "embedding", "mean", "sum", "__getitem__", "select"),
        *("local_response_norm", "pixel_shuffle", "pixel_unshuffle", "masked_fill", "masked_fill_"),
        *("lstm", "gru", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    )
)
TRACKED = WINDOWS | ACTIVATIONS | CONCATENATIONS | NORMS | ATTENTIONS | SUMS | PRODUCTS | SHAPES | OTHERS


@dataclass
class Frame:
    """A module that is running."""

    path: str
    counts: Counter[str] = field(default_factory=Counter)


class CallInterceptor(TorchFunctionMode):
    """Intercepts every call of a tracked function.

    Args:
        handle: Called with the key, the function, its arguments and keyword arguments; makes the call and returns its
            result.
        see: Called with the arguments of every call, tracked or not.
    """

    def __init__(
        self,
        handle: Callable[[CallKey, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any],
        see: Callable[[tuple[Any, ...], dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__()
        self._handle = handle
        self._see = see
        self.frames: list[Frame] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        if self._see is not None:
            self._see(args, kwargs or {})
        name = getattr(func, "__name__", "")
        name = name.removesuffix("_with_indices")
        if name not in TRACKED or not self.frames:
            return func(*args, **(kwargs or {}))
        frame = self.frames[-1]
        key = (frame.path, name, frame.counts[name])
        frame.counts[name] += 1
        return self._handle(key, func, args, kwargs or {})


@contextmanager
def intercepting_calls(
    model: nn.Module,
    handle: Callable[[CallKey, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any] | None = None,
    *,
    answer: Mapping[CallKey, Any] | None = None,
    see: Callable[[tuple[Any, ...], dict[str, Any]], None] | None = None,
) -> Iterator[CallInterceptor]:
    """Intercept the calls of torch functions in every run of the model within a `with` block.

    Args:
        model: Any model.
        handle: Makes each call; see `CallInterceptor`.
        answer: Instead of `handle`: replacements for some of the calls; all others are made.
        see: Called with the arguments of every call, also of functions that are not tracked.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
        >>> with intercepting_calls(model, answer={("0", "relu", 0): lambda relu, args, kwargs: -relu(*args)}):
        ...     print(model(torch.tensor([[-1.0, 2.0]])))
        tensor([[-0., -2.]])
    """
    answers = answer or {}

    def answered(
        key: CallKey, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        found = answers.get(key)
        return func(*args, **kwargs) if found is None else found(func, args, kwargs)

    mode = CallInterceptor(handle or answered, see)
    hooks = []
    for path, module in model.named_modules():

        def enter(_module: nn.Module, _args: Any, path: str = path) -> None:
            if not path:
                mode.frames.clear()  # left over from a run that raised an error
            mode.frames.append(Frame(path))

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            mode.frames.pop()

        hooks += [
            module.register_forward_pre_hook(enter, prepend=True),
            module.register_forward_hook(leave, prepend=True),
        ]
    try:
        with mode:
            yield mode
    finally:
        for hook in hooks:
            hook.remove()
