"""Reads the JSON of a TensorFlow.js model: its weights, their shards, and details of the model.

Three forms: ``model.json`` of a layers model or a graph model, with the manifest in ``weightsManifest``; and the
manifest alone, ``weights_manifest.json``. The manifest is a list of groups; a group's weights are concatenated in its
shards, as if these were one file.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass

from tfpt.errors import SourceError
from tfpt.formats.tfjs.weight import Weight, read_weight
from tfpt.io.limits import TFJS_MANIFEST, TFJS_SHARDS
from tfpt.io.storage import open_storage

# Keys with which the JSON of other formats does not start.
_BEGINS = re.compile(
    rb"""(?:\xef\xbb\xbf)?\s*(?:
        \{\s*"(?:format|modelTopology|weightsManifest|generatedBy|convertedBy|userDefinedMetadata|trainingConfig)"
        |\[\s*\{\s*"(?:paths|weights)"
    )\s*:""",
    re.VERBOSE,
)
_OUTSIDE = re.compile(r"[/\\~]|[A-Za-z][A-Za-z0-9+.-]*:")
# Lines of details; models have a few inputs and outputs.
_MOST_LINES = 64
_HINT = "download model.json and its shards again, all of the same version"


@dataclass(frozen=True)
class Group:
    """Weights that are concatenated in some shards.

    Attributes:
        paths: The shards' names, relative to the folder of the manifest.
        weights: The weights, in the order of their bytes.
    """

    paths: tuple[str, ...]
    weights: tuple[Weight, ...]


@dataclass(frozen=True)
class Manifest:
    """The content of the JSON.

    Attributes:
        text: The JSON itself.
        kind: ``layers-model``, ``graph-model``, or empty for a manifest alone.
        groups: The groups of weights.
        details: Details of the model, in words.
    """

    text: bytes
    kind: str
    groups: tuple[Group, ...]
    details: tuple[str, ...]


def is_tfjs(head: bytes) -> bool:
    """Whether a file that starts with `head` is a TensorFlow.js model or manifest.

    Example:
        >>> is_tfjs(b'{"format": "layers-model", '), is_tfjs(b'{"class_name": "Sequential", ')
        (True, False)
    """
    return _BEGINS.match(head) is not None


def read_manifest(location: str) -> Manifest:
    """The manifest in the file at `location`.

    Raises:
        SourceError: The file is too large, is not JSON, or has no valid manifest.
    """
    storage = open_storage(location)
    data = storage.data
    if len(data) > TFJS_MANIFEST:
        expected = f"at most {TFJS_MANIFEST:,} bytes"
        raise _damaged(location, "it is too large", expected, f"{len(data):,} bytes")
    text = data[:].tobytes()
    storage.close()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(location, "it is not JSON", got=str(error)[:200]) from None
    groups = content.get("weightsManifest") if isinstance(content, dict) else content
    if not isinstance(groups, list):
        raise _damaged(location, "it has no weights", "a list of groups under weightsManifest")
    try:
        found = tuple(_group(group) for group in groups)
        _refuse_repeated([weight.spec.name for group in found for weight in group.weights], "weight")
        _refuse_repeated([path for group in found for path in group.paths], "shard")
    except ValueError as error:
        raise _damaged(location, str(error)) from None
    if sum(len(group.paths) for group in found) > TFJS_SHARDS:
        raise _damaged(location, "it names too many shards", f"at most {TFJS_SHARDS:,}")
    if not isinstance(content, dict):
        return Manifest(text, "", found, ())
    return Manifest(text, _kind(content), found, tuple(_details(content)))


def shard_names(location: str) -> list[str]:
    """The names of the shards in the manifest at `location`, relative to its folder."""
    return [path for group in read_manifest(location).groups for path in group.paths]


def _group(group: object) -> Group:
    if not isinstance(group, dict):
        raise ValueError("a group of weights is not an object")
    paths, weights = group.get("paths"), group.get("weights")
    if not isinstance(paths, list) or not isinstance(weights, list):
        raise ValueError("a group lacks lists of paths and weights")
    return Group(tuple(_path(path) for path in paths), tuple(read_weight(entry) for entry in weights))


def _path(path: object) -> str:
    """The name of a shard, in the folder of the manifest or below."""
    if not isinstance(path, str) or not path.strip("./") or "\0" in path:
        raise ValueError(f"a shard has no name: {str(path)[:80]!r}")
    if _OUTSIDE.match(path) or ".." in re.split(r"[/\\]", path):
        raise ValueError(f"a shard is outside the folder: {path[:200]!r}")
    return posixpath.normpath(path)


def _refuse_repeated(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"duplicate {what} {name!r}")
        seen.add(name)


def _kind(content: dict[str, object]) -> str:
    said = content.get("format")
    if said in ("layers-model", "graph-model"):
        return str(said)
    topology = content.get("modelTopology")
    # Files older than the key `format`: a GraphDef in JSON has a list of nodes.
    return "graph-model" if isinstance(topology, dict) and "node" in topology else "layers-model"


def _details(content: dict[str, object]) -> list[str]:
    """Details of the model, one fact per line."""
    said = ((key, content.get(key)) for key in ("format", "generatedBy", "convertedBy"))
    lines = [f"{key}: {text[:200]}" for key, text in said if isinstance(text, str)]
    user = content.get("userDefinedMetadata")
    signature = content.get("signature") or (user.get("signature") if isinstance(user, dict) else None)
    if isinstance(signature, dict):
        for side in ("inputs", "outputs"):
            tensors = signature.get(side)
            if isinstance(tensors, dict):
                lines += [f"{side[:-1]} {key}: {_described(tensor)}" for key, tensor in tensors.items()]
    return (
        lines
        if len(lines) <= _MOST_LINES
        else [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES:,} more"]
    )


def _described(tensor: object) -> str:
    """A TensorInfo in JSON, in words: ``float32 [?, 224, 224, 3]``."""
    if not isinstance(tensor, dict):
        return "?"
    kind = str(tensor.get("dtype", "?"))[:40].removeprefix("DT_").lower()
    kind = {"float": "float32", "double": "float64"}.get(kind, kind)
    shape = tensor.get("tensorShape")
    sizes = shape.get("dim", []) if isinstance(shape, dict) else None
    if not isinstance(sizes, list):
        return kind
    shown = [str(size.get("size", "?"))[:20] if isinstance(size, dict) else "?" for size in sizes[:32]]
    return f"{kind} [{', '.join('?' if size == '-1' else size for size in shown)}]"


def _damaged(location: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    return SourceError(
        f"not a valid TensorFlow.js manifest: {what}",
        where=location,
        expected=expected,
        got=got,
        hint=_HINT,
    )
