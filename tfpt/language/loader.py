"""From a mapping's name to a compiled `Mapping`: find the file, apply `extends`, validate it, compile it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language import mapping as rows
from tfpt.language.compiler import Compiler, together
from tfpt.language.configuration import Configuration, read_config
from tfpt.language.declarations import Default, declarations, defaults
from tfpt.language.documents import kept_document
from tfpt.language.inheritance import drop, extend
from tfpt.language.library import with_used_layers
from tfpt.language.mapping_files import base_mapping, bundled_files, locate_mapping, named_mappings
from tfpt.language.mapping_files import bundled_mappings as bundled_mappings
from tfpt.language.mapping_files import find_mapping as find_mapping
from tfpt.language.model_type import refuse_other_type
from tfpt.language.parameters import substitute
from tfpt.language.pruning import without
from tfpt.language.schema import MappingEntry
from tfpt.language.source_text import show_source
from tfpt.language.tree import Node, display_path, document_of, read_content
from tfpt.language.unused import unused
from tfpt.nearest import nearest

_log = logging.getLogger("tfpt")


def files_of(path: Path) -> tuple[Path, ...]:
    """A mapping's file, and those of the mappings that it extends.

    Raises:
        MappingError: One of them does not exist, or cannot be read.
    """
    files = _Files()
    files.merged(path)
    return tuple(sorted(files.read))


def files_of_ones_own(path: Path) -> dict[Path, str]:
    """What a mapping consists of beside files that come with tfpt: what it extends and uses, with SHA-256 digests.

    Raises:
        MappingError: One of the files does not exist, or cannot be read.
    """
    files = _Files()
    document = files.merged(path)
    with suppress(MappingError):  # values that a configuration must supply
        document = substitute(document, {}, None)
    used: dict[Path, str] = {}
    with suppress(MappingError):
        used = with_used_layers(document)[1]
    return {**files.digests, **used}


def load_mapping(
    name: str | Path,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
) -> rows.Mapping:
    """See `tfpt.api.load_mapping`."""
    try:
        return _load(name, settings, config)
    except MappingError as error:
        show_source(error)
        raise


def load_named() -> dict[str, rows.Mapping]:
    """Every mapping that has a name, compiled; one of an installed package that is invalid is left out, with a warning.

    Raises:
        MappingError: A mapping that comes with tfpt is invalid.
    """
    loaded = {name: load_mapping(name) for name in bundled_mappings()}
    others = {name: _load_if_valid(name) for name in named_mappings() if name not in loaded}
    return {**loaded, **{name: mapping for name, mapping in others.items() if mapping is not None}}


def _load_if_valid(name: str) -> rows.Mapping | None:
    try:
        return load_mapping(name)
    except MappingError as error:
        _log.warning("the mapping %s cannot be used: %s", name, error)
        return None


def _load(
    name: str | Path,
    settings: Mapping[str, Any] | None,
    config: Mapping[str, Any] | str | Path | None,
) -> rows.Mapping:
    path, named = locate_mapping(name)
    values = read_config(config) if isinstance(config, str | Path) else config
    given = None if values is None else Configuration(values, _config_name(config))
    files = _Files()
    document = files.merged(path)
    if given is not None:
        refuse_other_type(document, given)
    tree, used = with_used_layers(substitute(document, settings or {}, given))
    tree, entry, mistakes = _validate(tree)
    defaulted: list[Default] = []
    if given is not None and not mistakes:
        if entry.model.config is None and not any(
            isinstance(node.value, dict) for node in declarations(document).value.values()
        ):
            raise MappingError(
                "the mapping does not use a configuration",
                where=display_path(path),
                expected="model: {config: …}, or a parameter {from: KEY}",
                got="--config",
                hint="--set NAME=VALUE sets a parameter",
            )
        defaulted = defaults(document, settings or {}, given, shared=entry.model.config is not None)
    compiler = Compiler(tree, entry, mistakes)
    compiled = rows.Mapping(
        name=path.stem,
        path=path,
        named=named,
        summary=entry.summary,
        alternatives=compiler.alternatives(),
        model=rows.ModelReference(
            entry.model.factory,
            entry.model.kwargs,
            entry.model.config,
            tree.locate(["model", "factory"]),
            tree.locate(["model", "config"]),
        ),
        behaviors=compiler.behaviors(),
        endpoints=compiler.endpoints(),
        input=entry.input,
        params=entry.params,
        digest=hashlib.sha256(json.dumps(tree.plain(), sort_keys=True, default=str).encode()).hexdigest()[
            :16
        ],
        about=entry.about,
        url=entry.source.url,
        files=entry.source.files,
        labels=compiler.labels(),
        names=entry.source.names,
        adapted=bool(settings) or values is not None,
        config=None if values is None else dict(values),
        defaulted=tuple(defaulted),
        files_of_ones_own={**files.digests, **used},
        unused=unused(document, files.own, compiler.placed),
    )
    compiler.finish()
    _log.info("mapping %s: %s", path, f"{len(compiled.alternatives[0].rows):,} rows")
    return compiled


def _config_name(config: Mapping[str, Any] | str | Path | None) -> str:
    return Path(config).name if isinstance(config, str | Path) else "the configuration"


class _Files:
    """Reads a mapping and those that it extends, each file once."""

    def __init__(self) -> None:
        self.room = limits.MAPPING_VALUES
        self.read: set[Path] = set()
        self.digests: dict[Path, str] = {}
        # The first file, as in positions.
        self.own = ""

    def merged(self, path: Path, chain: tuple[Path, ...] = ()) -> Node:
        """The mapping at `path` merged into those that it extends; `chain` is the files that extend it."""
        bundled = bundled_files().get(path.stem) == path
        _log.debug("reading %s", path)
        tree = kept_document(path).root if bundled else self._document(path)
        self.own = self.own or tree.position.file
        self.room -= tree.size()
        self.read.add(path.resolve())
        if not isinstance(tree.value, dict):
            raise MappingError(
                "a mapping is a table of keys and values", where=str(tree.position), expected="version: 1"
            )
        children = dict(tree.value)
        bases, dropped = children.pop("extends", None), children.pop("drop", None)
        child = Node(children, tree.position, tree.keys)
        if bases is None:
            if dropped is not None:
                raise MappingError("drop: needs extends:", where=str(dropped.position))
            return child
        merged: Node | None = None
        for base in bases.value if isinstance(bases.value, list) else [bases]:
            target = base_mapping(base, path)
            if target.resolve() in (earlier.resolve() for earlier in (*chain, path)):
                raise MappingError("a mapping extends itself", where=str(base.position), got=str(target))
            if target.resolve() in self.read:
                continue  # two mappings that this one extends have it in common
            if len(self.read) >= limits.MAPPING_FILES:
                raise MappingError(
                    f"more than {limits.MAPPING_FILES} mappings extend one another",
                    where=str(base.position),
                )
            tree = self.merged(target, (*chain, path))
            merged = tree if merged is None else extend(merged, tree)
        merged = merged or Node({}, child.position)
        return extend(merged if dropped is None else drop(merged, dropped), child)

    def _document(self, path: Path) -> Node:
        content = read_content(path)
        self.digests[path.resolve()] = hashlib.sha256(content).hexdigest()
        return document_of(content, path, self.room)


def _validate(tree: Node) -> tuple[Node, MappingEntry, list[MappingError]]:
    """The mapping, or what is left of it without the mistakes found, and the mistakes.

    Raises:
        MappingError: Too little is left.
    """
    try:
        return tree, MappingEntry.model_validate(tree.plain()), []
    except ValidationError as error:
        details = error.errors()
    # For a value of several possible types, pydantic reports a mistake for each of them.
    mistakes = list({_standing(tree, d): _mistake(tree, d) for d in details}.values())
    sound = without(tree, [(_standing(tree, d), d["type"] == "missing") for d in details])
    try:
        return sound, MappingEntry.model_validate(sound.plain()), mistakes
    except ValidationError:
        raise together(mistakes) from None


def _standing(tree: Node, details: Any) -> tuple[int | str, ...]:
    """The path of a mistake, without the type names that pydantic adds."""
    loc: tuple[int | str, ...] = tuple(details["loc"])
    if details["type"] == "missing":
        return loc
    node: Node | None = tree
    for depth, step in enumerate(loc):
        children = node.value if node is not None else None
        if isinstance(children, list):
            children = dict(enumerate(children))
        node = children.get(step) if isinstance(children, dict) else None
        if node is None:
            return loc[:depth]
    return loc


def _mistake(tree: Node, details: Any) -> MappingError:
    loc = _standing(tree, details)
    if details["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        return MappingError(
            f"unknown key {loc[-1]!r}",
            where=str(tree.locate(loc, key=True)),
            expected=", ".join(known),
            nearest=nearest(str(loc[-1]), known),
        )
    if details["type"] == "missing":
        return MappingError(f"the key {loc[-1]!r} is missing", where=str(tree.locate(loc[:-1])))
    path = ".".join(str(step) for step in loc if not isinstance(step, int))
    # Operations store their lists as tuples.
    message = details["msg"].removeprefix("Value error, ").replace("valid tuple", "valid list")
    got = tree.at(loc).plain()
    return MappingError(
        f"{path or 'the mapping'}: {message.replace('Tuple should', 'List should')}",
        where=str(tree.locate(loc)),
        got=None if isinstance(got, dict) else repr(got),
    )


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at `loc`, found through the schema's annotations."""
    model: type[BaseModel] = MappingEntry
    steps = iter(loc)
    for step in steps:
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        if step not in fields:
            continue
        annotation = fields[str(step)].annotation
        model = next(_models(annotation), model)
        if get_origin(annotation) is dict:
            next(steps, None)  # a name chosen by the mapping, such as a layer's
    known = [info.alias or name for name, info in model.model_fields.items()]
    return ["extends", "drop", *known] if model is MappingEntry else known


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
