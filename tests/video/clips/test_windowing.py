"""Windows of a clip: where they begin and end, and how few of its frames are held."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from tfpt.video.clips.windowing import LENGTH, WHOLE, windows


def frames(number):
    return (np.array([k]) for k in range(number))


def spans(number, **options):
    """First and last frame of each window."""
    return [(int(array[0, 0]), int(array[-1, 0])) for array in windows(frames(number), **options)]


def test_a_clip_of_up_to_300_frames_is_one_window():
    assert spans(79) == [(0, 78)]
    assert spans(WHOLE) == [(0, WHOLE - 1)]


def test_a_longer_one_is_cut_into_windows_of_64_of_which_the_last_ends_with_it():
    assert spans(WHOLE + 1) == [(0, 63), (64, 127), (128, 191), (192, 255), (237, 300)]
    assert spans(6 * LENGTH) == [(k, k + 63) for k in range(0, 6 * LENGTH, 64)]


@pytest.mark.parametrize(
    ("number", "window", "stride", "expected"),
    [
        (10, 5, None, [(0, 4), (5, 9)]),
        (11, 5, None, [(0, 4), (5, 9), (6, 10)]),
        (11, 5, 3, [(0, 4), (3, 7), (6, 10)]),
        (12, 5, 3, [(0, 4), (3, 7), (6, 10), (7, 11)]),
        (12, 3, 5, [(0, 2), (5, 7), (9, 11)]),
        (5, 5, None, [(0, 4)]),
        (4, 5, None, [(0, 3)]),
        (0, 5, None, []),
        (200, None, 100, [(0, 63), (100, 163), (136, 199)]),
    ],
)
def test_windows_and_strides(number, window, stride, expected):
    assert spans(number, window=window, stride=stride) == expected


def test_a_window_holds_the_frames_between_its_ends():
    for array in windows(frames(23), window=7, stride=4):
        assert array[:, 0].tolist() == list(range(int(array[0, 0]), int(array[0, 0]) + 7))


def test_a_short_clip_is_repeated_if_asked():
    (looped,) = windows(frames(3), window=8, loop=True)
    assert looped[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    (looped,) = windows(frames(5), loop=True)
    assert len(looped) == LENGTH
    assert spans(9, window=9, loop=True) == [(0, 8)]


def test_asking_for_that_changes_nothing_for_a_clip_that_is_long_enough():
    for number in (LENGTH, 79, WHOLE, WHOLE + 1):
        assert spans(number, loop=True) == spans(number)


@pytest.mark.parametrize("options", [{"window": 7, "stride": 4}, {"window": 5}, {}])
def test_no_more_than_a_window_of_frames_is_alive(options):
    alive: list[weakref.ref] = []
    most = 0

    def counted():
        nonlocal most
        for k in range(WHOLE + 500):
            frame = np.array([k])
            alive.append(weakref.ref(frame))
            most = max(most, sum(reference() is not None for reference in alive[-WHOLE - 200 :]))
            yield frame
            del frame

    for array in windows(counted(), **options):
        most = max(most, sum(reference() is not None for reference in alive))
        del array
    assert most <= options.get("window", WHOLE + LENGTH) + 2


def test_a_window_comes_before_the_frame_behind_it_is_read():
    def few():
        yield from frames(5)
        raise AssertionError("read ahead")

    assert len(next(windows(few(), window=5))) == 5


def test_a_window_longer_than_any_clip_is_the_clip():
    frames = [np.array([k]) for k in range(3)]
    assert [array.ravel().tolist() for array in windows(frames, window=10**30)] == [[0, 1, 2]]
