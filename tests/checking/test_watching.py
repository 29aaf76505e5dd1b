"""`--watch`: checks again when a file of the mapping has changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.checking.checked import written
from tests.commands.running import run
from tfpt.checking.watching import changes


def rewrite(path: Path, text: str) -> None:
    """Write a file with a time of its own, whatever the resolution of the file system."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    part = path.with_suffix(".part")
    part.write_text(text)
    os.utime(part, ns=(before + 10**9, before + 10**9))
    part.replace(path)


def test_a_change_of_the_mapping_its_base_or_its_manifest_is_noticed(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("version: 1\n")
    path = tmp_path / "m.yaml"
    path.write_text("extends: base.yaml\nweights: [{tf: a, pt: a}]\n")
    steps = [
        lambda: rewrite(path, "extends: base.yaml\nweights: [{tf: a, pt: b}]\n"),
        lambda: None,
        lambda: rewrite(base, "version: 1\nsummary: x\n"),
        lambda: rewrite(tmp_path / "m.manifest.json", "{}"),
        lambda: rewrite(path, "extends: [\n"),  # a mistake
        lambda: rewrite(path, "version: 1\n"),
        path.unlink,
        lambda: rewrite(path, "version: 1\n"),
    ]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        steps.pop(0)()

    found = changes(path, wait)
    assert [next(found) for _ in range(8)] == list(range(8))
    assert not steps
    assert len(waited) == 8


def test_a_file_that_is_no_longer_extended_does_not_count(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("version: 1\n")
    path = tmp_path / "m.yaml"
    path.write_text("extends: base.yaml\n")
    steps = [
        lambda: rewrite(path, "version: 1\n"),
        lambda: rewrite(base, "version: 1\nsummary: x\n"),
        lambda: rewrite(path, "version: 1\nsummary: y\n"),
    ]
    found = changes(path, lambda _: steps.pop(0)())
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    assert not steps


def test_the_command_checks_again_shows_mistakes_and_ends_with_ctrl_c(tmp_path):
    path = written(tmp_path, "weights: [{tf: a, pt: a}]\n", {"a": [3]})
    words = [str(Path(sys.executable).with_name("tfpt")), "check", str(path), "--watch"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None

            def until(text: str) -> list[str]:
                lines = []
                for line in process.stdout:
                    lines.append(line.rstrip("\n"))
                    if text in line:
                        return lines
                raise AssertionError(lines)

            assert "  no finding" in until("watching for changes; Ctrl-C ends")
            rewrite(path, "version: 1\nweights: [{tf: a, pt: b}]\n")
            assert "no row writes the parameter a" in "\n".join(until("watching for changes"))
            rewrite(path, "version: 1\nweights: [{tf: a, pt: [}]\n")
            until("watching for changes")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "error: the file is not YAML" in errors
    assert errors.rstrip().endswith("interrupted")
    assert "Traceback" not in errors


def test_watching_goes_with_nothing_that_writes(tmp_path):
    for option in ("--fix", "--json", "--write-manifest"):
        found = run("check", "crepe", "--watch", option)
        assert found.code == 2
        assert "--watch cannot be combined with --fix, --json and --write-manifest" in found.err
