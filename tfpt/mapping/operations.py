"""The operations of a row as plain values: what is done to which axis. `transform` carries them out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """Part of one axis, as Python slices."""

    axis: str
    start: int | None
    stop: int | None
    step: int | None

    def of(self, size: int) -> int:
        """How much of an axis of `size` it takes."""
        return len(range(*slice(self.start, self.stop, self.step).indices(size)))

    def __str__(self) -> str:
        start, stop, step = (
            "" if value is None else str(value) for value in (self.start, self.stop, self.step)
        )
        return f"{self.axis} {start}:{stop}" + (f":{step}" if step else "")


@dataclass(frozen=True)
class Reorder:
    """The axis cut into as many equal groups as `order` has entries, and the groups put into that order."""

    axis: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class Add:
    """Numbers added: one to everything, or one to each equal group along an axis."""

    axis: str | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Pad:
    """Values appended to an axis up to a size, or up to a multiple of one."""

    axis: str
    to: int | None
    multiple: int | None
    value: float

    def of(self, size: int) -> int:
        """The size of the axis once it is padded."""
        if self.to is not None:
            return self.to
        multiple = self.multiple or 1
        return -(-size // multiple) * multiple


@dataclass(frozen=True)
class Zero:
    """One index of an axis set to zero."""

    axis: str
    at: int


@dataclass(frozen=True)
class Split:
    """One tensor taken apart: along its first axis, which goes away, or along `axis` into pieces that keep it."""

    axis: str | None = None
    sizes: tuple[int, ...] = ()
