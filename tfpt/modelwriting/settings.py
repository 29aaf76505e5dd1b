"""The settings of a Keras layer, each checked for its type: they come from a file, and some end up in code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Shape = tuple[int | None, ...]


class GapError(Exception):
    """A layer that cannot be written, with the reason."""


class Settings:
    """The settings of one layer.

    Args:
        values: The layer's ``config`` as parsed JSON.

    Raises:
        GapError: In every method, the setting has another type than it has in Keras.

    Example:
        >>> settings = Settings({"units": 7, "strides": [2, 2], "kernel_size": 3})
        >>> settings.integer("units"), settings.sizes("strides", 2), settings.sizes("kernel_size", 2)
        (7, (2, 2), (3, 3))
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def get(self, *keys: str) -> Any:
        """The value of the first of these keys that is not null; `None` if there is none."""
        return next((self.values[key] for key in keys if self.values.get(key) is not None), None)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "an integer")
        return value

    def number(self, *keys: str, default: float | None = None) -> float:
        value = self.get(*keys)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(keys[0], "a number")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """A number, or a list of numbers, perhaps nested."""
        found: list[float] = []
        work = [self.values.get(key)]
        while work:
            each = work.pop(0)
            if isinstance(each, dict) and each.get("class_name") == "__numpy__":
                each = each.get("config", {}).get("value")
            if isinstance(each, list | tuple):
                work[:0] = each
            elif isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each):
                found.append(each)
            else:
                raise self._wrong(key, "numbers")
        return tuple(found)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key, default)
        if value is None:
            return default
        if not isinstance(value, bool | int):
            raise self._wrong(key, "true or false")
        return bool(value)

    def text(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """One of a few words; another is a gap."""
        value = self.values.get(key)
        value = default if value is None else value
        if value not in allowed:
            raise GapError(f"{key} is {value!r}"[:100])
        return str(value)

    def sizes(self, key: str, count: int, default: int | None = None) -> tuple[int, ...]:
        """One integer for each dimension; a single one applies to all."""
        value = self.values.get(key)
        value = default if value is None else value
        listed = [value] * count if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(listed, list | tuple) or len(listed) != count:
            raise self._wrong(key, f"{count} integers")
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in listed):
            raise self._wrong(key, f"{count} integers")
        return tuple(listed)

    def pairs(self, key: str, count: int) -> tuple[tuple[int, int], ...]:
        """Two integers for each dimension, as padding and cropping have them.

        Example:
            >>> Settings({"padding": [[0, 1], [2, 3]]}).pairs("padding", 2)
            ((0, 1), (2, 3))
            >>> Settings({"padding": 2}).pairs("padding", 1)
            ((2, 2),)
        """
        value = self.values.get(key)
        if isinstance(value, int):
            value = [value] * count
        if count == 1 and isinstance(value, list | tuple) and len(value) == 2:
            value = [value]
        if not isinstance(value, list | tuple) or len(value) != count:
            raise self._wrong(key, f"{count} pairs of integers")
        return tuple(
            (each, each) if isinstance(each, int) else tuple(Settings({key: each}).sizes(key, 2))  # type: ignore[misc]
            for each in value
        )

    def _wrong(self, key: str, expected: str) -> GapError:
        return GapError(f"{key} is {self.values.get(key)!r}"[:100] + f", not {expected}")


def shape_of(value: object) -> Shape | None:
    """A shape in a configuration, with the batch; `None` if it is not one.

    Example:
        >>> shape_of([None, 7, 5]), shape_of([[None, 7], [None, 5]]), shape_of("x")
        ((None, 7, 5), None, None)
    """
    if not isinstance(value, list | tuple):
        return None
    if not all(
        each is None or (isinstance(each, int) and not isinstance(each, bool) and each >= 0) for each in value
    ):
        return None
    return tuple(value)
