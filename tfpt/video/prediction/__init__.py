"""Classification of clips by one network, or by several whose logits are added.

`ensemble` is the entry point; `streams` opens the clips of the networks, `classification` runs one network over the
windows of a clip, `scores` ranks classes by logits, `labels` names them. `tfpt.video.clips` reads the clips.
"""

from tfpt.video.prediction.ensemble import predict
from tfpt.video.prediction.scores import Prediction, StreamScores
from tfpt.video.prediction.streams import Stream

__all__ = ["Prediction", "Stream", "StreamScores", "predict"]
