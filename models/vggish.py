"""VGGish, a network that embeds sounds.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification", 2017. The layers are those of
https://github.com/tensorflow/models/tree/master/research/audioset/vggish (Apache-2.0 license), the names of the
parameters those of https://github.com/harritaylor/torchvggish (Apache-2.0 license), so weights can be exchanged with
that port.
"""

from __future__ import annotations

from torch import Tensor, nn

from tfpt.nn import MaxPool2d

# Channels of the convolutions, in those of the first one; 0 is a pool.
LAYERS = (1, 0, 2, 0, 4, 4, 0, 8, 8, 0)
FRAMES, BANDS = 96, 64


class VGGish(nn.Module):
    """An embedding of 128 numbers for each patch of a spectrogram.

    A patch is the log-mel spectrogram of 0.96 s of audio at 16 kHz: 96 frames of 64 bands from 125 to 7500 Hz, as
    log(magnitude + 0.01), from windows of 25 ms (Hann) every 10 ms. The PCA and the quantization of AudioSet's
    embeddings are not part of this module.

    Args:
        width: Channels of the first convolution.
        hidden: Features of the two dense layers before the embedding.
        size: Features of the embedding.

    Example:
        >>> import torch
        >>> VGGish(width=8, hidden=16)(torch.zeros(2, 96, 64)).shape
        torch.Size([2, 128])
    """

    def __init__(self, width: int = 64, hidden: int = 4096, size: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for factor in LAYERS:
            if factor:
                layers += [nn.Conv2d(channels, factor * width, 3, padding=1), nn.ReLU()]
                channels = factor * width
            else:
                layers.append(MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(channels * (FRAMES // 16) * (BANDS // 16), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, size),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """The embeddings (batch, 128) of patches (batch, 96, 64)."""
        x = self.features(patches[:, None])
        # In TensorFlow's order: frames, bands, channels.
        return self.embeddings(x.permute(0, 2, 3, 1).flatten(1))
