"""Whole-process time and memory of `tfpt inspect` for the names of a 1 GB checkpoint.

    python benchmarks/inspect_names.py [--runs 5]

The checkpoint has the 1,600 names of a model of 400 variables with optimizer slots; its data file is sparse, since no
weight is read. TensorFlow lists the same names, in alternating runs. Needs POSIX (wait4).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIABLES = 400
SIZE = 10**9

TENSORFLOW = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
for name, shape in tf.train.list_variables(sys.argv[1]):
    print(name, shape)
"""


def write_hollow(prefix: str, variables: int = VARIABLES, size: int = SIZE) -> None:
    """Write a checkpoint of about `size` bytes whose values are all zero and take no disk space."""
    # Not at the top: a child inherits the peak of its parent, so this process has to stay small.
    from tfpt.execution.sinks.sstable import write_table
    from tfpt.formats.tensorflow.tensorflow_pb2 import BundleEntryProto, BundleHeaderProto

    side = int((size / variables / 4 / 4) ** 0.5)
    names = sorted(
        f"model/layer_{number:03}/kernel{slot}"
        for number in range(variables)
        for slot in ("", "/Adam", "/Adam_1", "/Momentum")
    )
    header = BundleHeaderProto(num_shards=1)
    header.version.producer = 1
    table = [(b"", header.SerializeToString())]
    for index, name in enumerate(names):
        entry = BundleEntryProto(dtype=1, offset=index * side * side * 4, size=side * side * 4)
        entry.shape.dim.add(size=side)
        entry.shape.dim.add(size=side)
        table.append((name.encode(), entry.SerializeToString()))
    with open(f"{prefix}.index", "wb") as file:
        write_table(file, table)
    with open(f"{prefix}.data-00000-of-00001", "wb") as file:
        file.truncate(len(names) * side * side * 4)


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", metavar="PREFIX", help="write the checkpoint and stop")
    arguments = parser.parse_args()
    runs = arguments.runs
    if arguments.write:
        write_hollow(arguments.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/model.ckpt"
        subprocess.run([sys.executable, __file__, "--write", prefix], check=True)
        size = Path(f"{prefix}.data-00000-of-00001").stat().st_size
        ways = {
            "tfpt inspect": [sys.executable, "-m", "tfpt", "inspect", prefix],
            "tfpt inspect --json": [sys.executable, "-m", "tfpt", "inspect", prefix, "--json"],
            "tf.train.list_variables": [sys.executable, "-c", TENSORFLOW, prefix],
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for run in range(runs + 1):
            for name, command in ways.items():
                measured = measure(command)
                if run:
                    results[name].append(measured)
    print(f"{size / 1e9:.2f} GB, {4 * VARIABLES} tensors, {runs} alternating runs each, medians")
    for name, measured in results.items():
        seconds, peaks = zip(*measured, strict=True)
        print(f"  {name:<24} {statistics.median(seconds):6.2f} s  {statistics.median(peaks):6.0f} MB")


if __name__ == "__main__":
    main()
