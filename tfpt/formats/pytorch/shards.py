"""Reads PyTorch weights that are split into several files, as Hugging Face's libraries save large models."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.recognition import SAFETENSORS, TORCH, recognize
from tfpt.formats.source import Source
from tfpt.io.limits import SHARD_INDEX
from tfpt.io.locations import as_location, folder_of, inside, is_file, is_folder, name_of, names_in
from tfpt.io.storage import open_storage
from tfpt.nearest import nearest
from tfpt.tensors import TensorSpec

# In the order in which transformers looks for them.
_SUFFIXES = (".safetensors.index.json", ".bin.index.json")


class ShardedSource(Source):
    """A `tfpt.formats.source.Source` over the files that an index names.

    Opening it reads the header, or the pickle, of every shard.

    Args:
        path: The index (``model.safetensors.index.json``, ``pytorch_model.bin.index.json``), or the folder it is in.
        verify_checksums: Whether to compare the checksums in shards of `torch.save`.
        dequantize: Read the float32 values that quantized tensors represent.

    Attributes:
        metadata: The metadata of the index, such as the total size.
        skipped: Tensors of missing shards, tensors that are not in the index, and those that the shards' readers skip,
            by name, with the reason.

    Raises:
        SourceError: There is no index, or several; it is damaged; all shards are missing; a shard is outside the
            folder, damaged or lacks a tensor that is in the index.

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

    side = "pt"

    def __init__(
        self, path: str | os.PathLike[str], *, verify_checksums: bool = True, dequantize: bool = False
    ) -> None:
        location = as_location(path)
        self.location = _index_in(location) if is_folder(location) else location
        self.metadata, table = _read_index(self.location)
        folder = folder_of(self.location)
        self._shards: dict[str, Source] = {}
        self._shard_of: dict[str, str] | None = table
        options = {"verify_checksums": verify_checksums, "dequantize": dequantize}
        files = list(dict.fromkeys(table.values()))
        there = [file for file in files if _is_there(folder, file)]
        if files and not there:
            raise _missing(self.location, inside(folder, files[0]))
        for file in there:
            self._shards[file] = _open_shard(inside(folder, file), options)
        counts = Counter(table.values())
        specs: dict[str, TensorSpec] = {}
        skipped: dict[str, str] = {}
        for name, file in table.items():
            shard = self._shards.get(file)
            if shard is None:
                skipped[name] = f"in {file}, which is missing"
            elif name in shard.specs:
                specs[name] = shard.specs[name]
            elif name in shard.skipped:
                skipped[name] = shard.skipped[name]
            else:
                raise SourceError(
                    f"the shard lacks the tensor {name!r}, which is in the index",
                    where=shard.location,
                    expected=f"{counts[file]} tensors",
                    got=f"{len(shard.specs)} tensors",
                    nearest=nearest(name, shard.specs),
                    hint=f"download it and {name_of(self.location)} again, from the same revision",
                )
        for file, shard in self._shards.items():
            skipped |= {name: f"in {file}, and not in the index" for name in shard.specs if name not in table}
            skipped |= {name: why for name, why in shard.skipped.items() if name not in table}
        self.specs = MappingProxyType(specs)
        self.skipped = MappingProxyType(skipped)
        self.quantized = MappingProxyType(
            {
                name: shard.quantized[name]
                for shard in self._shards.values()
                for name in shard.quantized
                if name in specs
            }
        )
        kinds = sorted({shard.format for shard in self._shards.values()})
        self.format = f"sharded {' and '.join(kinds) or 'PyTorch'}"

    @property
    def files(self) -> Sequence[str]:
        """The index and the shards."""
        return (self.location, *(file for shard in self._shards.values() for file in shard.files))

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor, as its shard's reader gives them."""
        return self._shard(name).read(name)

    def release(self, name: str) -> None:
        """Hint that the tensor is not needed again soon."""
        self._shard(name).release(name)

    def fingerprint(self) -> str:
        """A hash of the index and the fingerprints of all shards."""
        digest = hashlib.sha256(json.dumps(self._table()).encode(errors="surrogatepass"))
        for shard in self._shards.values():
            digest.update(shard.fingerprint().encode())
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """Close the files; arrays that were read stay valid."""
        for shard in self._shards.values():
            shard.close()
        self._shards, self._shard_of = {}, None

    def _table(self) -> dict[str, str]:
        if self._shard_of is None:
            raise SourceError("the files were closed", where=self.location)
        return self._shard_of

    def _shard(self, name: str) -> Source:
        table = self._table()
        if name not in self.specs:
            raise self.no_such_tensor(name)
        return self._shards[table[name]]


def shard_names(location: str) -> list[str]:
    """The names of the files that the index at `location` names, relative to its folder."""
    return list(dict.fromkeys(_read_index(location)[1].values()))


def _index_in(folder: str) -> str:
    names = names_in(folder)
    for suffix in _SUFFIXES:
        found = [name for name in names if name.endswith(suffix)]
        if len(found) == 1:
            return inside(folder, found[0])
        if found:
            raise SourceError(
                "the folder contains more than one index",
                where=folder,
                expected="one, or the index itself in place of its folder",
                got=", ".join(found[:8]),
                hint=f"name it: {inside(folder, found[0])}",
            )
    raise SourceError("the folder contains no index of shards", where=folder, expected=" or ".join(_SUFFIXES))


def _read_index(location: str) -> tuple[dict[str, object], dict[str, str]]:
    """The metadata of the index, and the shard of every name."""
    data = open_storage(location).data
    if len(data) > SHARD_INDEX:
        raise _damaged(location, "it is too large", f"at most {SHARD_INDEX:,} bytes", f"{len(data):,} bytes")
    try:
        content = json.loads(data[:].tobytes(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(location, "it is not JSON", got=str(error)[:200]) from None
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict):
        raise _damaged(location, "it has no weight_map", "names and the files they are in")
    for name, file in table.items():
        if not isinstance(file, str):
            raise _damaged(location, f"{name!r} has no file", "a file's name", repr(file)[:80])
        if not file or re.match(r"[/\\~]|[A-Za-z][A-Za-z0-9+.-]*:", file) or ".." in re.split(r"[/\\]", file):
            raise _damaged(location, f"a shard is outside the folder: {file!r}", "a file beside the index")
    metadata = content.get("metadata")
    return metadata if isinstance(metadata, dict) else {}, table


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {twice!r}")
    return found


def _is_there(folder: str, file: str) -> bool:
    return "\0" not in file and is_file(inside(folder, file))


def _missing(index: str, location: str) -> SourceError:
    return SourceError(
        "a shard is missing",
        where=location,
        expected=f"the file that {name_of(index)} names",
        got=f"nothing called {name_of(location)}",
        hint="download it, or the whole model again",
    )


def _open_shard(location: str, options: Mapping[str, bool]) -> Source:
    found = recognize(location)
    if found in (SAFETENSORS, TORCH):
        return found.open(location, **options)
    raise SourceError(
        "a shard has another format", where=location, expected="safetensors or torch.save", got=found.name
    )


def _damaged(location: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    return SourceError(f"not a valid index of shards: {what}", where=location, expected=expected, got=got)
