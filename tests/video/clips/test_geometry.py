"""Resizing and cropping, against torch's bilinear interpolation and plain indices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tests.video.clips.footage import noise
from tfpt.errors import SourceError
from tfpt.video.clips.geometry import cropped, resized, resized_shape


@pytest.mark.parametrize(
    ("height", "width"), [(37, 53), (53, 37), (41, 41), (240, 320), (11, 7), (128, 171), (24, 31)]
)
def test_it_is_bilinear_without_antialiasing_whether_smaller_or_larger(height, width):
    picture = noise(1, height, width)[0]
    found = resized(picture, 21)
    shape = resized_shape(height, width, 21)
    assert min(shape) == 24
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    expected = interpolate(tensor, shape, mode="bilinear", align_corners=False, antialias=False)
    apart = np.abs(found.transpose(2, 0, 1) - expected[0].numpy())
    assert found.shape == (*shape, 3)
    # OpenCV works in fixed point and rounds to whole levels.
    assert apart.max() < 1
    assert apart.mean() < 0.3


def test_an_antialiased_picture_would_be_another_one():
    """So that the test above can tell the two apart."""
    picture = noise(1, 240, 320)[0]
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    smooth = interpolate(
        tensor, resized_shape(240, 320, 21), mode="bilinear", align_corners=False, antialias=True
    )
    assert np.abs(resized(picture, 21).transpose(2, 0, 1) - smooth[0].numpy()).max() > 20


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((480, 640), (256, 341)),
        ((640, 480), (341, 256)),
        ((1080, 1920), (256, 455)),
        ((240, 320), (256, 341)),
        ((256, 256), (256, 256)),
        ((224, 224), (224, 224)),  # cropped already
        ((224, 225), (256, 257)),
    ],
)
def test_the_shorter_side_becomes_256(before, after):
    assert resized_shape(*before, 224) == after


def test_a_picture_of_the_very_size_is_left_as_it_is():
    picture = noise(1, 21, 21)[0]
    assert resized(picture, 21) is picture
    assert resized(picture, None) is picture


def test_the_crop_is_of_the_center():
    picture = noise(1, 24, 31)[0]
    np.testing.assert_array_equal(cropped(picture, 21), picture[1:22, 5:26])
    np.testing.assert_array_equal(cropped(picture, None), picture)


def test_a_strip_that_would_grow_to_gigabytes_is_refused():
    with pytest.raises(SourceError, match="too long and narrow") as error:
        resized(np.zeros((1, 20_000, 3), np.uint8), 224)
    assert error.value.got == "1 by 20000, resized to 256 by 5120000"
    assert resized(np.zeros((8, 800, 3), np.uint8), 14).shape == (16, 1600, 3)
