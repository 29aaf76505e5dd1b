"""Profiling of a mapping's model: time by layer and by kind of operation, memory, arithmetic.

`measurement` is the entry point; `passes` measures a forward pass or a training step of a `workload`; `layer_times`
and `operator_times` break down the time.
"""

from tfpt.profiling.measurement import Profile, profile

__all__ = ["Profile", "profile"]
