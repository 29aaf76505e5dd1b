"""A damaged or hostile file of numpy's ends in a SourceError, soon and within little memory; nothing of it is run."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.formats.numpy.test_numpy import save_object
from tests.growth import cpu_budget
from tfpt.errors import SourceError
from tfpt.formats.numpy.source import open_numpy


@pytest.fixture
def bounded() -> Iterator[None]:
    """Half a minute of CPU time under tracemalloc, which takes most of it, and a hundred megabytes."""
    tracemalloc.start()
    with cpu_budget(60):
        yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


def look(path: Path) -> bool:
    """Ask all that can be asked of a source; whether it was answered, or was a SourceError."""
    try:
        source = open_numpy(str(path))
        source.fingerprint()
        for name, spec in source.specs.items():
            assert source.read(name).shape == spec.shape
    except SourceError:
        return False
    return True


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def small_tree(path: Path) -> None:
    save_object(path, {"a": [np.arange(3, dtype="<i2"), 1.5], "b": {"c": np.array("x")}}, 4)


def small_tree_2(path: Path) -> None:
    save_object(path, {"a": [np.arange(3, dtype="<i2"), 1.5], "b": {"c": np.array("x")}}, 0)


SMALL: dict[str, Callable[[Path], object]] = {
    "npy": lambda path: path.write_bytes(npy(np.arange(6, dtype=">f4").reshape(2, 3))),
    "text": lambda path: path.write_bytes(npy(np.array(["a", "bc"]))),
    "tree": small_tree,
    "tree of protocol 0": small_tree_2,
    "npz": lambda path: np.savez(path.open("wb"), a=np.arange(3), b=np.ones(2, "<f4")),
    "packed": lambda path: np.savez_compressed(path.open("wb"), a=np.arange(3), b=np.ones(2, "<f4")),
    "npz of trees": lambda path: np.savez(path.open("wb"), t=np.array([{"a": np.arange(3)}], object)),
}


@pytest.mark.parametrize("kind", SMALL)
def test_every_flipped_byte_gives_a_result_or_a_source_error(tmp_path: Path, kind: str) -> None:
    SMALL[kind](tmp_path / "good")
    assert look(tmp_path / "good")
    good, path = (tmp_path / "good").read_bytes(), tmp_path / "bad"
    for place in range(len(good)):
        for value in {0, 0x28, 0xFF, good[place] ^ 1}:
            path.write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
            look(path)


@pytest.mark.parametrize("kind", SMALL)
def test_every_cut_gives_a_source_error(tmp_path: Path, kind: str) -> None:
    SMALL[kind](tmp_path / "good")
    good, path = (tmp_path / "good").read_bytes(), tmp_path / "bad"
    for size in range(len(good)):
        path.write_bytes(good[:size])
        assert not look(path)


class Runs:
    """An object whose pickle would call `call`."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.call = (call, arguments)

    def __reduce__(self) -> tuple[object, object]:
        return self.call


CODE: dict[str, tuple[object, str]] = {
    "system": (Runs(os.system, "touch /tmp/tfpt-was-here"), "posix.system"),
    "eval": (Runs(eval, "1"), "builtins.eval"),
    "getattr": (Runs(getattr, "", "join"), "builtins.getattr"),
    "numpy's own": (Runs(np.fromfile, "/etc/passwd"), "fromfile"),
    "a class": (Runs(Path, "/"), "Path"),
}


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused_by_the_name(
    tmp_path: Path, name: str, protocol: int
) -> None:
    content, named = CODE[name]
    save_object(tmp_path / "w.npy", {"w": content}, protocol)
    with pytest.raises(SourceError, match="would run code") as caught:
        open_numpy(str(tmp_path / "w.npy"))
    assert named in caught.value.what.replace("__builtin__", "builtins")
    np.savez(tmp_path / "w.npz", w=np.array([content, 1], object))
    with pytest.raises(SourceError, match="would run code"):
        open_numpy(str(tmp_path / "w.npz"))
    assert not Path("/tmp/tfpt-was-here").exists()


