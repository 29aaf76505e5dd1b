"""Fixtures of the tests of bundled mappings."""

from __future__ import annotations

import pytest

from tests.mappings.agreement import Agree


@pytest.fixture
def agree(request: pytest.FixtureRequest) -> Agree:
    """`agree(mapping, found, expected)`: asserts it, and records for docs/zoo.md how closely."""
    return Agree(request.config)
