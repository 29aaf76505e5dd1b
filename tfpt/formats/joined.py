"""Several files as one source, for a model whose weights were published in several: `weights:conv/kernel`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats import open_source
from tfpt.formats.source import Source
from tfpt.nearest import nearest

T = TypeVar("T")

SEPARATOR = ":"


def open_for(
    files: Mapping[str, str],
    checkpoint: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    **options: Any,
) -> Source:
    """The checkpoint of a mapping: one source, or those of several files as one.

    Args:
        files: The names of the files that the mapping declares under `source.files`, with what they are; usually none.
        checkpoint: A path or a URL; if there are names, a path for each: a dict, or text such as
            ``weights=a.npz,pca=b.npz``.
        options: Those of `tfpt.open_source`.

    Raises:
        SourceError: A file cannot be read, is missing or has an unknown name.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a", "b"):
        ...     np.savez(f"{folder}/{name}.npz", kernel=np.zeros(3))
        >>> list(open_for({"x": "", "y": ""}, f"x={folder}/a.npz,y={folder}/b.npz").specs)
        ['x:kernel', 'y:kernel']
    """
    if not files:
        if isinstance(checkpoint, Mapping):
            raise SourceError(
                "the mapping reads one file",
                expected="the path of a checkpoint",
                got=f"files for {', '.join(checkpoint)}",
                hint="source: {files: {NAME: …}} in the mapping declares several",
            )
        return open_source(checkpoint, **options)
    given = checkpoint if isinstance(checkpoint, Mapping) else _parsed(os.fspath(checkpoint), files)
    if set(given) != set(files):
        wrong = [name for name in given if name not in files]
        raise SourceError(
            "the mapping reads several files",
            where=None if isinstance(checkpoint, Mapping) else os.fspath(checkpoint),
            expected=", ".join(
                f"{name}=PATH ({what})" if what else f"{name}=PATH" for name, what in files.items()
            ),
            got=", ".join(map(str, given)) or "one path",
            nearest=[close for name in wrong for close in nearest(name, files, 1)],
            hint=" ".join(f"--checkpoint {name}=PATH" for name in files),
        )
    with ExitStack() as opened:
        sources = {}
        for name in files:
            sources[name] = open_source(given[name], **options)
            opened.callback(sources[name].close)
        joined = Joined(sources)
        opened.pop_all()
    return joined


class Joined(Source):
    """Several sources as one; the names of each begin with its own name and a colon.

    Args:
        sources: The sources, by name. Closing the joined source closes them.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)
        self.location = ",".join(f"{name}={source.location}" for name, source in sources.items())
        self.format = ", ".join(dict.fromkeys(source.format for source in sources.values()))
        self.specs = {
            name: replace(spec, name=name) for name, spec in self._joined(lambda source: source.specs).items()
        }
        self.roles = self._joined(lambda source: source.roles)
        self.skipped = self._joined(lambda source: source.skipped)
        self.quantized = self._joined(lambda source: source.quantized)
        self.sizes = self._joined(lambda source: source.sizes)

    @property
    def files(self) -> Sequence[str]:
        """Those of all sources."""
        return [file for source in self._sources.values() for file in source.files]

    @property
    def details(self) -> Sequence[str]:
        """Those of all sources."""
        return [f"{name}: {line}" for name, source in self._sources.items() for line in source.details]

    @property
    def order(self) -> Sequence[str] | None:
        """That of each source in turn, if all are known."""
        orders = {name: source.order for name, source in self._sources.items()}
        return (
            [f"{first}{SEPARATOR}{name}" for first, order in orders.items() for name in order or ()]
            if all(order is not None for order in orders.values())
            else None
        )

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Those of all sources."""
        return self._joined(lambda source: source.unavailable)

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor."""
        source, own = self._find(name)
        return source.read(own)

    def release(self, name: str) -> None:
        """Hint that this tensor is not needed again soon."""
        source, own = self._find(name)
        source.release(own)

    def fingerprint(self) -> str:
        """Those of all sources, in order."""
        return ",".join(source.fingerprint() for source in self._sources.values())

    def close(self) -> None:
        """Close all sources."""
        with ExitStack() as closing:
            for source in self._sources.values():
                closing.callback(source.close)

    def _find(self, name: str) -> tuple[Source, str]:
        first, _, own = name.partition(SEPARATOR)
        if first not in self._sources:
            raise self.no_such_tensor(name)
        return self._sources[first], own

    def _joined(self, table: Callable[[Source], Mapping[str, T]]) -> dict[str, T]:
        return {
            f"{first}{SEPARATOR}{name}": value
            for first, source in self._sources.items()
            for name, value in table(source).items()
        }


def _parsed(text: str, files: Mapping[str, str]) -> dict[str, str]:
    """The paths in `NAME=PATH,NAME=PATH`; a comma in a path does not end it unless a known name follows."""
    names = "|".join(map(re.escape, files))
    pieces = re.split(rf"(?:^|,)({names})=", text)
    if pieces[0]:
        first = re.match(r"(\w+)=", pieces[0])
        return {first[1]: ""} if first else {}
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))
