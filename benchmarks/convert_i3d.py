"""Whole-process time and peak memory of `tfpt convert` for I3D, compared with a hand-written TensorFlow script.

    python benchmarks/convert_i3d.py [--runs 5]

The script is what people usually write: `tf.train.load_checkpoint`, numpy transposes, `torch.save`. It runs in its own
process, imports included, like the command. The two alternate, after one warm-up run each, so that changes in the
machine's speed affect both. Time is wall time; memory is the peak resident set of the process.
Needs the tensorflow extra and POSIX (wait4). Prints the ratio quoted in the README.
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

PLAIN = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf, torch
checkpoint, out = sys.argv[1:]
reader = tf.train.load_checkpoint(checkpoint)
state = {}
for name in reader.get_variable_to_shape_map():
    value = reader.get_tensor(name)
    if value.ndim == 5:
        value = np.ascontiguousarray(value.transpose(4, 3, 0, 1, 2))
    state[name.replace("/", ".")] = torch.from_numpy(value)
torch.save(state, out)
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command[0]} failed:\n{errors.decode()}")
    # Kilobytes on Linux, bytes on macOS (getrusage(2) of each).
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return seconds, usage.ru_maxrss / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = f"{folder}/model.ckpt"
        # In a separate process: a child inherits the peak of its parent, so this one has to stay small.
        sample = [sys.executable, "-m", "tfpt", "sample", "--mapping", "i3d_rgb", "--out", checkpoint]
        subprocess.run(sample, check=True, stdout=subprocess.DEVNULL)
        convert = [sys.executable, "-m", "tfpt", "convert", "--mapping", "i3d_rgb", "--force"]
        ways = {
            "tfpt, .safetensors": [*convert, "--checkpoint", checkpoint, "--out", f"{folder}/a.safetensors"],
            "tfpt, .pth": [*convert, "--checkpoint", checkpoint, "--out", f"{folder}/a.pth"],
            "TensorFlow, by hand": [sys.executable, "-c", PLAIN, checkpoint, f"{folder}/b.pth"],
            "TensorFlow, import only": [sys.executable, "-c", "import tensorflow"],
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for run in range(runs + 1):
            for name, command in ways.items():
                measured = measure(command)
                if run:
                    results[name].append(measured)
        megabytes = Path(f"{folder}/a.safetensors").stat().st_size / 1e6
    print(f"I3D RGB, {megabytes:.1f} MB, {runs} alternating runs each, medians (min to max)")
    for name, measured in results.items():
        seconds, peaks = zip(*measured, strict=True)
        print(
            f"  {name:<24} {statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
            f"  {statistics.median(peaks):6.0f} MB"
        )
    ours, plain = results["tfpt, .safetensors"], results["TensorFlow, by hand"]
    pairs = list(zip(ours, plain, strict=True))
    faster = statistics.median(theirs[0] / mine[0] for mine, theirs in pairs)
    leaner = statistics.median(mine[1] / theirs[1] for mine, theirs in pairs)
    print(f"tfpt convert is {faster:.1f} times faster and uses {leaner:.2f} times the memory")


if __name__ == "__main__":
    main()
