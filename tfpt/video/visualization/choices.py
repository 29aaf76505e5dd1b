"""What both kinds of drawing let people choose, checked before anything is computed."""

from __future__ import annotations

import math

from tfpt.errors import TfptError

SCALES = ("common", "each")


def check_choices(*, scale: str, zoom: int | None, fps: float | None) -> None:
    """Refuse what no picture can have.

    Raises:
        TfptError: No such scale, a zoom below 1, or a rate that is not above 0.

    Example:
        >>> check_choices(scale="common", zoom=None, fps=0.0)
        Traceback (most recent call last):
        ...
        tfpt.errors.TfptError: a rate of frames must be above 0
          expected  frames a second, such as 4 or 12.5
          got       0
    """
    if scale not in SCALES:
        raise TfptError("no such scale", expected=", ".join(SCALES), got=str(scale))
    if zoom is not None and zoom < 1:
        raise TfptError("a zoom is a number of pixels", expected="1 or more", got=str(zoom))
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise TfptError(
            "a rate of frames must be above 0",
            expected="frames a second, such as 4 or 12.5",
            got=f"{fps:g}",
        )
