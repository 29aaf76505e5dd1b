"""How fast numpy, `tfpt.operations.strided` and torch make a transposed view contiguous, one thread each.

    python benchmarks/transpose.py [repeats]

The three alternate, so that load on the machine affects all of them; each figure is the best of its runs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange

from tfpt.operations.strided import copy_strided

CONV3D = "t h w i o -> o i t h w"
CONV2D = "h w i o -> o i h w"
DENSE = "i o -> o i"
CASES = [
    (CONV3D, (3, 3, 3, 16, 32), "float32"),
    (CONV3D, (7, 7, 7, 3, 64), "float32"),
    (CONV3D, (3, 3, 3, 32, 64), "float32"),
    (CONV3D, (3, 3, 3, 48, 96), "float32"),
    (CONV3D, (1, 1, 1, 480, 192), "float32"),
    (CONV3D, (1, 1, 1, 832, 384), "float32"),
    (CONV3D, (3, 3, 3, 192, 384), "float32"),
    (CONV2D, (3, 3, 512, 512), "float32"),
    (DENSE, (768, 768), "float32"),
    (DENSE, (30522, 768), "float32"),
    (DENSE, (4096, 4096), "float32"),
    (DENSE, (4096, 4096), "float64"),
    (DENSE, (3000, 3000), "complex128"),
    ("b h w c -> b c h w", (50, 224, 224, 3), "float32"),
    (DENSE, (4096, 4096), "float16"),
    (DENSE, (4096, 4096), "uint8"),
]


def best_of(turns: int, *contestants: Callable[[], object]) -> list[float]:
    """The shortest time of each contestant in seconds, over alternating runs after a warm-up."""
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(turns + 1):
        for run, taken in zip(contestants, times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return [min(taken[1:]) for taken in times]


def main(turns: int) -> None:
    """Print GB/s (bytes of the tensor per second) for every case, and the speed of tiled relative to the others."""
    torch.set_num_threads(1)
    print(
        f"{'layout':<24}{'shape':<22}{'dtype':<9}{'numpy':>8}{'tiled':>8}{'torch':>8}{'x numpy':>9}{'x torch':>9}"
    )
    for layout, shape, dtype in CASES:
        source = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
        view = rearrange(source, layout)
        target = np.empty(view.shape, view.dtype)
        torch_view = rearrange(torch.from_numpy(source), layout)
        torch_target = torch.from_numpy(np.empty_like(target))
        numpy_s, tiled_s, torch_s = best_of(
            turns,
            lambda target=target, view=view: np.copyto(target, view),
            lambda target=target, view=view: copy_strided(view, target),
            lambda target=torch_target, view=torch_view: target.copy_(view),
        )
        assert np.array_equal(target, view)
        speeds = [source.nbytes / s / 1e9 for s in (numpy_s, tiled_s, torch_s)]
        print(
            f"{layout:<24}{shape!s:<22}{dtype:<9}"
            + "".join(f"{speed:8.2f}" for speed in speeds)
            + f"{numpy_s / tiled_s:9.2f}{torch_s / tiled_s:9.2f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
