"""Which files a person means by the path of a checkpoint: its prefix, one of its files, or its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tfpt.errors import SourceError
from tfpt.io.locations import as_location, folder_of, inside, is_file, is_folder, modified, name_of, names_in
from tfpt.io.storage import open_storage
from tfpt.nearest import nearest

_SUFFIX = re.compile(r"\.(?:index|meta|data-\d{5,}-of-\d{5,})$")
# A file of a V1 checkpoint in several; TensorFlow's state file has question marks for the number (sharded_filename in
# tensorflow/core/kernels/save_op.cc, _AddShardedSaveOps in tensorflow/python/training/saver.py).
_V1_SHARD = re.compile(r"(?P<prefix>.+)(?<!\.data)-(?P<number>\d{5}|\?{5})-of-(?P<count>\d{5})")
_STATE = "checkpoint"
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_LISTED = 12
_MOST_SHARDS = 1 << 14


@dataclass(frozen=True)
class Location:
    """The files of one checkpoint.

    Attributes:
        prefix: The path that all of its files start with; what TensorFlow calls the checkpoint's path.
        index: The file with names, shapes and places. For a V1 checkpoint this is the prefix itself, or the first
            that is there of its several files.
        v1_files: The files of a V1 checkpoint in several, whether all of them are there or not; otherwise none.
    """

    prefix: str
    index: str
    v1_files: tuple[str, ...] = ()

    def shard(self, number: int, count: int) -> str:
        """The data file of that number.

        Example:
            >>> Location("model.ckpt", "model.ckpt.index").shard(3, 4)
            'model.ckpt.data-00003-of-00004'
        """
        return f"{self.prefix}.data-{number:05d}-of-{count:05d}"


def locate(path: str | os.PathLike[str]) -> Location:
    """The checkpoint that `path` names.

    Args:
        path: A prefix (``model.ckpt-1000``); one of the files (``.index``, ``.meta``, ``.data-…``, the state file
            ``checkpoint``, one of a V1 checkpoint in several); or a folder: one with a state file, a SavedModel, or
            any with an index, of which the newest is taken. ``~`` is the home folder.

    Raises:
        SourceError: There is none; says what was tried and which names come near.
    """
    asked = as_location(path)
    found = _at_prefix(asked)
    if found:
        return found
    if is_folder(asked):
        return _in_folder(asked)
    if name_of(asked) == _STATE and is_file(asked):
        return _in_folder(folder_of(asked))
    prefix = _SUFFIX.sub("", asked)
    if prefix != asked:
        found = _at_prefix(prefix)
        if found:
            return found
    if is_file(asked):
        if prefix != asked:
            raise _not_found(asked, [f"{prefix}.index"], "the index of this checkpoint is missing")
        return Location(asked, asked)
    raise _not_found(asked, [f"{prefix}.index", asked], "there is no TensorFlow checkpoint of this name")


def _at_prefix(prefix: str) -> Location | None:
    if is_file(f"{prefix}.index"):
        return Location(prefix, f"{prefix}.index")
    shards = _v1_shards(prefix)
    if shards:
        return shards
    # Without an index the prefix can itself be the file: TensorFlow's first format. Not so a file that carries
    # the suffix of one of ours, nor the state file.
    name = name_of(prefix)
    if name != _STATE and not _SUFFIX.search(name) and is_file(prefix):
        return Location(prefix, prefix)
    if name.endswith(".index") and is_file(prefix):
        return Location(prefix.removesuffix(".index"), prefix)
    return None


def _v1_shards(asked: str) -> Location | None:
    """The V1 checkpoint in several files that `asked` names: by one of them, by the state file's pattern, or by all
    that they have in common.
    """
    found = _V1_SHARD.fullmatch(name_of(asked))
    folder = folder_of(asked)
    if (found is None and (is_file(asked) or is_folder(asked))) or not is_folder(folder):
        return None
    name, count = (found["prefix"], found["count"]) if found else (name_of(asked), None)
    there = [
        (shard["count"], inside(folder, entry))
        for entry in _names(folder)
        if (shard := _V1_SHARD.fullmatch(entry)) and shard["prefix"] == name
        if "?" not in entry and count in (None, shard["count"])
    ]
    if not there:
        return None
    if count is None:
        count, _ = max(there, key=lambda file: (modified(file[1]), file))
    prefix = inside(folder, name) if folder_of(asked) != "." or asked.startswith(".") else name
    files = tuple([f"{prefix}-{number:05d}-of-{count}" for number in range(min(int(count), _MOST_SHARDS))])
    return Location(prefix, next(file for c, file in there if c == count), files)


def _names(folder: str) -> Iterable[str]:
    try:
        return names_in(folder)
    except SourceError:
        return ()  # not to be listed, such as a web server's: the names that were given have to do


def _in_folder(folder: str) -> Location:
    state = inside(folder, _STATE)
    names = names_in(folder)
    indexes = [inside(folder, name) for name in names if name.endswith(".index")]
    if _STATE in names:
        named = _latest(state)
        # Written on another machine, or moved since: an absolute path is as good as the name at its end.
        for candidate in (inside(folder, named), inside(folder, re.split(r"[/\\]", named)[-1])):
            found = _at_prefix(candidate) if named else None
            if found:
                return found
        if len(indexes) != 1:
            raise _not_found(
                inside(folder, named),
                [inside(folder, f"{named}.index")],
                f"the file {state} names a checkpoint that is not there",
            )
    variables = _at_prefix(inside(folder, "variables", "variables"))
    if not indexes and variables:
        return variables
    if not indexes and any(name in names for name in _SAVED_MODEL):
        raise SourceError(
            "this SavedModel has no variables of its own: there is no variables/variables.index",
            where=folder,
            hint="its weights may be constants in the graph, in saved_model.pb",
        )
    shards = [name for name in names if _V1_SHARD.fullmatch(name)]
    if not indexes and shards:
        newest = max(shards, key=lambda name: (modified(inside(folder, name)), name))
        found = _v1_shards(inside(folder, newest))
        if found:
            return found
    if not indexes:
        raise SourceError(
            "there is no TensorFlow checkpoint in this folder",
            where=folder,
            expected="a file that ends in .index, a file called checkpoint, or a SavedModel",
            got=_listing(folder),
            hint="name the folder, the prefix or a file of the checkpoint",
        )
    index = max(indexes, key=lambda file: (modified(file), file))
    return Location(index.removesuffix(".index"), index)


def _latest(state: str) -> str:
    # Imported here: only a folder needs it, and it takes longer than reading a small index.
    from google.protobuf import text_format

    from tfpt.formats.tensorflow.tensorflow_pb2 import CheckpointState

    try:
        text = open_storage(state).data[: 1 << 24].tobytes()
        message = text_format.Parse(text.decode(), CheckpointState(), allow_unknown_field=True)
    except (text_format.ParseError, ValueError) as error:
        raise SourceError(
            "the file that names a folder's checkpoints cannot be read",
            where=state,
            expected='a line such as: model_checkpoint_path: "model.ckpt-1000"',
            got=str(error),
            hint="name the checkpoint itself instead of its folder",
        ) from None
    return message.model_checkpoint_path


def _not_found(asked: str, tried: list[str], what: str) -> SourceError:
    folder = folder_of(asked)
    if not is_folder(folder):
        return SourceError(what, where=asked, got=f"there is no folder {folder}")
    prefixes = sorted({_SUFFIX.sub("", name.rstrip("/")) for name in names_in(folder)} - {name_of(asked)})
    near = nearest(_SUFFIX.sub("", name_of(asked)), prefixes)
    return SourceError(
        what,
        where=asked,
        expected=" or ".join(tried),
        got=_listing(folder),
        nearest=[inside(folder, name) for name in near],
        hint="name a checkpoint by its prefix, one of its files, or its folder",
    )


def _listing(folder: str) -> str:
    names = names_in(folder)
    if not names:
        return f"{folder} is empty"
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{folder} holds {', '.join(names[:_LISTED])}{rest}"
