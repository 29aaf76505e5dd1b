"""An archive of one model, or a compressed file, is read as the model; a hostile one is refused within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.serving import serving
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats.archive import PackedSource
from tfpt.io import limits
from tfpt.io.archives import codec_of, is_tar

VALUES = np.arange(35, dtype=np.float32).reshape(5, 7)


def npy(values: np.ndarray = VALUES) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def pth(**tensors: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda members: tarred(members, "w:gz"),
    "tar.bz2": lambda members: tarred(members, "w:bz2"),
    "tar.xz": lambda members: tarred(members, "w:xz"),
}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE),
    "z": zlib.compress,
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_one_file_of_weights_beside_others(tmp_path: Path, kind: str) -> None:
    members = {"m/w.npy": npy(), "m/README.md": b"hello", "__MACOSX/m/._w.npy": b"?"}
    (tmp_path / f"a.{kind}").write_bytes(ARCHIVES[kind](members))
    source = open_source(tmp_path / f"a.{kind}")
    assert source.location == str(tmp_path / f"a.{kind}")
    assert source.format == ("NumPy archive" if kind == "zip" else "NumPy array in an archive")
    assert set(source.skipped) <= {"m/README.md", "__MACOSX/m/._w.npy"}
    (name,) = source.specs
    assert np.array_equal(source.read(name), VALUES)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_checkpoint_of_several_files(tmp_path: Path, kind: str) -> None:
    write_bundle(tmp_path / "model.ckpt", {"dense/kernel": VALUES})
    members = {f"bert/{path.name}": path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "a").write_bytes(ARCHIVES[kind](members))
    source = open_source(tmp_path / "a")
    values = source.read("dense/kernel")
    assert source.fingerprint() == open_source(tmp_path / "model.ckpt").fingerprint()
    source.close()
    assert np.array_equal(values, VALUES)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_file_is_called_without_its_last_suffix(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"w.npy.{kind}").write_bytes(COMPRESSED[kind](npy()))
    assert np.array_equal(open_source(tmp_path / f"w.npy.{kind}").read("w"), VALUES)


def test_the_temporary_folder_goes_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "a").write_bytes(tarred({"w.npy": npy()}))
    source = open_source(tmp_path / "a")
    assert list((tmp_path / "tmp").iterdir())
    source.close()
    assert not list((tmp_path / "tmp").iterdir())
    (tmp_path / "a").write_bytes(tarred({"w.txt": b"hello"}))
    with pytest.raises(SourceError):
        open_source(tmp_path / "a")
    assert not list((tmp_path / "tmp").iterdir())


def test_the_policy_of_stable_baselines(tmp_path: Path) -> None:
    """The members are those of save_to_zip_file of either library."""
    weight = torch.arange(15.0).reshape(3, 5)
    third = {
        "data": b"{}",
        "policy.pth": pth(**{"mlp.weight": weight}),
        "policy.optimizer.pth": pth(state=torch.ones(1)),
        "pytorch_variables.pth": pth(x=torch.ones(1)),
        "_stable_baselines3_version": b"2.9.2",
        "system_info.txt": b"",
    }
    (tmp_path / "sb3.zip").write_bytes(zipped(third))
    assert np.array_equal(open_source(tmp_path / "sb3.zip").read("mlp.weight"), weight.numpy())
    buffer = io.BytesIO()
    np.savez(buffer, **{"model/pi/w:0": VALUES})
    second = {"data": b"{}", "parameters": buffer.getvalue(), "parameter_list": b"[]"}
    (tmp_path / "sb2.zip").write_bytes(zipped(second))
    assert np.array_equal(open_source(tmp_path / "sb2.zip").read("model/pi/w:0"), VALUES)


def test_of_several_models_the_archive_says_which(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tarred({"m/a.npy": npy(), "m/b.npy": npy()}))
    with pytest.raises(SourceError, match="more than one file of weights") as caught:
        open_source(tmp_path / "a.tar")
    assert caught.value.got == "a.npy, b.npy"
    assert caught.value.where == f"{tmp_path}/a.tar, m in it"


def test_errors_name_the_archive_and_not_the_temporary_folder(tmp_path: Path) -> None:
    raw = bytearray(npy())
    raw[0] = 0
    for content in (bytes(raw), npy()[:-3]):
        (tmp_path / "a.tar").write_bytes(tarred({"m/w.npy": content, "m/README": b""}))
        with pytest.raises(SourceError) as caught:
            open_source(tmp_path / "a.tar")
        assert caught.value.where == f"{tmp_path}/a.tar, m/w.npy in it"


def test_an_archive_on_a_web_server(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tarred({"m/w.npy": npy()}, "w:gz"))
    with serving() as web:
        web.add(tmp_path / "a.tar.gz")
        assert np.array_equal(open_source(f"{web.url}/m/a.tar.gz").read("w"), VALUES)


def test_tar_archives_of_every_kind_are_known() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert is_tar(tarfile.TarInfo("a").tobuf(form))
    oldest = bytearray(tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT))
    oldest[257:265] = bytes(8)
    oldest[148:156] = b"%06o\0 " % (sum(oldest[:148]) + 8 * 32 + sum(oldest[156:]))
    assert is_tar(bytes(oldest))
    oldest[0] += 1
    assert not is_tar(bytes(oldest))
    assert codec_of(b"x^2 + 1") is None


def declared(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE: dict[str, tuple[bytes, str]] = {
    # A header of 1.5 GB that the file has, as holes.
    "long name": (declared(tarfile.GNUTYPE_LONGNAME, 1_500_000_000), "1,500,000,000 bytes"),
    "long attributes": (declared(tarfile.XHDTYPE, 1_500_000_000), "1,500,000,000 bytes"),
    "global attributes": (declared(tarfile.XGLTYPE, 1_500_000_000), "1,500,000,000 bytes"),
    "negative": (
        declared(tarfile.REGTYPE, 0).replace(b"00000000000\0", b"\xff" * 12, 1),
        "cannot be unpacked|is of no",
    ),
    "a link": (declared(tarfile.SYMTYPE, 0), "a link, a device"),
    "upwards": (tarred({"../w.npy": npy()}), "leads out"),
    "not packed by gzip": (b"\x1f\x8b" + bytes(40), "cannot be unpacked"),
    "cut gzip": (gzip.compress(npy())[:-9], "cannot be unpacked"),
    "damaged gzip": (gzip.compress(npy())[:30] + bytes(9) + gzip.compress(npy())[39:], "cannot be unpacked"),
    "cut zlib": (zlib.compress(npy())[:-9], "cannot be unpacked"),
    "cut xz": (lzma.compress(npy())[:-9], "cannot be unpacked"),
    "damaged xz": (lzma.compress(npy())[:30] + bytes(9) + lzma.compress(npy())[39:], "cannot be unpacked"),
    "cut bz2": (bz2.compress(npy())[:-9], "cannot be unpacked"),
    "empty": (tarred({}) + b"", "is empty|does not know the format"),
    "torch before 0.1.10": (
        tarred({"sys_info": b"", "pickle": b"", "storages": b"", "tensors": b""}),
        r"torch before 0\.1\.10",
    ),
    "lz4": (b"\x04\x22\x4d\x18" + bytes(20), "compressed by lz4"),
    "zstandard": (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed by zstandard"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, name: str) -> None:
    raw, message = HOSTILE[name]
    path = tmp_path / "a"
    path.write_bytes(raw)
    if "1,500" in message:
        with open(path, "r+b") as file:
            file.truncate(1_500_001_024)
    tracemalloc.start()
    with pytest.raises(SourceError, match=message):
        open_source(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_archives_in_archives_end(tmp_path: Path) -> None:
    raw = npy()
    for _ in range(limits.ARCHIVE_LEVELS):
        raw = gzip.compress(raw)
    (tmp_path / "w.npy.gz").write_bytes(raw)
    assert len(PackedSource(tmp_path / "w.npy.gz").specs) == 1
    (tmp_path / "w.npy.gz").write_bytes(gzip.compress(raw))
    with pytest.raises(SourceError, match="nested archives"):
        open_source(tmp_path / "w.npy.gz")


def test_what_grows_beyond_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNPACKED_FREELY", 0)
    for pack in COMPRESSED.values():
        (tmp_path / "w.npy.gz").write_bytes(pack(npy(np.zeros(1 << 20))))
        with pytest.raises(SourceError, match="times its size"):
            open_source(tmp_path / "w.npy.gz")


def test_folders_count_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNPACKED_FILES", 20)
    (tmp_path / "a").write_bytes(declared(tarfile.DIRTYPE, 0) * 30 + bytes(1024))
    with pytest.raises(SourceError, match="more than 20 files and folders"):
        open_source(tmp_path / "a")


def test_zip_archives_that_lie(tmp_path: Path) -> None:
    good = zipped({"m/w.npz": b"x" * 40, "m/v.npz": b"y" * 40})
    second = good.index(b"PK\1\2", good.index(b"PK\1\2") + 4)
    end = good.index(b"PK\5\6")
    lies = {
        "shares its bytes": (second + 42, struct.pack("<I", 0)),
        "directory": (end + 12, struct.pack("<I", 1 << 30)),
        "cut off|cannot be read": (second + 20, struct.pack("<I", 1 << 20)),
    }
    for message, (place, content) in lies.items():
        (tmp_path / "a.zip").write_bytes(good[:place] + content + good[place + len(content) :])
        with pytest.raises(SourceError, match=message):
            open_source(tmp_path / "a.zip")
    # A name that says it is UTF-8 and is not.
    flagged = bytearray(zipped({"\u00e4.npy": npy()}))
    for at in (flagged.index("\u00e4".encode()), flagged.rindex("\u00e4".encode())):
        flagged[at : at + 2] = b"\xff\xff"
    (tmp_path / "a.zip").write_bytes(flagged)
    with pytest.raises(SourceError, match="directory cannot be read"):
        open_source(tmp_path / "a.zip")
