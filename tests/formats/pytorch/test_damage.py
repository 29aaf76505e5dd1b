"""A damaged or hostile file of torch ends in a SourceError, within little memory; nothing of it is run."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.pytorch.contents import is_legacy
from tfpt.formats.pytorch.torch import TorchSource

QUANTIZED = torch.quantize_per_channel(torch.ones(2, 3), torch.ones(3), torch.zeros(3), 1, torch.qint8)
CONTENT = {
    "epoch": 3,
    "state_dict": {"a": torch.arange(6.0).reshape(2, 3), "q": QUANTIZED, "s": torch.eye(2).to_sparse()},
}


def saved(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def look(path: Path) -> dict[str, bytes] | None:
    """All that can be read, or None where it was a SourceError."""
    try:
        source = TorchSource(path)
        source.fingerprint()
        return {name: source.read(name).tobytes() for name in source.specs}
    except SourceError:
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_flipped_bits_give_a_result_or_a_source_error(tmp_path: Path, legacy: bool) -> None:
    """Every 13th bit; in an archive no value is wrong, since all of it has checksums."""
    good, path = saved(CONTENT, legacy=legacy), tmp_path / "w.pth"
    path.write_bytes(good)
    whole = look(path)
    assert whole is not None
    assert len(whole) == 3
    refused = 0
    for bit in range(0, 8 * len(good), 13):
        raw = bytearray(good)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        found = look(path)
        refused += found is None
        if not legacy and found is not None:
            assert found == whole
    assert refused > 8 * len(good) // 13 // 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_cut_gives_a_source_error(tmp_path: Path, legacy: bool) -> None:
    good, path = saved(CONTENT, legacy=legacy), tmp_path / "w.pth"
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        assert look(path) is None


def archive(pickled: bytes, storage: bytes = bytes(4)) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("w/data.pkl", pickled)
        written.writestr("w/byteorder", "little")
        written.writestr("w/version", "3\n")
        written.writestr("w/data/0", storage)
    return buffer.getvalue()


def tensor_of(
    shape: tuple[int, ...] = (1,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    size: int = 1,
    key: str = "0",
) -> bytes:
    """The pickle of {"w": tensor}, as torch writes it."""

    def tuple_of(numbers: tuple[int, ...]) -> bytes:
        return (
            b"("
            + b"".join(b"\x8a\x0a" + number.to_bytes(10, "little", signed=True) for number in numbers)
            + b"t"
        )

    name = key.encode()
    persistent = (
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX" + struct.pack("<I", len(name)) + name + b"X\3\0\0\0cpu"
    )
    return (
        b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n("
        + persistent
        + tuple_of((size,))[1:-1]
        + b"tQ"
        + tuple_of((offset,))[1:-1]
        + tuple_of(shape)
        + tuple_of(strides)
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )


def test_the_pickle_of_these_tests_is_one_that_torch_reads(tmp_path: Path) -> None:
    raw = archive(tensor_of((2, 3), (0, 1), 1, 4), np.arange(4, dtype="<f4").tobytes())
    (tmp_path / "w.pth").write_bytes(raw)
    expected = torch.load(tmp_path / "w.pth", weights_only=True)["w"]
    assert np.array_equal(TorchSource(tmp_path / "w.pth").read("w"), expected.numpy())


NESTED: dict[str, object] = {"w": torch.ones(1)}
for _ in range(100):
    NESTED = {"in": NESTED}

# A dict that is in itself.
CYCLE = b"\x80\x02}q\x00X\1\0\0\0ah\x00s."
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "beyond its storage": (lambda: archive(tensor_of((2,), (1,))), "reaches beyond its storage"),
    "strides beyond": (lambda: archive(tensor_of((2,), (2**60,))), "reaches beyond its storage"),
    "offset beyond": (lambda: archive(tensor_of(offset=1)), "reaches beyond its storage"),
    "negative strides": (lambda: archive(tensor_of(strides=(-1,))), "number of elements"),
    "negative shape": (lambda: archive(tensor_of(shape=(-1,))), "number of elements"),
    "other strides": (lambda: archive(tensor_of((1, 1), (1,))), "2 axes with 1 strides"),
    "many axes": (lambda: archive(tensor_of((1,) * 65, (1,) * 65)), "at most 64 axes"),
    "a storage of the universe": (lambda: archive(tensor_of(size=2**62)), "storage 0 is too short"),
    "a storage elsewhere": (lambda: archive(tensor_of(key="../../etc/passwd")), r"has no w/data/\.\./\.\."),
    "cyclic": (lambda: archive(CYCLE), "too many levels"),
    "deep": (lambda: saved(NESTED), "too many levels"),
    "digits": (lambda: archive(b"I" + b"9" * 4_301 + b"\n."), "not a valid pickle"),
    "no pickle": (lambda: archive(b""), "not a valid pickle"),
    "a call of a list": (lambda: archive(b"\x80\x02]\x85R."), "not a valid pickle"),
    "rebuilt of nothing": (lambda: archive(b"ctorch._utils\n_rebuild_tensor_v2\n)R."), "not a valid pickle"),
    "no view of a storage": (lambda: archive(b"(X\x07\0\0\0storageNNNNNtQ."), "a storage of unknown type"),
    "from elsewhere": (lambda: archive(b"X\x07\0\0\0storageQ."), "not a storage"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_within_little_memory(tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    (tmp_path / "w.pth").write_bytes(make())
    tracemalloc.start()
    with pytest.raises(SourceError, match=message):
        TorchSource(tmp_path / "w.pth")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_legacy_file_that_begins_as_a_tar_archive(tmp_path: Path) -> None:
    """torch.load takes it for one, and a header of 1.5 GB into memory."""
    info = tarfile.TarInfo("a")
    info.type, info.size = tarfile.XHDTYPE, 1_500_000_000
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[:32] = saved({}, legacy=True)[:32]
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    assert is_legacy(bytes(block))
    path = tmp_path / "w.pth"
    path.write_bytes(block)
    with open(path, "r+b") as file:
        file.truncate(1_500_001_024)
    tracemalloc.start()
    with pytest.raises(SourceError):
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_file_of_torch_before_0_1_10_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Made as torch.load reads it (torch/serialization.py, legacy_load), which needs weights_only=False."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: object) -> str | None:
            return "2" if thing == "the tensor" else None

    values, content = torch.arange(6.0).reshape(2, 3), io.BytesIO()
    Pickler(content, 2).dump({"w": "the tensor"})
    storage = pickle.dumps(1, 2) + pickle.dumps((1, "cpu", torch.FloatStorage), 2) + struct.pack("<q", 6)
    tensor = pickle.dumps(1, 2) + pickle.dumps((2, 1, torch.FloatTensor), 2)
    members = {
        "sys_info": pickle.dumps({"little_endian": True}, 2),
        "pickle": content.getvalue(),
        "storages": storage + values.numpy().tobytes() + pickle.dumps([], 2),
        "tensors": tensor + struct.pack("<ii2q2qq", 2, 0, 2, 3, 3, 1, 0),
    }
    with tarfile.open(tmp_path / "w.pth", "w") as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    assert torch.equal(torch.load(tmp_path / "w.pth", weights_only=False)["w"], values)
    with pytest.raises(SourceError, match=r"torch before 0\.1\.10") as caught:
        open_source(tmp_path / "w.pth")
    assert "weights_only=False" in str(caught.value.hint)
    assert str(tmp_path / "w.pth") in str(caught.value.where)


def test_pickles_that_are_none_of_torch_go_to_the_reader_of_pickles(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"w": np.arange(3)}))
    assert open_source(tmp_path / "w.pth").format == "pickle"
