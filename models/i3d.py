"""I3D, Inception-v1 inflated to three dimensions: the network of DeepMind's kinetics-i3d.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017. It follows the graph in
https://github.com/google-deepmind/kinetics-i3d (i3d.py) layer by layer; parameter names are those of
https://github.com/hassony2/kinetics_i3d_pytorch, so weights of that port load here and the other way round.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError
from tfpt.nn import AvgPool3d, Conv3d, MaxPool3d
from tfpt.nn.inference import Branches, FoldedConv
from tfpt.nn.padding import output_size

# What Sonnet 1 does where DeepMind's code leaves it to the defaults: snt.BatchNorm(eps=1e-3, decay_rate=0.999).
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 1e-3

# Channels in, then of branch 0, of both convolutions in branches 1 and 2, and of branch 3.
MIXED = {
    "mixed_3b": (192, 64, (96, 128), (16, 32), 32),
    "mixed_3c": (256, 128, (128, 192), (32, 96), 64),
    "mixed_4b": (480, 192, (96, 208), (16, 48), 64),
    "mixed_4c": (512, 160, (112, 224), (24, 64), 64),
    "mixed_4d": (512, 128, (128, 256), (24, 64), 64),
    "mixed_4e": (512, 112, (144, 288), (32, 64), 64),
    "mixed_4f": (528, 256, (160, 320), (32, 128), 128),
    "mixed_5b": (832, 256, (160, 320), (32, 128), 128),
    "mixed_5c": (832, 384, (192, 384), (48, 128), 128),
}


class Unit3D(nn.Module):
    """A convolution, batch normalization and ReLU; without `normalize` a convolution with a bias, nothing else.

    Takes and gives (batch, channels, frames, height, width).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        padding: str,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.conv3d = Conv3d(in_channels, out_channels, kernel, stride, padding, bias=not normalize)
        self.batch3d = (
            nn.BatchNorm3d(out_channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)
            if normalize
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """The activations."""
        x = self.conv3d(x)
        return x if self.batch3d is None else torch.relu(self.batch3d(x))

    def optimized(self) -> FoldedConv:
        """The same in one layer, for inference."""
        return FoldedConv(self.conv3d, self.batch3d, relu=self.batch3d is not None)


class Mixed(nn.Module):
    """An Inception module: four branches over the same input, their channels one after the other."""

    def __init__(
        self,
        in_channels: int,
        single: int,
        double: tuple[int, int],
        second_double: tuple[int, int],
        pooled: int,
        *,
        padding: str,
    ) -> None:
        super().__init__()
        self.branch_0 = Unit3D(in_channels, single, padding=padding)
        self.branch_1 = nn.Sequential(
            Unit3D(in_channels, double[0], padding=padding),
            Unit3D(double[0], double[1], 3, padding=padding),
        )
        self.branch_2 = nn.Sequential(
            Unit3D(in_channels, second_double[0], padding=padding),
            Unit3D(second_double[0], second_double[1], 3, padding=padding),
        )
        self.branch_3 = nn.Sequential(
            MaxPool3d(3, stride=1, padding=padding),
            Unit3D(in_channels, pooled, padding=padding),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The branches' outputs, concatenated along the channels."""
        branches = (self.branch_0, self.branch_1, self.branch_2, self.branch_3)
        return torch.cat([branch(x) for branch in branches], dim=1)

    def optimized(self) -> Branches:
        """The same with folded convolutions that write where their output belongs, for inference."""
        pool, last = self.branch_3
        return Branches(
            {
                "branch_0": self.branch_0.optimized(),
                "branch_1": nn.Sequential(*(unit.optimized() for unit in self.branch_1)),
                "branch_2": nn.Sequential(*(unit.optimized() for unit in self.branch_2)),
                "branch_3": nn.Sequential(pool, last.optimized()),
            }
        )


class MeanOverPositions(nn.Module):
    """(batch, classes, frames, height, width) to (batch, classes): the mean over everything else."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean."""
        return x.mean(dim=(2, 3, 4))


class I3D(nn.Module):
    """The network, from a clip to the logits of its classes.

    A clip is (batch, channels, frames, height, width) of floats: for RGB, in [-1, 1]; for optical flow, cut at
    20 pixels and scaled to [-1, 1]. DeepMind trained at 64 frames of 224 by 224, at 25 frames a second. The last
    pool takes windows of 2 by 7 by 7; the logits are averaged over its outputs: over time, as DeepMind does, and
    over positions where a frame is larger than 224 and so has more than one.

    Args:
        num_classes: Width of the logits; 400 for Kinetics-400.
        in_channels: 3 for RGB, 2 for optical flow.
        padding: ``"same"``, TensorFlow's; or ``"symmetric"``, floor(kernel / 2) on both sides, for comparison:
            at 224 by 224 it shifts the windows of every strided layer, and ``maxpool3d_5a_2x2`` gives 8 by 8.
        dropout: Share of features dropped before the last convolution in training. The authors' graph defaults
            to none, and so does this; they trained with 0.5.

    Attributes:
        ENDPOINTS: The activations by name, in order: DeepMind's names in lower case. Each is a submodule, so a
            forward hook at that path sees the activation; `endpoints` returns them.
        least_frames: The fewest frames the last pool has room for, 9 with SAME padding.
        least_size: The least height and width, 193 with SAME padding.

    Convolutions start as Sonnet's did: from a normal distribution of deviation 1 / sqrt(fan-in), cut at two
    deviations; the bias starts at 0.

    Raises:
        ModelError: No such padding; or, when called, a clip of other dimensions, channels or dtype, or too small.

    Example:
        >>> with torch.device("meta"):  # shapes alone, no arithmetic
        ...     model, clip = I3D(num_classes=400), torch.empty(1, 3, 16, 224, 224)
        >>> model(clip).shape
        torch.Size([1, 400])
        >>> model.endpoints(clip, ["mixed_3b", "mixed_5c"])["mixed_5c"].shape
        torch.Size([1, 1024, 2, 7, 7])
    """

    ENDPOINTS = (
        "conv3d_1a_7x7",
        "maxpool3d_2a_3x3",
        "conv3d_2b_1x1",
        "conv3d_2c_3x3",
        "maxpool3d_3a_3x3",
        "mixed_3b",
        "mixed_3c",
        "maxpool3d_4a_3x3",
        "mixed_4b",
        "mixed_4c",
        "mixed_4d",
        "mixed_4e",
        "mixed_4f",
        "maxpool3d_5a_2x2",
        "mixed_5b",
        "mixed_5c",
        "logits",
        "predictions",
    )

    def __init__(
        self, num_classes: int = 400, in_channels: int = 3, padding: str = "same", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if padding not in ("same", "symmetric"):
            # Without pads the branches of a Mixed module differ in size.
            raise ModelError("I3D has no such padding", expected="same or symmetric", got=repr(padding))
        self.in_channels = in_channels

        self.conv3d_1a_7x7 = Unit3D(in_channels, 64, 7, 2, padding=padding)
        self.maxpool3d_2a_3x3 = MaxPool3d((1, 3, 3), (1, 2, 2), padding)
        self.conv3d_2b_1x1 = Unit3D(64, 64, padding=padding)
        self.conv3d_2c_3x3 = Unit3D(64, 192, 3, padding=padding)
        self.maxpool3d_3a_3x3 = MaxPool3d((1, 3, 3), (1, 2, 2), padding)
        self.maxpool3d_4a_3x3 = MaxPool3d(3, 2, padding)
        self.maxpool3d_5a_2x2 = MaxPool3d(2, 2, padding)
        for name, channels in MIXED.items():
            self.add_module(name, Mixed(*channels, padding=padding))
        self.avgpool3d_0a_7x7 = AvgPool3d((2, 7, 7), 1, "valid")
        self.dropout = nn.Dropout(dropout)
        self.conv3d_0c_1x1 = Unit3D(1024, num_classes, padding=padding, normalize=False)
        self.logits = MeanOverPositions()
        self.predictions = nn.Softmax(dim=1)

        self.least_frames, self.least_size = self._least(0), self._least(1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew: random convolutions, fresh batch statistics."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                deviation = module.weight[0].numel() ** -0.5
                nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()

    def forward(self, clip: Tensor) -> Tensor:
        """The logits, (batch, classes), of a clip (batch, channels, frames, height, width)."""
        self._check(clip, whole=True)
        x = clip
        for name in self.ENDPOINTS[:-1]:
            x = self._step(name, x)
        self.predictions(x)  # for hooks alone
        return x

    def endpoints(self, clip: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The activations of that name, or all of `ENDPOINTS`; nothing beyond the last one is computed.

        All but the last two are (batch, channels, frames, height, width). A clip that is too small for the last
        pool is refused only where ``logits`` or ``predictions`` is asked for.

        Raises:
            ModelError: No endpoint of that name, or a clip that does not fit.
        """
        wanted = self.ENDPOINTS if names is None else tuple(names)
        for name in wanted:
            if name not in self.ENDPOINTS:
                raise ModelError(
                    "I3D has no such endpoint",
                    expected=", ".join(self.ENDPOINTS),
                    got=name,
                    nearest=difflib.get_close_matches(name.lower(), self.ENDPOINTS),
                )
        self._check(clip, whole="logits" in wanted or "predictions" in wanted)
        found: dict[str, Tensor] = {}
        last = max((self.ENDPOINTS.index(name) for name in wanted), default=-1)
        x = clip
        for name in self.ENDPOINTS[: last + 1]:
            x = self._step(name, x)
            if name in wanted:
                found[name] = x
        return {name: found[name] for name in wanted}

    def _step(self, name: str, x: Tensor) -> Tensor:
        """From one endpoint to the next."""
        if name == "logits":
            x = self.conv3d_0c_1x1(self.dropout(self.avgpool3d_0a_7x7(x)))
        result: Tensor = self.get_submodule(name)(x)
        return result

    def _least(self, axis: int) -> int:
        """The smallest size along time (0) or height and width (1) from which the last pool gets its window."""
        strided: list[Conv3d | MaxPool3d] = [
            self.conv3d_1a_7x7.conv3d,
            self.maxpool3d_2a_3x3,
            self.maxpool3d_3a_3x3,
            self.maxpool3d_4a_3x3,
            self.maxpool3d_5a_2x2,
        ]
        least = 0
        left = 0
        while left < self.avgpool3d_0a_7x7.kernel_size[axis]:
            least += 1
            left = least
            for layer in strided:
                left = output_size(layer.tf_padding, left, layer.kernel_size[axis], layer.stride[axis])
        return least

    def _check(self, clip: Tensor, whole: bool) -> None:
        expected = f"a float tensor of (batch, {self.in_channels}, frames, height, width)"
        if clip.ndim != 5 or not clip.is_floating_point():
            raise ModelError("not a clip", expected=expected, got=_describe(clip))
        if clip.shape[1] != self.in_channels:
            hint = (
                "move the channels with clip.movedim(-1, 1)" if clip.shape[-1] == self.in_channels else None
            )
            raise ModelError(
                "a clip of other channels than the model's", expected=expected, got=_describe(clip), hint=hint
            )
        if not whole:
            return
        _, _, frames, height, width = clip.shape
        if frames < self.least_frames or height < self.least_size or width < self.least_size:
            raise ModelError(
                "too small a clip for the last pool, which takes 2 by 7 by 7",
                expected=f"at least {self.least_frames} frames of {self.least_size} by {self.least_size}",
                got=f"{frames} frames of {height} by {width}",
            )


def _describe(clip: Tensor) -> str:
    return f"{str(clip.dtype).removeprefix('torch.')} of {tuple(clip.shape)}"
