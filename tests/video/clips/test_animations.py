"""Animated pictures: frames and times as Pillow wrote them, and drawn flow taken back to its values."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.video.clips.footage import write_gif
from tfpt.errors import SourceError, TfptError
from tfpt.video.clips import open_clip


def few_colors(frames, seed=0):
    """Pictures of at most 256 colors, which a GIF keeps."""
    random = np.random.default_rng(seed)
    return random.integers(0, 5, (frames, 9, 11, 3), dtype=np.uint8) * 50


def drawn(flow):
    """Flow as kinetics-i3d draws it: a third channel of zeros, 0.5 added, cut to bytes."""
    whole = np.concatenate([flow, np.zeros((*flow.shape[:-1], 1))], axis=-1) + 0.5
    return (np.clip(whole, 0, 1) * 255).astype(np.uint8)


def pixels(clip):
    return np.stack([frame.read() for frame in clip.frames(Fraction(0))])


def test_a_gif_has_its_frames_and_their_times(tmp_path):
    pictures = few_colors(5)
    clip = open_clip(write_gif(tmp_path / "a.gif", pictures, [40, 20, 100, 40, 50]))
    assert (clip.kind, clip.length, clip.size, clip.fps) == ("pictures", 5, (9, 11), Fraction(20))
    np.testing.assert_array_equal(pixels(clip), pictures)
    times = [frame.time * 1000 for frame in clip.frames(Fraction(0))]
    assert times == [0, 40, 60, 160, 200]
    assert [frame.end for frame in clip.frames(Fraction(0))][-1] == Fraction(1, 4)


@pytest.mark.parametrize("milliseconds", [0, 10])
def test_frames_of_no_time_take_a_tenth_of_a_second_as_in_browsers(tmp_path, milliseconds):
    clip = open_clip(write_gif(tmp_path / "a.gif", few_colors(3), milliseconds))
    assert clip.fps == 10


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_other_animated_pictures_are_read_too(tmp_path, ending):
    pictures = few_colors(3)
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    path = tmp_path / f"a.{ending}"
    first.save(path, save_all=True, append_images=rest, duration=40, lossless=True)
    clip = open_clip(path)
    assert clip.fps == 25
    np.testing.assert_array_equal(pixels(clip), pictures)


def test_drawn_flow_is_taken_back_to_its_values(tmp_path):
    steps = np.linspace(-0.49, 0.49, 13)
    flow = np.random.default_rng(1).choice(steps, (4, 9, 11, 2))
    clip = open_clip(write_gif(tmp_path / "flow.gif", drawn(flow)))
    assert (clip.kind, clip.channels) == ("flow", 2)
    assert "flow drawn as RGB" in clip.note
    found = pixels(clip)
    assert found.dtype == np.float32
    assert np.abs(found - flow).max() <= 1 / 255
    assert len(np.unique(found)) == 13


def test_a_third_channel_that_changes_is_a_picture(tmp_path):
    pictures = drawn(np.random.default_rng(1).choice([-0.3, 0.2], (4, 9, 11, 2)))
    pictures[3, 8, 10, 2] = 200
    clip = open_clip(write_gif(tmp_path / "a.gif", pictures))
    assert (clip.kind, clip.note) == ("pictures", None)


def test_one_picture_is_no_clip(tmp_path):
    for name in ("one.gif", "one.png", "one.jpg"):
        Image.fromarray(few_colors(1)[0]).save(tmp_path / name)
        with pytest.raises(SourceError, match="a single picture is not a clip") as refused:
            open_clip(tmp_path / name)
        assert refused.value.got.startswith("one frame, ")
        assert "folder" in refused.value.hint


def test_a_damaged_gif_is_refused(tmp_path):
    whole = write_gif(tmp_path / "a.gif", few_colors(6)).read_bytes()
    (tmp_path / "head.gif").write_bytes(whole[:9])
    (tmp_path / "cut.gif").write_bytes(whole[: len(whole) * 2 // 3])
    for name in ("head.gif", "cut.gif"):
        with pytest.raises(SourceError, match="cannot be read"):
            open_clip(tmp_path / name)


def test_the_published_gifs_are_what_their_authors_say(shared):
    rgb = open_clip(shared / "real/i3d/clips/v_CricketShot_g04_c01_rgb.gif")
    flow = open_clip(shared / "real/i3d/clips/v_CricketShot_g04_c01_flow.gif")
    assert (rgb.kind, rgb.length, rgb.size, rgb.fps) == ("pictures", 79, (224, 224), 25)
    assert (flow.kind, flow.length, flow.size, flow.fps) == ("flow", 79, (224, 224), 25)


def test_pages_of_16_bits_are_refused(tmp_path):
    """Pillow would cut their values off at 255."""
    first, second = (Image.fromarray(np.full((9, 11), level, np.uint16)) for level in (300, 60000))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(SourceError, match="more than 8 bits") as refused:
        open_clip(tmp_path / "a.tif")
    assert refused.value.where.endswith("a.tif, frame 0")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tiff"])
def test_whatever_is_damaged_is_a_clip_or_refused(tmp_path, ending):
    pictures = [Image.fromarray(picture) for picture in few_colors(3)]
    path = tmp_path / f"a.{ending}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    whole, random = path.read_bytes(), np.random.default_rng(4)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(4, len(whole), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with suppress(TfptError):
            for frame in open_clip(path).frames(Fraction(0)):
                frame.read()
