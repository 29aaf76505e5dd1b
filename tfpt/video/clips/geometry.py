"""Resizing and cropping pictures to the input size of a network."""

from __future__ import annotations

import numpy as np

from tfpt.errors import SourceError
from tfpt.packages import package

# Resized to 256 for crops of 224 (https://github.com/google-deepmind/kinetics-i3d, README); other sizes in proportion.
_RESIZED, _CROPPED = 256, 224
# Limit for a resized picture: a strip of 1 by 20,000 pixels would take gigabytes.
_MOST_PIXELS = 100_000_000


def shorter_side(size: int) -> int:
    """The shorter side of a picture before it is cropped to `size`.

    Example:
        >>> shorter_side(224), shorter_side(112)
        (256, 128)
    """
    return round(size * _RESIZED / _CROPPED)


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a picture before it is cropped to `size`; a picture of exactly that size is unchanged.

    Example:
        >>> resized_shape(480, 640, 224), resized_shape(1280, 720, 224), resized_shape(224, 224, 224)
        ((256, 341), (455, 256), (224, 224))
    """
    if (height, width) == (size, size):
        return height, width
    shorter = shorter_side(size)
    if height <= width:
        return shorter, max(shorter, round(width * shorter / height))
    return max(shorter, round(height * shorter / width)), shorter


def resized(picture: np.ndarray, size: int | None, location: str | None = None) -> np.ndarray:
    """A picture, uint8 of (height, width, channels), resized for a crop to `size`.

    Bilinear, with OpenCV's ``INTER_LINEAR``: each pixel is interpolated from the four around its center, without
    antialiasing, so strong reduction causes aliasing. The training clips of such networks were resized this way;
    Pillow and ``torchvision`` with ``antialias`` give smoother pictures. Pixels are assumed to be square. A picture
    that is already `size` by `size` has been cropped before, and is returned unchanged.

    Args:
        location: The clip, for errors.

    Raises:
        SourceError: The picture is so narrow that it would exceed 100 million pixels.

    Example:
        >>> resized(np.zeros((30, 40, 3), np.uint8), 21).shape
        (24, 32, 3)
    """
    if size is None:
        return picture
    height, width = resized_shape(picture.shape[0], picture.shape[1], size)
    if (height, width) == picture.shape[:2]:
        return picture
    if height * width > _MOST_PIXELS:
        raise SourceError(
            "the pictures are too long and narrow",
            where=location,
            expected=f"at most {_MOST_PIXELS:,} pixels, once their shorter side is {shorter_side(size)}",
            got=f"{picture.shape[0]} by {picture.shape[1]}, resized to {height} by {width}",
        )
    cv2 = package("cv2")
    result: np.ndarray = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return result


def cropped(picture: np.ndarray, size: int | None) -> np.ndarray:
    """The center of a picture, `size` by `size`; if the margin is odd, one pixel less is cut off at the top and left.

    Example:
        >>> cropped(np.arange(35).reshape(5, 7, 1), 2)[..., 0]
        array([[ 9, 10],
               [16, 17]])
    """
    if size is None:
        return picture
    top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    return np.ascontiguousarray(picture[top : top + size, left : left + size])
