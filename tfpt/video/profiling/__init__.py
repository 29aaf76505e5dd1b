"""What a mapping's model costs: time by layer and by kind of work, memory, arithmetic.

`measurement` holds what the API calls; `passes` measures a forward or a training pass of a `workload`; `layer_times`
and `operator_times` say where the time went.
"""

from tfpt.video.profiling.measurement import Profile, profile

__all__ = ["Profile", "profile"]
