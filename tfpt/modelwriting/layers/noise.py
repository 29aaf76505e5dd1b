"""Layers that only act during training: dropout, noise, regularization and augmentation."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.modelwriting.block import Block, Value, short
from tfpt.modelwriting.configuration import Call, Layer
from tfpt.modelwriting.registry import writes
from tfpt.modelwriting.settings import GapError


def _wrapped(block: Block, layer: Layer, x: Value, text: str) -> Value:
    found = block.add(text, x, shape=x.shape, layer=layer, kind="wrap")
    found.flat = x.flat
    return found


@writes("Dropout", neutral=True, mask="pass")
def dropout(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    (x,) = inputs
    rate = layer.settings.number("rate")
    noise = layer.settings.get("noise_shape")
    if noise is None:
        return _wrapped(block, layer, x, f"{block.module(layer, f'nn.Dropout({short(rate)})')}({{0}})")
    if noise != [None, *[1] * (len(x.shape) - 1)]:
        raise GapError(f"noise_shape is {noise!r}"[:100])
    block.helper("DropSample", _DROP_SAMPLE)
    return _wrapped(block, layer, x, f"{block.module(layer, f'DropSample({short(rate)})')}({{0}})")


_DROP_SAMPLE = '''
class DropSample(nn.Module):
    """Stochastic depth: during training, sets whole samples to zero."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        kept = x.new_ones(x.shape[0], *[1] * (x.dim() - 1))
        return x * F.dropout(kept, self.rate, self.training)
'''


@writes("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", order="first", mask="pass")
def spatial_dropout(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    """Drops whole channels, as torch's layer does with channels first."""
    x = block.first(inputs[0])
    rate = layer.settings.number("rate")
    module = block.module(layer, f"nn.Dropout{len(x.shape) - 2}d({short(rate)})")
    return _wrapped(block, layer, x, f"{module}({{0}})")


_NOISE = '''
class GaussianNoise(nn.Module):
    """During training, adds noise of a standard deviation."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x) if self.training else x
'''

_FACTOR = '''
class GaussianDropout(nn.Module):
    """During training, multiplies by noise with mean 1 and the variance of dropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.deviation = (rate / (1 - rate)) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.deviation * torch.randn_like(x)) if self.training else x
'''


@writes("GaussianNoise", neutral=True, mask="pass")
def gaussian_noise(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    name = block.helper("GaussianNoise", _NOISE)
    deviation = layer.settings.number("stddev")
    return _wrapped(block, layer, inputs[0], f"{block.module(layer, f'{name}({short(deviation)})')}({{0}})")


@writes("GaussianDropout", neutral=True, mask="pass")
def gaussian_dropout(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    name = block.helper("GaussianDropout", _FACTOR)
    rate = layer.settings.number("rate")
    return _wrapped(block, layer, inputs[0], f"{block.module(layer, f'{name}({short(rate)})')}({{0}})")


@writes("AlphaDropout", neutral=True, mask="pass")
def alpha_dropout(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    if layer.settings.get("noise_shape") is not None:
        raise GapError("it has a noise_shape")
    module = block.module(layer, f"nn.AlphaDropout({short(layer.settings.number('rate'))})")
    return _wrapped(block, layer, inputs[0], f"{module}({{0}})")


@writes(
    "ActivityRegularization",
    *(f"Random{each}" for each in ("Brightness", "ColorDegeneration", "ColorJitter", "Contrast", "Erasing")),
    *(f"Random{each}" for each in ("Flip", "GaussianBlur", "Grayscale", "Hue", "Invert", "Perspective")),
    *(f"Random{each}" for each in ("Rotation", "Saturation", "Sharpness", "Shear", "Translation", "Zoom")),
    neutral=True,
    mask="pass",
)
def training_only(block: Block, layer: Layer, inputs: Sequence[Value], _: Call) -> Value:
    """Nothing at inference; what it does during training is not written, which the file says."""
    block.written.notes.append(f"{layer.kind} {block.path(layer)} acts during training only")
    return inputs[0]
