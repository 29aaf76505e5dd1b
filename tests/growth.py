"""What work costs in CPU time, which other programs on the machine do not lengthen, and how it grows with its size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Four times the work takes four times as long where the cost is linear, sixteen times where it is quadratic.
LINEAR = 8.0
# What a cost of no size is allowed: interpreters and allocators pause now and then.
_SLACK = 0.02


def cpu_seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """The least CPU time that a call takes in some repeats, all threads of this process together."""
    least = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        run()
        least = min(least, time.process_time() - begun)
    return least


def assert_linear(small: Callable[[], object], large: Callable[[], object], factor: float = LINEAR) -> None:
    """`large` is the same work as `small` on four times as much, and takes less than `factor` times as long."""
    few, many = cpu_seconds(small), cpu_seconds(large)
    assert many < factor * few + _SLACK, f"{few:.3f} s grew to {many:.3f} s, {many / few:.1f} times as long"


@contextmanager
def cpu_budget(seconds: float) -> Iterator[None]:
    """For hostile input that has no size to grow with: CPU time far above what a refusal takes on a slow processor."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < seconds