HEAD = npy(np.array(None, object))[:128]
RAW_PICKLES: dict[str, tuple[bytes, str]] = {
    "runstring": (
        b"cnumpy.testing._private.utils\nrunstring\n(S'1'\ntR.",
        "numpy.testing._private.utils.runstring",
    ),
    "an instance": (b"(S'ls'\niposix\nsystem\n.", "posix.system"),
    "an instance of a known class": (b"(inumpy\nndarray\n.", "INST"),
    "from outside": (b"Pname\n.", "PERSID"),
    "from outside, binary": (b"K\x01Q.", "BINPERSID"),
    "from the registry": (b"\x82\x01.", "EXT1"),
    "a buffer from outside": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "any call": (b"cnumpy\nndarray\n(K\x01tR.", "neither numpy nor Python"),
    "a call of a number": (b"K\x01)R.", "not callable"),
    "state for a dict": (b"}}b.", "a state for dict"),
    "bytes of the universe": (b"\x8e" + b"\xff" * 8 + b".", "are left"),
    "text of 4 GB": (b"X\xff\xff\xff\xff.", "are left"),
    "a long number": (b"\x8b\xff\xff\xff\x7f.", "are left|an integer of"),
    "a number of many digits": (b"I" + b"9" * 60_000 + b"\n.", "ValueError|digits|not a valid"),
    "a line without end": (b"S'" + b"a" * 70_000, "a line of more"),
    "the memo of the universe": (b"K\x01r\xff\xff\xff\xff0.", "not a valid pickle"),
    "a memo of nothing": (b"h\x07.", "KeyError"),
    "nothing on the stack": (b"0.", "IndexError"),
    "no end": (b"K\x01", "ends at byte"),
    "no opcode": (b"\xfe.", "not an opcode"),
    "a key that is a list": (b"}]K\x01s.", "as the key"),
    "a key that is a tuple": (b"})K\x01s.", "as the key"),
    "items for a number": (b"K\x01K\x02a.", "not a list"),
}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("name", RAW_PICKLES)
def test_a_hostile_pickle_is_refused(tmp_path: Path, name: str) -> None:
    raw, message = RAW_PICKLES[name]
    (tmp_path / "w.npy").write_bytes(HEAD + raw)
    with pytest.raises(SourceError) as caught:
        open_numpy(str(tmp_path / "w.npy"))
    assert re.search(message, str(caught.value))


@pytest.mark.usefixtures("bounded")
def test_lists_in_lists_in_lists_are_refused_soon(tmp_path: Path) -> None:
    doubled: list[object] = [1.0]
    for _ in range(30):
        doubled = [doubled, doubled]
    wide: list[object] = [1.0]
    for _ in range(5):
        wide = [wide] * 100
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    endless: list[object] = []
    endless.append(endless)
    long = {"n" * 1_001: 1.0}
    for content in (doubled, wide, deep, endless, long):
        save_object(tmp_path / "w.npy", content)
        with pytest.raises(SourceError, match="too many values, too many levels, or too long names"):
            open_numpy(str(tmp_path / "w.npy"))


@pytest.mark.usefixtures("bounded")
def test_opcodes_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(HEAD + b"K\x010" * 510_000 + b"N.")
    with pytest.raises(SourceError, match="more than 1,000,000 opcodes"):
        open_numpy(str(tmp_path / "w.npy"))


@pytest.mark.usefixtures("bounded")
def test_calls_that_copy_one_large_list_again_and_again_are_refused(tmp_path: Path) -> None:
    large = b"]q\x01(" + b"N" * 100_000 + b"e0"
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x020"
    sets = b"c__builtin__\nset\n(h\x01tR0" * 100_000
    encoded = b"c_codecs\nencode\n(h\x02X\x06\0\0\0latin1tR" * 1_000
    for raw in (large + sets, text + encoded):
        (tmp_path / "w.npy").write_bytes(HEAD + raw + b"N.")
        with pytest.raises(SourceError, match="copy more than"):
            open_numpy(str(tmp_path / "w.npy"))


