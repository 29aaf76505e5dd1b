"""The command by itself: what it offers, and that every way to start it is the same."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.running import program, run
from tfpt._version import __version__
from tfpt.commands.group import COMMANDS, group
from tfpt.errors import TfptError
from tfpt.report.progress import conversion_progress, fetching_progress

ROOT = Path(__file__).resolve().parents[2]


def test_the_version():
    assert run("--version").out.strip() == run("-V").out.strip() == f"tfpt {__version__}"


def test_verbose_says_on_standard_error_what_is_done(tiny):
    words = ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--dry-run")
    plain, verbose, more = run(*words), run("-v", *words), run("-vv", *words)
    assert plain.err == ""
    assert plain.out == verbose.out == more.out
    assert verbose.err.splitlines() == [
        f"mapping {tiny.mapping}: 4 rows",
        f"{tiny.checkpoint}: TensorFlow V2 checkpoint, 4 tensors",
        f"parameters from {tiny.mapping.with_name('tiny.manifest.json')}",
    ]
    assert more.err.splitlines() == [f"reading {tiny.mapping}", *verbose.err.splitlines()]
    assert run(*words).err == ""


def test_quiet_leaves_out_warnings_but_not_results_and_errors(tiny, monkeypatch):
    def warning(*_: object, **__: object) -> None:
        logging.getLogger("tfpt").warning("removed a file")
        raise TfptError("it fails")

    monkeypatch.setattr("tfpt.checking.inspection.inspect", warning)
    assert run("inspect", "x").err == "removed a file\nerror: it fails\n"
    assert run("-q", "inspect", "x").err == "error: it fails\n"
    found = run("-q", "check", tiny.mapping)
    assert (found.code, "no finding" in found.out) == (0, True)


def test_quiet_shows_no_progress(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    logger = logging.getLogger("tfpt")
    monkeypatch.setattr(logger, "level", logging.ERROR)
    logger.manager._clear_cache()
    try:
        with fetching_progress() as fetching, conversion_progress([]) as converting:
            assert (fetching, converting) == (None, None)
    finally:
        monkeypatch.undo()
        logger.manager._clear_cache()


def test_quiet_and_verbose_cannot_be_combined():
    found = run("-q", "-v", "mappings")
    assert found.code == 2
    assert "-q and -v cannot be combined" in found.err


def test_help_lists_every_command_and_the_exit_codes():
    text = run("--help").out
    assert all(f"  {name} " in text for name in COMMANDS)
    assert "Exit codes: 0" in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself_and_every_option(name):
    text = run(name, "--help").out
    assert text.startswith(f"Usage: tfpt {name}")
    command = group.get_command(None, name)
    assert command.help
    for option in command.params:
        if option.param_type_name == "option":
            assert option.help, option.name
            assert option.opts[0] in text
    # The output of these is for programs in any case.
    assert ("--json" in text) is (name not in ("schema", "completion"))


def test_the_summary_of_a_command_is_the_first_of_its_help():
    for name, (_, summary) in COMMANDS.items():
        first = group.get_command(None, name).help.split("\n\n")[0].replace("\n", " ")
        # The shorter may leave something out, and begins alike.
        assert first.split()[:2] == summary.split()[:2], name


@pytest.mark.skipif(not (ROOT / "cli.py").is_file(), reason="not a checkout")
def test_from_a_checkout_it_is_the_same(tiny, tmp_path):
    words = ["--mapping", str(tiny.mapping), "--checkpoint", str(tiny.checkpoint), "--dry-run"]
    done = subprocess.run(
        [sys.executable, "cli.py", "convert", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == program("convert", *words, folder=ROOT).out


def test_output_into_a_pipe_has_no_colors_and_long_names_whole(tiny, tmp_path):
    name = "/".join(["a_rather_long_scope_name"] * 6)
    tiny.rewrite("tf: conv/w,", f"tf: {name}/w,")
    found = program("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint)
    assert "\x1b" not in found.out
    assert f"the variable net/{name}/w is not in the checkpoint" in found.out


def test_an_interrupted_command_ends_with_130_and_not_with_a_verdict(monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tfpt.checking.inspection.inspect", interrupted)
    found = run("inspect", "anything")
    assert (found.code, found.out, found.err) == (130, "", "interrupted\n")
