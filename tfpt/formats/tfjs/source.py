"""Reads the weights of TensorFlow.js models: ``model.json`` or a manifest alone, with its shards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.source import Role, Source
from tfpt.formats.tensorflow.constants import role_of
from tfpt.formats.tfjs.manifest import Group, read_manifest
from tfpt.formats.tfjs.shards import Shard, Shards
from tfpt.formats.tfjs.weight import STRING, Weight, decode_strings, end_of_strings
from tfpt.io.damage import is_pointer
from tfpt.io.locations import as_location, folder_of, inside, is_file, is_remote
from tfpt.io.storage import open_storage
from tfpt.tensors import string_array

# Shards of a remote model whose sizes are requested concurrently.
_AT_ONCE = 8
_HINT = "download model.json and its shards again, all of the same version, into one folder"
# The dtypes of a graph's constants; a manifest alone does not say whether its weights belong to a graph.
_OF_CONSTANTS = ("int32", "bool", "string")


@dataclass(frozen=True)
class _Placed:
    weight: Weight
    shards: Shards
    begin: int
    end: int


class TfjsSource(Source):
    """A `tfpt.formats.source.Source` over a TensorFlow.js model.

    Names are those of the manifest. Weights quantized to uint8 and uint16 are integers that represent
    ``integer * scale + minimum``; those stored as float16 are float32, as tensorflowjs reads them. Opening it reads the
    manifest, requests the size of every shard, and measures the strings; a read fetches the bytes of one weight.

    Args:
        location: ``model.json``, or a ``weights_manifest.json`` under any name.
        dequantize: Whether quantized weights are dequantized.

    Attributes:
        sizes: Bytes in the shards of each tensor of strings.

    Raises:
        SourceError: The manifest is damaged, all shards are missing, or shards and weights differ in size.

    Example:
        >>> import json, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with open(f"{folder}/w.bin", "wb") as file:
        ...     _ = file.write(np.arange(3, dtype="<f4"))
        >>> group = {"paths": ["w.bin"], "weights": [{"name": "w", "shape": [3], "dtype": "float32"}]}
        >>> with open(f"{folder}/model.json", "w") as file:
        ...     json.dump({"format": "layers-model", "weightsManifest": [group]}, file)
        >>> TfjsSource(f"{folder}/model.json").read("w").tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(self, location: str, dequantize: bool = False) -> None:
        self.location = as_location(location)
        manifest = read_manifest(self.location)
        self.format = {
            "layers-model": "TensorFlow.js layers model",
            "graph-model": "TensorFlow.js graph model",
        }.get(manifest.kind, "TensorFlow.js weights")
        self._details = manifest.details
        self._text = manifest.text
        self._dequantize = dequantize
        self._placed: dict[str, _Placed] = {}
        skipped: dict[str, str] = {}
        self._groups: list[Shards] | None = self._opened(manifest.groups)
        for group, shards in zip(manifest.groups, self._groups, strict=True):
            skipped |= self._lay_out(group, shards)
        self.skipped = MappingProxyType(skipped)
        self.specs = MappingProxyType(
            {
                name: placed.weight.spec if dequantize else placed.weight.as_stored
                for name, placed in self._placed.items()
            }
        )
        weights = [placed.weight for placed in self._placed.values()]
        self.quantized = MappingProxyType(
            {
                weight.spec.name: weight.affine.described()
                for weight in weights
                if weight.affine is not None and not dequantize
            }
        )
        self.roles = MappingProxyType(
            {
                weight.spec.name: role
                for weight in weights
                if (role := _role(weight, manifest.kind)) is not None
            }
        )
        self.sizes = MappingProxyType(
            {
                name: placed.end - placed.begin
                for name, placed in self._placed.items()
                if placed.weight.stored == STRING
            }
        )

    @property
    def files(self) -> Sequence[str]:
        """The manifest and the shards."""
        return (self.location, *self._shard_files)

    @property
    def details(self) -> Sequence[str]:
        """Details of the model: its format, its converter, its signature."""
        return self._details

    @property
    def order(self) -> Sequence[str] | None:
        """That of the manifest."""
        return tuple(self.specs)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one tensor: a read-only view of its shard if possible, else a copy."""
        placed = self._find(name)
        raw = placed.shards.read(placed.begin, placed.end)
        weight = placed.weight
        if weight.stored != STRING:
            return weight.values(raw, self._dequantize)
        try:
            strings = decode_strings(raw.tobytes(), weight.spec.size)
        except ValueError as error:
            raise SourceError(f"tensor {name!r} cannot be read: {error}", where=self.location) from None
        values = string_array(strings, weight.spec.shape)
        values.flags.writeable = False
        return values

    def release(self, name: str) -> None:
        """Release the tensor's pages."""
        placed = self._find(name)
        placed.shards.release(placed.begin, placed.end)

    def fingerprint(self) -> str:
        """A hash of the manifest, of the sizes of all shards, and of both ends of each."""
        digest = hashlib.sha256(self._text)
        for shards in self._open():
            shards.add_to(digest)
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """Close the shards; arrays that were read stay valid."""
        for shards in self._groups or ():
            shards.close()
        self._groups = None
        self._placed = {}

    def _open(self) -> list[Shards]:
        if self._groups is None:
            raise SourceError("the files were closed", where=self.location)
        return self._groups

    def _find(self, name: str) -> _Placed:
        self._open()
        placed = self._placed.get(name)
        if placed is None:
            if name in self.skipped:
                raise SourceError(
                    f"tensor {name!r} cannot be read: {self.skipped[name]}", where=self.location
                )
            raise self.no_such_tensor(name)
        return placed

    def _opened(self, groups: tuple[Group, ...]) -> list[Shards]:
        folder = folder_of(self.location)

        def shard(name: str) -> Shard:
            place = inside(folder, name)
            return Shard(name, open_storage(place) if is_file(place) else None)

        names = [name for group in groups for name in group.paths]
        self._shard_files = [inside(folder, name) for name in names]
        if is_remote(self.location):
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                shards = dict(zip(names, pool.map(shard, names), strict=True))
        else:
            shards = {name: shard(name) for name in names}
        missing = [name for name in names if shards[name].storage is None]
        if missing and len(missing) == len(names):
            shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8:,} more" if len(missing) > 8 else "")
            raise SourceError(
                "all shards of this model are missing: its weights are in them",
                where=self.location,
                expected=f"in the same folder: {shown}",
                got=f"nothing of these names in {folder}",
                hint="download them into the same folder",
            )
        return [Shards([shards[name] for name in group.paths], _total(group)) for group in groups]

    def _lay_out(self, group: Group, shards: Shards) -> dict[str, str]:
        """Locate each weight of a group; returns those that cannot be read, each with the reason."""
        skipped: dict[str, str] = {}
        at, reached, unknown = 0, 0, ""
        for weight in group.weights:
            name = weight.spec.name
            if unknown:
                skipped[name] = unknown
                continue
            end = self._end_of(weight, shards, at)
            reason = weight.obstacle if end is None else weight.obstacle or shards.lacking(at, end)
            if end is None:
                reason = reason or f"in or after {shards.missing[0]}, which is missing"
                unknown = f"after {name!r}, whose size is unknown ({reason})"
            if reason is None and end is not None:
                self._placed[name] = _Placed(weight, shards, at, end)
            else:
                skipped[name] = str(reason)
            at = reached = at if end is None else end
        total = _total(group)
        if total is not None and sum(shards.sizes) > total:
            raise self._of_other_size(group, shards, total)
        if not shards.missing and (reached > shards.end or (not unknown and reached != shards.end)):
            raise self._of_other_size(group, shards, reached)
        return skipped

    def _end_of(self, weight: Weight, shards: Shards, begin: int) -> int | None:
        if weight.stored != STRING:
            return None if weight.nbytes is None else begin + weight.nbytes
        try:
            end = end_of_strings(shards, begin, weight.spec.size)
        except ValueError as error:
            raise SourceError(f"tensor {weight.spec.name!r}: {error}", where=self.location) from None
        if end is None and not shards.missing:
            raise SourceError(
                f"the strings of tensor {weight.spec.name!r} extend beyond the last shard",
                where=self.location,
                expected=f"{weight.spec.size:,} strings in {max(0, shards.end - begin):,} bytes",
                hint=_HINT,
            )
        return end

    def _of_other_size(self, group: Group, shards: Shards, wanted: int) -> SourceError:
        hint = _HINT
        for shard in shards.shards:
            if shard.storage is not None and is_pointer(shard.storage.data):
                hint = f"{shard.name} is a Git LFS pointer, not the file itself: git lfs pull"
        files = ", ".join(group.paths[:8]) + (" …" if len(group.paths) > 8 else "")
        return SourceError(
            "the shards do not match the manifest",
            where=self.location,
            expected=f"{wanted:,} bytes in {files or 'no file'}",
            got=f"{sum(shards.sizes):,} bytes",
            hint=hint,
        )


def _total(group: Group) -> int | None:
    sizes = [weight.nbytes for weight in group.weights]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _role(weight: Weight, kind: str) -> Role | None:
    # Written by model.save({includeOptimizer: true}) of tfjs-layers in addition to the model.
    if weight.group == "optimizer":
        return "counter" if weight.spec.name.rpartition("/")[2] in ("iter", "iterations") else "slot"
    if kind == "graph-model":
        return role_of(weight.spec)
    return "constant" if not kind and weight.spec.dtype in _OF_CONSTANTS else None
