"""What names alone tell of a tensor's purpose, in the ways of TensorFlow's optimizers."""

from __future__ import annotations

import pytest

import tfpt
from tfpt.formats.roles import roles_by_name, roles_of


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
        # Below a scope, as TensorFlow 1 names them where the optimizer was made in one.
        (["n/w", "training/n/w/Adam_1"], {"training/n/w/Adam_1": "slot"}),
        (["n/w", "n/n/w/RMSProp_2", "a/b/n/w/Ftrl"], {"n/n/w/RMSProp_2": "slot", "a/b/n/w/Ftrl": "slot"}),
        (["w", "training/w/ExponentialMovingAverage"], {"training/w/ExponentialMovingAverage": "average"}),
        # Keras: an optimizer's own scope, alone or below `training`.
        (["d/kernel", "RMSprop/d/kernel/rms"], {"RMSprop/d/kernel/rms": "slot"}),
        (["d/kernel:0", "training/Adam/d/kernel/m:0"], {"training/Adam/d/kernel/m:0": "slot"}),
        (
            ["training/Adam/Variable_3", "training_1/SGD/moment_0"],
            dict.fromkeys(["training/Adam/Variable_3", "training_1/SGD/moment_0"], "slot"),
        ),
        (
            ["Adam/v/d/kernel", "Adam/learning_rate"],
            {"Adam/v/d/kernel": "slot", "Adam/learning_rate": "slot"},
        ),
        (
            ["Adam/iter", "training/Adam/iterations:0"],
            {"Adam/iter": "counter", "training/Adam/iterations:0": "counter"},
        ),
        (["d/w", "MovingAverage/d/w/average"], {"MovingAverage/d/w/average": "average"}),
        # Sonnet: what `average` holds is what the network uses.
        (["e/counter", "e/hidden", "e/average"], {"e/counter": "counter", "e/hidden": "average"}),
        (["e/_counter", "e/_hidden", "e/average"], {"e/_counter": "counter", "e/_hidden": "average"}),
        # What only sounds alike.
        (["counter", "hidden", "lstm/hidden", "x/average"], {}),
        (["training/d/kernel", "Adamant/m", "adam/w", "a/w/Adam", "training/x/Adam"], {}),
        (["Momentum/conv/w", "SGD/dense/kernel", "head/Adam/kernel"], {}),
    ],
)
def test_names_tell_roles(names, roles):
    assert roles_by_name(names) == roles


def test_bert_has_two_slots_beside_each_variable(shared):
    source = tfpt.open_source(shared / "real/v2-keras-bert-tiny")
    roles = roles_of(source)
    counts = {role: list(roles.values()).count(role) for role in set(roles.values())}
    assert counts == {"slot": 92, "counter": 1}


def slots_of(optimizer: object, scope: str) -> tuple[set[str], set[str]]:
    """All variables of a small network of TensorFlow 1 trained in a scope, and those of the network."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default():
        with v1.variable_scope("net"):
            w = v1.get_variable("w", (3, 5))
            v1.get_variable("b", (5,))
        with v1.variable_scope(scope):
            optimizer(v1).minimize(tf.reduce_sum(w))
        names = {variable.op.name for variable in v1.global_variables()}
    return names, {"net/w", "net/b"}


@pytest.mark.parametrize("scope", ["training", "net", "a/b"])
@pytest.mark.parametrize("name", ["Adam", "RMSProp", "Momentum", "Adagrad", "Adadelta", "Ftrl"])
def test_slots_that_tensorflow_makes_in_a_scope_are_known(name, scope):
    pytest.importorskip("tensorflow")
    more = {"momentum": 0.9} if name == "Momentum" else {}
    names, weights = slots_of(lambda v1: getattr(v1.train, f"{name}Optimizer")(0.1, **more), scope)
    assert len(names) > len(weights)
    assert set(roles_by_name(names)) == names - weights


def test_an_estimators_slots_are_known(shared):
    roles = roles_of(tfpt.open_source(shared / "real/v2-tfx-taxi-estimator"))
    assert roles["training/Adagrad/dnn/logits/kernel/accumulator"] == "slot"
    assert "dnn/logits/kernel" not in roles
    assert "linear/linear_model/bias_weights" not in roles
