"""Clips in .npy files: the layouts that are read, and every other one refused with the reason."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.video.clips.footage import noise
from tfpt.errors import SourceError
from tfpt.video.clips import open_clip


@pytest.fixture
def write(tmp_path):
    def save(array, name="clip.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


def pixels(clip):
    return np.stack([frame.read() for frame in clip.frames(Fraction(0))])


VALUES = np.random.default_rng(3).uniform(-1, 1, (1, 4, 5, 7, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "array",
    [VALUES, VALUES[0], np.asfortranarray(VALUES), VALUES.astype(">f4"), VALUES.astype(np.float64)],
    ids=["DeepMind's", "without a batch", "Fortran's order", "big-endian", "double"],
)
def test_floats_are_the_values_themselves(write, array):
    clip = open_clip(write(array))
    assert (clip.kind, clip.length, clip.size, clip.channels, clip.fps) == ("values", 4, (5, 7), 3, None)
    found = pixels(clip)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALUES[0])


def test_bytes_are_pictures(write):
    pictures = noise(4)
    clip = open_clip(write(pictures[None]), fps=50)
    assert (clip.kind, clip.fps) == ("pictures", 50)
    np.testing.assert_array_equal(pixels(clip), pictures)
    assert [frame.time for frame in clip.frames(Fraction(0))] == [Fraction(k, 50) for k in range(4)]


@pytest.mark.parametrize(
    ("array", "what", "got"),
    [
        (VALUES[0, 0], "the array is not a clip", "float32 of (5, 7, 3)"),
        (VALUES[:, :0], "the array is not a clip", "float32 of (0, 5, 7, 3)"),
        (np.repeat(VALUES, 2, axis=0), "the file contains 2 clips", "float32 of (2, 4, 5, 7, 3)"),
        (VALUES.astype(np.int32), "dtype that a clip cannot have", "int32 of (4, 5, 7, 3)"),
        (VALUES.astype(np.complex64), "dtype that a clip cannot have", "complex64 of (4, 5, 7, 3)"),
        (noise(4)[..., :2], "pictures must have three channels", "uint8 of (4, 22, 30, 2)"),
    ],
)
def test_what_is_no_clip_is_refused(write, array, what, got):
    with pytest.raises(SourceError, match=what) as refused:
        open_clip(write(array))
    assert refused.value.got == got
    assert refused.value.expected
    assert refused.value.where.endswith("clip.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_place(write, value):
    array = VALUES.copy()
    array[0, 2, 3, 5, 1] = value
    array[0, 2, 4, 5, 1] = value
    with pytest.raises(SourceError, match="not finite") as refused:
        open_clip(write(array))
    assert refused.value.where.endswith("clip.npy, frame 2, row 3, column 5, channel 1")
    assert refused.value.got == f"{value} and 1 more in this frame"


def test_a_file_that_is_cut_off_and_one_with_objects_are_refused(write, tmp_path):
    whole = write(VALUES).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-100])
    (tmp_path / "header.npy").write_bytes(whole[:40])
    for path in (tmp_path / "cut.npy", tmp_path / "header.npy", write(np.array([{}]), "objects.npy")):
        with pytest.raises(SourceError, match="npy file cannot be read"):
            open_clip(path)


def test_a_header_that_is_no_python_is_refused(write):
    path = write(VALUES)
    path.write_bytes(path.read_bytes().replace(b"'shape': (", b"'shape': ((("))
    with pytest.raises(SourceError, match="npy file cannot be read"):
        open_clip(path)
