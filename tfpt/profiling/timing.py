"""Timing of repeated calls, with synchronization of asynchronous devices, and their median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# Many fast passes fit into this, for a stable median; slow ones are still run the minimum number of times.
_ENOUGH_SECONDS = 2.0
_LEAST, _MOST = 5, 100


@dataclass(frozen=True)
class Spread:
    """Durations of the same thing, in seconds, in the order in which they were measured.

    Example:
        >>> found = Spread((0.5, 0.25, 1.0))
        >>> found.median, found.least, found.most, len(found.seconds)
        (0.5, 0.25, 1.0, 3)
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def most(self) -> float:
        return max(self.seconds)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.seconds)

    def to_json(self) -> dict[str, Any]:
        return {
            "median": self.median,
            "min": self.least,
            "max": self.most,
            "repeats": len(self.seconds),
            "all": list(self.seconds),
        }


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """The duration of a call in seconds, until the device has finished.

    Example:
        >>> timed(lambda: time.sleep(0.02), torch.device("cpu")) > 0.019
        True
    """
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def repeated(run: Callable[[], Any], device: torch.device, repeats: int | None = None) -> Spread:
    """The durations of several calls.

    Args:
        run: What to call.
        device: The device that does the work.
        repeats: How often. By default, for two seconds, between 5 and 100 times.

    Example:
        >>> len(repeated(lambda: None, torch.device("cpu"), 3).seconds)
        3
    """
    seconds: list[float] = []
    while len(seconds) < (repeats or _MOST):
        seconds.append(timed(run, device))
        if repeats is None and len(seconds) >= _LEAST and sum(seconds) >= _ENOUGH_SECONDS:
            break
    return Spread(tuple(seconds))
