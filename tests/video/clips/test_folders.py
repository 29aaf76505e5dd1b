"""Folders of pictures: their order, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.video.clips.footage import noise, write_folder
from tfpt.errors import SourceError, TfptError
from tfpt.video.clips import open_clip


def pixels(clip):
    return np.stack([frame.read() for frame in clip.frames(Fraction(0))])


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    pictures = noise(12)  # frame10 is not between frame1 and frame2
    folder = write_folder(tmp_path / "frames", pictures)
    (folder / "notes.txt").write_text("other files are left alone")
    (folder / ".frame0.png").write_bytes(b"what some systems leave behind")
    clip = open_clip(folder, fps=10)
    assert (clip.kind, clip.length, clip.size, clip.fps) == ("pictures", 12, (22, 30), 10)
    np.testing.assert_array_equal(pixels(clip), pictures)


def test_a_picture_that_is_to_be_turned_is(tmp_path):
    picture = noise(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to the right
    (tmp_path / "f").mkdir()
    Image.fromarray(picture).save(tmp_path / "f/1.png", exif=exif)
    clip = open_clip(tmp_path / "f")
    assert clip.size == (30, 22)
    np.testing.assert_array_equal(pixels(clip)[0], np.rot90(picture, -1))


def test_gray_pictures_and_those_with_transparency_become_rgb(tmp_path):
    (tmp_path / "f").mkdir()
    gray = noise(1)[0, ..., 0]
    Image.fromarray(gray).save(tmp_path / "f/1.png")
    Image.fromarray(np.dstack([gray, gray, gray, 255 - gray]), "RGBA").save(tmp_path / "f/2.png")
    for picture in pixels(open_clip(tmp_path / "f")):
        np.testing.assert_array_equal(picture, np.dstack([gray] * 3))


def test_an_empty_folder_and_one_of_other_files_are_refused(tmp_path):
    with pytest.raises(SourceError, match="contains no pictures") as refused:
        open_clip(tmp_path)
    assert refused.value.got == "no files"
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(SourceError, match="contains no pictures") as refused:
        open_clip(tmp_path)
    assert refused.value.got == "other files"


def test_pictures_of_different_sizes_are_refused(tmp_path):
    folder = write_folder(tmp_path / "frames", noise(11))
    Image.fromarray(noise(1, 22, 31)[0]).save(folder / "frame7.png")
    with pytest.raises(SourceError, match="differ in size") as refused:
        open_clip(folder)
    assert refused.value.expected == "22 by 30, as frame1.png"
    assert refused.value.got == "22 by 31, frame7.png"


def test_a_file_that_is_no_picture_and_one_of_16_bits_are_refused(tmp_path):
    folder = write_folder(tmp_path / "frames", noise(3))
    (folder / "frame2.png").write_text("not a picture")
    with pytest.raises(SourceError, match="cannot be read") as refused:
        open_clip(folder)
    assert refused.value.where.endswith("frame2.png")
    Image.fromarray(noise(1)[0, ..., 0].astype(np.uint16) * 257).save(folder / "frame2.png")
    with pytest.raises(SourceError, match="more than 8 bits"):
        pixels(open_clip(folder))


def test_an_orientation_that_is_none_is_left_alone(tmp_path):
    """Exif knows 1 to 8."""
    exif = Image.Exif()
    exif[0x0112] = 9
    (tmp_path / "f").mkdir()
    Image.fromarray(noise(1)[0]).save(tmp_path / "f/1.png", exif=exif)
    clip = open_clip(tmp_path / "f")
    assert clip.size == (22, 30)
    assert pixels(clip)[0].shape == (22, 30, 3)


@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_is_refused_or_left_alone(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "abc"
    (tmp_path / "f").mkdir()
    path = tmp_path / "f/1.jpg"
    Image.fromarray(noise(1)[0]).save(path, exif=exif)
    whole = path.read_bytes()
    # The description's tag becomes one that Pillow cannot write again; the orientation's type, bytes or text.
    tag, kind = whole.index(b"\x01\x0e") + 1, whole.index(b"\x01\x12") + 3
    for place, value in ((tag, 0), (kind, 1), (kind, 2)):
        damaged = bytearray(whole)
        damaged[place] = value
        path.write_bytes(damaged)
        with suppress(TfptError):
            pixels(open_clip(tmp_path / "f"))
