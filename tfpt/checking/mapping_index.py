"""The names that each mapping reads, computed once: enough to rank mappings without compiling any.

The index is kept in the user's cache, under a digest of everything that it depends on: the YAML files of all mappings
and the code that compiles them. If one of them changes, it is computed anew. Where the cache cannot be written, it is
computed in each run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tfpt.language
from tfpt.errors import TfptError
from tfpt.formats.cache import cache_folder
from tfpt.formats.renamed import Names
from tfpt.language.fields import Field, Pieces
from tfpt.language.mapping_files import named_mappings
from tfpt.language.mapping_packages import mapping_packages
from tfpt.language.templates import TF_SEPARATOR, Template

if TYPE_CHECKING:
    from tfpt.language.mapping import Mapping

_log = logging.getLogger("tfpt")

# Indexes of other installations and versions that stay in the cache.
_KEPT = 8


@dataclass(frozen=True)
class IndexedRow:
    """The variables that a row reads: any of these names."""

    tf: tuple[Template, ...]
    optional: bool


@dataclass(frozen=True)
class IndexedRows:
    """What a mapping reads for one scope of the source, and what it ignores."""

    scope: str
    rows: tuple[IndexedRow, ...]
    ignore: tuple[Template, ...]


@dataclass(frozen=True)
class IndexedMapping:
    """What ranking needs of a mapping.

    Attributes:
        name: The name that commands take.
        summary: What it is.
        names: The names of variables that its rows use.
        configured: Whether its model takes a configuration.
        alternatives: What it reads, for each scope of the source.
    """

    name: str
    summary: str
    names: Names
    configured: bool
    alternatives: tuple[IndexedRows, ...]


def mapping_index() -> dict[str, IndexedMapping]:
    """The mappings that have a name, by name: those that come with tfpt, and those of installed packages.

    Raises:
        MappingError: One that comes with tfpt is invalid.

    Example:
        >>> mapping_index()["i3d_flow"].alternatives[0].scope
        'Flow/inception_i3d'
    """
    key = _key()
    path = cache_folder() / "mappings" / f"{key}.json"
    found = _read(path)
    if found is None:
        found = computed_index()
        # One that leaves a mapping out is not kept, so that the next run says why, too.
        if len(found) == len(named_mappings()) and key == _key() and _is_current():
            _write(path, found)
    return found


def computed_index() -> dict[str, IndexedMapping]:
    """The index, from the mappings themselves.

    Raises:
        MappingError: One that comes with tfpt is invalid.
    """
    from tfpt.language.loader import load_named

    return {name: indexed(mapping, name) for name, mapping in load_named().items()}


def indexed(mapping: Mapping, name: str) -> IndexedMapping:
    """The part of a compiled mapping that the index has."""
    from tfpt.language.mapping import Copy

    return IndexedMapping(
        name,
        mapping.summary,
        mapping.names,
        mapping.model.config is not None,
        tuple(
            IndexedRows(
                row_set.scope,
                tuple(IndexedRow(row.tf, row.optional) for row in row_set.rows if isinstance(row, Copy)),
                tuple(entry.tf for entry in row_set.ignore if entry.tf is not None),
            )
            for row_set in mapping.alternatives
        ),
    )


# -- the files that it depends on ------------------------------------------------------------------------------


def _key() -> str:
    """A digest of all mappings, of the libraries that they may use, and of the code that compiles them."""
    total = hashlib.sha256()
    for name, path in _files():
        content = path.read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:32]


def _files() -> Iterator[tuple[str, Path]]:
    """Every file that the index depends on, with a name."""
    code = Path(str(tfpt.language.__file__)).parent
    for path in (*sorted(code.glob("*.py")), Path(__file__)):
        yield f"code/{path.name}", path
    bundled = Path(str(resources.files("tfpt.mappings")))
    for package, folder in (("tfpt", bundled), *((each.name, each.folder) for each in mapping_packages())):
        for path in (*sorted(folder.glob("*.yaml")), *sorted((folder / "layers").glob("*.yaml"))):
            yield f"{package}/{path.relative_to(folder).as_posix()}", path


def _is_current() -> bool:
    """Whether those of the files that this process keeps in memory are still the same on disk."""
    from tfpt.language.documents import kept_digests

    kept = kept_digests()
    return all(
        path not in kept or hashlib.sha256(path.read_bytes()).hexdigest() == kept[path]
        for _, path in _files()
    )


# -- the file in the cache ----------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, IndexedMapping] | None:
    """The index in a file of the cache; None if there is none, or it is damaged."""
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return None
        values = json.loads(text)
        fields = [_field(each) for each in values["fields"]]
        return {each[0]: _mapping(each, fields) for each in values["mappings"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _write(path: Path, index: dict[str, IndexedMapping]) -> None:
    """Write a file of the cache and remove old ones; nothing happens where that is not possible."""
    from tfpt.io.output_file import write_text

    fields: dict[Field, int] = {}
    mappings = [_spelled(mapping, fields) for mapping in index.values()]
    text = json.dumps({"fields": [_spelled_field(field) for field in fields], "mappings": mappings})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
        others = sorted(path.parent.glob("*.json"), key=lambda other: other.stat().st_mtime, reverse=True)
        for old in others[_KEPT:]:
            old.unlink()
    except (OSError, TfptError) as error:
        _log.debug("the index of mappings is not kept: %s", error)


def _spelled(mapping: IndexedMapping, fields: dict[Field, int]) -> list[Any]:
    def template(each: Template) -> str | list[Any]:
        if each.is_literal and each.parts == ((each.text,) if each.text else ()):
            return each.text
        return [
            each.text,
            *(part if isinstance(part, str) else fields.setdefault(part, len(fields)) for part in each.parts),
        ]

    alternatives = [
        [
            each.scope,
            [[row.optional, *map(template, row.tf)] for row in each.rows],
            [template(one) for one in each.ignore],
        ]
        for each in mapping.alternatives
    ]
    return [mapping.name, mapping.summary, mapping.names, mapping.configured, alternatives]


def _mapping(values: Any, fields: list[Field]) -> IndexedMapping:
    def template(each: Any) -> Template:
        if isinstance(each, str):
            return Template(each, TF_SEPARATOR, (each,) if each else ())
        return Template(
            each[0], TF_SEPARATOR, tuple(part if isinstance(part, str) else fields[part] for part in each[1:])
        )

    def templates(several: Iterable[Any]) -> tuple[Template, ...]:
        return tuple(map(template, several))

    name, summary, names, configured, alternatives = values
    return IndexedMapping(
        name,
        summary,
        names,
        configured,
        tuple(
            IndexedRows(
                scope, tuple(IndexedRow(templates(tf), optional) for optional, *tf in rows), templates(ignore)
            )
            for scope, rows, ignore in alternatives
        ),
    )


def _spelled_field(field: Field) -> dict[str, Any]:
    """The attributes of a field as JSON values."""
    values = {name: getattr(field, name) for name in Field.__dataclass_fields__}
    values["domain"] = [_spelled_domain(each) for each in field.domain]
    return values


def _field(values: dict[str, Any]) -> Field:
    divisor = values["divisor"]
    changed = {
        "words": tuple((here, there) for here, there in values["words"]),
        "divisor": tuple(divisor) if isinstance(divisor, list) else divisor,
        "domain": tuple(map(_domain, values["domain"])),
    }
    return Field(**{**values, **changed})


def _spelled_domain(numbers: object) -> list[Any]:
    if isinstance(numbers, range):
        return ["range", numbers.start, numbers.stop, numbers.step]
    if isinstance(numbers, Pieces):
        return ["pieces", numbers.kind, numbers.divisor, sorted(numbers.written)]
    assert isinstance(numbers, frozenset)
    return ["set", sorted(numbers)]


def _domain(values: list[Any]) -> Any:
    kind, *rest = values
    if kind == "range":
        return range(*rest)
    if kind == "set":
        return frozenset(rest[0])
    divisor = rest[1]
    return Pieces(rest[0], tuple(divisor) if isinstance(divisor, list) else divisor, frozenset(rest[2]))
