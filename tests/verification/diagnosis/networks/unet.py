"""A U-Net: transposed convolutions of three sizes, three kinds of norms, resizing, and depth-to-space at its end.

`LEGACY` is the same with the resizing of TensorFlow 1, which has no half-pixel centers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import tfpt.nn as tf_nn
from tests.verification.diagnosis.networks.network import filled, loaded

# Halved three times; even each time.
SIZE = (16, 24)
# TensorFlow's radius and alpha, which it does not divide by the size of the window.
RADIUS, ALPHA, BETA, BIAS = 2, 0.7, 0.6, 1.3

MAPPING = """\
version: 1
summary: a small U-Net
model: {factory: "tests.verification.diagnosis.networks.unet:Net", kwargs: {legacy: false}}
weights:
  - {tf: "enc{i}_conv/kernel", pt: "enc{i}.conv.weight", layout: "h w i o -> o i h w"}
  - {tf: "enc{i}_conv/bias",   pt: "enc{i}.conv.bias"}
  - {tf: "enc{i}_norm/gamma",  pt: "enc{i}.norm.weight"}
  - {tf: "enc{i}_norm/beta",   pt: "enc{i}.norm.bias"}
  - {tf: "up{i}_up/kernel",    pt: "up{i}.up.conv.weight", layout: "h w o i -> i o h w"}
  - {tf: "up{i}_up/bias",      pt: "up{i}.up.conv.bias"}
  - {tf: "up{i}_conv/kernel",  pt: "up{i}.conv.weight", layout: "h w i o -> o i h w"}
  - {tf: "up{i}_conv/bias",    pt: "up{i}.conv.bias"}
  - {tf: head/kernel, pt: head.conv.weight, layout: "h w i o -> o i h w"}
  - {tf: head/bias,   pt: head.conv.bias}
endpoints:
  - {tf: "enc{i}", pt: "enc{i}", layout: "b h w c -> b c h w"}
  - {tf: "up{i}",  pt: "up{i}",  layout: "b h w c -> b c h w"}
  - {tf: head,     pt: head,     layout: "b h w c -> b c h w"}
  - {tf: image,    pt: image,    layout: "b h w c -> b c h w"}
input: {layout: "b h w c -> b c h w", range: [-1, 1], kind: rgb}
"""


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Down(nn.Module):
    def __init__(self, before: nn.Module, conv: nn.Module, norm: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.before, self.conv, self.norm, self.act = before, conv, norm, act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(self.before(x))))


class Transposed(nn.Module):
    """A transposed convolution, cropped as by SAME: the larger part behind."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, size, 2)

    def front(self) -> int:
        return int(self.conv.kernel_size[0] - 2) // 2

    def forward(self, x: Tensor) -> Tensor:
        height, width = 2 * x.shape[2], 2 * x.shape[3]
        x, front = self.conv(x), self.front()
        return x[:, :, front : front + height, front : front + width]


