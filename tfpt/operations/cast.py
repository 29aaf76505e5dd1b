"""`dtype`: the last operation, a cast to the dtype that is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from tfpt.errors import TfptError
from tfpt.operations.casting import Loss, cast, loss
from tfpt.operations.operation import Axes, Box, Irreversible, Operation
from tfpt.tensors import DTYPES, dtype, is_exact, is_integer


class CastError(TfptError):
    """Values that the dtype written cannot represent.

    Attributes:
        piece: The index of the parameter among those written.
        loss: How many values, and the largest of them.
    """

    def __init__(self, piece: int, found: Loss) -> None:
        self.piece = piece
        self.loss = found
        super().__init__(
            "values that the dtype written cannot hold", got=f"{found.count}, up to {found.largest}"
        )


class Cast(Operation):
    """Tensors in another dtype, each value rounded once.

    `dtype:` of a row gives only the name, since rows that read no variable have that key too; a plan knows the dtype of
    every parameter, stated or not.
    """

    dtype: str

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        return list(inputs)

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        return [wanted if index == output else None for index in range(len(inputs))]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes] = ()) -> list[np.ndarray]:
        """The values in the dtype.

        Raises:
            CastError: It cannot represent a value.
        """
        target = dtype(self.dtype).numpy
        assert target is not None
        results = []
        for index, array in enumerate(arrays):
            result = cast(array, target)
            lost = loss(array, result)
            if lost is not None:
                raise CastError(index, lost)
            results.append(result)
        return results

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation | Irreversible:
        if dtype is None:
            return Irreversible("it is not known which dtype was cast")
        return Cast(dtype=dtype) if is_exact(dtype, self.dtype) else Irreversible(self._what_is_lost(dtype))

    def describe(self) -> str:
        return f"dtype {self.dtype}"

    def _what_is_lost(self, source: str) -> str:
        if source.startswith("complex") and not self.dtype.startswith("complex"):
            return f"from {source} to {self.dtype}, imaginary parts are lost"
        whole = is_integer(self.dtype) or self.dtype == "bool"
        if whole and not (is_integer(source) or source == "bool"):
            return f"from {source} to {self.dtype}, fractions are lost"
        return f"from {source} to {self.dtype}, " + (
            "values out of range are lost" if whole else "values are rounded"
        )


def _dtype_name(value: Any) -> Any:
    if not isinstance(value, str) or value not in DTYPES or DTYPES[value].torch is None:
        known = ", ".join(name for name, held in DTYPES.items() if held.torch)
        raise ValueError(f"expected one of {known}")
    return value


# `dtype:` of a row: a dtype that PyTorch has.
DtypeName = Annotated[str, BeforeValidator(_dtype_name)]
