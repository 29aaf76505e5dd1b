"""What `tfpt mappings --for CHECKPOINT` costs, in CPU time, as a multiple of starting the program.

python benchmarks/ranking.py [CHECKPOINT]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import tfpt

RUNS = 5


def cpu_seconds(*words: str, cache: str) -> float:
    """User and system time of one run of the program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "tfpt", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TFPT_CACHE": cache},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = sys.argv[1] if len(sys.argv) > 1 else f"{folder}/model.ckpt"
        if len(sys.argv) < 2:
            tfpt.sample("i3d_rgb", checkpoint)
        file = Path(folder) / "file"
        file.touch()
        ranking = ("mappings", "--for", checkpoint)
        cases = {
            "tfpt --version": (("--version",), folder),
            "the index cached": (ranking, f"{folder}/cache"),
            "no cache": (ranking, str(file)),
        }
        cpu_seconds(*ranking, cache=f"{folder}/cache")
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(RUNS):  # in turn, so that all see the same load
            for name, (words, cache) in cases.items():
                found[name].append(cpu_seconds(*words, cache=cache))
    start = statistics.median(found["tfpt --version"])
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"{name:<17} {middle:5.2f} s of CPU time, {middle / start:4.1f} times the start")


if __name__ == "__main__":
    main()