@pytest.mark.usefixtures("bounded")
def test_tuples_in_tuples_are_never_printed_hashed_or_compared(tmp_path: Path) -> None:
    doubled = b"K\x01" + b"\x85q\x010h\x01h\x01\x86" * 60
    shape = b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f4K\0K\1tR" + doubled + b"tR."
    (tmp_path / "w.npy").write_bytes(HEAD + shape)
    with pytest.raises(SourceError, match="an array of tuple"):
        open_numpy(str(tmp_path / "w.npy"))


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("shape", [(2**40,), (2**62, 8), (-1, -3), (0, 2**62, 8), (1,) * 33])
def test_a_pickled_array_of_an_absurd_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    # (1,) in the pickle of an array of one becomes the shape.
    raw = pickle.dumps(np.ones(1, "<f4"), 2)
    assert raw.count(b"K\x01\x85q") == 1
    shape_raw = pickle.dumps(shape, 2)[2:-1]
    place = raw.index(b"K\x01\x85q")
    raw = raw[:place] + shape_raw.replace(b"q\x00", b"") + raw[place + 3 :]
    (tmp_path / "w.npy").write_bytes(HEAD + raw)
    with pytest.raises(SourceError, match="not a valid pickle of arrays"):
        open_numpy(str(tmp_path / "w.npy"))


def with_header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    raw = text.encode()
    length = len(raw).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + raw + data


def header(descr: object = "<f4", fortran: object = False, shape: object = (3,)) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}, }}"


HEADERS: dict[str, tuple[bytes, str]] = {
    "code": (with_header("__import__('os').system('ls')"), "not a Python literal"),
    "no dict": (with_header("[1, 2]"), "other keys"),
    "a key too few": (with_header("{'descr': '<f4', 'shape': ()}"), "other keys"),
    "keys that are no text": (with_header("{1: 2, None: 3}"), "other keys"),
    "deep": (with_header("(" * 9_000), "not a Python literal"),
    "signs": (with_header("-" * 9_000 + "1"), "not a Python literal"),
    "long": (with_header(" " * 10_001), "too long"),
    "longer than all": (b"\x93NUMPY\2\0\xff\xff\xff\xff{}", "too long"),
    "cut off": (b"\x93NUMPY\1\0\xff\x00{}", "ends within"),
    "no length": (b"\x93NUMPY\1\0", "ends within|not a Python literal"),
    "no version": (b"\x93NUMPY", "unknown version"),
    "version 9": (with_header(header(), version=9), "unknown version"),
    "shape no tuple": (with_header(header(shape=[3]), bytes(12)), "shape"),
    "shape of texts": (with_header(header(shape=("3",)), bytes(12)), "shape"),
    "shape of bools": (with_header(header(shape=(True,)), bytes(4)), "shape"),
    "shape negative": (with_header(header(shape=(-3,)), bytes(12)), "shape"),
    "shape that overflows": (with_header(header(shape=(2**32, 2**32)), bytes(12)), "shape"),
    "shape that overflows beside 0": (with_header(header(shape=(0, 2**62, 8))), "shape"),
    "many axes": (with_header(header(shape=(1,) * 33), bytes(4)), "shape"),
    "shape beyond the file": (with_header(header(shape=(2**40,)), bytes(12)), "another size"),
    "bytes left over": (with_header(header(), bytes(13)), "another size"),
    "order no bool": (with_header(header(fortran=0), bytes(12)), "fortran_order is not a boolean"),
    "descr a number": (with_header(header(descr=4), bytes(12)), "not a dtype"),
    "descr nonsense": (with_header(header(descr="<f3"), bytes(12)), "cannot be a tensor"),
    "descr of nothing": (with_header(header(descr="|S0", shape=(10**15,))), "cannot be a tensor"),
    "descr a subarray": (with_header(header(descr="(1000000000,)f4", shape=(0,))), "cannot be a tensor"),
    "descr of fields": (with_header(header(descr=[("a", "<f4")]), bytes(12)), "cannot be a tensor"),
    "another file": (b"hello", "wrong magic number"),
    "empty": (b"", "wrong magic number"),
}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("name", HEADERS)
def test_a_bad_header_is_refused(tmp_path: Path, name: str) -> None:
    raw, message = HEADERS[name]
    (tmp_path / "w.npy").write_bytes(raw)
    with pytest.raises(SourceError, match=message):
        open_numpy(str(tmp_path / "w.npy")).read("w")


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path.read_bytes()


