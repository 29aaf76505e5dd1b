"""I3D as in common PyTorch ports, for comparison: fixed padding, separate batch norms, no fast paths.

It computes the same as `tfpt.models.i3d` if the padding does not depend on the size (16 frames of 224 by 224, or
multiples of 32), with the same parameter names. Used by the benchmark only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tfpt.models.i3d import MIXED


def fixed_pads(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> tuple[int, ...]:
    """Torch's six numbers, last dimension first: kernel - stride in total, the odd one at the end."""
    pads = [max(k - s, 0) for k, s in zip(reversed(kernel), reversed(stride), strict=True)]
    return tuple(side for pad in pads for side in (pad // 2, pad - pad // 2))


class Unit(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, normalize: bool = True
    ) -> None:
        super().__init__()
        pads = fixed_pads((kernel,) * 3, (stride,) * 3)
        even = len(set(pads)) == 1
        self.pad = None if even else nn.ConstantPad3d(pads, 0)
        padding = pads[0] if even else 0
        self.conv3d = nn.Conv3d(
            in_channels, out_channels, kernel, stride, padding=padding, bias=not normalize
        )
        self.batch3d = nn.BatchNorm3d(out_channels, eps=1e-3) if normalize else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pad is not None:
            x = self.pad(x)
        x = self.conv3d(x)
        return x if self.batch3d is None else torch.relu(self.batch3d(x))


class Pool(nn.Module):
    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.pad = nn.ConstantPad3d(fixed_pads(kernel, stride), 0)
        self.pool = nn.MaxPool3d(kernel, stride, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.pad(x))


class Mixed(nn.Module):
    def __init__(
        self, in_channels: int, single: int, double: tuple[int, int], other: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branch_0 = Unit(in_channels, single)
        self.branch_1 = nn.Sequential(Unit(in_channels, double[0]), Unit(double[0], double[1], 3))
        self.branch_2 = nn.Sequential(Unit(in_channels, other[0]), Unit(other[0], other[1], 3))
        self.branch_3 = nn.Sequential(Pool((3, 3, 3), (1, 1, 1)), Unit(in_channels, pooled))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch_0(x), self.branch_1(x), self.branch_2(x), self.branch_3(x)], 1)


class PlainI3D(nn.Module):
    def __init__(self, num_classes: int = 400, in_channels: int = 3) -> None:
        super().__init__()
        self.conv3d_1a_7x7 = Unit(in_channels, 64, 7, 2)
        self.conv3d_2b_1x1 = Unit(64, 64)
        self.conv3d_2c_3x3 = Unit(64, 192, 3)
        for name, channels in MIXED.items():
            self.add_module(name, Mixed(*channels))
        self.pools = nn.ModuleList(
            [
                Pool((1, 3, 3), (1, 2, 2)),
                Pool((1, 3, 3), (1, 2, 2)),
                Pool((3, 3, 3), (2, 2, 2)),
                Pool((2, 2, 2), (2, 2, 2)),
            ]
        )
        self.average = nn.AvgPool3d((2, 7, 7), 1)
        self.conv3d_0c_1x1 = Unit(1024, num_classes, normalize=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pools[0](self.conv3d_1a_7x7(x))
        x = self.pools[1](self.conv3d_2c_3x3(self.conv3d_2b_1x1(x)))
        for name in MIXED:
            if name == "mixed_4b":
                x = self.pools[2](x)
            elif name == "mixed_5b":
                x = self.pools[3](x)
            x = self.get_submodule(name)(x)
        return self.conv3d_0c_1x1(self.average(x)).mean((2, 3, 4))
