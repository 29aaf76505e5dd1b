"""What names alone tell of a tensor's purpose, in the ways of TensorFlow's optimizers."""

from __future__ import annotations

import pytest

import tfpt
from tfpt.sources.roles import roles_by_name, roles_of


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["w", "w/Adam", "w/Adam_1"], {"w/Adam": "slot", "w/Adam_1": "slot"}),
        (["a/w", "a/w/RMSProp", "a/w/Momentum"], {"a/w/RMSProp": "slot", "a/w/Momentum": "slot"}),
        (["w", "w/ExponentialMovingAverage"], {"w/ExponentialMovingAverage": "average"}),
        (["w", "w/ExponentialMovingAverage_2"], {"w/ExponentialMovingAverage_2": "average"}),
        (["a/w/ExponentialMovingAverage"], {}),
        (["t", "t_slot_v", "t_slot_vr", "u_slot_v"], {"t_slot_v": "slot", "t_slot_vr": "slot"}),
        (["beta1_power", "net/beta2_power_1"], {"beta1_power": "slot", "net/beta2_power_1": "slot"}),
        (["global_step", "net/global_step"], {"global_step": "counter", "net/global_step": "counter"}),
        (["bn/gamma", "bn/beta", "bn/moving_mean"], {}),
        (["layer/kernel", "layer"], {"layer/kernel": "slot"}),
    ],
)
def test_names_tell_roles(names, roles):
    assert roles_by_name(names) == roles


def test_bert_has_two_slots_beside_each_variable(shared):
    source = tfpt.open_source(shared / "real/v2-keras-bert-tiny")
    roles = roles_of(source)
    counts = {role: list(roles.values()).count(role) for role in set(roles.values())}
    assert counts == {"slot": 92, "counter": 1}
