"""Clips classified by one network, or by several whose logits are added.

`joining` holds what the API calls; `classification` runs one network over windows of a clip, `scores` makes classes of
logits, `labels` gives them names. The clips themselves are read and prepared by `tfpt.clips`.
"""

from tfpt.clips.streams import Stream
from tfpt.prediction.joining import predict
from tfpt.prediction.scores import Prediction, StreamScores

__all__ = ["Prediction", "Stream", "StreamScores", "predict"]
