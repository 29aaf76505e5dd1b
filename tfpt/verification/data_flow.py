"""Which modules of a model a module's output depends on, followed through every operator of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tfpt.networks.behavior.input_origins import tensors_in
from tfpt.verification.pairing import tensor_in


@dataclass
class DataFlow:
    """What the outputs of modules depend on.

    Attributes:
        order: The modules in the order in which they first ended.
        upstream: For each of them the modules that its output depends on, as a set of bits in that order; with itself.
        output: The same for the model's output.
    """

    order: list[str] = field(default_factory=list)
    upstream: dict[str, int] = field(default_factory=dict)
    output: int = 0

    def reaches(self, path: str, other: str) -> bool:
        """Whether the output of `other` depends on that of `path`."""
        return bool(self.upstream[other] >> self.order.index(path) & 1)


@contextmanager
def data_flow(model: nn.Module) -> Iterator[DataFlow]:
    """Follow the outputs of a model's modules while it runs.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 5))
        >>> with torch.no_grad(), data_flow(model) as flow:
        ...     _ = model(torch.zeros(1, 2))
        >>> flow.order, flow.reaches("0", "2"), flow.reaches("2", "1")
        (['0', '1', '2'], True, False)
    """
    flow = DataFlow()
    followed = _Followed()

    def hook(path: str) -> Callable[[Any, Any, Any], None]:
        def note(_module: Any, _arguments: Any, output: Any) -> None:
            tensor = tensor_in(output)
            if tensor is None:
                return
            if not path:
                flow.output = followed.of(tensor)
            elif path not in flow.upstream:
                bit = 1 << len(flow.order)
                flow.order.append(path)
                for each in tensors_in((output,)):
                    followed.add(each, bit)
                flow.upstream[path] = followed.of(tensor)

        return note

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules()]
    try:
        with followed:
            yield flow
    finally:
        for handle in handles:
            handle.remove()


class _Followed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bits of every tensor of a run, by storage: a view, or a tensor changed in place, has those of its base.

    The storage of a tensor that is gone may be used again, but only by the output of an operator, which is noted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._bits: dict[int, int] = {}

    def of(self, tensor: Tensor) -> int:
        return self._bits.get(tensor.untyped_storage().data_ptr(), 0)

    def add(self, tensor: Tensor, bits: int) -> None:
        self._bits[tensor.untyped_storage().data_ptr()] = self.of(tensor) | bits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each operator."""
        bits = 0
        for tensor in tensors_in((*args, kwargs or {})):
            bits |= self.of(tensor)
        output = func(*args, **(kwargs or {}))
        for tensor in tensors_in((output,)):
            self._bits[tensor.untyped_storage().data_ptr()] = bits
        return output
