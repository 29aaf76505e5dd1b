"""Which files a person means by the path of a checkpoint: its prefix, one of its files, or its folder."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tfpt.errors import SourceError

_SUFFIX = re.compile(r"\.(?:index|meta|data-\d{5,}-of-\d{5,})$")
_STATE = "checkpoint"
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_LISTED = 12


@dataclass(frozen=True)
class Location:
    """The files of one checkpoint.

    Attributes:
        prefix: The path that all of its files start with; what TensorFlow calls the checkpoint's path.
        index: The file with names, shapes and places. For a V1 checkpoint this is the prefix itself.
    """

    prefix: Path
    index: Path

    def shard(self, number: int, count: int) -> Path:
        """The data file of that number.

        Example:
            >>> Location(Path("model.ckpt"), Path("model.ckpt.index")).shard(3, 4).name
            'model.ckpt.data-00003-of-00004'
        """
        return Path(f"{self.prefix}.data-{number:05d}-of-{count:05d}")


def locate(path: str | os.PathLike[str]) -> Location:
    """The checkpoint that `path` names.

    Args:
        path: A prefix (``model.ckpt-1000``); one of the files (``.index``, ``.meta``, ``.data-…``, the state file
            ``checkpoint``); or a folder: one with a state file, a SavedModel, or any with an index, of which the
            newest is taken. ``~`` is the home folder.

    Raises:
        SourceError: There is none; says what was tried and which names come near.
    """
    asked = Path(os.path.expanduser(os.fspath(path)))
    found = _at_prefix(asked)
    if found:
        return found
    if os.path.isdir(asked):
        return _in_folder(asked)
    if asked.name == _STATE and os.path.isfile(asked):
        return _in_folder(asked.parent)
    prefix = Path(_SUFFIX.sub("", str(asked)))
    if prefix != asked:
        found = _at_prefix(prefix)
        if found:
            return found
    if os.path.isfile(asked):
        if prefix != asked:
            raise _not_found(asked, [Path(f"{prefix}.index")], "the index of this checkpoint is missing")
        return Location(asked, asked)
    tried = [Path(f"{prefix}.index"), asked]
    raise _not_found(asked, tried, "there is no TensorFlow checkpoint of this name")


def _at_prefix(prefix: Path) -> Location | None:
    index = Path(f"{prefix}.index")
    if os.path.isfile(index):
        return Location(prefix, index)
    # Without an index the prefix can itself be the file: TensorFlow's first format. Not so a file that carries
    # the suffix of one of ours, nor the state file.
    if os.path.isfile(prefix) and prefix.name != _STATE and not _SUFFIX.search(prefix.name):
        return Location(prefix, prefix)
    if prefix.name.endswith(".index") and os.path.isfile(prefix):
        return Location(Path(str(prefix)[: -len(".index")]), prefix)
    return None


def _in_folder(folder: Path) -> Location:
    state = folder / _STATE
    indexes = [Path(entry.path) for entry in _entries(folder) if entry.name.endswith(".index")]
    if os.path.isfile(state):
        named = _latest(state)
        # Written on another machine, or moved since: an absolute path is as good as the name at its end.
        for candidate in (folder / named, folder / re.split(r"[/\\]", named)[-1]):
            found = _at_prefix(candidate) if named else None
            if found:
                return found
        if len(indexes) != 1:
            raise _not_found(
                folder / named,
                [folder / f"{named}.index"],
                f"the file {state} names a checkpoint that is not there",
            )
    if not indexes and any(os.path.isfile(folder / name) for name in _SAVED_MODEL):
        found = _at_prefix(folder / "variables" / "variables")
        if found:
            return found
        raise SourceError(
            "this SavedModel has no variables of its own: there is no variables/variables.index",
            where=str(folder),
            hint="its weights may be constants in the graph, in saved_model.pb",
        )
    inner = _at_prefix(folder / "variables" / "variables")
    if not indexes and inner:
        return inner
    if not indexes:
        raise SourceError(
            "there is no TensorFlow checkpoint in this folder",
            where=str(folder),
            expected="a file that ends in .index, a file called checkpoint, or a SavedModel",
            got=_listing(folder),
            hint="name the folder, the prefix or a file of the checkpoint",
        )
    index = max(indexes, key=lambda file: (_modified(file), file.name))
    return Location(Path(str(index)[: -len(".index")]), index)


def _latest(state: Path) -> str:
    # Imported here: only a folder needs it, and it takes longer than reading a small index.
    from google.protobuf import text_format

    from tfpt.sources.tensorflow_pb2 import CheckpointState

    try:
        with open(state, "rb") as file:
            text = file.read(1 << 24)
        message = text_format.Parse(text.decode(), CheckpointState(), allow_unknown_field=True)
    except OSError as error:
        raise SourceError(f"cannot read: {error.strerror}", where=str(state)) from None
    except (text_format.ParseError, ValueError) as error:
        raise SourceError(
            "the file that names a folder's checkpoints cannot be read",
            where=str(state),
            expected='a line such as: model_checkpoint_path: "model.ckpt-1000"',
            got=str(error),
            hint="name the checkpoint itself instead of its folder",
        ) from None
    return message.model_checkpoint_path


def _not_found(asked: Path, tried: list[Path], what: str) -> SourceError:
    folder = asked.parent
    if not os.path.isdir(folder):
        return SourceError(what, where=str(asked), got=f"there is no folder {folder}")
    prefixes = sorted({_SUFFIX.sub("", entry.name) for entry in _entries(folder)} - {asked.name})
    near = difflib.get_close_matches(_SUFFIX.sub("", asked.name), prefixes, n=3, cutoff=0.5)
    return SourceError(
        what,
        where=str(asked),
        expected=" or ".join(map(str, tried)),
        got=_listing(folder),
        nearest=[str(folder / name) for name in near],
        hint="name a checkpoint by its prefix, one of its files, or its folder",
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise SourceError(f"cannot list the folder: {error.strerror}", where=str(folder)) from None


def _listing(folder: Path) -> str:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in _entries(folder))
    if not names:
        return f"{folder} is empty"
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{folder} holds {', '.join(names[:_LISTED])}{rest}"


def _modified(file: Path) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0
