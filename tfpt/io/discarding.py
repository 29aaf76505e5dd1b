"""A `with` block that leaves nothing behind unless it was told to."""

from __future__ import annotations

from types import TracebackType

from typing_extensions import Self


class Discarding:
    """Discards at the end of a `with` block, with an exception or without one; what was committed stays."""

    def discard(self) -> None:
        """Give up and leave nothing behind; does nothing after a commit."""
        raise AssertionError("a subclass says what to discard")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
