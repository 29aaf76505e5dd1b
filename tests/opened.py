"""Which files this process has open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def open_files() -> set[str]:
    """The paths of all open files and of all that are mapped."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("what is open is known from /proc alone")
    links = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    return links | mapped
