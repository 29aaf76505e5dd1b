"""Layers of torch that differ from TensorFlow's: resizing, local response normalization, pixel shuffling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from tfpt.errors import ModelError
from tfpt.language.mapping import Behavior, ResponseNorm
from tfpt.networks.behavior.findings import finding, unchecked
from tfpt.nn import DepthToSpace, LocalResponseNorm, Resize, SpaceToDepth
from tfpt.planning import Finding

_STOCK_RESIZES = (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
_KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "resize": (*_STOCK_RESIZES, Resize),
    "response_norm": (nn.LocalResponseNorm, LocalResponseNorm),
    "depth_to_space": (nn.PixelShuffle, nn.PixelUnshuffle, DepthToSpace, SpaceToDepth),
}


def operation_findings(path: str, module: nn.Module, behavior: Behavior) -> Iterator[Finding]:
    """The layers at a path, or inside the module at it, that compute something else than the mapping states."""
    for key, layers in _stated(path, module, behavior):
        expected = _text(key, behavior)
        if not layers:
            why = "no layer of torch or tfpt.nn that does this is in it"
            yield unchecked(path, module, behavior, expected, why)
        for inner, layer in layers:
            got = _difference(key, layer, behavior)
            if got:
                yield finding(inner, layer, behavior, expected, got)


def replacements(path: str, module: nn.Module, behavior: Behavior) -> Iterator[tuple[str, nn.Module]]:
    """The layers to put in place of those that contradict the mapping, by path.

    Raises:
        ModelError: A layer cannot be replaced.
    """
    for key, layers in _stated(path, module, behavior):
        for inner, layer in layers:
            if _difference(key, layer, behavior):
                yield inner, _replacement(key, inner, layer, behavior).train(layer.training)


def _stated(
    path: str, module: nn.Module, behavior: Behavior
) -> Iterator[tuple[str, list[tuple[str, nn.Module]]]]:
    for key, kinds in _KINDS.items():
        if getattr(behavior, key):
            inside = module.named_modules(prefix=path)
            yield key, [(inner, layer) for inner, layer in inside if isinstance(layer, kinds)]


def _text(key: str, behavior: Behavior) -> str:
    value = getattr(behavior, key)
    if not isinstance(value, ResponseNorm):
        return f"{key}: {value if isinstance(value, str) else str(value).lower()}"
    numbers = (value.depth_radius, value.bias, value.alpha, value.beta)
    names = ("depth_radius", "bias", "alpha", "beta")
    return f"{key}: " + ", ".join(f"{name} {number:g}" for name, number in zip(names, numbers, strict=True))


def _difference(key: str, layer: Any, behavior: Behavior) -> str:
    """What a layer does instead of what the mapping states; empty if it does the same."""
    if key == "depth_to_space":
        stock = isinstance(layer, nn.PixelShuffle | nn.PixelUnshuffle)
        return "the order of channels of torch" if stock else ""
    if key == "response_norm":
        assert behavior.response_norm is not None
        return _norm_difference(layer, behavior.response_norm)
    assert behavior.resize is not None
    rules = resize_rules(layer)
    if behavior.resize in rules:
        return ""
    return f"resize: {rules[0]}" if rules else f"mode={layer.mode!r}, which TensorFlow does not compute"


def resize_rules(layer: Any) -> tuple[str, ...]:
    """The rules of TensorFlow by which a layer resizes; several if they do the same, none if it does otherwise.

    Example:
        >>> resize_rules(nn.Upsample(size=(7, 5), mode="bilinear")), resize_rules(nn.Upsample(scale_factor=3))
        (('half_pixel_centers',), ('legacy', 'half_pixel_centers'))
    """
    if isinstance(layer, Resize):
        own = layer.rule
        if layer.mode == "nearest" and layer.scale is not None and own != "align_corners":
            return _rules_of_repeating(own, layer.scale)
        return ("half_pixel_centers", "legacy") if layer.mode == "area" and own != "align_corners" else (own,)
    whole = _whole_factors(layer)
    if layer.size is None and whole is None and not layer.recompute_scale_factor:
        return ()  # torch computes with the factor, and TensorFlow with the quotient of the sizes
    if layer.mode in ("nearest", "nearest-exact"):
        own = "legacy" if layer.mode == "nearest" else "half_pixel_centers"
        return (own,) if whole is None else _rules_of_repeating(own, whole)
    if layer.mode == "bilinear":
        return ("align_corners",) if layer.align_corners else ("half_pixel_centers",)
    return ()


def _rules_of_repeating(own: str, factors: tuple[int, ...]) -> tuple[str, ...]:
    """The rules by which the nearest pixel is that of a repetition; with aligned corners, only up to twice."""
    others = ["half_pixel_centers", "legacy", *(["align_corners"] if max(factors) <= 2 else [])]
    return (own, *(each for each in others if each != own))


def _whole_factors(layer: Any) -> tuple[int, ...] | None:
    factors = layer.scale_factor if layer.size is None else None
    listed = () if factors is None else factors if isinstance(factors, tuple) else (factors,)
    return (
        tuple(int(each) for each in listed)
        if listed and all(each == int(each) >= 1 for each in listed)
        else None
    )


def _norm_difference(layer: Any, wanted: ResponseNorm) -> str:
    if isinstance(layer, LocalResponseNorm):
        own: tuple[float, ...] = (layer.depth_radius, layer.bias, layer.alpha, layer.beta)
    else:
        own = ((layer.size - 1) / 2, layer.k, layer.alpha / layer.size, layer.beta)
    stated = (wanted.depth_radius, wanted.bias, wanted.alpha, wanted.beta)
    if all(math.isclose(a, b, rel_tol=1e-7) for a, b in zip(own, stated, strict=True)):
        return ""
    names = ("depth_radius", "bias", "alpha", "beta")
    return ", ".join(f"{name} {number:g}" for name, number in zip(names, own, strict=True))


def _replacement(key: str, path: str, layer: Any, behavior: Behavior) -> nn.Module:
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
        raise _refusal(path, layer, key, "its hooks would be lost")
    stock = (*_STOCK_RESIZES, nn.LocalResponseNorm, nn.PixelShuffle, nn.PixelUnshuffle)
    if type(layer) not in (*stock, Resize, LocalResponseNorm):
        raise _refusal(path, layer, key, "it is a subclass of a layer of torch")
    if key == "depth_to_space":
        if isinstance(layer, nn.PixelShuffle):
            return DepthToSpace(layer.upscale_factor)
        return SpaceToDepth(layer.downscale_factor)
    if key == "response_norm":
        wanted = behavior.response_norm
        assert wanted is not None
        return LocalResponseNorm(wanted.depth_radius, wanted.bias, wanted.alpha, wanted.beta)
    ours = isinstance(layer, Resize)
    mode = "nearest" if layer.mode == "nearest-exact" else layer.mode
    if mode not in ("nearest", "bilinear", "bicubic", "area", *(() if not ours else (layer.mode,))):
        raise _refusal(path, layer, key, f"TensorFlow has no mode {mode}")
    scale = layer.scale if ours else _whole_factors(layer)
    if layer.size is None and scale is None:
        raise _refusal(path, layer, key, "its scale_factor is not a whole number; give it a size")
    return Resize(
        layer.size,
        scale,
        mode,
        align_corners=behavior.resize == "align_corners",
        half_pixel_centers=behavior.resize == "half_pixel_centers",
        antialias=ours and layer.antialias,
    )


def _refusal(path: str, layer: nn.Module, key: str, why: str) -> ModelError:
    return ModelError(
        f"{path} ({type(layer).__name__}) cannot be given TensorFlow's {key}: {why}",
        got=repr(layer),
        hint="use a layer of tfpt.nn, or load with check=False",
    )
