"""The files that this process has open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def open_files() -> set[str]:
    """The paths of all open and memory-mapped files."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files can be listed only through /proc")
    links = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    return links | mapped
