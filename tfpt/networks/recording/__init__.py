"""Records what a TensorFlow network computes, and stores it in a file.

`recorder` has the functions of the public API, `selection` decides which activations are recorded, `inputs` what the
network is fed (`generated`: from a seed), and `tfpt.networks.running` runs it; `recordings` has the result and its file
format, and does not need TensorFlow.
"""

from tfpt.networks.recording.recorder import record, recordable
from tfpt.networks.recording.recordings import (
    RecordedEndpoint,
    Recording,
    read_recording,
    write_recording,
)

__all__ = ["RecordedEndpoint", "Recording", "read_recording", "record", "recordable", "write_recording"]
