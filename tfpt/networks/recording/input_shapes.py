"""The shape of an input that is drawn: a person's sizes, the network's own, the mapping's."""

from __future__ import annotations

from dataclasses import dataclass

from tfpt.errors import SourceError
from tfpt.language import mapping as rows
from tfpt.networks.running.network import InputSpec, format_open_shape
from tfpt.tensors import format_shape

FLOATS = ("float16", "float32", "float64", "bfloat16")
_HINT = "--input F.npy, an array in TensorFlow's layout"


@dataclass(frozen=True)
class Sizes:
    """The sizes of an input that a person has chosen; ``None`` for the network's own, or else the mapping's.

    Attributes:
        batch: Else 1.
        frames: Of a video, or the length of a sequence; else 16.
        size: Height and width.
    """

    batch: int | None = None
    frames: int | None = None
    size: int | None = None


def described_shape(spec: InputSpec, mapping: rows.Mapping, sizes: Sizes) -> tuple[int, ...]:
    """The shape that a mapping's ``input:`` says, with the sizes that the network leaves no choice of."""
    from tfpt.networks.inputs import input_axes, input_shape

    axes = input_axes(mapping)
    if spec.shape is not None and len(spec.shape) != len(axes):
        raise SourceError(
            f"the network's input {spec.name} has other axes than the mapping {mapping.name} says",
            where=str(mapping.path),
            expected=f"layout: {mapping.input.layout}",
            got=str(spec),
            hint="--input F.npy",
        )
    own = dict(zip(axes, spec.shape or [None] * len(axes), strict=True))
    chosen = {"b": sizes.batch, "t": sizes.frames, "h": sizes.size, "w": sizes.size}
    shape = input_shape(
        mapping,
        batch=sizes.batch or own.get("b") or 1,
        frames=sizes.frames or own.get("t") or 16,
        size=sizes.size or own.get("h") or own.get("w"),
        channels=own.get("c"),
    )
    shape = tuple(
        own[axis] or size if not chosen.get(axis) else size for axis, size in zip(axes, shape, strict=True)
    )
    if not spec.takes(shape):
        raise SourceError(
            f"the network's input {spec.name} has sizes of its own",
            where=str(mapping.path),
            expected=format_open_shape(spec.shape),
            got=format_shape(shape),
            hint="leave out --batch, --frames and --size",
        )
    return shape


def open_shape(spec: InputSpec, sizes: Sizes, where: str) -> tuple[int, ...]:
    """The network's own shape, its open sizes filled: the batch first, then frames, then height and width."""
    if spec.shape is None:
        raise SourceError(
            f"the network does not say the shape of its input {spec.name}", where=where, hint=_HINT
        )
    axes = len(spec.shape)
    choices = ([sizes.batch or 1] + [sizes.size] * axes)[:axes]
    if axes in (3, 5):
        choices[1] = sizes.frames or 16
    elif axes == 2 and spec.dtype not in FLOATS:  # ids, a sequence
        choices[1] = sizes.frames or sizes.size or 16
    shape = [choice if size is None else size for size, choice in zip(spec.shape, choices, strict=True)]
    if None in shape:
        raise SourceError(
            f"the network leaves sizes of its input {spec.name} open",
            where=where,
            expected=str(spec),
            hint=f"--size N, or {_HINT}",
        )
    return tuple(int(size or 0) for size in shape)
