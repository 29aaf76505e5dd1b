"""BigGAN-deep's generator, which makes pictures of latent vectors and classes.

Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019. The names of parameters are
those of https://github.com/huggingface/pytorch-pretrained-BigGAN (MIT license), so weights can be exchanged with that
port.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError

# Of the generator for 128 by 128: whether a layer enlarges, and its channels in and out, as multiples of the width.
LAYERS = (
    (False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8),
    (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1),
)  # fmt: skip


class Normalized(nn.Module):
    """A weight divided by its largest singular value, as estimated by the stored vectors u and v."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *shape: int, bias: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.weight_orig = nn.Parameter(torch.randn(shape) * math.prod(shape[1:]) ** -0.5)
        self.register_buffer("weight_u", torch.full((shape[0],), shape[0] ** -0.5))
        self.register_buffer("weight_v", torch.full((math.prod(shape[1:]),), math.prod(shape[1:]) ** -0.5))

    @property
    def weight(self) -> Tensor:
        return self.weight_orig / torch.dot(self.weight_u, self.weight_orig.flatten(1) @ self.weight_v)


class Linear(Normalized):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class Conv(Normalized):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight, self.bias, padding=self.weight_orig.shape[-1] // 2)


class Norm(nn.Module):
    """A batch norm with statistics for each of some truncations from 0 to 1; a condition gives its scale and offset."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, stats: int, eps: float, condition: int = 0) -> None:
        super().__init__()
        self.register_buffer("running_means", torch.zeros(stats, channels))
        self.register_buffer("running_vars", torch.ones(stats, channels))
        self.eps, self.condition = eps, condition
        if condition:
            self.scale = Linear(channels, condition, bias=False)
            self.offset = Linear(channels, condition, bias=False)
        else:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        steps = len(self.running_means) - 1
        between, start = math.modf(truncation * steps)
        low, high = int(start), min(int(start) + 1, steps)
        mean = torch.lerp(self.running_means[low], self.running_means[high], between)
        variance = torch.lerp(self.running_vars[low], self.running_vars[high], between)
        x = (x - mean[:, None, None]) / torch.sqrt(variance + self.eps)[:, None, None]
        if self.condition:
            return (
                x * (1 + self.scale(condition))[:, :, None, None] + self.offset(condition)[:, :, None, None]
            )
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """Four convolutions, of which the inner ones have a quarter of the channels, and a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, condition: int, stats: int, eps: float, *, up: bool
    ) -> None:
        super().__init__()
        self.up, self.outputs = up, outputs
        inner = inputs // 4
        shapes = [(inner, inputs, 1, 1), (inner, inner, 3, 3), (inner, inner, 3, 3), (outputs, inner, 1, 1)]
        for number, shape in enumerate(shapes):
            self.add_module(f"bn_{number}", Norm(shape[1], stats, eps, condition))
            self.add_module(f"conv_{number}", Conv(*shape))

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        shortcut = x[:, : self.outputs]
        for number in range(4):
            x = torch.relu(self.get_submodule(f"bn_{number}")(x, truncation, condition))
            if self.up and number == 1:
                x = nn.functional.interpolate(x, scale_factor=2)
            x = self.get_submodule(f"conv_{number}")(x)
        return x + (nn.functional.interpolate(shortcut, scale_factor=2) if self.up else shortcut)


class Attention(nn.Module):
    """Every place looks at all others, at half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = Conv(channels // 8, channels, 1, 1, bias=False)
        self.snconv1x1_phi = Conv(channels // 8, channels, 1, 1, bias=False)
        self.snconv1x1_g = Conv(channels // 2, channels, 1, 1, bias=False)
        self.snconv1x1_o_conv = Conv(channels, channels // 2, 1, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        query = self.snconv1x1_theta(x).flatten(2)
        key = nn.functional.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)
        value = nn.functional.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ key, -1)
        found = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.snconv1x1_o_conv(found)


class Generator(nn.Module):
    def __init__(
        self, z_dim: int, width: int, layers: Sequence[Sequence[int]], attention: int, stats: int, eps: float
    ) -> None:
        super().__init__()
        self.width = width
        self.gen_z = Linear(256 * width, 2 * z_dim)
        blocks: list[nn.Module] = []
        for number, (up, inputs, outputs) in enumerate(layers):
            if number == attention:
                blocks.append(Attention(inputs * width))
            blocks.append(Block(inputs * width, outputs * width, 2 * z_dim, stats, eps, up=bool(up)))
        self.layers = nn.ModuleList(blocks)
        self.bn = Norm(width, stats, eps)
        self.conv_to_rgb = Conv(width, width, 3, 3)

    def forward(self, condition: Tensor, truncation: float) -> Tensor:
        x = self.gen_z(condition).reshape(-1, 4, 4, 16 * self.width).permute(0, 3, 1, 2)
        for layer in self.layers:
            x = layer(x, truncation, condition)
        x = self.conv_to_rgb(torch.relu(self.bn(x, truncation, condition)))
        return torch.tanh(x[:, :3])


class BigGAN(nn.Module):
    """Pictures of latent vectors and classes.

    Args:
        z_dim: The length of a latent vector, and of the embedding of a class.
        channel_width: The channels of the last layer.
        num_classes: The number of classes.
        layers: For each layer whether it enlarges, and its channels in and out as multiples of `channel_width`.
        attention_layer_position: The layer before which the attention is.
        n_stats: The number of truncations from 0 to 1 that batch norms have statistics for.
        eps: The epsilon of batch norms.

    Raises:
        ModelError: The first layer does not have 16 times the width, the last one not the width.

    Example:
        >>> layers = [[False, 16, 16], [True, 16, 1]]
        >>> model = BigGAN(4, 4, 7, layers, attention_layer_position=1, n_stats=3)
        >>> model(torch.zeros(2, 4), torch.eye(7)[:2]).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        z_dim: int = 128,
        channel_width: int = 128,
        num_classes: int = 1000,
        layers: Sequence[Sequence[int]] = LAYERS,
        attention_layer_position: int = 8,
        n_stats: int = 51,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        if not layers or layers[0][1] != 16 or layers[-1][2] != 1:
            raise ModelError(
                "the layers must begin with 16 times the width, and end with the width", got=str(layers)
            )
        self.embeddings = nn.Linear(num_classes, z_dim, bias=False)
        self.generator = Generator(z_dim, channel_width, layers, attention_layer_position, n_stats, eps)

    def forward(self, z: Tensor, classes: Tensor, truncation: float = 1.0) -> Tensor:
        """Pictures (batch, 3, height, width) in [-1, 1].

        Args:
            z: (batch, z_dim), from a normal distribution cut off at 2, times the truncation.
            classes: (batch, num_classes), one-hot.
            truncation: From 0 to 1: the smaller, the more alike.
        """
        return self.generator(torch.cat([z, self.embeddings(classes)], 1), truncation)
