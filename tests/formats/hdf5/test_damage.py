"""HDF5 files that lead to themselves, or claim what they do not hold: an error or the right values, bounded."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.growth import cpu_budget
from tfpt.errors import SourceError
from tfpt.formats.hdf5 import open_file as opening
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.io import limits
from tfpt.io.storage import open_storage


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Ten seconds of processor time and 100 MB."""
    start = time.process_time()
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    assert time.process_time() - start < 10


def everything(path: Path) -> dict[str, list]:
    """All values and a few attributes."""
    file = HDF5File(open_storage(str(path)))
    try:
        for group in file.groups:
            file.texts(group, "layer_names")
        return {name: file.read(dataset).tolist() for name, dataset in file.datasets.items()}
    finally:
        file.close()


def written(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["a/x"] = np.arange(3)
        file["b/y"] = np.arange(4)
        file["b"].attrs["layer_names"] = "a text of any length"
        for number in range(30):
            file["a"].attrs[f"attribute {number}"] = "x" * 100
        file.create_dataset("chunks", data=np.arange(1000), chunks=(10,))
    return path


def changed(path: Path, marker: bytes, at: int, value: Callable[[int], bytes], number: int = 0) -> Path:
    """The file with other bytes at a distance from a marker; `value` gets the marker's place."""
    content = bytearray(path.read_bytes())
    place = -1
    for _ in range(number + 1):
        place = content.index(marker, place + 1)
    new = value(place)
    content[place + at : place + at + len(new)] = new
    path.write_bytes(content)
    return path


def address(place: int) -> bytes:
    return struct.pack("<Q", place)


def test_a_free_list_that_leads_to_itself_is_not_followed(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5")
    content = bytearray(path.read_bytes())
    expected = everything(path)
    place = -1
    while (place := content.find(b"HEAP", place + 1)) >= 0:
        free, names = struct.unpack_from("<QQ", content, place + 16)
        if free < 1 << 32:
            struct.pack_into("<Q", content, names + free, free)  # the next free piece: this one
    path.write_bytes(content)
    assert everything(path) == expected


def test_a_tree_of_links_that_leads_to_itself(tmp_path: Path) -> None:
    path = changed(written(tmp_path / "m.h5"), b"TREE\0\0", 5, lambda _: b"\1")
    with pytest.raises(SourceError, match="damaged"):
        everything(changed(path, b"TREE\0\1", 32, address))


def test_entries_of_another_group(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5")
    first = path.read_bytes().index(b"SNOD")
    with pytest.raises(SourceError, match="belong to another"):
        everything(changed(path, b"TREE\0\0", 32, lambda _: address(first), number=1))


def test_a_header_that_goes_on_in_itself(tmp_path: Path) -> None:
    marker = b"\x10\0\x10\0"  # a continuation of 16 bytes
    path = written(tmp_path / "m.h5")
    place = path.read_bytes().rindex(marker)
    content = bytearray(path.read_bytes())
    content[place + 8 : place + 24] = address(place) + address(24)
    path.write_bytes(content)
    # It may go on until its messages are counted.
    with cpu_budget(20), contextlib.suppress(SourceError):
        everything(path)


def test_a_tree_of_chunks_that_leads_to_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5")
    # Its root has two keys and children: each child is made the root itself.
    with pytest.raises(SourceError, match="refers to itself"):
        everything(changed(path, b"TREE\1\1", 24 + 24, address))


def test_a_chunk_listed_twice(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.arange(20), chunks=(10,))
    size = 8 + 2 * 8 + 8
    with pytest.raises(SourceError, match="duplicate"):
        everything(changed(path, b"TREE\1", 24 + size + 8, lambda _: address(0)))


def test_chunks_that_lie_outside(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.arange(20), chunks=(10,))
    with pytest.raises(SourceError, match="outside"):
        everything(changed(path, b"TREE\1", 24 + 24, lambda _: address(1 << 40)))


def test_a_packed_chunk_that_unpacks_to_much_more(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("w", (100,), "f4", chunks=(100,), compression="gzip")
        dataset.id.write_direct_chunk((0,), zlib.compress(bytes(120 << 20), 1))
    tracemalloc.reset_peak()
    with pytest.raises(SourceError, match="a chunk of 'w' is damaged"):
        everything(path)


@pytest.mark.parametrize("options", [{"fletcher32": True}, {"compression": "gzip"}])
def test_a_chunk_with_other_bytes_fails_its_checksum(tmp_path: Path, options: dict) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("w", data=np.arange(1000), chunks=(1000,), **options)
        place = dataset.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 500] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match="a chunk of 'w' is damaged"):
        everything(path)


def test_many_chunks_of_the_same_bytes_claim_no_more_than_the_file_could_hold(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (1 << 40,), "i1", chunks=(1 << 20,), compression="gzip", maxshape=(None,))
        packed = zlib.compress(bytes(1 << 20))
        for number in range(200):
            file["w"].id.write_direct_chunk((number << 20,), packed)
    with pytest.raises(SourceError, match="cannot fill"):
        everything(path)


def test_names_that_share_their_bytes_are_no_more_than_the_file_could_hold(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        first = file.create_dataset("a" * 60_000, data=1)
        for number in range(400):
            file[f"{number:03}"] = first
    content = bytearray(path.read_bytes())
    place = -1
    while (place := content.find(b"SNOD", place + 1)) >= 0:
        for entry in range(place + 8, place + 8 + 40 * content[place + 6], 40):
            content[entry : entry + 8] = address(8)  # the first name
    path.write_bytes(content)
    with pytest.raises(SourceError, match="exceed its size"):
        everything(path)


SEEDS: dict[str, dict] = {"usual": {}, "behind": {"userblock_size": 512}}


@pytest.mark.parametrize("kind", SEEDS)
def test_bytes_that_are_changed_raise_source_errors_or_nothing(
    tmp_path: Path, kind: str, monkeypatch
) -> None:
    started = []
    monkeypatch.setattr(opening, "SubprocessTree", lambda storage: started.append(storage) or refuse())
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", **SEEDS[kind]) as file:
        file["a/x"] = np.arange(30.0)
        file["a"].attrs["layer_names"] = ["b", "c"]
        file["words"] = ["one", "two"]
        file.create_dataset("packed", data=np.arange(90), chunks=(20,), compression="gzip", shuffle=True)
    content = path.read_bytes()
    chance = random.Random(7)
    read = 0
    for number in range(240):
        new = bytearray(content)
        for _ in range(1 + number % 3):
            place = chance.randrange(8, len(content))
            if number % 2:
                new[place] = chance.randrange(256)
            else:
                place -= place % 8
                new[place : place + 8] = address(chance.choice([0, place, 2**64 - 1, chance.randrange(4096)]))
        path.write_bytes(new)
        with cpu_budget(20), contextlib.suppress(SourceError):
            everything(path)
            read += 1
    assert 0 < read < 240
    assert len(started) < 120


def refuse() -> None:
    raise SourceError("left to the library")


# The library, in its own process.


def heap_without_end(path: Path) -> Path:
    """A file of the newer kind, in whose heap of texts the library walks forever (HDF5 1.14)."""
    with h5py.File(path, "w", libver="latest") as file:
        file["layers/dense/vars/0"] = np.ones(3)
        file.attrs["layer_names"] = "a text of any length"
    content = bytearray(path.read_bytes())
    place = (
        content.index(b"GCOL") + 16 + 16 + 24
    )  # behind the heap's header and its only object: the free space
    assert content[place : place + 2] == b"\0\0"
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    return path


def test_a_library_that_walks_forever_is_ended(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "HDF5_SECONDS", 1)
    with pytest.raises(SourceError, match="more than 1 seconds of processor time") as caught:
        everything(heap_without_end(tmp_path / "m.h5"))
    assert caught.value.where == str(tmp_path / "m.h5")


def test_a_library_that_wants_more_memory_than_it_may_have(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.zeros(12 << 20, "u1"), chunks=(12 << 20,), compression="lzf")
    monkeypatch.setattr(limits, "HDF5_MEMORY", -(40 << 20))
    with pytest.raises(SourceError, match="cannot be"):
        everything(path)


def test_a_library_that_ends_its_process_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.ones(3)
    file = HDF5File(open_storage(str(path)))
    assert file._confined is not None
    file._confined._process.kill()
    for _ in range(2):
        with pytest.raises(SourceError, match="was ended by SIGKILL"):
            file.read(file.datasets["w"])
    file.close()


def test_a_library_that_reads_without_end_is_ended(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.ones(3)
    monkeypatch.setattr(limits, "HDF5_READS_PER_BYTE", 0)
    monkeypatch.setattr(limits, "CLAIMED_FREELY", 0)
    with pytest.raises(SourceError, match="over and over"):
        everything(path)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system does not show it")
def test_the_library_loads_no_filters(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.ones(3)
    file = HDF5File(open_storage(str(path)))
    assert file._confined is not None
    environment = Path(f"/proc/{file._confined._process.pid}/environ").read_bytes().split(b"\0")
    assert b"HDF5_PLUGIN_PRELOAD=::" in environment
    assert not any(each.startswith(b"HDF5_PLUGIN_PATH") for each in environment)
    file.close()


def test_no_process_is_left_when_a_file_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.ones(3)
    script = (
        "import sys; from tfpt.formats import open_source; source = open_source(sys.argv[1]);"
        "print(source.reader._files[0]._confined._process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_changed_files_of_the_newer_kind(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "HDF5_SECONDS", 2)
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", track_order=True) as file:
        for number in range(12):
            file[f"a/{number}"] = np.arange(30.0)
        file.create_dataset("packed", data=np.arange(90), chunks=(20,), compression="gzip", shuffle=True)
    content = path.read_bytes()
    chance = random.Random(5)
    for _ in range(4):
        new = bytearray(content)
        for _ in range(5):
            new[chance.randrange(48, len(content))] = chance.randrange(256)
        path.write_bytes(new)
        with cpu_budget(20), contextlib.suppress(SourceError):
            everything(path)
