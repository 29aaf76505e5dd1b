"""Several files take their names together: whatever fails, at whichever call, all are new or none is."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tfpt.errors import SinkError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.io import leftovers, publishing
from tfpt.io.output_file import AtomicFile
from tfpt.io.publishing import publish

NAMES = ("a", "b", "c")
# The calls of the system by which files take their names.
CALLS = ("link", "replace", "rename", "unlink", "fsync", "open")


def written(stack: ExitStack, folder: Path, overwrite: bool) -> list[AtomicFile]:
    files = [stack.enter_context(AtomicFile(folder / name, overwrite)) for name in NAMES]
    for file in files:
        file.write_at(0, np.frombuffer(f"new {file.path.name}".encode(), np.uint8))
    return files


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.is_file()}


NEW = {name: f"new {name}" for name in NAMES}


@contextmanager
def failing(call: str, at: int, code: int) -> Iterator[list[int]]:
    """Let the at-th such call fail, and no other."""
    made = [0]
    real = getattr(os, call)

    def instead(*arguments: object, **options: object) -> object:
        made[0] += 1
        if made[0] == at:
            raise OSError(code, os.strerror(code), str(arguments[0]))
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, instead)
        yield made


def at_every_call(
    call: str,
    code: int,
    begin: Callable[[], None],
    run: Callable[[], None],
    check: Callable[[SinkError | None], None],
) -> int:
    """Runs again and again, each time with the next call failing, until there is none left; how many there were."""
    for at in range(1, 100):
        caught = None
        begin()
        with failing(call, at, code) as made:
            try:
                run()
            except SinkError as error:
                caught = error
        check(caught)
        if made[0] < at:
            assert caught is None
            return at - 1
    raise AssertionError("it never ends")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("existing", [(), ("b",), NAMES])
@pytest.mark.parametrize("code", [errno.EIO, errno.EPERM, errno.ENOSPC])
def test_a_call_that_fails_leaves_all_as_it_was_or_all_new(
    tmp_path: Path, call: str, existing: tuple[str, ...], code: int
) -> None:
    old = {name: f"old {name}" for name in existing}
    seen = set()

    def begin() -> None:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in old.items():
            (tmp_path / name).write_text(text)

    def run() -> None:
        with ExitStack() as stack:
            publish(written(stack, tmp_path, overwrite=bool(existing)))

    def check(error: SinkError | None) -> None:
        found = content(tmp_path)
        there = {name: text for name, text in found.items() if not name.startswith(".")}
        seen.add(error is None)
        if error is None:
            assert there == NEW
        elif "the output is complete" in str(error):
            assert there == NEW
            assert all(str(tmp_path / name) in str(error) for name in NAMES)
        else:
            assert there == old, str(error)
        hidden = [name for name in found if name.startswith(".")]
        assert len(hidden) <= (call == "unlink"), hidden  # what could not be removed; the next run does it

    count = at_every_call(call, code, begin, run, check)
    assert True in seen
    if call == "fsync":
        assert count >= len(NAMES) + 1
        assert False in seen


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc here")
    before = len(os.listdir("/proc/self/fd"))
    for call in CALLS:
        for at in range(1, 8):
            with ExitStack() as stack, failing(call, at, errno.EIO), suppress(SinkError):
                publish(written(stack, tmp_path, overwrite=True))
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_names_are_brought_to_the_disk_after_they_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_sync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        kind = "folder" if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)) else "file"
        order.append(f"sync {kind}")
        real_sync(descriptor)

    def link(source: Path, target: Path) -> None:
        order.append("link")
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    with AtomicFile(tmp_path / "out") as file:
        file.commit()
    assert order == ["sync file", "link", "sync folder"]


def test_a_folder_that_cannot_be_brought_to_the_disk_is_told_with_the_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with (
        AtomicFile(tmp_path / "out") as file,
        pytest.raises(SinkError, match="the output is complete") as caught,
    ):
        file.commit()
    assert str(tmp_path / "out") in str(caught.value)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(publishing.os, "fsync", lambda descriptor: None)
    with AtomicFile(tmp_path / "out") as file:
        file.finish()
        with failing("fsync", 1, code):
            file.commit()
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
@pytest.mark.parametrize("existing", [False, True])
def test_a_file_system_without_hard_links_serves_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, existing: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    if existing:
        for name in NAMES:
            (tmp_path / name).write_text("old")
    with ExitStack() as stack:
        publish(written(stack, tmp_path, overwrite=existing))
    assert content(tmp_path) == NEW
    with AtomicFile(tmp_path / "d") as file:
        (tmp_path / "d").write_text("theirs")
        with pytest.raises(SinkError, match="exists already"):
            file.commit()
    assert (tmp_path / "d").read_text() == "theirs"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_somebody_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """The second of three fails; by then another program has put its own file in the first one's place."""
    real = os.replace if overwrite else os.link
    made = []

    def instead(source: Path, target: Path) -> None:
        if Path(target).name == "b":
            (tmp_path / "mine").write_text("theirs")
            real_replace(tmp_path / "mine", tmp_path / "a")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)
        made.append(target)

    real_replace = os.replace
    monkeypatch.setattr(os, "replace" if overwrite else "link", instead)
    with ExitStack() as stack, pytest.raises(SinkError, match="Input/output error"):
        publish(written(stack, tmp_path, overwrite))
    assert made
    assert content(tmp_path) == {"a": "theirs"}


