"""Values for which a function is not defined."""

from __future__ import annotations

import numpy as np

from tfpt.errors import TfptError


class DomainError(TfptError):
    """Values for which a function of a row has no finite result.

    Attributes:
        count: How many.
        largest: The one furthest from 0, as text.
    """

    def __init__(self, function: str, count: int, largest: str, domain: str) -> None:
        self.function = function
        self.count = count
        self.largest = largest
        self.domain = domain
        super().__init__(
            f"{function} has no finite result for {count:,} values", expected=domain, got=largest
        )


def require_results(function: str, domain: str, before: np.ndarray, after: np.ndarray) -> None:
    """Check that no finite value became infinite or NaN, and no infinite one NaN.

    Args:
        function: Its name, for the error.
        domain: What it is defined for.
        before, after: Values of one shape.

    Raises:
        DomainError: Some did.

    Example:
        >>> values = np.array([4.0, -1.0, -9.0])
        >>> with np.errstate(invalid="ignore"):
        ...     require_results("sqrt", "values of at least 0", values, np.sqrt(values))
        Traceback (most recent call last):
        tfpt.operations.domain.DomainError: sqrt has no finite result for 2 values
          expected  values of at least 0
          got       -9.0
    """
    lost = (np.isfinite(before) & ~np.isfinite(after)) | (~np.isnan(before) & np.isnan(after))
    count = int(np.count_nonzero(lost))
    if count:
        found = before[lost]
        raise DomainError(function, count, str(found[np.argmax(np.abs(found))]), domain)
