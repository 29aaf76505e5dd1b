"""The optimized I3D compared with a plain port: same weights, same process, same clip, alternating runs.

    python benchmarks/forward_i3d.py                                # CPU: 16 frames, 64 frames, a batch of 4
    python benchmarks/forward_i3d.py --device cuda                  # float32, bfloat16, compiled; and a training step

The plain port (benchmarks/plain_i3d.py) uses fixed padding with ConstantPad3d and a separate batch norm, like common
ports. Prints medians, the ratio of the medians, and the largest difference of the logits relative to the largest logit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from plain_i3d import PlainI3D  # noqa: E402

from tests.models.deepmind_i3d import seeded_model  # noqa: E402
from tfpt.models.i3d import I3D  # noqa: E402
from tfpt.networks.optimization import optimize  # noqa: E402

CPU_SHAPES = ((1, 16), (1, 64), (4, 16))
GPU_SHAPES = ((1, 64), (8, 64))


def plain_twin(model: I3D) -> PlainI3D:
    """The plain port with the model's weights."""
    plain = PlainI3D(400, model.in_channels)
    plain.load_state_dict(model.state_dict())
    return plain.eval()


def seconds(ways: list[Callable[[], object]], rounds: int, device: str) -> list[float]:
    """The median time of each, over alternating runs."""
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds + 2):
        for way, spent in zip(ways, times, strict=True):
            synchronize(device)
            begin = time.perf_counter()
            way()
            synchronize(device)
            if turn >= 2:  # the first two warm up
                spent.append(time.perf_counter() - begin)
    return [statistics.median(spent) for spent in times]


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest value."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


def forward_rows(
    models: dict[str, nn.Module], batch: int, frames: int, rounds: int, device: str, dtype: torch.dtype
) -> None:
    """One line per model: time, speed relative to the first, difference of its logits from the first in float32."""
    clip = (torch.rand(batch, 3, frames, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1).to(
        device
    )
    with torch.inference_mode():
        reference = next(iter(models.values()))(clip)
        taken = {name: model.to(dtype) for name, model in models.items()}
        clip = clip.to(dtype)
        logits = {name: model(clip) for name, model in taken.items()}
        ways = [lambda model=model: model(clip) for model in taken.values()]
        medians = seconds(ways, rounds, device)
    for name, spent in zip(taken, medians, strict=True):
        what = f"forward {batch}×{frames} {str(dtype).removeprefix('torch.')}"
        print(
            f"{what:<26} {name:<22} {spent * 1e3:8.1f} ms {batch / spent:8.2f} clips/s "
            f"{medians[0] / spent:6.2f}× {relative_error(logits[name], reference):9.1e}"
        )


def training_rows(models: dict[str, nn.Module], batch: int, frames: int, rounds: int, device: str) -> None:
    """Forward, backward and an SGD step, in float32 and under bfloat16 autocast."""
    clip = (torch.rand(batch, 3, frames, 224, 224) * 2 - 1).to(device)
    labels = torch.arange(batch, device=device)
    for half in (False, True):
        ways = []
        for model in models.values():
            step = torch.optim.SGD(model.train().parameters(), lr=1e-4, momentum=0.9)

            def way(model: nn.Module = model, step: torch.optim.Optimizer = step, half: bool = half) -> None:
                with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=half):
                    loss = nn.functional.cross_entropy(model(clip), labels)
                loss.backward()
                step.step()
                step.zero_grad()

            ways.append(way)
        medians = seconds(ways, rounds, device)
        for name, spent in zip(models, medians, strict=True):
            what = f"step {batch}×{frames} {'bf16 autocast' if half else 'float32'}"
            print(
                f"{what:<26} {name:<22} {spent * 1e3:8.1f} ms {batch / spent:8.2f} clips/s {medians[0] / spent:6.2f}×"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    device = arguments.device
    model = seeded_model(3, "RGB", 11)
    plain = plain_twin(model)

    if device == "cpu":
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
        models = {"plain port": plain, "tfpt": model, "tfpt, optimized": optimize(model)}
        for batch, frames in CPU_SHAPES:
            forward_rows(models, batch, frames, arguments.rounds, device, torch.float32)
        return
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}")
    for batch, frames in GPU_SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            models = {
                "plain port": plain_twin(model).to(device),
                "tfpt": seeded_model(3, "RGB", 11).to(device),
                "tfpt, optimized": optimize(model.to(device)),
                "plain port, compiled": torch.compile(plain_twin(model.cpu()).to(device)),
                "tfpt, compiled": torch.compile(seeded_model(3, "RGB", 11).to(device)),
            }
            forward_rows(models, batch, frames, arguments.rounds, device, dtype)
    ours = seeded_model(3, "RGB", 11)
    training_rows(
        {"plain port": plain_twin(ours).to(device), "tfpt": ours.to(device)}, 6, 64, arguments.rounds, device
    )


if __name__ == "__main__":
    main()
