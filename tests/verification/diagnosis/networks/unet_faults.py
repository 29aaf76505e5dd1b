"""What ports get wrong in a U-Net."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.verification.diagnosis.networks.network import (
    Fault,
    Network,
    become,
    change,
    exchange,
    loaded,
    perturbed,
    put,
    sets,
    stock,
    together,
)
from tests.verification.diagnosis.networks.unet import (
    ALPHA,
    MAPPING,
    Down,
    LegacyResize,
    Resize,
    Transposed,
    Up,
    keras_model,
    port,
)


class Behind(Transposed):
    def front(self) -> int:
        return 0


class InFront(Transposed):
    def front(self) -> int:
        return int(self.conv.kernel_size[0] - 2)


class OtherOrder(Up):
    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.act(self.conv(torch.cat([skip, self.up(x)], 1)))


class Aligned(Resize):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Nearest(Resize):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="nearest")


class Bicubic(Resize):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)


class ReluBeforeNorm(Down):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.act(self.conv(self.before(x))))


def without(name: str) -> Any:
    return put(name, lambda _: nn.Identity())


def turned(weight: Tensor) -> Tensor:
    return weight.transpose(2, 3)


FAULTS = {
    "transposed conv, torch's pads": Fault(
        put("up2.up", lambda up: stock(up.conv, padding=1, output_padding=1)), "up2", "padding", "up2"
    ),
    "transposed conv cropped in front": Fault(become("up3.up", InFront), "up3", "padding", "up3"),
    "transposed conv cropped behind": Fault(become("up3.up", Behind), "up3", "padding", "up3"),
    "transposed kernel mirrored": Fault(
        change("up2.up.conv.weight", lambda w: w.flip(2, 3)), "up2", "mirrored kernel", "up2.up"
    ),
    "all transposed kernels mirrored": Fault(
        together(*(change(f"up{i}.up.conv.weight", lambda w: w.flip(2, 3)) for i in (1, 2, 3))),
        "up1",
        "mirrored kernel",
        "up1.up",
        "up2.up",
        "up3.up",
    ),
    "transposed kernel, in and out exchanged": Fault(
        change("up1.up.conv.weight", lambda w: w.transpose(0, 1)), "up1", "square weight", "up1.up"
    ),
    "transposed kernel, height and width exchanged": Fault(
        change("up3.up.conv.weight", turned), "up3", "kernel axes", "up3.up"
    ),
    "group norm, gamma and beta exchanged": Fault(
        exchange("enc2.norm.weight", "enc2.norm.bias"), "enc2", "statistics", "enc2.norm"
    ),
    "layer norm, gamma and beta exchanged": Fault(
        exchange("enc3.norm.weight", "enc3.norm.bias"), "enc3", "statistics", "enc3.norm"
    ),
    "number of groups": Fault(sets("enc2.norm", num_groups=9), "enc2", "number", "enc2.norm"),
    "group norm's epsilon": Fault(sets("enc2.norm", eps=1e-5), "enc2", "epsilon", "enc2.norm"),
    "layer norm's epsilon": Fault(sets("enc3.norm", eps=1e-5), "enc3", "epsilon", "enc3.norm"),
    "local response, alpha divided by the window": Fault(
        sets("enc4.before", alpha=ALPHA), "enc4", "local response", "enc4"
    ),
    "local response, radius as size": Fault(
        sets("enc4.before", size=3, alpha=ALPHA * 3), "enc4", "local response", "enc4"
    ),
    "local response missing": Fault(without("enc4.before"), "enc4", "local response", "enc4"),
    "channels of PixelShuffle": Fault(
        put("image.shuffle", lambda _: nn.PixelShuffle(2)),
        "image",
        {"pixel shuffle"},
        "image",
    ),
    "corners aligned": Fault(put("head.resize", lambda _: Aligned()), "head", "resize", "head"),
    "nearest pixel": Fault(put("head.resize", lambda _: Nearest()), "head", "resize", "head"),
    "bicubic": Fault(put("head.resize", lambda _: Bicubic()), "head", "resize", "head"),
    "TensorFlow 1's resize": Fault(put("head.resize", lambda _: LegacyResize()), "head", "resize", "head"),
    "skip first": Fault(become("up2", OtherOrder), "up2", "branch order", "up2"),
    "skip first, of equal sizes": Fault(become("up1", OtherOrder), "up1", "branch order", "up1"),
    "skip first everywhere": Fault(
        together(*(become(f"up{i}", OtherOrder) for i in (1, 2, 3))),
        "up1",
        "branch order",
        "up1",
        "up2",
        "up3",
    ),
    "sigmoid missing": Fault(without("image.act"), "image", "missing activation", "image"),
    "tanh missing": Fault(without("enc4.act"), "enc4", "missing activation", "enc4"),
    "gelu missing": Fault(without("enc3.act"), "enc3", "missing activation", "enc3"),
    "gelu missing after a group norm": Fault(without("enc2.act"), "enc2", "missing activation", "enc2"),
    "silu missing": Fault(without("up2.act"), "up2", "missing activation", "up2"),
    "gelu by tanh": Fault(put("enc3.act", lambda _: nn.GELU("tanh")), "enc3", "activation", "enc3"),
    "gelu by tanh everywhere": Fault(
        together(*(put(f"enc{i}.act", lambda _: nn.GELU("tanh")) for i in (1, 2, 3))),
        "enc1",
        "activation",
        "enc1",
        "enc2",
        "enc3",
    ),
    "relu in place of silu": Fault(put("up3.act", lambda _: nn.ReLU()), "up3", "activation", "up3"),
    "tanh in place of sigmoid": Fault(put("image.act", lambda _: nn.Tanh()), "image", "activation", "image"),
    "activation before the norm": Fault(become("enc2", ReluBeforeNorm), "enc2", "norm order", "enc2"),
    "max pool replaced by an average": Fault(
        put("enc2.before", lambda _: nn.AvgPool2d(2)), "enc2", "reduction", "enc2"
    ),
    "even pads": Fault(put("enc3.conv", lambda conv: stock(conv, padding=1)), "enc3", "padding", "enc3.conv"),
    "even pads and height and width exchanged": Fault(
        together(put("enc3.conv", lambda conv: stock(conv, padding=1)), change("enc3.conv.weight", turned)),
        "enc3",
        {"padding", "kernel axes"},
        "enc3.conv",
    ),
    "even pads, height and width, in and out": Fault(
        together(
            put("enc4.conv", lambda conv: stock(conv, padding=2)),
            change("enc4.conv.weight", lambda w: turned(w).transpose(0, 1)),
        ),
        "enc4",
        {"padding", "kernel axes", "square weight"},
        "enc4.conv",
    ),
    "BGR": Fault(change("enc1.conv.weight", lambda w: w.flip(1)), "enc1", "input", "", "enc1.conv"),
    "input from 0 to 1": Fault(
        change("enc1.conv.weight", lambda w: w / 2), "enc1", {"input", "scale"}, "", "enc1.conv"
    ),
    "moving averages": Fault(perturbed, "enc1", set()),
}

LEGACY_FAULTS = {
    "half-pixel centers": Fault(put("head.resize", lambda _: Resize()), "head", "resize", "head"),
    "corners aligned": Fault(put("head.resize", lambda _: Aligned()), "head", "resize", "head"),
    "nearest pixel": Fault(put("head.resize", lambda _: Nearest()), "head", "resize", "head"),
    **{name: FAULTS[name] for name in ("tanh missing", "even pads", "channels of PixelShuffle")},
}

NETWORK = Network("unet", MAPPING, keras_model, port, FAULTS)
LEGACY_MAPPING = MAPPING.replace("legacy: false", "legacy: true")
LEGACY = Network(
    "unet_tf1",
    LEGACY_MAPPING,
    partial(keras_model, legacy=True),
    partial(loaded, LEGACY_MAPPING),
    LEGACY_FAULTS,
)
