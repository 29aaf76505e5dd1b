"""`fold`: a convolution and the batch normalization after it as one convolution with a bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from tfpt.errors import MappingError
from tfpt.operations.domain import require_results
from tfpt.operations.groups import axis_name, group_name
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.numbers import Number, number_text
from tfpt.operations.operation import (
    ELLIPSIS,
    MERGED,
    Axes,
    Box,
    Irreversible,
    Operation,
    position,
    shape_of,
)
from tfpt.tensors import format_shape

Part = Literal["kernel", "bias", "gamma", "beta", "mean", "variance"]
_REQUIRED: tuple[Part, ...] = ("kernel", "mean", "variance")


class Fold(Operation):
    """`{batch_norm: [kernel, gamma, beta, mean, variance], eps: 1.0e-3, axis: o}`.

    It gives ``kernel * gamma / sqrt(variance + eps)`` and ``beta + (bias - mean) * gamma / sqrt(variance + eps)``. A
    missing gamma is 1, a missing bias or beta 0.

    Attributes:
        batch_norm: What each variable is.
        axis: The axis of the channels on the right side of the kernel's layout: a letter, or axes in parentheses.
    """

    batch_norm: tuple[Part, ...] = Field(description="What each variable under tf is.")
    eps: Annotated[Number, Field(ge=0)] = Field(description="The epsilon of the normalization.")
    axis: str = Field(description="The axis of the channels on the right side of the layout.")

    @field_validator("axis")
    @classmethod
    def _spelled_as_a_layout(cls, axis: str) -> str:
        return axis_name(axis)

    @model_validator(mode="after")
    def _parts_are_complete(self) -> Fold:
        for part in _REQUIRED:
            if part not in self.batch_norm:
                raise ValueError(f"batch_norm: needs a {part}")
        if len(set(self.batch_norm)) < len(self.batch_norm):
            raise ValueError("batch_norm: must list each part once")
        return self

    @property
    def kernel(self) -> int:
        """Which variable is the kernel."""
        return self.batch_norm.index("kernel")

    def check(self, layout: Layout | None) -> None:
        if layout is None:
            raise MappingError(
                f"fold: names the axis {self.axis!r}, so the row needs a layout that names its axes"
            )
        names = [
            group_name(group) for group in layout.right if group and {ELLIPSIS, MERGED}.isdisjoint(group)
        ]
        if self.axis not in names:
            raise MappingError(
                f"fold: names the axis {self.axis!r}, which the right side of the layout does not have",
                expected=f"one of {', '.join(names)}",
                got=layout.pattern,
            )

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        if len(inputs) != len(self.batch_norm):
            raise LayoutError(
                "fold: needs one variable for each part",
                expected=f"{len(self.batch_norm)} variables",
                got=str(len(inputs)),
            )
        kernel = inputs[self.kernel]
        channels = kernel[position(kernel, self.axis)]
        for part, axes in zip(self.batch_norm, inputs, strict=True):
            if part != "kernel" and shape_of(axes) != (channels[1],):
                raise LayoutError(
                    f"the {part} does not have one value for each index of axis {self.axis} of the kernel",
                    expected=format_shape((channels[1],)),
                    got=format_shape(shape_of(axes)),
                )
        return [kernel, (channels,)]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        if output == 1:
            return [None if part == "kernel" else wanted for part in self.batch_norm]
        channels = (wanted[position(inputs[self.kernel], self.axis)],)
        needed = {"kernel": wanted, "gamma": channels, "variance": channels}
        return [needed.get(part) for part in self.batch_norm]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        """Weight and bias.

        Raises:
            DomainError: A variance plus epsilon is not above 0.
        """
        given = dict(zip(self.batch_norm, arrays, strict=True))
        spread = given["variance"] + self.eps
        with np.errstate(all="ignore"):
            factor = 1 / np.sqrt(spread)
        domain = f"variances above {number_text(-self.eps)}"
        require_results("1 / sqrt(variance + eps)", domain, given["variance"], factor)
        with np.errstate(all="ignore"):
            factor = given["gamma"] / np.sqrt(spread) if "gamma" in given else factor
            axis = position(inputs[self.kernel], self.axis)
            around = [1] * given["kernel"].ndim
            around[axis] = factor.size
            weight = given["kernel"] * factor.reshape(around)
            bias = (given.get("bias", 0.0) - given["mean"]) * factor + given.get("beta", 0.0)
        return [weight, bias]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Irreversible:
        return Irreversible("weight and bias do not determine the statistics that they contain")

    def describe(self) -> str:
        return f"fold batch norm along {self.axis}"
