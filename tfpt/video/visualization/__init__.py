"""Pictures of a network's filters over time, and of its activations for a clip."""

from __future__ import annotations

from tfpt.video.visualization.activations import draw_activations
from tfpt.video.visualization.drawing import Drawing, Picture, Place
from tfpt.video.visualization.filters import draw_filters

__all__ = ["Drawing", "Picture", "Place", "draw_activations", "draw_filters"]
