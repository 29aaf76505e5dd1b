"""A command that a signal stops, wherever it is: no half file, nothing hidden beside it, and the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.commands.running import program
from tests.commands.running import run as in_this_process
from tests.commands.signalled import copies

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


def words(tiny, out):
    return ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out)


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def whole(tiny, path):
    written = load_file(path)
    return written.keys() == tiny.parameters.keys() and all(
        np.array_equal(written[name], value) for name, value in tiny.parameters.items()
    )


def spread(whole, number):
    """That many points before the first change of a file, and all after it."""
    before = whole.unchanged
    return [
        *(1 + at * (before - 1) // (number - 1) for at in range(number)),
        *range(before + 1, whole.points + 1),
    ]


def check(tiny, run, number, point):
    out = tiny.folder / "w.safetensors"
    out.unlink(missing_ok=True)
    ended = run.stopped_at(point, number)
    assert hidden(tiny.folder) == [], (point, ended)
    assert "Traceback" not in ended.err, (point, ended)
    assert ended.code in (0, CODES[number]), (point, ended)
    if out.exists():
        assert whole(tiny, out), point
    if ended.code:
        assert ended.err.splitlines()[-1].startswith(SAID[number]), (point, ended)
        assert (f"written before that: {out}" in ended.err) == out.exists(), (point, ended)
    else:
        assert out.exists(), point


@pytest.mark.parametrize("number", list(CODES))
def test_stopped_at_any_point_a_command_leaves_nothing_or_the_whole_file(tiny, number):
    with copies(*words(tiny, tiny.folder / "w.safetensors"), folder=tiny.folder) as run:
        all_of_it = run.whole()
        assert all_of_it.unchanged > 100  # imports
        assert all_of_it.points > all_of_it.unchanged + 10  # the file's own
        for point in spread(all_of_it, 40):
            check(tiny, run, number, point)


@pytest.mark.parametrize("command", ["inspect", "mappings"])
def test_commands_that_write_nothing_end_in_the_same_way(tiny, tmp_path, command):
    with copies(command, *([tiny.checkpoint] if command == "inspect" else []), folder=tmp_path) as run:
        all_of_it = run.whole()
        assert all_of_it.unchanged == all_of_it.points
        for number, code in CODES.items():
            ended = run.stopped_at(all_of_it.points // 2, number)
            assert (ended.code, ended.err) == (code, f"{SAID[number]}\n")


def test_a_process_of_its_own_is_stopped_as_its_copies_are(tiny):
    out = tiny.folder / "w.safetensors"
    script = """
import os, signal, sys
from tfpt.commands.main import main
sys.addaudithook(lambda event, _: event == "os.link" and os.kill(os.getpid(), signal.SIGTERM))
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words(tiny, out))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143, done.stderr
    assert done.stderr == f"terminated; written before that: {out}\n"
    assert whole(tiny, out)
    assert hidden(tiny.folder) == []


def test_a_signal_that_the_process_is_told_to_ignore_is_ignored(tiny):
    out = tiny.folder / "w.safetensors"
    ignoring = "trap '' INT; exec \"$@\""  # as a shell starts a job with &
    with copies(*words(tiny, out), folder=tiny.folder, starter=("sh", "-c", ignoring, "sh")) as run:
        ended = run.stopped_at(50, signal.SIGINT)
    assert ended.code == 0, ended
    assert whole(tiny, out)


