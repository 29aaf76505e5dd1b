"""Reads PyTorch weights that are spread over several files, as Hugging Face's libraries save large models."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.sources.formats import SAFETENSORS, TORCH, recognise
from tfpt.sources.places import as_location, folder_of, inside, is_file, is_folder, name_of, names_in
from tfpt.sources.pytorch.safetensors import SafetensorsSource
from tfpt.sources.pytorch.torch import TorchSource
from tfpt.sources.source import NO_ALIASES, NO_ROLES, NONE_QUANTISED, NOTHING_SKIPPED, Quantised, Role, Source
from tfpt.sources.storage import open_storage
from tfpt.tensors import TensorSpec

# In the order in which transformers looks for them.
_SUFFIXES = (".safetensors.index.json", ".bin.index.json")
_LARGEST = 64 << 20


class ShardedSource:
    """A `tfpt.sources.source.Source` over the files that an index names.

    Opening it reads the header of every safetensors shard; shards of `torch.save` are mapped.

    Args:
        path: The index (``model.safetensors.index.json``, ``pytorch_model.bin.index.json``), or the folder it is in.

    Attributes:
        metadata: What the index says beside the names, such as the total size.
        skipped: Tensors of the shards that the index does not list, by name, with the reason.

    Raises:
        SourceError: There is no index, or several; it is damaged; a shard is missing, outside the folder, damaged or
            without a tensor that the index has in it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from safetensors.numpy import save_file
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_file({"a": np.zeros(2, np.float32)}, folder / "1.safetensors")
        >>> index = {"weight_map": {"a": "1.safetensors"}}
        >>> _ = (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        >>> str(ShardedSource(folder).specs["a"])
        'a [2] float32'
    """

    side: Literal["tf", "pt"] = "pt"
    roles: Mapping[str, Role] = NO_ROLES
    aliases: Mapping[str, str] = NO_ALIASES
    skipped: Mapping[str, str] = NOTHING_SKIPPED
    quantised: Mapping[str, Quantised] = NONE_QUANTISED

    def __init__(self, path: str | os.PathLike[str]) -> None:
        location = as_location(path)
        self.location = _index_in(location) if is_folder(location) else location
        self.metadata, table = _read_index(self.location)
        folder = folder_of(self.location)
        self._shards: dict[str, Source] = {}
        self._shard_of: dict[str, str] | None = table
        specs: dict[str, TensorSpec] = {}
        for name, file in table.items():
            if file not in self._shards:
                self._shards[file] = _open_shard(self.location, folder, file)
            shard = self._shards[file]
            if name not in shard.specs:
                raise SourceError(
                    f"a shard lacks the tensor {name!r}, which the index has in it",
                    where=shard.location,
                    expected=f"{sum(other == file for other in table.values())} tensors",
                    got=f"{len(shard.specs)} tensors",
                    nearest=nearest(name, shard.specs),
                    hint=f"fetch it and {name_of(self.location)} again, of one revision",
                )
            specs[name] = shard.specs[name]
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(specs)
        kinds = sorted({shard.format for shard in self._shards.values()})
        self.format: str = f"sharded {' and '.join(kinds) or 'PyTorch'}"
        self.skipped: dict[str, str] = {
            name: f"in {file}, and not in the index"
            for file, shard in self._shards.items()
            for name in shard.specs
            if name not in table
        }

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor, as its shard's reader gives them."""
        return self._shard(name).read(name)

    def release(self, name: str) -> None:
        """Let go of the tensor's pages."""
        self._shard(name).release(name)

    def fingerprint(self) -> str:
        """A hash of the fingerprints of all shards, and of which tensor is in which."""
        digest = hashlib.sha256(json.dumps(self._table()).encode(errors="surrogatepass"))
        for shard in self._shards.values():
            digest.update(shard.fingerprint().encode())
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """Let go of the files; arrays that were read stay valid."""
        for shard in self._shards.values():
            shard.close()
        self._shards, self._shard_of = {}, None

    def _table(self) -> dict[str, str]:
        if self._shard_of is None:
            raise SourceError("the files were closed", where=self.location)
        return self._shard_of

    def _shard(self, name: str) -> Source:
        table = self._table()
        if name not in table:
            close = nearest(name, self.specs)
            raise SourceError(f"there is no tensor {name!r}", where=self.location, nearest=close)
        return self._shards[table[name]]


def _index_in(folder: str) -> str:
    names = names_in(folder)
    for suffix in _SUFFIXES:
        found = [name for name in names if name.endswith(suffix)]
        if len(found) == 1:
            return inside(folder, found[0])
        if found:
            raise SourceError(
                "more than one index is in the folder",
                where=folder,
                expected="one, or the index itself in place of its folder",
                got=", ".join(found[:8]),
                hint=f"name it: {inside(folder, found[0])}",
            )
    raise SourceError("no index of shards is in the folder", where=folder, expected=" or ".join(_SUFFIXES))


def _read_index(location: str) -> tuple[dict[str, object], dict[str, str]]:
    """What the index says beside the names, and the shard of every name."""
    data = open_storage(location).data
    if len(data) > _LARGEST:
        raise _damaged(location, "it is too large", f"at most {_LARGEST:,} bytes", f"{len(data):,} bytes")
    try:
        content = json.loads(data[:].tobytes(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(location, "it is not JSON", got=str(error)[:200]) from None
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict):
        raise _damaged(location, "it has no weight_map", "names and the files they are in")
    for name, file in table.items():
        if not isinstance(file, str):
            raise _damaged(location, f"{name!r} is in no file", "a file's name", repr(file)[:80])
        if not file or re.match(r"[/\\~]|[A-Za-z][A-Za-z0-9+.-]*:", file) or ".." in re.split(r"[/\\]", file):
            raise _damaged(location, f"a shard is outside the folder: {file!r}", "a file beside the index")
    metadata = content.get("metadata")
    return metadata if isinstance(metadata, dict) else {}, table


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} comes twice")
    return found


def _open_shard(index: str, folder: str, file: str) -> Source:
    location = inside(folder, file)
    if "\0" in file or not is_file(location):
        raise SourceError(
            "a shard is missing",
            where=location,
            expected=f"the file that {name_of(index)} names",
            got=f"nothing called {file}",
            hint="fetch it, or all of the model again",
        )
    found = recognise(location)
    if found is SAFETENSORS:
        return SafetensorsSource(location)
    if found is TORCH:
        return TorchSource(location)
    raise SourceError(
        "a shard is of another format", where=location, expected="safetensors or torch.save", got=found.name
    )


def _damaged(location: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    return SourceError(f"not a valid index of shards: {what}", where=location, expected=expected, got=got)
