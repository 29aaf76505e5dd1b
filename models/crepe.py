"""CREPE, a network that estimates the pitch of monophonic audio.

Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", 2018. The layers are those of
https://github.com/marl/crepe (MIT license), the names of the parameters those of https://github.com/maxrmorrison/torchcrepe
(MIT license), so weights can be exchanged with that port.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError

# The factor of the channels, and the channels of the six convolutions at factor 1.
SIZES = {"tiny": 4, "small": 8, "medium": 16, "large": 24, "full": 32}
CHANNELS = (32, 4, 4, 4, 8, 16)
SAMPLES = 1024
BINS = 360


class Crepe(nn.Module):
    """The probability of each of 360 pitches, 20 cents apart from C1 (32.70 Hz) on, in frames of audio.

    A frame is 1024 samples at 16 kHz, float, with mean 0 and standard deviation 1.

    Args:
        size: ``"tiny"``, ``"small"``, ``"medium"``, ``"large"`` or ``"full"``.

    Raises:
        ModelError: There is no such size.

    Example:
        >>> Crepe("tiny")(torch.zeros(2, 1024)).shape
        torch.Size([2, 360])
    """

    def __init__(self, size: str = "full") -> None:
        super().__init__()
        if size not in SIZES:
            raise ModelError("CREPE has no such size", expected=", ".join(SIZES), got=repr(size))
        channels = [1, *(SIZES[size] * factor for factor in CHANNELS)]
        for number in range(1, 7):
            kernel, stride = (512, 4) if number == 1 else (64, 1)
            conv = nn.Conv2d(channels[number - 1], channels[number], (kernel, 1), (stride, 1))
            self.add_module(f"conv{number}", conv)
            self.add_module(f"conv{number}_BN", nn.BatchNorm2d(channels[number], eps=1e-3, momentum=0.01))
        self.classifier = nn.Linear(4 * channels[-1], BINS)

    def forward(self, frames: Tensor) -> Tensor:
        """The probabilities (batch, 360) of frames (batch, 1024)."""
        x = frames[:, None, :, None]
        for number in range(1, 7):
            # TensorFlow's SAME padding at these sizes.
            x = nn.functional.pad(x, (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32))
            x = torch.relu(self.get_submodule(f"conv{number}")(x))
            x = nn.functional.max_pool2d(self.get_submodule(f"conv{number}_BN")(x), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).flatten(1)))
