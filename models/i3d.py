"""I3D, Inception-v1 inflated to three dimensions: the network of DeepMind's kinetics-i3d.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017. It follows the graph in
https://github.com/google-deepmind/kinetics-i3d (i3d.py) layer by layer. Parameter names are those of
https://github.com/hassony2/kinetics_i3d_pytorch, so weights can be exchanged with that port in both directions.
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

# Sonnet 1's defaults, which DeepMind's code uses: snt.BatchNorm(eps=1e-3, decay_rate=0.999).
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 1e-3

# Channels: input, branch 0, both convolutions in branches 1 and 2, branch 3.
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
    """A convolution, batch normalization and ReLU; without `normalize` only a convolution with a bias.

    Input and output are (batch, channels, frames, height, width).
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
        """Compute the activations."""
        x = self.conv3d(x)
        return x if self.batch3d is None else torch.relu(self.batch3d(x))

    def optimized(self) -> FoldedConv:
        """The same as a single layer, for inference."""
        return FoldedConv(self.conv3d, self.batch3d, relu=self.batch3d is not None)


class Mixed(nn.Module):
    """An Inception module: four branches over the same input, concatenated along the channels."""

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
        """The same with folded convolutions that write directly to their slice of the output, for inference."""
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
    """The mean over time and space: (batch, classes, frames, height, width) to (batch, classes)."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the mean."""
        return x.mean(dim=(2, 3, 4))


class I3D(nn.Module):
    """The I3D network: computes class logits from a video clip.

    A clip is a float tensor (batch, channels, frames, height, width). RGB values are in [-1, 1]; optical flow is
    clipped at 20 pixels and scaled to [-1, 1]. DeepMind trained with 64 frames of 224 by 224 at 25 frames per second.
    The last pool has windows of 2 by 7 by 7. The logits are averaged over its outputs: over time, as DeepMind does, and
    over space if frames are larger than 224 and so have more than one output.

    Args:
        num_classes: Number of logits; 400 for Kinetics-400.
        in_channels: 3 for RGB, 2 for optical flow.
        padding: ``"same"`` for TensorFlow's padding; or ``"symmetric"``, floor(kernel / 2) on both sides, for
            comparison: at 224 by 224 it shifts the windows of every strided layer, and ``maxpool3d_5a_2x2`` has 8 by 8
            outputs.
        dropout: Probability of dropping a feature before the last convolution in training. The authors' graph defaults
            to 0, as does this; they trained with 0.5.

    Attributes:
        ENDPOINTS: The names of the activations in order: DeepMind's names in lower case. Each is a submodule, so a
            forward hook on it sees the activation; `endpoints` returns them.
        least_frames: The smallest number of frames that the last pool allows; 9 with SAME padding.
        least_size: The smallest height and width; 193 with SAME padding.

    Convolutions are initialized as in Sonnet: from a normal distribution with standard deviation 1 / sqrt(fan-in),
    truncated at two standard deviations; biases are 0.

    Raises:
        ModelError: There is no such padding; or, when called, the clip has another number of dimensions, other
            channels, an integer dtype, or is too small.

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
            # Without padding the outputs of a Mixed module's branches differ in size.
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
        """Initialize again: random convolutions, fresh batch statistics."""
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
        self.predictions(x)  # only so that forward hooks see it
        return x

    def endpoints(self, clip: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The activations with these names, by default all of `ENDPOINTS`; computes nothing beyond the last one.

        All but the last two are (batch, channels, frames, height, width). A clip that is too small for the last pool is
        refused only if ``logits`` or ``predictions`` is requested.

        Raises:
            ModelError: There is no endpoint with that name, or the clip is invalid.
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
        """Compute the next endpoint from the one before."""
        if name == "logits":
            x = self.conv3d_0c_1x1(self.dropout(self.avgpool3d_0a_7x7(x)))
        result: Tensor = self.get_submodule(name)(x)
        return result

    def _least(self, axis: int) -> int:
        """The smallest input size along time (0) or height and width (1) for which the last pool has an output."""
        strided: list[Conv3d | MaxPool3d] = [
            self.conv3d_1a_7x7.conv3d,
            self.maxpool3d_2a_3x3,
            self.maxpool3d_3a_3x3,
            self.maxpool3d_4a_3x3,
            self.maxpool3d_5a_2x2,
        ]
        least = 0
        remaining = 0
        while remaining < self.avgpool3d_0a_7x7.kernel_size[axis]:
            least += 1
            remaining = least
            for layer in strided:
                kernel, stride = layer.kernel_size[axis], layer.stride[axis]
                remaining = output_size(layer.tf_padding, remaining, kernel, stride)
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
                "the clip's number of channels is not the model's",
                expected=expected,
                got=_describe(clip),
                hint=hint,
            )
        if not whole:
            return
        _, _, frames, height, width = clip.shape
        if frames < self.least_frames or height < self.least_size or width < self.least_size:
            raise ModelError(
                "the clip is too small for the last pool, whose window is 2 by 7 by 7",
                expected=f"at least {self.least_frames} frames of {self.least_size} by {self.least_size}",
                got=f"{frames} frames of {height} by {width}",
            )


def _describe(clip: Tensor) -> str:
    return f"{str(clip.dtype).removeprefix('torch.')} of {tuple(clip.shape)}"
