"""Which runs show a layer at work: of the whole model on what its mapping feeds it, else of the modules around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tfpt.errors import TfptError
from tfpt.language.mapping import Mapping
from tfpt.networks.behavior.kinds import CONVS, PADDED
from tfpt.networks.behavior.observed_padding import Call, Seen, run, without_values
from tfpt.networks.inputs import channels_of, input_axes, input_shape, rearrange

# Where no size is stated: even and odd ones, of which strides of 2 make even and odd ones.
USUAL_SIZES = (224, 225, 226, 227)
_FRAMES = (16, 17, 18, 19)
# For a module by itself: small, and enough for any remainder that a stride leaves.
_ALONE = (64, 65, 66, 67)
_CHANNELS = (3, 1)


@dataclass
class Runs:
    """Runs of one model; each is made when it is first asked for.

    Attributes:
        model: The model; it is left alone.
        mapping: Says what it is fed.
        paths: The layers to look at.
    """

    model: nn.Module
    mapping: Mapping
    paths: Sequence[str]
    _copy: nn.Module | None = None
    _copied: bool = False
    _whole: list[Seen] | None = None
    _alone: dict[str, list[Seen]] = field(default_factory=dict)

    def whole(self) -> list[Seen]:
        """What the whole model does, at the size that its mapping states or at several; nothing if it cannot be run."""
        if self._whole is None:
            self._whole = []
            if (copied := self._skeleton()) is not None and is_called(copied):
                for values in _inputs(copied, self.mapping):
                    seen = _tried(copied, self._layers(""), [values])
                    if seen is None:
                        self._whole = []
                        break
                    self._whole.append(seen)
        return self._whole

    def around(self, path: str) -> Iterator[tuple[str, list[Seen]]]:
        """The layer by itself, then what encloses it, outwards, each run at several sizes.

        Containers that nobody calls are left out; of what cannot be run there is nothing.
        """
        copied = self._skeleton()
        parts = path.split(".")
        for number in range(len(parts), -1, -1):
            outer = ".".join(parts[:number])
            if copied is None:
                yield outer, []
                continue
            module = copied.get_submodule(outer)
            if not is_called(module):
                continue
            if outer not in self._alone:
                self._alone[outer] = self._by_itself(module, outer, copied.get_submodule(path))
            yield outer, self._alone[outer]

    def pads_around(self, path: str) -> bool:
        """Whether something puts pads around what a layer is given."""
        seen = [*self.whole(), *(one for _, each in self.around(path) for one in each)]
        return any(call.origin.pads[call.inside :] for call in calls_of(seen, path))

    def _by_itself(self, module: nn.Module, outer: str, layer: nn.Module) -> list[Seen]:
        axes = _axes(layer) or next((n for each in module.modules() if (n := _axes(each))), 2)
        dtype = _dtype(module)
        found: list[Seen] = []
        stated = self.mapping.input.size
        # What only containers hold is the network itself, and sees what the mapping says.
        for size in (stated,) if stated and self._outermost(outer) else _ALONE:
            values = [
                torch.empty((1, channels) + (size,) * axes, dtype=dtype, device="meta")
                for channels in _channels(layer, module)
            ]
            seen = _tried(module, self._layers(outer), values)
            if seen is None:
                return []
            found.append(seen)
        return found

    def _outermost(self, path: str) -> bool:
        assert self._copy is not None
        parts = path.split(".") if path else []
        return not any(
            is_called(self._copy.get_submodule(".".join(parts[:end]))) for end in range(len(parts))
        )

    def _layers(self, outer: str) -> dict[str, nn.Module]:
        assert self._copy is not None
        prefix = f"{outer}." if outer else ""
        inside = [path for path in self.paths if path == outer or path.startswith(prefix)]
        return {path: self._copy.get_submodule(path) for path in inside}

    def _skeleton(self) -> nn.Module | None:
        if not self._copied:
            self._copied = True
            try:
                self._copy = without_values(self.model)
            except Exception:  # what a stranger's module holds may not allow it
                self._copy = None
        return self._copy


def calls_of(seen: Sequence[Seen], path: str) -> list[Call]:
    """All calls of a layer, run by run."""
    return [call for each in seen for call in each.calls.get(path, ())]


def is_called(module: nn.Module) -> bool:
    """Whether a module can be called, and is no mere container."""
    return getattr(type(module).forward, "__name__", "") != "_forward_unimplemented"


def _tried(module: nn.Module, layers: dict[str, nn.Module], values: Sequence[Tensor]) -> Seen | None:
    """What a run shows with the first of these that the module takes."""
    for value in values:
        with suppress(Exception):  # a stranger's forward, given what it may not be made for
            return run(module, layers, value)
    return None


def _inputs(model: nn.Module, mapping: Mapping) -> Iterator[Tensor]:
    """What the model is fed, without values: at the stated size, or else at several; of a video several lengths."""
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
            with suppress(TfptError):  # axes of other letters
                shape = input_shape(mapping, frames=frames, size=size, channels=known)
                yield rearrange(torch.empty(shape, dtype=dtype, device="meta"), mapping.input.layout)
        return
    axes = next((found for each in model.modules() if (found := _axes(each))), 2)
    for size, frames in zip(sizes * (len(_FRAMES) // len(sizes)), _FRAMES, strict=True):
        space = (frames, size, size) if axes == 3 else (size,) * axes
        yield torch.empty((1, channels or 3, *space), dtype=dtype, device="meta")


def _axes(module: nn.Module) -> int | None:
    """Along how many axes a layer's windows move."""
    if isinstance(module, PADDED):
        names = (kind.__name__ for kind in type(module).__mro__ if kind in PADDED)
        return int(next(names)[-2])
    weight = getattr(module, "weight", None)
    return weight.ndim - 2 if isinstance(weight, Tensor) and weight.ndim in (3, 4, 5) else None


def _channels(layer: nn.Module, module: nn.Module) -> list[int]:
    """How many channels a module may take, likeliest first."""
    found = []
    for each in (layer, *module.modules()):
        if isinstance(each, CONVS):
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
