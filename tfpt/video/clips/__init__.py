"""Clips: opened from files of many kinds, sampled, resized, cropped, converted to optical flow, cut into windows."""

from __future__ import annotations

from tfpt.video.clips.clip import Clip, Frame
from tfpt.video.clips.preparation import check_clip, prepared, scaled
from tfpt.video.clips.recognition import open_clip
from tfpt.video.clips.windowing import windows

__all__ = ["Clip", "Frame", "check_clip", "open_clip", "prepared", "scaled", "windows"]
