"""Moves channels to positions and back, in TensorFlow's order of channels.

TensorFlow counts the channels of a block position by position, and torch's `PixelShuffle` counts them channel by
channel: with blocks of 2×2 and `c` channels, TensorFlow's channel ``(2 * row + column) * c + channel`` is torch's
``channel * 4 + 2 * row + column`` (https://www.tensorflow.org/api_docs/python/tf/nn/depth_to_space). With one channel
they agree.
"""

from __future__ import annotations

from torch import Tensor, nn

from tfpt.errors import ModelError

__all__ = ["DepthToSpace", "SpaceToDepth"]


class _Blocks(nn.Module):
    def __init__(self, block_size: int) -> None:
        super().__init__()
        # TensorFlow also refuses 1.
        if not isinstance(block_size, int) or block_size < 2:
            raise ModelError(
                "block_size does not fit", expected="an integer of at least 2", got=repr(block_size)
            )
        self.block_size = block_size

    def extra_repr(self) -> str:
        """The block's size."""
        return str(self.block_size)


class DepthToSpace(_Blocks):
    """``tf.nn.depth_to_space``: (…, block² * channels, height, width) to (…, channels, block * height, block * width).

    Every dtype is kept.

    Args:
        block_size: The height and width of a block.

    Raises:
        ModelError: `block_size` is below 2; or, when called, the channels are not a multiple of its square.

    Example:
        >>> import torch
        >>> x = torch.arange(8.0).reshape(1, 8, 1, 1)
        >>> DepthToSpace(2)(x)[0, 0].tolist(), nn.PixelShuffle(2)(x)[0, 0].tolist()
        ([[0.0, 2.0], [4.0, 6.0]], [[0.0, 1.0], [2.0, 3.0]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute the rearranged activations.

        Raises:
            ModelError: The channels are not a multiple of ``block_size ** 2``.
        """
        b = self.block_size
        if x.ndim < 3 or x.shape[-3] % (b * b):
            raise ModelError(
                "the channels do not fit the blocks",
                expected=f"a multiple of {b * b} channels, then height and width",
                got=str(tuple(x.shape)),
            )
        *lead, depth, height, width = x.shape
        blocks = x.reshape(-1, b, b, depth // (b * b), height, width).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(*lead, depth // (b * b), height * b, width * b)


class SpaceToDepth(_Blocks):
    """``tf.nn.space_to_depth``: (…, channels, block * height, block * width) to (…, block² * channels, height, width).

    Every dtype is kept.

    Args:
        block_size: The height and width of a block.

    Raises:
        ModelError: `block_size` is below 2; or, when called, a size is not a multiple of it.

    Example:
        >>> import torch
        >>> x = torch.arange(8).reshape(1, 2, 2, 2)
        >>> SpaceToDepth(2)(x).flatten().tolist(), torch.equal(DepthToSpace(2)(SpaceToDepth(2)(x)), x)
        ([0, 4, 1, 5, 2, 6, 3, 7], True)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute the rearranged activations.

        Raises:
            ModelError: The height or width is not a multiple of `block_size`.
        """
        b = self.block_size
        if x.ndim < 3 or x.shape[-2] % b or x.shape[-1] % b:
            raise ModelError(
                "the sizes do not fit the blocks",
                expected=f"channels, then height and width in multiples of {b}",
                got=str(tuple(x.shape)),
            )
        *lead, depth, height, width = x.shape
        blocks = x.reshape(-1, depth, height // b, b, width // b, b).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(*lead, depth * b * b, height // b, width // b)
