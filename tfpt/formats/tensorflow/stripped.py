"""Graphs of TensorFlow.js whose constants have lost their values, which lie in shards beside a manifest.

The converter of 2018 (tensorflowjs_converter, up to 0.8) clears `tensor_content` of every constant in
``tensorflowjs_model.pb``; short lists of values, such as folded batch norms, are in other fields and stay. TensorFlow
takes a constant without values for zeros, and its own optimizer (grappler) writes zeros so: one constant alone does not
tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.constants import role_of
from tfpt.formats.tensorflow.tensor_proto import Stored
from tfpt.io.locations import folder_of, inside, is_file
from tfpt.io.storage import open_storage

_MANIFESTS = ("weights_manifest.json", "model.json")
_LARGEST_MANIFEST = 64 << 20


def refuse_stripped(location: str, constants: Mapping[str, Stored]) -> None:
    """Refuse a graph whose weights' values are in other files.

    That is so where a manifest beside it names a constant without values, and where no kernel of the graph has any: a
    network whose kernels are all zeros computes nothing.

    Raises:
        SourceError: The values are elsewhere; names the manifest.
    """
    weights = [
        (name, stored)
        for name, stored in constants.items()
        if stored.spec.size > 1 and role_of(stored.spec) is None
    ]
    bare = [name for name, stored in weights if not stored.held]
    if not bare:
        return
    manifest = next((place for place in _beside(location) if _names(place).intersection(bare)), None)
    kernels = [stored for _, stored in weights if len(stored.spec.shape) > 1] or [
        stored for _, stored in weights
    ]
    if manifest is None and (len(bare) < 2 or any(stored.held for stored in kernels)):
        return
    raise SourceError(
        "the values of this graph's constants are in other files, those of TensorFlow.js",
        where=location,
        expected="values in the graph",
        got=f"none for {len(bare)} of {len(weights)} weights, such as {bare[0]!r}",
        hint=f"tfpt inspect {manifest}"
        if manifest
        else "open the weights_manifest.json that was beside the graph, with its shards; or freeze the graph again",
    )


def _beside(location: str) -> list[str]:
    places = [inside(folder_of(location), name) for name in _MANIFESTS]
    return [place for place in places if is_file(place)]


def _names(manifest: str) -> set[str]:
    """The names of the weights in a manifest; none where it is another file."""
    data = open_storage(manifest).data
    if len(data) > _LARGEST_MANIFEST:
        return set()
    try:
        content = json.loads(data[:].tobytes())
    except (ValueError, RecursionError):
        return set()
    groups = content.get("weightsManifest") if isinstance(content, dict) else content
    found = set()
    for group in groups if isinstance(groups, list) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        for weight in weights if isinstance(weights, list) else ():
            if isinstance(weight, dict) and isinstance(weight.get("name"), str):
                found.add(weight["name"])
    return found
