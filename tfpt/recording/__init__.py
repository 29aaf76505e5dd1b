"""What a TensorFlow network computes, kept in a file.

`recorder` holds what the API calls; `choosing` and `feeding` settle which activations are kept and what the network is
fed, `tfpt.running` runs it, and `recordings` is the file, which needs no TensorFlow.
"""

from tfpt.recording.recorder import record, recordable
from tfpt.recording.recordings import RecordedEndpoint, Recording, read_recording, write_recording

__all__ = ["RecordedEndpoint", "Recording", "read_recording", "record", "recordable", "write_recording"]
