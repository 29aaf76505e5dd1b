"""Decides which runs show what a layer does: the whole model on the mapping's input, or the modules around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tfpt.errors import TfptError
from tfpt.language.mapping import Mapping
from tfpt.networks.behavior.layers import CONVS, PADDED, TRANSPOSED
from tfpt.networks.behavior.observed_padding import Call, Observations, meta_copy, observe
from tfpt.networks.inputs import channels_of, input_axes, input_shape, rearrange

# Used if the mapping states no size. Even and odd sizes, so that strided layers also get even and odd sizes.
USUAL_SIZES = (224, 225, 226, 227)
_FRAMES = (16, 17, 18, 19)
# For a module by itself: small, and enough sizes for every remainder modulo a usual stride.
_ISOLATED_SIZES = (64, 65, 66, 67)
_CHANNELS = (3, 1)


@dataclass
class Runs:
    """Runs of one model, each made on first use.

    Attributes:
        model: The model; it is not changed.
        mapping: Describes the model's input.
        paths: The layers to observe.
    """

    model: nn.Module
    mapping: Mapping
    paths: Sequence[str]
    _copy: nn.Module | None = None
    _copied: bool = False
    _whole: list[Observations] | None = None
    _isolated: dict[str, list[Observations]] = field(default_factory=dict)

    def whole_model(self) -> list[Observations]:
        """Runs of the whole model, at the mapping's size or else at several sizes; empty if the model cannot be run."""
        if self._whole is None:
            self._whole = []
            if (copied := self._meta_copy()) is not None and has_forward(copied):
                for values in _inputs(copied, self.mapping):
                    seen = _first_success(copied, self._layers(""), [values])
                    if seen is None:
                        self._whole = []
                        break
                    self._whole.append(seen)
        return self._whole

    def around(self, path: str) -> Iterator[tuple[str, list[Observations]]]:
        """Runs of the layer by itself, then of each enclosing module from inside outwards, each at several sizes.

        Containers without a forward method are left out; a module that cannot be run has an empty list.
        """
        copied = self._meta_copy()
        parts = path.split(".")
        for number in range(len(parts), -1, -1):
            outer = ".".join(parts[:number])
            if copied is None:
                yield outer, []
                continue
            module = copied.get_submodule(outer)
            if not has_forward(module):
                continue
            if outer not in self._isolated:
                self._isolated[outer] = self._in_isolation(module, outer, copied.get_submodule(path))
            yield outer, self._isolated[outer]

    def pads_around(self, path: str) -> bool:
        """Whether something other than the layer pads the layer's input."""
        seen = [*self.whole_model(), *(one for _, each in self.around(path) for one in each)]
        return any(call.origin.pads[call.own_pads :] for call in calls_of(seen, path))

    def _in_isolation(self, module: nn.Module, outer: str, layer: nn.Module) -> list[Observations]:
        axes = _axes(layer) or next((n for each in module.modules() if (n := _axes(each))), 2)
        dtype = _dtype(module)
        found: list[Observations] = []
        stated = self.mapping.input.size
        # A module inside containers only is the network itself and gets the input that the mapping describes.
        for size in (stated,) if stated and self._is_outermost(outer) else _ISOLATED_SIZES:
            values = [
                torch.empty((1, channels) + (size,) * axes, dtype=dtype, device="meta")
                for channels in _channels(layer, module)
            ]
            seen = _first_success(module, self._layers(outer), values)
            if seen is None:
                return []
            found.append(seen)
        return found

    def _is_outermost(self, path: str) -> bool:
        assert self._copy is not None
        parts = path.split(".") if path else []
        return not any(
            has_forward(self._copy.get_submodule(".".join(parts[:end]))) for end in range(len(parts))
        )

    def _layers(self, outer: str) -> dict[str, nn.Module]:
        assert self._copy is not None
        prefix = f"{outer}." if outer else ""
        inside = [path for path in self.paths if path == outer or path.startswith(prefix)]
        return {path: self._copy.get_submodule(path) for path in inside}

    def _meta_copy(self) -> nn.Module | None:
        if not self._copied:
            self._copied = True
            try:
                self._copy = meta_copy(self.model)
            except Exception:  # some attribute of a user's module cannot be copied
                self._copy = None
        return self._copy


def calls_of(seen: Sequence[Observations], path: str) -> list[Call]:
    """All calls of a layer in several runs."""
    return [call for each in seen for call in each.calls.get(path, ())]


def has_forward(module: nn.Module) -> bool:
    """Whether a module can be called, unlike a mere container such as ``ModuleList``."""
    return getattr(type(module).forward, "__name__", "") != "_forward_unimplemented"


def _first_success(
    module: nn.Module, layers: dict[str, nn.Module], values: Sequence[Tensor]
) -> Observations | None:
    """A run with the first of these inputs that the module accepts; ``None`` if it accepts none of them."""
    for value in values:
        with suppress(Exception):  # a user's forward may raise anything for an input it was not made for
            return observe(module, layers, value)
    return None


def _inputs(model: nn.Module, mapping: Mapping) -> Iterator[Tensor]:
    """Inputs for the model, without values: at the stated size or else at several; videos with several lengths."""
    sizes = (mapping.input.size,) if mapping.input.size else USUAL_SIZES
    channels = channels_of(model)
    dtype = _dtype(model)
    if mapping.input.layout is not None:
        video = "t" in input_axes(mapping)
        pairs = (
            zip(sizes * (len(_FRAMES) // len(sizes)), _FRAMES, strict=True)
            if video
            else ((size, 1) for size in sizes)
        )
        known = None if mapping.input.kind else channels
        for size, frames in pairs:
            with suppress(TfptError):  # the layout has other axes
                shape = input_shape(mapping, frames=frames, size=size, channels=known)
                yield rearrange(torch.empty(shape, dtype=dtype, device="meta"), mapping.input.layout)
        return
    axes = next((found for each in model.modules() if (found := _axes(each))), 2)
    for size, frames in zip(sizes * (len(_FRAMES) // len(sizes)), _FRAMES, strict=True):
        space = (frames, size, size) if axes == 3 else (size,) * axes
        yield torch.empty((1, channels or 3, *space), dtype=dtype, device="meta")


def _axes(module: nn.Module) -> int | None:
    """The number of spatial axes of a layer."""
    if isinstance(module, PADDED):
        names = (kind.__name__ for kind in type(module).__mro__ if kind in PADDED)
        return int(next(names)[-2])
    weight = getattr(module, "weight", None)
    return weight.ndim - 2 if isinstance(weight, Tensor) and weight.ndim in (3, 4, 5) else None


def _channels(layer: nn.Module, module: nn.Module) -> list[int]:
    """Numbers of input channels that a module may accept, most likely first."""
    found = []
    for each in (layer, *module.modules()):
        if isinstance(each, (*CONVS, *TRANSPOSED)):
            found.append(each.in_channels)
        elif isinstance(getattr(each, "num_features", None), int):
            found.append(int(each.num_features))  # type: ignore[arg-type]
        elif _axes(each) is not None and not isinstance(each, PADDED):
            found.append(int(each.weight.shape[1]))  # type: ignore[index]
        if len(found) > 3:
            break
    return list(dict.fromkeys((*found, *_CHANNELS)))


def _dtype(model: nn.Module) -> torch.dtype:
    return next((each.dtype for each in model.parameters() if each.is_floating_point()), torch.float32)
