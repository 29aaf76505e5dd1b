"""Pictures of what a network has learnt and what it sees: filters over time, and the activations that they give."""

from __future__ import annotations

from tfpt.visualisation.activations import draw_activations
from tfpt.visualisation.drawing import Drawing, Picture, Place
from tfpt.visualisation.filters import draw_filters

__all__ = ["Drawing", "Picture", "Place", "draw_activations", "draw_filters"]