def test_an_old_file_that_cannot_go_back_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hard links; between putting aside and replacing, another program has taken the name."""
    for name in NAMES:
        (tmp_path / name).write_text(f"old {name}")

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    real = os.replace

    def instead(source: Path, target: Path) -> None:
        if Path(target).name == "a" and str(source).endswith(".part"):
            (tmp_path / "a").write_text("theirs")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "replace", instead)
    with ExitStack() as stack, pytest.raises(SinkError, match="the previous files are in") as caught:
        publish(written(stack, tmp_path, overwrite=True))
    [aside] = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert str(aside) in str(caught.value)
    assert aside.read_text() == "old a"
    assert {name: text for name, text in content(tmp_path).items() if name in NAMES} == {
        "a": "theirs",
        "b": "old b",
        "c": "old c",
    }


def test_what_another_output_left_is_left_alone_however_alike_the_names(tmp_path: Path) -> None:
    first, second = (tmp_path / f"{'long' * 20}_{name}.safetensors" for name in ("rgb", "flow"))
    first.write_text("precious")
    aside = leftovers.temporary_name(first, leftovers.OLD)
    os.rename(first, aside)
    part = leftovers.temporary_name(first, leftovers.PART)
    part.write_text("half")
    with AtomicFile(second) as file:
        file.commit()
    assert aside.read_text() == "precious"
    assert part.exists()
    assert second.read_text() == ""
    with AtomicFile(first, overwrite=True):
        assert first.read_text() == "precious"
        assert not part.exists()


def test_only_one_of_many_that_finish_at_once_has_the_name(tmp_path: Path) -> None:
    script = """
import sys, numpy as np
from tfpt.errors import SinkError
from tfpt.io.output_file import AtomicFile
with AtomicFile(sys.argv[1]) as file:
    file.write_at(0, np.frombuffer(sys.argv[2].encode(), np.uint8))
    file.finish()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        file.commit()
        print("ok")
    except SinkError as error:
        print(error.what)
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "out"), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0].strip() for process in running]
    assert sorted(said) == ["ok", *["the output file exists already"] * 3]
    assert content(tmp_path) == {"out": str(said.index("ok"))}


KILLED = """
import os, signal, sys
import numpy as np
from contextlib import ExitStack
from pathlib import Path
from tfpt.io.output_file import AtomicFile
from tfpt.io.publishing import publish
folder, point, links = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "links"
seen = 0
def before(name):
    real = getattr(os, name)
    def instead(*arguments, **options):
        global seen
        seen += 1
        if seen == point:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "link" and not links:
            raise PermissionError(1, "no links here")
        return real(*arguments, **options)
    setattr(os, name, instead)
with ExitStack() as stack:
    files = [stack.enter_context(AtomicFile(folder / name, True)) for name in "abc"]
    for file in files:
        file.write_at(0, np.frombuffer(f"new {file.path.name}".encode(), np.uint8))
        file.finish()
    for name in ("link", "replace", "rename", "unlink", "fsync"):
        before(name)
    publish(files)
print("done")
"""


