"""Clips classified by one network, or by several whose logits are added.

`joining` holds what the API calls; `classification` runs one network over windows of a clip, `scores` makes classes of
logits, `labels` gives them names. The clips themselves are read and prepared by `tfpt.video.clips`.
"""

from tfpt.video.clips.streams import Stream
from tfpt.video.prediction.ensemble import predict
from tfpt.video.prediction.scores import Prediction, StreamScores

__all__ = ["Prediction", "Stream", "StreamScores", "predict"]
