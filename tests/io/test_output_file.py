"""An output file appears whole or not at all, and says why not."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tfpt.errors import SinkError
from tfpt.io.output_file import AtomicFile

BYTES = np.frombuffer(b"good morning", np.uint8)


def test_nothing_is_at_the_target_before_commit_and_all_of_it_after(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with AtomicFile(target) as file:
        file.reserve(12)
        file.write_at(0, BYTES)
        assert not target.exists()
        file.commit()
    assert target.read_bytes() == b"good morning"
    assert os.listdir(tmp_path) == ["out"]


def test_without_commit_nothing_is_left(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "out") as file:
        file.write_at(0, BYTES)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_nothing_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    def write_and_fail() -> None:
        with AtomicFile(tmp_path / "out") as file:
            file.write_at(0, BYTES)
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert os.listdir(tmp_path) == []


def test_discard_and_commit_may_be_followed_by_discard(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "out")
    file.commit()
    file.discard()
    file.discard()
    assert os.listdir(tmp_path) == ["out"]


def test_a_thread_that_still_writes_after_discard_reaches_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, began, discarded = os.pwrite, threading.Event(), threading.Event()

    def slowly(descriptor: int, data: memoryview, offset: int) -> int:
        began.set()
        discarded.wait()
        return whole(descriptor, data[:5], offset)

    monkeypatch.setattr(os, "pwrite", slowly)
    file = AtomicFile(tmp_path / "out")
    thread = threading.Thread(target=file.write_at, args=(0, BYTES))
    thread.start()
    began.wait()
    file.discard()
    other = open(tmp_path / "other", "w+b")  # noqa: SIM115
    assert other.fileno() != file.descriptor
    discarded.set()
    thread.join()
    with other:
        assert other.read() == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.descriptor)
    with pytest.raises(SinkError, match="already committed or discarded"):
        file.write_at(0, BYTES)


def test_permissions_are_those_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with AtomicFile(tmp_path / "out") as file:
            file.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_an_existing_file_is_kept_unless_overwriting(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(SinkError, match="exists already") as caught:
        AtomicFile(target)
    assert "--force" in str(caught.value)
    with AtomicFile(target, overwrite=True) as file:
        file.write_at(0, BYTES)
    assert target.read_bytes() == b"old"
    with AtomicFile(target, overwrite=True) as file:
        file.write_at(0, BYTES)
        file.commit()
    assert target.read_bytes() == b"good morning"


def test_a_file_that_came_up_in_the_meantime_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with AtomicFile(target) as file:
        target.write_bytes(b"theirs")
        with pytest.raises(SinkError, match="exists already"):
            file.commit()
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["out"]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    with AtomicFile(tmp_path / "out") as file:
        file.write_at(0, BYTES)
        file.commit()
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "real").read_bytes() == b"good morning"


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="folder does not exist") as caught:
        AtomicFile(tmp_path / "no" / "out")
    assert f"mkdir -p {tmp_path / 'no'}" in str(caught.value)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="is a file, not a folder"):
        AtomicFile(tmp_path / "file" / "out")


def test_a_folder_as_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="a folder cannot be the output"):
        AtomicFile(tmp_path, overwrite=True)


def test_a_device_as_target_is_refused() -> None:
    with pytest.raises(SinkError, match="a device"):
        AtomicFile("/dev/null", overwrite=True)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(SinkError, match=r"cannot write the output|not writable|does not exist"):
        AtomicFile("/proc/self/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="not writable"):
        AtomicFile(tmp_path / "out")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_what_the_system_says_of_unwritable_folders_is_reworded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SinkError, match="folder is not writable"):
        AtomicFile(tmp_path / "out")


def test_partial_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: whole(descriptor, data[:5], offset))
    with AtomicFile(tmp_path / "out") as file:
        file.write_at(3, np.arange(101, dtype=np.float32))
        file.commit()
    assert (tmp_path / "out").read_bytes() == b"\0\0\0" + np.arange(101, dtype=np.float32).tobytes()


def test_a_file_system_that_cannot_reserve_still_gets_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with AtomicFile(tmp_path / "out") as file:
        file.reserve(7)
        file.commit()
    assert (tmp_path / "out").stat().st_size == 7


def test_a_failed_sync_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with AtomicFile(tmp_path / "out") as file, pytest.raises(SinkError, match="disk is full"):
        file.commit()
    assert os.listdir(tmp_path) == []


LIMITED = """
import resource, sys
import numpy as np
from tfpt.errors import SinkError
from tfpt.io.output_file import AtomicFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    with AtomicFile(sys.argv[1]) as file:
        if sys.argv[2] == "reserve":
            file.reserve(1 << 20)
        else:
            file.write_at(0, np.zeros(1 << 20, np.uint8))
        file.commit()
except SinkError as error:
    print(error)
"""


@pytest.mark.parametrize("step", ["reserve", "write"])
def test_a_limit_on_file_sizes_leaves_nothing(tmp_path: Path, step: str) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "out"), step]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "larger than the file system or a limit" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["reserve", "write"])
def test_a_full_disk_leaves_nothing(small_disk: Path, step: str) -> None:
    steps = {
        "reserve": lambda file: file.reserve(1 << 20),
        "write": lambda file: file.write_at(0, np.ones(1 << 20, np.uint8)),
    }
    with AtomicFile(small_disk / "out") as file, pytest.raises(SinkError, match="disk is full"):
        steps[step](file)
    assert os.listdir(small_disk) == []


def test_an_error_of_the_system_names_the_output_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    with AtomicFile(tmp_path / "out") as file, pytest.raises(SinkError, match="disk is full") as error:
        file.truncate(3)
    assert error.value.where == str(tmp_path / "out")
    assert error.value.hint == "choose another location for the output"


def test_a_target_is_another_file_until_it_is_this_one(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "out") as file:
        assert not file.is_at_target()  # nothing there
        (tmp_path / "out").write_bytes(b"another")
        assert not file.is_at_target()
        os.unlink(tmp_path / "out")
        os.link(file.temporary, tmp_path / "out")
        assert file.is_at_target()