@pytest.mark.parametrize("links", ["links", "none"])
def test_killed_between_two_calls_every_old_file_is_there_or_its_new_one_and_the_old(
    tmp_path: Path, links: str, caplog: pytest.LogCaptureFixture
) -> None:
    put_back = 0
    for point in range(1, 60):
        for path in tmp_path.iterdir():
            path.unlink()
        for name in NAMES:
            (tmp_path / name).write_text(f"old {name}")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(point), links], capture_output=True, check=False
        )
        found = content(tmp_path)
        if done.returncode == 0:
            assert found == NEW
            assert point > 10
            break
        assert done.returncode == -signal.SIGKILL
        aside = {text for name, text in found.items() if name.endswith(".old")}
        everything_new = all(found.get(name) == NEW[name] for name in NAMES)
        for name in NAMES:
            assert found.get(name) in (f"old {name}", f"new {name}", None)
            assert everything_new or f"old {name}" in {found.get(name)} | aside, (point, found)
            assert found.get(name) is not None or links == "none"
        # The next run to those outputs gives back what has no name, and in the end leaves nothing of it all.
        missing = [name for name in NAMES if name not in found]
        with caplog.at_level(logging.WARNING, "tfpt"), ExitStack() as stack:
            files = [stack.enter_context(AtomicFile(tmp_path / name, True)) for name in NAMES]
            for name in missing:
                assert (tmp_path / name).read_text() == f"old {name}"
                assert f"restored {tmp_path / name}" in caplog.text
                put_back += 1
            publish(files)
        assert content(tmp_path) == dict.fromkeys(NAMES, "")
    else:
        raise AssertionError("it never ends")
    assert (put_back > 0) == (links == "none")


class TestCheckpoints:
    """What `write_bundle` writes over a checkpoint that is there."""

    @pytest.mark.parametrize("call", CALLS)
    def test_is_the_new_one_or_the_old_one(self, tmp_path: Path, call: str) -> None:
        old, new = {"w": np.arange(5)}, {"w": np.arange(7) * 3, "v": np.ones(2)}

        def run() -> None:
            write_bundle(tmp_path / "m", old, num_shards=2)
            with failing(call, self.at, errno.EIO) as made:
                try:
                    write_bundle(tmp_path / "m", new, num_shards=2)
                finally:
                    self.made = made[0]

        for self.at in range(1, 100):
            try:
                run()
                error = None
            except SinkError as caught:
                error = str(caught)
            source = BundleSource(tmp_path / "m")
            expected = new if error is None or "the output is complete" in error else old
            assert {name: source.read(name).tolist() for name in source.specs} == {
                name: values.tolist() for name, values in sorted(expected.items())
            }, error
            source.close()
            if self.made < self.at:
                break
            for path in tmp_path.glob(".*"):
                assert call == "unlink", path
                path.unlink()
        assert self.at > 1 or call in ("rename",)

    def test_is_not_begun_where_none_may_be_replaced(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "m", {"w": np.arange(5)})
        with pytest.raises(SinkError, match="exists already"):
            write_bundle(tmp_path / "m", {"w": np.arange(7)}, overwrite=False)
        assert BundleSource(tmp_path / "m").read("w").tolist() == [0, 1, 2, 3, 4]


def test_without_hard_links_a_leftover_is_renamed_back(tmp_path, monkeypatch):
    left, target = tmp_path / "left", tmp_path / "target"
    left.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert leftovers._renamed(left, target)
    assert (target.read_text(), left.exists()) == ("old", False)


def test_a_leftover_does_not_take_a_name_that_is_taken(tmp_path):
    left, target = tmp_path / "left", tmp_path / "target"
    left.write_text("old")
    target.write_text("new")
    assert not leftovers._renamed(left, target)
    assert (target.read_text(), left.read_text()) == ("new", "old")
    assert not leftovers._renamed(tmp_path / "gone", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_put_back_is_named(tmp_path, monkeypatch):
    out, aside = tmp_path / "w", tmp_path / "aside"
    aside.write_text("old")
    file = AtomicFile(out)
    try:

        def refuse(*_: object) -> None:
            raise OSError(errno.EIO, "broken")

        monkeypatch.setattr(os, "replace", refuse)
        assert publishing._take_back([file], {file: aside}) == [aside]
        aside.unlink()
        assert publishing._take_back([file], {file: aside}) == []
        assert publishing._take_back([file], {}) == []
    finally:
        file.discard()
