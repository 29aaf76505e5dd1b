"""A source under the names of its storage: object paths of a checkpoint, dataset paths of a Keras archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tfpt.sources.source import NO_ALIASES, Quantised, Role, Source
from tfpt.tensors import TensorSpec


class ByPath:
    """A view of a source in which a tensor that is stored at a path of its own is called by that path.

    Readable names may hold counters of the process that trained (``dense_3/kernel``); paths hold the attributes of
    its objects (``encoder/output/kernel``), which are the same in every run. Readers of such files say them in their
    attribute `paths`, name to path; tensors without one keep their names.

    Example:
        >>> from types import SimpleNamespace
        >>> spec = TensorSpec("dense_3/kernel", (2,), "float32")
        >>> source = SimpleNamespace(
        ...     location="m", side="tf", format="f", specs={spec.name: spec}, roles={},
        ...     skipped={}, quantised={},
        ...     paths={spec.name: "head/kernel"},
        ... )
        >>> list(ByPath(source).specs)
        ['head/kernel']
    """

    location: str
    side: Literal["tf", "pt"]
    format: str
    specs: Mapping[str, TensorSpec]
    roles: Mapping[str, Role]
    aliases: Mapping[str, str] = NO_ALIASES
    skipped: Mapping[str, str]
    quantised: Mapping[str, Quantised]

    def __init__(self, source: Source) -> None:
        self._source = source
        self.location, self.side, self.format = source.location, source.side, source.format
        self.details: Sequence[str] = getattr(source, "details", ())
        paths: Mapping[str, str] = getattr(source, "paths", {})
        self._names = {paths.get(name, name): name for name in source.specs}
        self.specs = {path: replace(source.specs[name], name=path) for path, name in self._names.items()}
        self.skipped = {paths.get(name, name): reason for name, reason in source.skipped.items()}
        self.quantised = {paths.get(name, name): how for name, how in source.quantised.items()}
        unavailable: Mapping[str, str] = getattr(source, "unavailable", {})
        self.unavailable = {paths.get(name, name): reason for name, reason in unavailable.items()}
        self.roles = {paths.get(name, name): role for name, role in source.roles.items()}

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor."""
        return self._source.read(self._names.get(name, name))

    def release(self, name: str) -> None:
        """Say that this tensor is not needed again soon."""
        self._source.release(self._names.get(name, name))

    def fingerprint(self) -> str:
        """The source's own."""
        return self._source.fingerprint()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
