"""The content of a file: its tensors, their sizes, and statistics of their values."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from tfpt.checking.statistics import Oddity, Statistics, oddities_in, or_none, statistics_of
from tfpt.errors import SourceError, TfptError
from tfpt.formats import Source, open_source
from tfpt.formats.renamed import Names
from tfpt.formats.roles import roles_of
from tfpt.formats.source import Quantized, Role
from tfpt.tensors import DTYPES, TensorSpec

# How tensors are listed.
Order = Literal["name", "file"]


@dataclass(frozen=True)
class Inspection:
    """The content of a file.

    Attributes:
        path: The file, as the user named it.
        format: Its format.
        fingerprint: A hash of its content, as written into converted files.
        specs: The selected tensors.
        total: The number of tensors in the file.
        statistics: Statistics of each numeric tensor, if requested.
        roles: The purpose of tensors other than weights: optimizer slots, moving averages, counters.
        details: Other information in the file, as text: signatures, metadata.
        skipped: Tensors in the file that are not in `specs`, by name, each with the reason.
        unreadable: Tensors whose values cannot be read, by name, each with the reason: those known without reading, and
            with `stats` all of them.
        quantized: How integers represent real numbers, by the name of the tensor.
        sizes: Bytes in the file of string tensors, by name, if the format records them.
        order: ``name``, or ``file``: `specs` is in the order in which the tensors were created.
    """

    path: str
    format: str
    fingerprint: str
    specs: Mapping[str, TensorSpec]
    total: int
    statistics: Mapping[str, Statistics]
    roles: Mapping[str, Role]
    details: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    quantized: Mapping[str, Quantized] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    order: Order = "name"

    @property
    def oddities(self) -> dict[Oddity, list[str]]:
        """The tensors with values that are odd for a trained network, if the values were read."""
        return oddities_in(self.specs, self.statistics, self.roles)

    @property
    def by_dtype(self) -> dict[str, tuple[int, int]]:
        """For each dtype, how many tensors and how many bytes, largest first."""
        return self._totals(lambda spec: spec.dtype)

    @property
    def by_role(self) -> dict[str, tuple[int, int]]:
        """For weights and each other role, how many tensors and how many bytes, largest first."""
        return self._totals(lambda spec: self.roles.get(spec.name, "weight"))

    def _totals(self, key: Callable[[TensorSpec], str]) -> dict[str, tuple[int, int]]:
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for spec in self.specs.values():
            counts[key(spec)] += 1
            sizes[key(spec)] += self.sizes.get(spec.name, spec.nbytes)
        return {name: (counts[name], size) for name, size in sizes.most_common()}

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "format": self.format,
            "order": self.order,
            "fingerprint": self.fingerprint,
            "tensors": [
                {
                    "name": spec.name,
                    "shape": list(spec.shape),
                    "dtype": spec.dtype,
                    "role": self.roles.get(name, "weight"),
                    **({"bytes": self.sizes[name]} if name in self.sizes else {}),
                    **({"quantized": _quantized(self.quantized[name])} if name in self.quantized else {}),
                    **({"unreadable": self.unreadable[name]} if name in self.unreadable else {}),
                    **({"statistics": self.statistics[name].to_json()} if name in self.statistics else {}),
                }
                for name, spec in self.specs.items()
            ],
            **({"oddities": dict(self.oddities)} if self.statistics else {}),
            "total": self.total,
            "skipped": dict(self.skipped),
            "details": list(self.details),
            "dtypes": {name: {"tensors": n, "bytes": size} for name, (n, size) in self.by_dtype.items()},
            "roles": {name: {"tensors": n, "bytes": size} for name, (n, size) in self.by_role.items()},
        }


def _quantized(how: Quantized) -> dict[str, Any]:
    return {
        "scheme": how.scheme,
        "axis": how.axis,
        "scales": [or_none(scale) for scale in how.scales],
        "zero_points": list(how.zero_points),
        **({"minimums": list(how.minimums)} if how.minimums else {}),
    }


def inspect(
    path: str | os.PathLike[str],
    *,
    grep: str | None = None,
    stats: bool = False,
    dequantize: bool = False,
    names: Names = "readable",
    order: Order = "name",
) -> Inspection:
    """See `tfpt.api.inspect`."""
    source = open_source(path, dequantize=dequantize, names=names)
    try:
        return inspect_source(source, grep=grep, stats=stats, path=os.fspath(path), order=order)
    finally:
        source.close()


def inspect_source(
    source: Source,
    *,
    grep: str | None = None,
    stats: bool = False,
    path: str = "",
    order: Order = "name",
) -> Inspection:
    """The content of an open file; values are read only with `stats`.

    Args:
        source: The open file.
        grep: Only tensors whose name matches this regular expression anywhere.
        stats: Also read the values.
        path: The name of the file.
        order: ``file`` for the order in which the tensors were created.

    Raises:
        TfptError: `grep` is not a regular expression; the file does not keep the order.
        SourceError: The file cannot be read. Single tensors that cannot be read are in `unreadable`.
    """
    try:
        wanted = re.compile(grep or "")
    except re.error as error:
        raise TfptError("--grep is not a regular expression", got=f"{grep}: {error}") from error
    listed = source.specs if order == "name" else _created(source)
    specs = {name: spec for name, spec in listed.items() if wanted.search(name)}
    unreadable = {name: why for name, why in source.unavailable.items() if name in specs}
    statistics = {}
    for name, spec in specs.items() if stats else ():
        dtype = DTYPES[spec.dtype].numpy
        if dtype is None or dtype.kind in "Oc" or not spec.size or name in unreadable:
            continue
        # One damaged tensor among thousands is reported and does not hide the others.
        with _noting(unreadable, name):
            statistics[name] = statistics_of(source.read(name))
        with suppress(SourceError):
            source.release(name)
    return Inspection(
        path=path or source.location,
        format=source.format,
        fingerprint=source.fingerprint(),
        specs=specs,
        total=len(source.specs),
        statistics=statistics,
        roles={name: role for name, role in roles_of(source).items() if name in specs},
        details=tuple(source.details),
        skipped={name: why for name, why in source.skipped.items() if wanted.search(name)},
        unreadable=unreadable,
        quantized={name: how for name, how in source.quantized.items() if name in specs},
        sizes={name: size for name, size in source.sizes.items() if name in specs},
        order=order,
    )


def _created(source: Source) -> dict[str, TensorSpec]:
    """The tensors in the order in which they were created."""
    if source.order is None:
        checkpoint = source.format in ("TensorFlow V1 checkpoint", "TensorFlow V2 checkpoint")
        raise TfptError(
            "the file does not keep the order in which its tensors were created",
            where=source.location,
            expected="a file that lists them in another order than by name",
            got=source.format,
            hint="the .meta file that TensorFlow wrote with the checkpoint has the order: put it beside it"
            if checkpoint
            else None,
        )
    return {name: source.specs[name] for name in source.order}


@contextmanager
def _noting(reasons: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        reasons[name] = error.what
