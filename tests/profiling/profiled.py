"""Networks whose costs are known beforehand, and a mapping that says what they are fed."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn

NAP = 0.05


class Clock:
    """A clock that only naps move: what else takes time, on a busy machine above all, does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


CLOCK = Clock()


def nap() -> None:
    """Sleep, for clocks of the system, and move the clock of the tests."""
    time.sleep(NAP)
    CLOCK.seconds += NAP


MAPPING = """\
version: 1
summary: what a small network of video is fed
weights:
  - {pt: steps, fill: 0, shape: [], dtype: int64}
input: {kind: rgb, layout: "b t h w c -> b c t h w", range: [-1, 1], size: 11}
"""


def write_mapping(folder: Path, text: str = MAPPING) -> Path:
    path = folder / "net.yaml"
    path.write_text(text)
    return path


class _Napping(torch.autograd.Function):
    @staticmethod
    def forward(_context: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        nap()
        return gradient


class Nap(nn.Module):
    """Sleeps on the way there, and on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        nap()
        return _Napping.apply(x)


class Block(nn.Module):
    """Calls a layer, and sleeps by itself, in functions that no layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv3d(3, 5, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        nap()
        return torch.relu_(_Napping.apply(x))


class Net(nn.Module):
    """A block, a nap, a convolution of one tap and a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.nap = Nap()
        self.norm = nn.BatchNorm3d(5)
        self.point = nn.Conv3d(5, 7, 1)
        self.pool = nn.MaxPool3d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.point(self.norm(self.nap(self.block(x)))))


class Large(nn.Module):
    """Makes a tensor of so many floats on the way, and lets go of it."""

    def __init__(self, floats: int) -> None:
        super().__init__()
        self.floats = floats
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean() * self.weight + torch.ones(self.floats).sum() * 0
