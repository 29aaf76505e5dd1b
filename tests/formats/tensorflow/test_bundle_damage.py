"""Damaged and hostile bundles: a SourceError that says where, or the same contents; nothing else, and soon."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.formats.tensorflow.saving import change_entry, rewrite, rows
from tfpt.errors import SourceError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.execution.sinks.sstable import write_table
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.formats.tensorflow.slices import Piece, piece_key
from tfpt.formats.tensorflow.sstable import FOOTER_SIZE, TRAILER_SIZE, crc32c, masked
from tfpt.formats.tensorflow.tensorflow_pb2 import BundleEntryProto

VALUES = {
    "conv/bias": np.arange(5, dtype=np.float32),
    "conv/kernel": np.arange(105, dtype=np.float32).reshape(3, 5, 7),
    "flags": np.array([True, False]),
    "names": np.array([b"relu", b"", b"x" * 200], np.object_),
    "step": np.array(7),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "b", VALUES, write_state=False)
    return tmp_path / "b"


def index_of(bundle: Path) -> Path:
    return Path(f"{bundle}.index")


def data_of(bundle: Path) -> Path:
    return Path(f"{bundle}.data-00000-of-00001")


def outcome(bundle: Path) -> object:
    """Everything in the bundle as plain values, or the error it is refused with."""
    try:
        source = BundleSource(bundle)
        return [(spec, source.read(name).tolist()) for name, spec in source.specs.items()]
    except SourceError as error:
        return error


def test_a_flipped_byte_anywhere_in_the_index_is_refused_or_means_nothing(bundle: Path) -> None:
    whole = index_of(bundle).read_bytes()
    expected = outcome(bundle)
    refused = 0
    for at in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            index_of(bundle).write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
            got = outcome(bundle)
            refused += isinstance(got, SourceError)
            assert isinstance(got, SourceError) or got == expected
    # All but the zeros that fill the footer.
    assert refused >= 3 * (len(whole) - FOOTER_SIZE)


def test_an_index_cut_off_anywhere_is_refused(bundle: Path) -> None:
    whole = index_of(bundle).read_bytes()
    for length in range(len(whole)):
        index_of(bundle).write_bytes(whole[:length])
        assert isinstance(outcome(bundle), SourceError)


def test_a_flipped_byte_anywhere_in_the_data_names_tensor_file_and_offset(bundle: Path) -> None:
    whole = data_of(bundle).read_bytes()
    entries = {k.decode(): BundleEntryProto.FromString(v) for k, v in rows(index_of(bundle)) if k}
    for at in range(len(whole)):
        data_of(bundle).write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        name = next(n for n, e in entries.items() if e.offset <= at < e.offset + e.size)
        with pytest.raises(SourceError, match=f"'{name}'") as caught:
            BundleSource(bundle).read(name)
        assert caught.value.where == f"{data_of(bundle)}, byte {entries[name].offset}"


def test_without_checksums_a_flipped_byte_is_read_as_it_is(bundle: Path) -> None:
    whole = bytearray(data_of(bundle).read_bytes())
    whole[3] ^= 0x80
    data_of(bundle).write_bytes(whole)
    assert BundleSource(bundle, verify_checksums=False).read("conv/bias")[0] == -0.0
    with pytest.raises(SourceError, match="checksum"):
        BundleSource(bundle).read("conv/bias")


def test_data_cut_off_anywhere_leaves_what_is_before_it(bundle: Path) -> None:
    whole = data_of(bundle).read_bytes()
    for length in range(0, len(whole), 7):
        data_of(bundle).write_bytes(whole[:length])
        source = BundleSource(bundle)
        with pytest.raises(SourceError, match="ends before"):
            source.read("step")
        if length > 20:
            assert source.read("conv/bias").tolist() == VALUES["conv/bias"].tolist()


def _shape(*sizes: int) -> Callable[[BundleEntryProto], None]:
    def change(entry: BundleEntryProto) -> None:
        del entry.shape.dim[:]
        for size in sizes:
            entry.shape.dim.add(size=size)

    return change


NONSENSE = {
    "a shape too large to count": _shape(1 << 40, 1 << 40),
    "a shape too large for the entry": _shape(1 << 40),
    "no elements, but an axis beyond reason": _shape(0, (1 << 63) - 1, 1 << 40),
    "a negative axis": _shape(-5, -21),
    "more axes than arrays have": _shape(*[1] * 105),
    "unknown rank": lambda entry: setattr(entry.shape, "unknown_rank", True),
    "a negative offset": lambda entry: setattr(entry, "offset", -4),
    "an offset beyond the file": lambda entry: setattr(entry, "offset", 1 << 40),
    "the largest offset": lambda entry: setattr(entry, "offset", (1 << 63) - 1),
    "a size that is not the shape's": lambda entry: setattr(entry, "size", 424),
    "a negative size": lambda entry: setattr(entry, "size", -420),
    "a data file that there is none of": lambda entry: setattr(entry, "shard_id", 1),
    "a negative data file": lambda entry: setattr(entry, "shard_id", -1),
    "a dtype of the future": lambda entry: setattr(entry, "dtype", 99),
    "no dtype": lambda entry: setattr(entry, "dtype", 0),
    "numbers called strings": lambda entry: setattr(entry, "dtype", 7),
    "pieces that are not there": lambda entry: entry.slices.add().extent.add(start=1, length=2),
    "pieces of no axes": lambda entry: entry.slices.add(),
}


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE)
def test_an_entry_that_contradicts_itself_is_refused(
    bundle: Path, change: Callable[[BundleEntryProto], None]
) -> None:
    change_entry(index_of(bundle), b"conv/kernel", change)
    assert isinstance(outcome(bundle), SourceError)


@pytest.mark.parametrize(
    "value", [b"\xff" * 20, b"\x12" * 1000 + b"\x00", b"\x12\xff\xff\xff\xff\x0f", b"\x08"]
)
def test_an_entry_that_is_no_message_is_refused(bundle: Path, value: bytes) -> None:
    for name in (b"", b"conv/kernel"):
        before = index_of(bundle).read_bytes()
        rewrite(index_of(bundle), lambda key, old, name=name: value if key == name else old)
        assert isinstance(outcome(bundle), SourceError)
        index_of(bundle).write_bytes(before)


def test_a_name_that_is_not_utf8_is_refused(bundle: Path) -> None:
    changed = [(key.replace(b"step", b"st\xff\xfe"), value) for key, value in rows(index_of(bundle))]
    with open(index_of(bundle), "wb") as file:
        write_table(file, changed)
    with pytest.raises(SourceError, match="not UTF-8"):
        BundleSource(bundle)


def test_pieces_that_all_lie_on_the_same_bytes_are_refused_before_they_fill_memory(tmp_path: Path) -> None:
    count, size = 1 << 12, 1 << 16
    write_bundle(tmp_path / "b", {"w": np.zeros(size, np.uint8)}, write_state=False)
    table = dict(rows(tmp_path / "b.index"))
    whole = BundleEntryProto.FromString(table[b"w"])
    del whole.shape.dim[:]
    whole.shape.dim.add(size=count * size)
    for number in range(count):
        piece = Piece((number * size,), (size,))
        whole.slices.add().extent.add(start=number * size, length=size)
        table[piece_key("w", piece)] = table[b"w"]
    table[b"w"] = whole.SerializeToString()
    with open(tmp_path / "b.index", "wb") as file:
        write_table(file, sorted(table.items()))
    with pytest.raises(SourceError, match="too short for the pieces"):
        BundleSource(tmp_path / "b").read("w")


def test_random_changes_under_right_checksums_never_raise_anything_else(bundle: Path) -> None:
    rng = random.Random(5)
    whole = index_of(bundle).read_bytes()
    footer = whole[-FOOTER_SIZE:]
    # Written by us, so there are three blocks: the data, an empty metaindex of 8 bytes, the index.
    data_size = next(at for at in range(len(whole)) if _is_block(whole, 0, at))
    errors = 0
    for _ in range(1500):
        content = bytearray(whole[: data_size + 1])
        for _ in range(rng.choice([1, 1, 2, 8])):
            content[rng.randrange(data_size)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            content[data_size] = 1
        crc = masked(crc32c(bytes(content))).to_bytes(4, "little")
        index_of(bundle).write_bytes(
            bytes(content) + crc + whole[data_size + TRAILER_SIZE : -FOOTER_SIZE] + footer
        )
        errors += isinstance(outcome(bundle), SourceError)
    assert errors > 500


def _is_block(data: bytes, at: int, size: int) -> bool:
    end = at + size + 1
    return masked(crc32c(data[at:end])) == int.from_bytes(data[end : end + 4], "little")
