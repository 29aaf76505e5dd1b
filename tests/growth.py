"""CPU time, which is independent of other load on the machine, and how it grows with the size of the input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Four times the input takes four times as long if the cost is linear, sixteen times if it is quadratic.
LINEAR = 8.0
# Seconds allowed on top, since interpreters and allocators pause now and then.
_SLACK = 0.02


def cpu_seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """The minimum CPU time of a call over some repeats, all threads of this process together."""
    least = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        run()
        least = min(least, time.process_time() - begun)
    return least


def assert_linear(small: Callable[[], object], large: Callable[[], object], factor: float = LINEAR) -> None:
    """`large` does the work of `small` on four times the input; it must take less than `factor` times as long."""
    few = cpu_seconds(small)
    # The least of some repeats, of which the first is almost always little enough.
    many = cpu_seconds(large, repeats=1)
    for _ in range(2):
        if many < factor * few + _SLACK:
            break
        many = min(many, cpu_seconds(large, repeats=1))
    assert many < factor * few + _SLACK, f"{few:.3f} s grew to {many:.3f} s, {many / few:.1f} times as long"


@contextmanager
def cpu_budget(seconds: float) -> Iterator[None]:
    """For hostile input of fixed size: a limit far above the CPU time of a rejection on a slow processor."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < seconds