class Up(nn.Module):
    def __init__(self, inputs: int, width: int, skip: int, outputs: int, size: int) -> None:
        super().__init__()
        self.up = Transposed(inputs, width, size)
        self.conv = nn.Conv2d(width + skip, outputs, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.act(self.conv(torch.cat([self.up(x), skip], 1)))


class Resize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class LegacyResize(nn.Module):
    """Twice the size, as TensorFlow 1 does it: pixel i of the result is i / 2 of the image."""

    def forward(self, x: Tensor) -> Tensor:
        for axis in (2, 3):
            size = x.shape[axis]
            following = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
            x = torch.stack([x, (x + following) / 2], axis + 1).flatten(axis, axis + 1)
        return x


class Head(nn.Module):
    def __init__(self, resize: nn.Module) -> None:
        super().__init__()
        self.resize = resize
        self.conv = nn.Conv2d(7, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.resize(x))


class DepthToSpace(nn.Module):
    """As TensorFlow has it: the channels of the result are the innermost part of those given."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(batch, channels // 4, 2 * height, 2 * width)


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shuffle, self.act = DepthToSpace(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shuffle(x))


class Net(nn.Module):
    def __init__(self, legacy: bool = False) -> None:
        super().__init__()
        window = 2 * RADIUS + 1
        self.enc1 = Down(nn.Identity(), nn.Conv2d(3, 6, 3, padding=1), nn.Identity(), nn.GELU())
        self.enc2 = Down(
            nn.MaxPool2d(2), nn.Conv2d(6, 9, 3, padding=1), nn.GroupNorm(3, 9, eps=1e-3), nn.GELU()
        )
        self.enc3 = Down(nn.Identity(), tf_nn.Conv2d(9, 11, 3, 2), ChannelNorm(11, eps=3e-4), nn.GELU())
        norm = nn.LocalResponseNorm(window, alpha=ALPHA * window, beta=BETA, k=BIAS)
        self.enc4 = Down(norm, tf_nn.Conv2d(11, 11, 5, 2), nn.Identity(), nn.Tanh())
        self.up1 = Up(11, 11, 11, 11, 2)
        self.up2 = Up(11, 7, 9, 7, 3)
        self.up3 = Up(7, 7, 6, 7, 4)
        self.head = Head(LegacyResize() if legacy else Resize())
        self.image = Image()

    def forward(self, x: Tensor) -> Tensor:
        first = self.enc1(x)
        second = self.enc2(first)
        third = self.enc3(second)
        x = self.up1(self.enc4(third), third)
        x = self.up3(self.up2(x, second), first)
        return self.image(self.head(x))


def keras_model(legacy: bool = False) -> Any:
    import keras
    import tensorflow as tf
    from keras import layers

    @keras.saving.register_keras_serializable("tfpt.tests")
    class LocalResponse(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.nn.local_response_normalization(x, RADIUS, BIAS, ALPHA, BETA)

    @keras.saving.register_keras_serializable("tfpt.tests")
    class DepthToSpaceLayer(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.nn.depth_to_space(x, 2)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 2 * shape[1], 2 * shape[2], shape[3] // 4)

    @keras.saving.register_keras_serializable("tfpt.tests")
    class LegacyBilinear(layers.Layer):
        def call(self, x: Any) -> Any:
            size = (2 * x.shape[1], 2 * x.shape[2])
            return tf.compat.v1.image.resize_bilinear(x, size, half_pixel_centers=False)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 2 * shape[1], 2 * shape[2], shape[3])

    def up(x: Any, skip: Any, name: str, width: int, outputs: int, size: int) -> Any:
        x = layers.Conv2DTranspose(width, size, 2, "same", name=f"{name}_up")(x)
        x = layers.Conv2D(outputs, 3, padding="same", name=f"{name}_conv")(layers.Concatenate()([x, skip]))
        return layers.Activation("silu", name=name)(x)

    inputs = keras.Input((*SIZE, 3))
    x = layers.Conv2D(6, 3, padding="same", name="enc1_conv")(inputs)
    x = first = layers.Activation("gelu", name="enc1")(x)
    x = layers.Conv2D(9, 3, padding="same", name="enc2_conv")(layers.MaxPooling2D()(x))
    x = layers.GroupNormalization(3, epsilon=1e-3, name="enc2_norm")(x)
    x = second = layers.Activation("gelu", name="enc2")(x)
    x = layers.Conv2D(11, 3, 2, "same", name="enc3_conv")(x)
    x = layers.LayerNormalization(epsilon=3e-4, name="enc3_norm")(x)
    x = third = layers.Activation("gelu", name="enc3")(x)
    x = layers.Conv2D(11, 5, 2, "same", name="enc4_conv")(LocalResponse()(x))
    x = layers.Activation("tanh", name="enc4")(x)
    x = up(x, third, "up1", 11, 11, 2)
    x = up(x, second, "up2", 7, 7, 3)
    x = up(x, first, "up3", 7, 7, 4)
    x = LegacyBilinear()(x) if legacy else layers.UpSampling2D(interpolation="bilinear")(x)
    x = layers.Conv2D(12, 3, padding="same", name="head")(x)
    x = layers.Activation("sigmoid", name="image")(DepthToSpaceLayer()(x))
    return filled(keras.Model(inputs, x), 13, 1.3)


def port(model: Any) -> Net:
    net: Net = loaded(MAPPING, model)
    return net
