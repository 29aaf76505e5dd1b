"""The shards of one group of weights, as if they were one file."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.io.storage import Storage

# The default shard size of tensorflowjs and tfjs.
_USUAL_SIZE = 4 << 20
# Of larger shards a fingerprint covers both ends.
_WHOLE = 256 << 10
_END = 16 << 10


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        name: Its name in the manifest.
        storage: The file; None if it is missing.
    """

    name: str
    storage: Storage | None

    @property
    def size(self) -> int | None:
        """Its size in bytes; None if it is missing."""
        return None if self.storage is None else len(self.storage.data)


class Shards:
    """The bytes of a group: its shards, concatenated.

    If a shard is missing, the bytes after it can be located only if its size is known. It is inferred if no other
    shard is missing, all but the last have the same size, as the writers make them, and the sizes then add up.

    Args:
        shards: In the order of the manifest.
        total: The size of all weights in bytes; None if it depends on the bytes themselves.

    Attributes:
        end: Up to which byte positions are known.
        missing: Names of the shards that are missing.
    """

    def __init__(self, shards: list[Shard], total: int | None) -> None:
        self.shards = shards
        self.missing = [shard.name for shard in shards if shard.storage is None]
        sizes = [shard.size for shard in shards]
        if self.missing and total is not None:
            sizes = _presumed(sizes, total)
        self._begins: list[int] = []
        self._placed: list[Shard] = []
        self.end = 0
        for shard, size in zip(shards, sizes, strict=True):
            if size is None:
                break
            if size:
                self._begins.append(self.end)
                self._placed.append(shard)
            self.end += size

    @property
    def sizes(self) -> list[int]:
        """The sizes of the shards that exist."""
        return [shard.size for shard in self.shards if shard.size is not None]

    def lacking(self, begin: int, end: int) -> str | None:
        """Why these bytes cannot be read; None if they can."""
        for shard, _, _ in self._parts(begin, min(end, self.end)):
            if shard.storage is None:
                return f"in {shard.name}, which is missing"
        if end > self.end and end > begin:
            return (
                f"in or after {self.missing[0]}, which is missing" if self.missing else "after the last shard"
            )
        return None

    def read(self, begin: int, end: int) -> npt.NDArray[np.uint8]:
        """The bytes from `begin` to `end`, of which none are `lacking`: a view of one shard, else a copy."""
        parts = [
            shard.storage.data[at:to]
            for shard, at, to in self._parts(begin, end)
            if shard.storage is not None  # always true: the bytes are not lacking
        ]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint8)

    def release(self, begin: int, end: int) -> None:
        """Release the pages of these bytes."""
        for shard, at, to in self._parts(begin, end):
            if shard.storage is not None:
                shard.storage.release(at, to - at)

    def close(self) -> None:
        """Close the files."""
        for shard in self.shards:
            if shard.storage is not None:
                shard.storage.close()

    def add_to(self, digest: hashlib._Hash) -> None:
        """Hash names and sizes, small shards completely, and both ends of larger ones."""
        for shard in self.shards:
            digest.update(f"{shard.name!r} {shard.size}\n".encode(errors="surrogatepass"))
            if shard.storage is None:
                continue
            data = shard.storage.data
            if len(data) <= _WHOLE:
                digest.update(data[:].tobytes())
            else:
                digest.update(data[:_END].tobytes())
                digest.update(data[len(data) - _END :].tobytes())

    def _parts(self, begin: int, end: int) -> list[tuple[Shard, int, int]]:
        """The shards that contain these bytes, and where in each they are."""
        parts = []
        number = max(0, bisect_right(self._begins, begin) - 1)
        while begin < end and number < len(self._placed):
            shard_begin = self._begins[number]
            following = self._begins[number + 1] if number + 1 < len(self._begins) else self.end
            to = min(end, following)
            parts.append((self._placed[number], begin - shard_begin, to - shard_begin))
            begin, number = to, number + 1
        return parts


def _presumed(sizes: list[int | None], total: int) -> list[int | None]:
    """The sizes, with that of the only missing shard if it can be inferred; else unchanged."""
    if sizes.count(None) != 1:
        return sizes
    missing = sizes.index(None)
    known = [size for size in sizes if size is not None]
    gap = total - sum(known)
    whole = {size for size in sizes[:-1] if size is not None} or {_USUAL_SIZE}
    # The last shard may have any size: nothing follows it. Another one must be as large as its neighbors: otherwise
    # these may be truncated, and all that follows would be read from the wrong position.
    fits = gap >= 0 if missing == len(sizes) - 1 else whole == {gap} and known[-1] <= gap
    return [*sizes[:missing], gap, *sizes[missing + 1 :]] if fits else sizes
