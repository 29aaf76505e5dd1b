"""Runs `tfpt` as a person would: in this process, or as a program of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tfpt.commands.group import group

# What fits on a terminal that nobody made larger.
SCREEN = 24


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON, as strict as the strictest reader: no NaN, no infinity, no lone surrogate."""
        return strict_json(self.out)


def strict_json(text: str) -> Any:
    """The values of a text that every reader of JSON takes."""

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    values = json.loads(text, parse_constant=refused)
    json.dumps(values, ensure_ascii=False).encode()
    return values


def run(*words: object) -> Run:
    """`tfpt` with these words, in this process; an exception that reaches the top fails the test."""
    result = CliRunner().invoke(group, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError("".join(traceback.format_exception(result.exception)))
    return Run(result.exit_code, result.stdout, result.stderr)


def refused(*words: object) -> str:
    """The message of a command that ends with an error: code 2, nothing on standard output, one screen."""
    found = run(*words)
    assert found.code == 2, (found.code, found.out, found.err)
    assert found.err.startswith("error: "), found.err
    assert len(found.err.splitlines()) <= SCREEN, found.err
    return found.err


def program(
    *words: object,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    largest_file: int | None = None,
) -> Run:
    """The installed program `tfpt` as a process of its own, perhaps on a disk that takes no larger file."""

    def limit() -> None:
        assert largest_file is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    done = subprocess.run(
        [str(Path(sys.executable).with_name("tfpt")), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        preexec_fn=None if largest_file is None else limit,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, done.stdout, done.stderr)
