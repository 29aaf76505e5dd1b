"""The networks that measure the diagnosis: their ports agree with Keras, and every fault shows where it should."""

from __future__ import annotations

import pytest

from tests.verification.diagnosis.networks import NETWORKS, pairs

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

FAULTS = [(network, name) for network in NETWORKS for name in network.faults]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_sound_port_agrees_and_nothing_is_diagnosed(network):
    result = network.verify(network.net)
    assert result.agrees
    assert {one.verdict for one in result.endpoints} == {"agrees"}
    assert all(one.free.rel < 1e-6 for one in result.endpoints)
    assert result.findings == ()
    assert result.explanation is None or result.explanation.diagnoses == ()


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_inputs_of_another_seed_agree_as_well(network):
    assert network.verify(network.net, network.other_inputs).agrees


@pytest.mark.parametrize(("network", "name"), FAULTS, ids=lambda one: str(one))
def test_a_fault_shows_first_at_its_endpoint(network, name):
    result = network.verify(network.broken(name), diagnose=False)
    assert result.first.name == network.faults[name].endpoint


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_pair_has_faults_of_different_kinds_and_comes_from_its_seed(network):
    found = pairs(network, 3, seed=3)
    assert len(found) == 3
    assert found == pairs(network, 3, seed=3)
    for a, b in found:
        assert not network.faults[a].kinds & network.faults[b].kinds
