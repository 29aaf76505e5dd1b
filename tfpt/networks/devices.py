"""The devices of this machine, and a single error for all the ways in which torch reports lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tfpt.errors import TfptError
from tfpt.tensors import format_shape

_DEVICES = ("cpu", "cuda", "mps")
# What torch and the C library report, on any device, when memory runs out.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


def device_of(name: str) -> torch.device:
    """The torch device with this name, if this machine has it.

    Raises:
        TfptError: It does not.

    Example:
        >>> device_of("cpu")
        device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in _DEVICES:
        raise TfptError("no such device", expected="cpu, cuda, cuda:1, mps", got=name)
    if device.type == "cuda":
        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= number:
            raise TfptError(
                f"torch {torch.__version__} does not find this CUDA device",
                expected=", ".join(["cpu", *(f"cuda:{index}" for index in range(number))]),
                got=name,
                hint="--device cpu, or a torch built for CUDA" if not number else "--device cuda",
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise TfptError(
            f"torch {torch.__version__} does not find this device",
            expected="cpu",
            got=name,
            hint="--device cpu",
        )
    return device


@contextmanager
def enough_memory(
    shape: tuple[int, ...] | None = None, hint: str = "lower --batch, --frames or --size"
) -> Iterator[None]:
    """Turn torch's various out-of-memory errors into one error that says what to lower.

    Args:
        shape: The shape of the input, for the error message.
        hint: What to lower.

    Raises:
        TfptError: Memory ran out.

    Example:
        >>> with enough_memory((1, 3, 16, 224, 224)):
        ...     raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        Traceback (most recent call last):
        ...
        tfpt.errors.TfptError: not enough memory for this pass
          got       [1, 3, 16, 224, 224] CUDA out of memory. Tried to allocate 2.00 GiB
          next      lower --batch, --frames or --size
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(sign in text.lower() for sign in _OUT_OF_MEMORY):
            raise
        raise TfptError(
            "not enough memory for this pass",
            got=" ".join(filter(None, [format_shape(shape) if shape else "", text.split("\n")[0]])) or None,
            hint=hint,
        ) from error
