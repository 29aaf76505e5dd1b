"""The error for a tensor that a source does not hold."""

from __future__ import annotations

from collections.abc import Collection

from tfpt.errors import SourceError
from tfpt.nearest import nearest


def no_such_tensor(name: str, names: Collection[str], location: str) -> SourceError:
    """What to raise when `name` is none of `names`.

    Example:
        >>> print(no_such_tensor("conv/w", ["conv/weights"], "model.pb"))
        there is no tensor called 'conv/w' here
          where     model.pb
          nearest   conv/weights
          next      tfpt inspect model.pb lists its 1 tensors
    """
    return SourceError(
        f"there is no tensor called {name!r} here",
        where=location,
        nearest=nearest(name, names),
        hint=f"tfpt inspect {location} lists its {len(names)} tensors",
    )
