"""Finds the files of a checkpoint by its prefix, one of its files, or its folder."""

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
# A shard of a V1 checkpoint; TensorFlow's state file has question marks instead of the number (sharded_filename in
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
        prefix: The common start of its files' paths, which TensorFlow calls the checkpoint's path.
        index: The file with names, shapes and offsets. For a V1 checkpoint this is the prefix itself, or its first
            existing shard.
        v1_files: The shards of a V1 checkpoint, existing or not; otherwise empty.
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
            ``checkpoint``, a shard of a V1 checkpoint); or a folder with a state file, a SavedModel, or an index, of
            which the newest is used. ``~`` is the home folder.

    Raises:
        SourceError: There is no checkpoint; says what was tried and which names come near.
    """
    given = as_location(path)
    found = _at_prefix(given)
    if found:
        return found
    if is_folder(given):
        return _in_folder(given)
    if name_of(given) == _STATE and is_file(given):
        return _in_folder(folder_of(given))
    prefix = _SUFFIX.sub("", given)
    if prefix != given:
        found = _at_prefix(prefix)
        if found:
            return found
    if is_file(given):
        if prefix != given:
            raise _not_found(given, [f"{prefix}.index"], "the index of this checkpoint is missing")
        return Location(given, given)
    raise _not_found(given, [f"{prefix}.index", given], "there is no TensorFlow checkpoint of this name")


def _at_prefix(prefix: str) -> Location | None:
    if is_file(f"{prefix}.index"):
        return Location(prefix, f"{prefix}.index")
    shards = _v1_shards(prefix)
    if shards:
        return shards
    # Without an index the prefix may itself be the file, of a V1 checkpoint; but not a file with the suffix of a V2
    # checkpoint's file, nor the state file.
    name = name_of(prefix)
    if name != _STATE and not _SUFFIX.search(name) and is_file(prefix):
        return Location(prefix, prefix)
    if name.endswith(".index") and is_file(prefix):
        return Location(prefix.removesuffix(".index"), prefix)
    return None


def _v1_shards(given: str) -> Location | None:
    """The sharded V1 checkpoint that `given` names: by a shard, by the state file's pattern, or by the prefix."""
    found = _V1_SHARD.fullmatch(name_of(given))
    folder = folder_of(given)
    if (found is None and (is_file(given) or is_folder(given))) or not is_folder(folder):
        return None
    name, count = (found["prefix"], found["count"]) if found else (name_of(given), None)
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
    prefix = inside(folder, name) if folder_of(given) != "." or given.startswith(".") else name
    files = tuple([f"{prefix}-{number:05d}-of-{count}" for number in range(min(int(count), _MOST_SHARDS))])
    return Location(prefix, next(file for c, file in there if c == count), files)


def _names(folder: str) -> Iterable[str]:
    try:
        return names_in(folder)
    except SourceError:
        return ()  # a folder that cannot be listed, such as a web server's


def _in_folder(folder: str) -> Location:
    state = inside(folder, _STATE)
    names = names_in(folder)
    indexes = [inside(folder, name) for name in names if name.endswith(".index")]
    if _STATE in names:
        named = _latest(state)
        # It may be from another machine, or have been moved: of an absolute path, only the name counts.
        for candidate in (inside(folder, named), inside(folder, re.split(r"[/\\]", named)[-1])):
            found = _at_prefix(candidate) if named else None
            if found:
                return found
        if len(indexes) != 1:
            raise _not_found(
                inside(folder, named),
                [inside(folder, f"{named}.index")],
                f"the file {state} names a checkpoint that does not exist",
            )
    variables = _at_prefix(inside(folder, "variables", "variables"))
    if not indexes and variables:
        return variables
    if not indexes and any(name in names for name in _SAVED_MODEL):
        raise SourceError(
            "this SavedModel has no variables: there is no variables/variables.index",
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
    # Imported here: only folders need it, and it takes longer than reading a small index.
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


def _not_found(given: str, tried: list[str], what: str) -> SourceError:
    folder = folder_of(given)
    if not is_folder(folder):
        return SourceError(what, where=given, got=f"there is no folder {folder}")
    prefixes = sorted({_SUFFIX.sub("", name.rstrip("/")) for name in names_in(folder)} - {name_of(given)})
    near = nearest(_SUFFIX.sub("", name_of(given)), prefixes)
    return SourceError(
        what,
        where=given,
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
    return f"{folder} contains {', '.join(names[:_LISTED])}{rest}"
