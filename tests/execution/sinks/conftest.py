"""A disk that is full soon."""

from tests.io.conftest import small_disk

__all__ = ["small_disk"]