def test_what_a_killed_run_left_the_next_one_removes_and_says_so(tiny, tmp_path):
    out = tmp_path / "w.safetensors"
    script = """
import os, signal, sys
from tfpt.io.output_file import AtomicFile
file = AtomicFile(sys.argv[1])
file.reserve(1000)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, str(out)], check=False)
    [left] = hidden(tmp_path)
    done = program(*words(tiny, out))
    assert done.code == 0
    assert done.err == f"removed {tmp_path / left} (1,000 bytes): left by a killed run\n"
    assert whole(tiny, out)
    assert hidden(tmp_path) == []


def test_killed_at_any_point_a_command_leaves_nothing_that_the_next_one_does_not_remove(tiny):
    out = tiny.folder / "w.safetensors"
    left = 0
    with copies(*words(tiny, out), folder=tiny.folder) as run:
        all_of_it = run.whole()
        out.unlink()
        for point in range(all_of_it.unchanged - 5, all_of_it.points + 1):
            assert run.stopped_at(point, signal.SIGKILL).code == -signal.SIGKILL
            parts = hidden(tiny.folder)
            left += len(parts)
            assert not out.exists() or whole(tiny, out)
            again = in_this_process(*words(tiny, out), "--force")
            assert again.code == 0
            assert whole(tiny, out)
            assert hidden(tiny.folder) == []
            for name in parts:
                assert f"removed {tiny.folder / name} (" in again.err
            out.unlink()
    assert left


def test_what_a_living_process_writes_is_left_alone(tiny, tmp_path):
    from tfpt.io.output_file import AtomicFile

    out = tmp_path / "w.safetensors"
    with AtomicFile(out) as ours:
        ours.write_at(0, np.arange(5))
        done = program(*words(tiny, out))
        assert done.code == 0
        assert "removed" not in done.err
        assert ours.temporary.exists()
    assert whole(tiny, out)


def test_a_child_made_by_fork_takes_nothing_of_its_parents_with_it(tmp_path):
    script = """
import os, signal, sys
from tfpt.io import interruption
from tfpt.io.output_file import AtomicFile
interruption.install()
file = AtomicFile(sys.argv[1])
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert os.WTERMSIG(status) == signal.SIGTERM, status
file.commit()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=True)
    assert os.listdir(tmp_path) == ["out"]


def test_a_second_signal_does_not_wait_for_files_to_take_their_names(tmp_path):
    script = """
import os, signal
from tfpt.io import interruption
interruption.install()
with interruption.uninterrupted():
    os.kill(os.getpid(), signal.SIGINT)
    print("still here", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("and here", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "still here\n", "interrupted\n")


def test_what_was_unpacked_to_be_read_goes_too(tmp_path, monkeypatch):
    archive, place = tmp_path / "m.zip", tmp_path / "temporary"
    place.mkdir()
    np.savez(tmp_path / "w.npz", w=np.arange(5))
    with zipfile.ZipFile(archive, "w") as opened:
        opened.write(tmp_path / "w.npz", "folder/w.npz")
    monkeypatch.setenv("TMPDIR", str(place))
    unpacked = 0
    with copies("inspect", archive, folder=tmp_path) as run:
        all_of_it = run.whole()
        for point in range(all_of_it.unchanged, all_of_it.points + 1):
            unpacked += run.stopped_at(point, signal.SIGTERM).code == 143
            assert list(place.iterdir()) == [], point
    assert unpacked


def test_what_a_killed_run_left_of_an_unpacked_download_goes_before_the_next_is_unpacked(tmp_path):
    from tfpt.io.archives import unpack

    with zipfile.ZipFile(tmp_path / "m.zip", "w") as opened:
        opened.writestr("w.txt", "w")
    left = tmp_path / ".m.unpacked.abcd1234"
    (left / "half").mkdir(parents=True)
    (tmp_path / ".other.unpacked.abcd1234").mkdir()
    unpack(tmp_path / "m.zip", tmp_path / "m.unpacked")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other.unpacked.abcd1234",
        "m.unpacked",
        "m.zip",
    ]


def test_temporary_folders_go_too(tmp_path):
    script = """
import os, signal, sys
from tfpt.io import interruption
interruption.install()
folder = sys.argv[1]
interruption.begin(folder)
os.makedirs(folder + "/a/b")
os.symlink("/", folder + "/a/root")
open(folder + "/a/b/file", "w").close()
os.kill(os.getpid(), signal.SIGTERM)
"""
    place = tmp_path / "folder"
    done = subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, check=False)
    assert done.returncode == 143
    assert os.listdir(tmp_path) == []
    assert Path("/tmp").is_dir()
