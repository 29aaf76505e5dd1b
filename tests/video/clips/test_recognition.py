"""Clips are told from their bytes, and what reads them may be missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.video.clips.footage import noise, write_folder, write_gif, write_video
from tfpt.errors import SourceError, TfptError
from tfpt.video.clips import open_clip, prepared
from tfpt.video.clips.flow import flows
from tfpt.video.clips.geometry import resized


def test_the_name_of_a_file_does_not_matter(tmp_path):
    gif = write_gif(tmp_path / "a.gif", noise(3) // 64 * 64)
    video = write_video(tmp_path / "a.mkv", noise(3))
    np.save(tmp_path / "a.npy", np.zeros((3, 5, 7, 3), np.float32))
    (tmp_path / "gif.mp4").write_bytes(gif.read_bytes())
    (tmp_path / "video.gif").write_bytes(video.read_bytes())
    (tmp_path / "array").write_bytes((tmp_path / "a.npy").read_bytes())
    assert open_clip(tmp_path / "gif.mp4").length == 3
    assert open_clip(tmp_path / "video.gif").length is None
    assert open_clip(tmp_path / "array").kind == "values"


def absent(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def needs(what, action):
    with pytest.raises(TfptError, match=what) as refused:
        action()
    assert refused.value.hint == 'pip install "tfpt[video]"'


def test_without_pyav_a_video_says_what_to_install(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", noise(3))
    absent(monkeypatch, "av")
    needs("PyAV is needed to read a video", lambda: open_clip(path))


def test_without_opencv_resizing_and_flow_say_what_to_install(monkeypatch):
    absent(monkeypatch, "cv2", "cv2.optflow")
    needs("OpenCV is needed to resize", lambda: resized(noise(1)[0], 13))
    needs("TV-L1", lambda: list(flows(noise(2))))


def test_without_opencv_s_contributions_flow_says_what_to_install(monkeypatch):
    absent(monkeypatch, "cv2.optflow")
    needs("opencv-contrib-python-headless", lambda: list(flows(noise(2))))


def test_without_pillow_pictures_say_what_to_install(tmp_path, monkeypatch):
    gif = write_gif(tmp_path / "a.gif", noise(3) // 64 * 64)
    folder = write_folder(tmp_path / "f", noise(2))
    absent(monkeypatch, "PIL.Image")
    needs("Pillow is needed", lambda: open_clip(gif))
    needs("Pillow is needed", lambda: open_clip(folder))


def test_prepared_arrays_need_none_of_them(tmp_path, monkeypatch):
    from tfpt import load_mapping

    np.save(tmp_path / "a.npy", np.zeros((3, 224, 224, 3), np.float32))
    absent(monkeypatch, "av", "cv2", "cv2.optflow", "PIL.Image")
    assert len(list(prepared(open_clip(tmp_path / "a.npy"), load_mapping("i3d_rgb")))) == 3


@pytest.mark.parametrize("name", ["~nosuchuser/clip.mp4", "a" * 300])
def test_a_name_that_cannot_be_is_refused(name):
    with pytest.raises(SourceError) as refused:
        open_clip(name)
    assert refused.value.where == name
