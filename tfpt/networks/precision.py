"""Runs in the precision of the tensors: without TF32, bfloat16 products of float32, or the caller's autocast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 in float32 whatever the caller's settings, which are restored afterwards.

    TF32 rounds the factors of products to 10 bits, bfloat16 to 7, and autocast computes in another dtype altogether;
    float16 and bfloat16 products are summed in float32.

    Example:
        >>> x = torch.ones(2, 2)
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     inside = (x @ x).dtype
        ...     with full_precision():
        ...         inside, (x @ x).dtype
        (torch.bfloat16, torch.float32)
    """
    with ExitStack() as stack:
        for device in _AUTOCAST:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(_sums_in_float32())
        stack.enter_context(_settings() if hasattr(torch.backends, "fp32_precision") else _older_settings())
        yield


@contextmanager
def _sums_in_float32() -> Iterator[None]:
    matmul: Any = torch.backends.cuda.matmul
    names = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    before = {name: getattr(matmul, name) for name in names}
    for name in names:
        setattr(matmul, name, False)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)


@contextmanager
def _older_settings() -> Iterator[None]:
    """The settings before torch 2.9."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def _settings() -> Iterator[None]:
    """The settings since torch 2.9: one for each operation, below one for each library, below one for everything.

    What is read of a setting is that above it if it has none of its own. So those above are read, and cleared, first.
    The older settings are kept in step with them by torch only in one direction, so they are restored before.
    """
    backends: Any = torch.backends
    nodes = (
        backends,
        backends.cudnn,
        backends.mkldnn,
        backends.cuda.matmul,
        *(
            getattr(library, name)
            for library in (backends.cudnn, backends.mkldnn)
            for name in ("conv", "rnn")
        ),
        backends.mkldnn.matmul,
    )
    older: dict[str, Any] = {}
    with suppress(RuntimeError):  # torch refuses to say if the two kinds of settings contradict each other
        older["matmul"] = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        older["cudnn"] = backends.cudnn.allow_tf32
    before = []
    for node in nodes:
        before.append(node.fp32_precision)
        node.fp32_precision = "none"
    if "matmul" in older:
        torch.set_float32_matmul_precision("highest")
    if "cudnn" in older:
        backends.cudnn.allow_tf32 = False
    for node in nodes[3:]:
        node.fp32_precision = "ieee"
    try:
        yield
    finally:
        for node in nodes:
            node.fp32_precision = "none"
        if "matmul" in older:
            torch.set_float32_matmul_precision(older["matmul"])
        if "cudnn" in older:
            backends.cudnn.allow_tf32 = older["cudnn"]
        for node, value in zip(reversed(nodes), reversed(before), strict=True):
            node.fp32_precision = value
