"""Keeps track of which tensors an output file should have, and which were written."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfpt.errors import SinkError
from tfpt.tensors import TensorSpec, dtype, format_shape

# What is refused here results from a wrong plan, not from anything the user did.
_BUG = "this is a bug in tfpt: please report it"
_SHOWN = 5


class Ledger:
    """Checks each tensor against its spec, and at the end that all were written.

    Args:
        path: The output, for messages.
        specs: All tensors of the file.

    Raises:
        SinkError: Two specs have the same name.

    Example:
        >>> ledger = Ledger(Path("w.pth"), [TensorSpec("bias", (3,), "float32")])
        >>> with ledger.entry("bias", np.zeros(3, np.float32)):
        ...     pass  # written here
        >>> ledger.close()
    """

    def __init__(self, path: Path, specs: Iterable[TensorSpec]) -> None:
        self._path = path
        self.specs: dict[str, TensorSpec] = {}
        for spec in specs:
            if spec.name in self.specs:
                raise self._fault(f"two tensors are called {spec.name!r}")
            self.specs[spec.name] = spec
        self._begun: set[str] = set()
        self._written: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def entry(self, name: str, array: np.ndarray) -> Iterator[TensorSpec]:
        """The spec of the tensor written in the `with` block; it counts as written if the block succeeds."""
        spec = self._check(name, array)
        with self._lock:
            if name in self._begun:
                raise self._fault(f"{name!r} was written twice")
            self._begun.add(name)
        yield spec
        with self._lock:
            self._written.add(name)

    def close(self) -> None:
        """Raise `SinkError` unless every tensor was written."""
        missing = [name for name in self.specs if name not in self._written]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            got = f"missing: {', '.join(missing[:_SHOWN])}{more}"
            raise self._fault("not every tensor was written", f"{len(self.specs)} tensors", got)

    def _check(self, name: str, array: np.ndarray) -> TensorSpec:
        spec = self.specs.get(name)
        if spec is None:
            raise self._fault(f"{name!r} is not among the tensors of this file")
        if array.shape != spec.shape or array.dtype != dtype(spec.dtype).numpy:
            got = f"{format_shape(array.shape)} {array.dtype}"
            raise self._fault(
                f"{name!r} has a different shape or dtype", f"{format_shape(spec.shape)} {spec.dtype}", got
            )
        return spec

    def _fault(self, what: str, expected: str | None = None, got: str | None = None) -> SinkError:
        return SinkError(what, where=str(self._path), expected=expected, got=got, hint=_BUG)
