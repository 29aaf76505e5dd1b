"""The small network: recorded once by Keras itself, and its port."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import tfpt
from tests.verification.diagnosis.small import Net, keras_model, port, write_mapping
from tfpt.networks.recording.recordings import Recording
from tfpt.verification import Verification


@dataclass(frozen=True)
class Small:
    """A mapping, what Keras computed, and a port that computes the same."""

    mapping: Path
    recording: Recording
    net: Net

    def broken(self, fault: Callable[[Net], object]) -> Net:
        """A copy of the port with a fault in it."""
        net = copy.deepcopy(self.net)
        fault(net)
        return net

    def verify(self, net: Net, **options: object) -> Verification:
        return tfpt.verify(self.mapping, recording=self.recording, model=net, **options)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    mapping = write_mapping(tmp_path_factory.mktemp("small"))
    model = keras_model()
    recording = tfpt.record(mapping, model, seed=5, batch=2, whole=True)
    return Small(mapping, recording, port(model))
