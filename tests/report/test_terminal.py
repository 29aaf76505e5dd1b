"""Names, paths and messages of strangers neither steer a terminal nor forge a line, wherever they are printed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from rich.text import Text
from safetensors.numpy import save_file

from tests.commands.running import run
from tfpt.errors import SourceError, TfptError
from tfpt.report import html
from tfpt.report.terminal import _Console, console, escape
from tfpt.visible import visible

# A terminal's title and screen, a forged line, a carriage return, C1, writing from right to left, half a character.
EVIL = "w\x1b]0;title\x07\x1b[2J\nerror: forged\rx\x9b31m\u202egnp\u2028\ud800"
SEEN = r"w\x1b]0;title\x07\x1b[2J\nerror: forged\rx\x9b31m\u202egnp\u2028\ud800"


def printable(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


def test_what_a_terminal_obeys_is_written_out_and_the_rest_is_left():
    assert visible(EVIL) == SEEN
    assert visible("Ünï/日本語 w") == "Ünï/日本語 w"
    assert visible("a\tb\nc\x1b", lines=True) == "a\tb\nc\\x1b"
    assert visible("\U000e0001") == r"\U000e0001"
    kinds = {unicodedata.category(each) for code in range(0x110000) for each in visible(chr(code))}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_escape_is_for_markup_too():
    assert escape("[red]\x1b") == r"\[red]\x1b"
    assert html.escape("<b>\x1b\u202e") == r"&lt;b&gt;\x1b\u202e"


def test_a_console_prints_nothing_that_steers_whatever_it_is_given():
    stream = io.StringIO()
    out = _Console(file=stream, width=300, force_terminal=True, color_system="truecolor", highlight=False)
    out.print("[red]a\x1b[2Jb[/]", Text("c\x1bd"), "\ud800")
    assert "a\\x1b[2Jb" in stream.getvalue()
    assert r"c\x1bd \ud800" in stream.getvalue()
    assert "\x1b[31m" in stream.getvalue()  # its own colors are left
    assert isinstance(console(), _Console)


def test_an_error_has_its_own_lines_and_no_others():
    error = SourceError(
        f"no {EVIL}",
        where=EVIL,
        expected="one\ntwo",
        got=EVIL,
        nearest=[EVIL],
        hint="a\nb",
        causes=[TfptError(EVIL)],
    )
    text = str(error)
    assert printable(text)
    assert [line.partition("  ")[0] for line in text.splitlines() if not line.startswith(" ")] == [
        f"no {SEEN}",
        SEEN,
    ]
    assert "  expected  one\n            two\n" in text
    assert f"  nearest   {SEEN}\n" in text
    assert error.to_json()["where"] == EVIL


def one_file(folder: Path, name: str) -> Path:
    save_file({name: np.ones((2, 3), np.float32), "b": np.zeros(5, np.float32)}, folder / "a.safetensors")
    return folder / "a.safetensors"


NAME = EVIL.replace("\ud800", "")
SHOWN = SEEN.replace(r"\ud800", "")


def test_inspect_and_diff_show_names_on_one_line(tmp_path):
    path = one_file(tmp_path, NAME)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other/b.safetensors"
    save_file({NAME: np.zeros((2, 3), np.float32)}, other)
    for words in (
        ("inspect", path),
        ("inspect", path, "--stats"),
        ("diff", path, other),
        ("diff", path, other, "--all"),
    ):
        found = run(*words)
        assert printable(found.out + found.err), words
        assert "\nerror: forged" not in found.out
    assert SHOWN in run("inspect", path).out
    assert json.loads(run("inspect", path, "--json").out)["tensors"]


def test_metadata_are_shown_so(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.ones(2, np.float32)}, path, metadata={NAME: NAME})
    assert printable(run("inspect", path).out)


def test_the_names_of_files_and_the_words_of_the_command_line_are_shown_so(tmp_path):
    folder = tmp_path / "x\x1b[2J\nerror: forged"
    folder.mkdir()
    path = one_file(folder, "w")
    for words in (
        ("inspect", path),
        ("inspect", folder / "none\x1b"),
        ("inspect", "--no\x1bsuch", path),
        ("in\x1bspect",),
        ("--no\x1bsuch",),
        ("convert", "--mapping", "i3d\x1b\n", "--checkpoint", path, "--out", "x\x1b.pth"),
        ("convert", "--mapping", "i3d_rgb", "--set", "a\x1b", "--checkpoint", path, "--out", "x.pth"),
        ("diff", path, path, "--tolerance", "\x1bx"),
    ):
        found = run(*words)
        assert printable(found.out + found.err), words
        assert "\nerror: forged" not in found.out + found.err


def test_findings_and_check_are_shown_so(tiny, tmp_path):
    rows = f"  - {{tf: {json.dumps(NAME)}, pt: {json.dumps(NAME)}}}\n"
    tiny.mapping.write_text(tiny.mapping.read_text().replace("weights:\n", f"weights:\n{rows}", 1))
    for words in (
        ("check", tiny.mapping),
        (
            "convert",
            "--dry-run",
            "--mapping",
            tiny.mapping,
            "--checkpoint",
            tiny.checkpoint,
            "--out",
            tmp_path / "o.pth",
        ),
        (
            "convert",
            "--dry-run",
            "--all",
            "--mapping",
            tiny.mapping,
            "--checkpoint",
            tiny.checkpoint,
            "--out",
            tmp_path / "o.pth",
        ),
        ("diff", "--mapping", tiny.mapping, tiny.checkpoint),
    ):
        found = run(*words)
        assert printable(found.out + found.err), words
        assert SHOWN.split("\\n")[0] in found.out + found.err, words


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_a_terminal_of_another_encoding_gets_what_it_can_show(tmp_path, environment):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))  # a name that is no UTF-8
    folder.mkdir()
    path = one_file(folder, "größe/日本/w")
    for words in (
        ["inspect", str(path)],
        ["inspect", str(folder / "none")],
        ["diff", str(path), str(path), "--all"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", "from tfpt.commands.main import main; main()", *words],
            capture_output=True,
            env={**os.environ, **environment},
            check=False,
        )
        assert done.returncode in (0, 2), done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert (done.stdout + done.stderr).isascii()
    assert rb"gr\xf6\xdfe" in done.stdout


def test_half_characters_are_shown_and_break_nothing(tmp_path):
    header = json.dumps({"w\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    done = subprocess.run(
        [sys.executable, "-c", "from tfpt.commands.main import main; main()", "inspect", str(path)],
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert rb"w\ud800" in done.stdout + done.stderr
