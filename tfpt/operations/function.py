"""`apply`: functions of one variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, WithJsonSchema

from tfpt.operations.domain import require_results
from tfpt.operations.operation import Axes, Box, Irreversible, Operation, shape_of

FunctionName = Literal["sqrt", "square", "reciprocal", "exp", "log", "normalize"]

# As in torch.nn.functional.normalize: a tensor of zeros stays zero.
NORMALIZE_EPS = 1e-12


def normalized(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The values divided by the square root of the sum of their squares, or by 1e-12 if that is larger.

    Example:
        >>> normalized(np.array([3.0, -4.0])).tolist()
        [0.6, -0.8]
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    # Scaled first, so that no square overflows.
    norm = largest * float(np.sqrt(np.sum(np.square(values / (largest or 1.0)))))
    result: npt.NDArray[np.float64] = values / max(norm, NORMALIZE_EPS)
    return result


@dataclass(frozen=True)
class _Function:
    """A function, what it is defined for, and its inverse or the reason why it has none."""

    compute: Callable[[np.ndarray], np.ndarray]
    domain: str
    inverse: FunctionName | Irreversible


_FUNCTIONS: Mapping[str, _Function] = {
    "sqrt": _Function(np.sqrt, "values of at least 0", "square"),
    "square": _Function(
        np.square, "values whose square float64 can represent", Irreversible("square loses the signs")
    ),
    "reciprocal": _Function(np.reciprocal, "values other than 0", "reciprocal"),
    "exp": _Function(np.exp, "values of at most 709.78, whose exponential float64 can represent", "log"),
    "log": _Function(np.log, "values above 0", "exp"),
    "normalize": _Function(normalized, "finite values", Irreversible("normalize loses the norm")),
}


class Apply(Operation):
    """`exp`, or `[reciprocal, square]`: one function after the other, on every value."""

    functions: Annotated[tuple[FunctionName, ...], Field(min_length=1)]

    @property
    def _whole(self) -> bool:
        """Whether every result depends on every value."""
        return "normalize" in self.functions

    @property
    def partial(self) -> bool:
        """Whether one of them is not defined for all real numbers of moderate size."""
        return not {"sqrt", "reciprocal", "log"}.isdisjoint(self.functions)

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        return list(inputs)

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        return [tuple(slice(0, size) for size in shape_of(inputs[0])) if self._whole else wanted]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        """The functions of the values.

        Raises:
            DomainError: One is not defined for a value.
        """
        (array,) = arrays
        for name in self.functions:
            function = _FUNCTIONS[name]
            with np.errstate(all="ignore"):
                result = function.compute(array)
            require_results(name, function.domain, array, result)
            array = result
        return [array]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation | Irreversible:
        """The inverse functions in reverse order, for values that these functions are defined for."""
        inverses: list[FunctionName] = []
        for name in reversed(self.functions):
            inverse = _FUNCTIONS[name].inverse
            if isinstance(inverse, Irreversible):
                return inverse
            inverses.append(inverse)
        return Apply(functions=tuple(inverses))

    def argument(self, results: np.ndarray) -> np.ndarray:
        """Values that the functions turn into these results, as far as they have inverses.

        They are in the domain of one or two functions; chains of more, such as sqrt and exp twice, may overflow.

        Args:
            results: Values above 0.

        Example:
            >>> Apply(functions=("log", "square")).argument(np.array([4.0])).round(6).tolist()
            [7.389056]
        """
        for name in reversed(self.functions):
            if name == "square":
                results = np.sqrt(np.abs(results))
            elif name != "normalize":
                inverse = _FUNCTIONS[name].inverse
                assert not isinstance(inverse, Irreversible)
                results = _FUNCTIONS[inverse].compute(results)
        return results

    def describe(self) -> str:
        return f"apply {' '.join(self.functions)}"


def _named(value: Any) -> Any:
    names = value if isinstance(value, list) else [value]
    if not names or any(name not in _FUNCTIONS for name in map(str, names)):
        raise ValueError(f"expected one of {', '.join(_FUNCTIONS)}, or a list of them")
    return {"functions": names}


_NAME = {"enum": list(_FUNCTIONS)}
# `apply:` of a row.
Functions = Annotated[
    Apply,
    BeforeValidator(_named),
    WithJsonSchema({"anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1}]}),
]
