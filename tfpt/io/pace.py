"""How slowly an answer may come: a server that sends a byte now and then must not hold a command for ever."""

from __future__ import annotations

import time

from tfpt.errors import SourceError
from tfpt.io import limits

# Replaced in tests.
clock = time.monotonic


class Pace:
    """The time that one answer takes, against the bytes that it brought.

    Example:
        >>> Pace("https://example.org/m.h5").check(0)
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._began = clock()

    def check(self, received: int) -> None:
        """Raise where `received` bytes are too few for the time that passed.

        Raises:
            SourceError: The answer is slower than `tfpt.io.limits` allows.
        """
        passed = clock() - self._began
        if passed > limits.WEB_PATIENCE + received / limits.WEB_SLOWEST:
            raise SourceError(
                "the server sends too slowly",
                where=self._where,
                expected=f"at least {limits.WEB_SLOWEST:,} bytes a second after {limits.WEB_PATIENCE:.0f} seconds",
                got=f"{received:,} bytes in {passed:.0f} seconds",
                hint="try again later, or get the file by other means and name the local copy",
            )
