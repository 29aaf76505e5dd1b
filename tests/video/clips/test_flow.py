"""TV-L1 flow of pictures that move by known amounts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.video.clips.footage import texture
from tfpt.video.clips.flow import flows

WIDE = texture(160, 190)


def moved(right: int, down: int) -> list[np.ndarray]:
    """Two pictures, the content of the second further to the right and further down."""
    return [
        np.ascontiguousarray(WIDE[30 : 30 + 96, 40 : 40 + 112]),
        np.ascontiguousarray(WIDE[30 - down : 126 - down, 40 - right : 152 - right]),
    ]


@pytest.mark.parametrize(("right", "down"), [(3, -2), (-4, 1), (0, 5)])
def test_a_translation_comes_out_right_and_down_in_pixels_of_20(right, down):
    (flow,) = flows(moved(right, down))
    assert flow.dtype == np.float32
    assert flow.shape == (96, 112, 2)
    inside = flow[16:-16, 16:-16] * 20
    assert np.median(inside[..., 0]) == pytest.approx(right, abs=0.1)
    assert np.median(inside[..., 1]) == pytest.approx(down, abs=0.1)


def test_motion_beyond_20_pixels_is_cut():
    large = np.repeat(np.repeat(WIDE, 4, axis=0), 4, axis=1)  # smooth over distances of a large motion
    first, second = large[100:420, 200:520], large[100:420, 172:492]
    (flow,) = flows([np.ascontiguousarray(first), np.ascontiguousarray(second)])
    assert flow.max() == 1.0
    assert flow.min() >= -1.0
    assert (flow[..., 0] == 1.0).mean() > 0.3


def test_of_n_pictures_there_are_n_less_one_in_their_order_however_many_threads():
    pictures = [np.ascontiguousarray(WIDE[:64, k * k : k * k + 64]) for k in range(6)]
    one = list(flows(pictures, workers=1))
    three = list(flows(iter(pictures), workers=3))
    assert len(one) == len(three) == 5
    for first, second in zip(one, three, strict=True):
        np.testing.assert_array_equal(first, second)
    medians = [float(np.median(flow[16:-16, 16:-16, 0]) * 20) for flow in one]
    assert medians[:3] == pytest.approx([-1, -3, -5], abs=0.2)


def test_no_more_pictures_are_read_ahead_than_there_are_threads():
    read = 0

    def pictures():
        nonlocal read
        for _ in range(50):
            read += 1
            yield np.zeros((16, 16, 3), np.uint8)

    following = flows(pictures(), workers=2)
    next(following)
    assert read <= 5
    following.close()


def test_of_one_picture_there_is_none():
    assert list(flows([WIDE])) == []
