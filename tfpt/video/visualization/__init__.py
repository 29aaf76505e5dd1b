"""Pictures of what a network has learned and what it sees: filters over time, and the activations that they give."""

from __future__ import annotations

from tfpt.video.visualization.activations import draw_activations
from tfpt.video.visualization.drawing import Drawing, Picture, Place
from tfpt.video.visualization.filters import draw_filters

__all__ = ["Drawing", "Picture", "Place", "draw_activations", "draw_filters"]
