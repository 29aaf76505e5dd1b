"""Building a model with fewer random numbers, where only their being random matters."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_DRAWS = {_aten.normal_.default, _aten.uniform_.default}
# Numbers drawn for one tensor.
_DRAWN = 1 << 14


class FewDraws(TorchDispatchMode):
    """Within this context, large tensors that are filled with random numbers repeat the first 16,384.

    Example:
        >>> with FewDraws():
        ...     weight = torch.nn.Linear(1024, 64).weight
        >>> bool((weight[:16] == weight[16:32]).all()), bool((weight[0] == weight[1]).any())
        (True, False)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _DRAWS or args[0].numel() <= _DRAWN or not args[0].is_contiguous():
            return func(*args, **kwargs)
        values = args[0].view(-1)
        func(values[:_DRAWN], *args[1:], **kwargs)
        done = _DRAWN
        while done < len(values):
            count = min(done, len(values) - done)
            values[done : done + count] = values[:count]
            done += count
        return args[0]