def test_members_with_names_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    for name in ("../w.npy", "/w.npy", "a/../../w.npy", "a\\w.npy"):
        zipped(tmp_path / "w.npz", {name: npy(np.ones(1))})
        with pytest.raises(SourceError, match="leads out of the archive"):
            open_numpy(str(tmp_path / "w.npz"))
    zipped(tmp_path / "w.npz", {"w.txt": b"hello"})
    with pytest.raises(SourceError, match="is not an array"):
        open_numpy(str(tmp_path / "w.npz"))


def test_packings_of_other_kinds_are_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        zipped(tmp_path / "w.npz", {"w.npy": npy(np.ones(1))}, method)
        with pytest.raises(SourceError, match="is compressed"):
            open_numpy(str(tmp_path / "w.npz"))


def test_a_member_that_declares_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    head = with_header(header(shape=(2**30,)))
    raw = bytearray(zipped(tmp_path / "w.npz", {"w.npy": head}, zipfile.ZIP_DEFLATED))
    directory = raw.index(b"PK\1\2")
    struct.pack_into("<I", raw, directory + 24, len(head) + 2**31)  # the size, in the directory
    (tmp_path / "w.npz").write_bytes(raw)
    with pytest.raises(SourceError, match="too high a compression ratio"):
        open_numpy(str(tmp_path / "w.npz"))


@pytest.mark.usefixtures("bounded")
def test_zeros_of_a_gigabyte_in_a_megabyte_are_refused_and_zeros_of_a_model_are_not(tmp_path: Path) -> None:
    zeros = np.zeros((1 << 22) + 1, "<f4")
    np.savez_compressed(tmp_path / "w.npz", w=zeros)
    assert np.array_equal(open_numpy(str(tmp_path / "w.npz")).read("w"), zeros)
    # The same megabyte again and again; deflate's blocks can be put one after another.
    head = with_header(header(shape=(2**28,)))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH) + block * 1024 + b"\x03\x00"
    raw = bytearray(zipped(tmp_path / "bomb.npz", {"w.npy": packed}))
    local, directory = 0, raw.index(b"PK\1\2")
    for place in (local + 8, directory + 10):
        struct.pack_into("<H", raw, place, zipfile.ZIP_DEFLATED)
    for place in (local + 22, directory + 24):
        struct.pack_into("<I", raw, place, len(head) + 2**30)
    (tmp_path / "bomb.npz").write_bytes(raw)
    with pytest.raises(SourceError, match="too high a compression ratio"):
        open_numpy(str(tmp_path / "bomb.npz"))


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "w.npz", {"a.npy": npy(np.ones(9)), "b.npy": npy(np.ones(9))}))
    second = raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 4)
    struct.pack_into("<I", raw, second + 42, 0)
    (tmp_path / "w.npz").write_bytes(raw)
    with pytest.raises(SourceError, match="shares its bytes"):
        open_numpy(str(tmp_path / "w.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_value_fails_its_checksum(tmp_path: Path, method: int) -> None:
    values = np.frombuffer(np.random.default_rng(1).bytes(999), np.uint8)
    raw = bytearray(zipped(tmp_path / "w.npz", {"w.npy": npy(values)}, method))
    raw[700] ^= 1
    (tmp_path / "w.npz").write_bytes(raw)
    with pytest.raises(SourceError, match="is damaged"):
        open_numpy(str(tmp_path / "w.npz")).read("w")
