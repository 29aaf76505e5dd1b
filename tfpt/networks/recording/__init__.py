"""What a TensorFlow network computes, kept in a file.

`recorder` holds what the API calls; `choosing` and `feeding` settle which activations are kept and what the network is
fed, `tfpt.networks.running` runs it; `recordings` are what is kept and `files` where, and neither needs TensorFlow.
"""

from tfpt.networks.recording.files import read_recording, write_recording
from tfpt.networks.recording.recorder import record, recordable
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording

__all__ = ["RecordedEndpoint", "Recording", "read_recording", "record", "recordable", "write_recording"]
