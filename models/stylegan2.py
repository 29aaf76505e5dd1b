"""StyleGAN2's generator, which makes pictures of latent vectors.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020: configurations E and F, with skip
connections. The names of the parameters are those of https://github.com/rosinality/stylegan2-pytorch (MIT license), so
weights can be exchanged with that port.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
SLOPE, GAIN = 0.2, 2**0.5


def activated(x: Tensor, bias: Tensor) -> Tensor:
    """A leaky ReLU of x (batch, channels, …) plus a bias (channels), scaled to keep the variance."""
    return nn.functional.leaky_relu(x + bias.reshape(1, -1, *[1] * (x.ndim - 2)), SLOPE) * GAIN


class Filter(nn.Module):
    """The low-pass filter [1, 3, 3, 1] in both directions, times 4, for pictures in which 3 of 4 pixels are zeros."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", line[:, None] * line / 16)

    def forward(self, x: Tensor, before: int, after: int) -> Tensor:
        """x (batch, channels, height, width), padded and filtered."""
        padded = nn.functional.pad(x, (before, after, before, after))
        kernel = self.kernel.flip(0, 1).expand(x.shape[1], 1, 4, 4)
        return nn.functional.conv2d(padded, kernel, groups=x.shape[1])


class Linear(nn.Module):
    """A linear layer whose weights are scaled when it runs: by 1/sqrt(inputs), and by a learning rate."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        scale = self.rate * self.weight.shape[1] ** -0.5
        return nn.functional.linear(x, self.weight * scale, self.bias * self.rate)


class Dense(Linear):
    """The same, followed by the activation."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(super().forward(x), SLOPE) * GAIN


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, and whose outputs are normalized."""

    def __init__(
        self, inputs: int, outputs: int, size: int, style: int, *, up: bool, normalized: bool
    ) -> None:
        super().__init__()
        if up:
            self.blur = Filter()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, size, size))
        self.modulation = Linear(style, inputs)
        nn.init.ones_(self.modulation.bias)
        self.up, self.normalized = up, normalized

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight = self.weight[0] * self.weight[0, 0].numel() ** -0.5
        scales = self.modulation(style)
        x = x * scales[:, :, None, None]
        if self.up:
            x = self.blur(nn.functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, 1)
        else:
            x = nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self.normalized:
            return x
        energy = torch.einsum("oihw,bi->bo", weight.square(), scales.square())
        return x * torch.rsqrt(energy + 1e-8)[:, :, None, None]


class Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Activation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """A modulated convolution, noise, and the activation."""

    def __init__(self, inputs: int, outputs: int, style: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style, up=up, normalized=True)
        self.noise = Noise()
        self.activate = Activation(outputs)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        return activated(self.conv(x, style) + self.noise.weight * noise, self.activate.bias)


class ToRGB(nn.Module):
    """A picture of features, added to the enlarged one of half the size."""

    def __init__(self, inputs: int, style: int, *, up: bool = True) -> None:
        super().__init__()
        if up:
            self.upsample = Filter()
        self.conv = ModulatedConv(inputs, 3, 1, style, up=False, normalized=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, smaller: Tensor | None = None) -> Tensor:
        picture: Tensor = self.conv(x, style) + self.bias
        if smaller is None:
            return picture
        batch, channels, height, width = smaller.shape
        spread = smaller.new_zeros(batch, channels, height, 2, width, 2)
        spread[:, :, :, 0, :, 0] = smaller
        return picture + self.upsample(spread.reshape(batch, channels, 2 * height, 2 * width), 2, 1)


class Constant(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(nn.Module):
    """Pictures of latent vectors.

    Args:
        size: Height and width of the pictures: 8, 16, … 1024.
        style_dim: The length of a latent vector.
        n_mlp: The number of layers of the mapping network.
        channel_multiplier: 2 in configuration F, 1 in E: the channels of layers at 64 by 64 and above.
        channels: The channels at each size, instead.

    Raises:
        ModelError: There is no such size.

    Example:
        >>> Generator(16, 8, 2, channels={4: 6, 8: 5, 16: 4})(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        size: int = 1024,
        style_dim: int = 512,
        n_mlp: int = 8,
        channel_multiplier: int = 2,
        channels: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        sizes = [edge for edge in CHANNELS if edge <= size]
        if size not in CHANNELS or size == 4:
            raise ModelError(
                "StyleGAN2 has no such size", expected=", ".join(map(str, [*CHANNELS][1:])), got=str(size)
            )
        wide = {edge: count * (channel_multiplier if edge > 32 else 1) for edge, count in CHANNELS.items()}
        count = {**wide, **{int(edge): number for edge, number in (channels or {}).items()}}
        layers = [Dense(style_dim, style_dim, rate=0.01) for _ in range(n_mlp)]
        self.style = nn.Sequential(PixelNorm(), *layers)
        self.input = Constant(count[4])
        self.conv1 = StyledConv(count[4], count[4], style_dim)
        self.to_rgb1 = ToRGB(count[4], style_dim, up=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        self.noises.register_buffer("noise_0", torch.randn(1, 1, 4, 4))
        for step, edge in enumerate(sizes[1:]):
            self.convs.append(StyledConv(count[edge // 2], count[edge], style_dim, up=True))
            self.convs.append(StyledConv(count[edge], count[edge], style_dim))
            self.to_rgbs.append(ToRGB(count[edge], style_dim))
            for layer in (2 * step + 1, 2 * step + 2):
                self.noises.register_buffer(f"noise_{layer}", torch.randn(1, 1, edge, edge))

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures (batch, 3, size, size), mostly in [-1, 1], of latents (batch, style_dim), with the stored noise."""
        style = self.style(latents)
        noises = [self.noises.get_buffer(f"noise_{layer}") for layer in range(len(self.convs) + 1)]
        x = self.conv1(self.input.input.expand(len(latents), -1, -1, -1), style, noises[0])
        picture = self.to_rgb1(x, style)
        for step, to_rgb in enumerate(self.to_rgbs):
            for layer in (2 * step, 2 * step + 1):
                x = self.convs[layer](x, style, noises[layer + 1])
            picture = to_rgb(x, style, picture)
        return picture
