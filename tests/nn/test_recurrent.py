"""GRU and LSTM against Keras's layers and TensorFlow 1's cells.

``tf.compat.v1.nn.rnn_cell`` is missing where TensorFlow comes with Keras 3; the cells themselves are still in
TensorFlow, and `tf.compat.v1.nn.dynamic_rnn` runs them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tfpt
from tests.nn.tensorflow_oracle import tf
from tfpt import nn as tfnn
from tfpt.errors import ModelError

ACTIVATIONS = ("tanh", "relu", "hard_sigmoid", "softsign", "linear", "elu", "selu", "softplus", "silu")
GATES = ("sigmoid", "hard_sigmoid", "softsign", "tanh")


def agree(got, wanted):
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=5e-6, atol=5e-6)


def gates(matrix, order):
    """Gates along the last axis in another order, then transposed."""
    parts = np.split(matrix, len(order), -1)
    return np.concatenate([parts[i] for i in order], -1).T


def from_keras(variables, kind, suffix="_l0"):
    """Parameters by torch's names, written from Keras's documentation of its gates."""
    order = {"GRU": (1, 0, 2), "LSTM": (0, 1, 2, 3)}[kind]
    kernel, recurrent, *bias = variables
    found = {f"weight_ih{suffix}": gates(kernel, order), f"weight_hh{suffix}": gates(recurrent, order)}
    if bias and bias[0].ndim == 2:
        found |= {f"bias_ih{suffix}": gates(bias[0][0], order), f"bias_hh{suffix}": gates(bias[0][1], order)}
    elif bias:
        found[f"bias_ih{suffix}"] = gates(bias[0], order)
        if kind == "LSTM":
            found[f"bias_hh{suffix}"] = np.zeros_like(bias[0])
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}


def randomize(layer, seed):
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.4, w.shape).astype(np.float32) for w in layer.get_weights()])
    return [np.asarray(w) for w in layer.get_weights()]


def against_keras(kind, options, sizes, seed):
    batch, time, features, units = sizes
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, time, features)).astype(np.float32)
    options = dict(options)
    bias = options.pop("use_bias")
    keras = getattr(tf.keras.layers, kind)(
        units, return_sequences=True, return_state=True, use_bias=bias, **options
    )
    states = [rng.normal(size=(batch, units)).astype(np.float32) for _ in range(2 if kind == "LSTM" else 1)]
    keras.build(x.shape)
    weights = randomize(keras, seed)
    layer = getattr(tfnn, kind)(features, units, bias, batch_first=True, **options)
    layer.load_state_dict(from_keras(weights, kind))
    for initial in (None, states):
        wanted, *ends = keras(x, initial_state=initial)
        given_states = None
        if initial:
            ours = [torch.from_numpy(each)[None] for each in initial]
            given_states = tuple(ours) if kind == "LSTM" else ours[0]
        with torch.no_grad():
            outputs, last = layer(torch.from_numpy(x), given_states)
        agree(outputs, wanted)
        for got, end in zip(last if kind == "LSTM" else [last], ends, strict=True):
            agree(got[0], end)


sizes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.integers(1, 7))
common = {
    "activation": st.sampled_from(ACTIVATIONS),
    "recurrent_activation": st.sampled_from(GATES),
    "use_bias": st.booleans(),
    "go_backwards": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({**common, "reset_after": st.booleans()}), sizes, st.integers(0, 999))
def test_gru_equals_keras(options, sizes, seed):
    against_keras("GRU", options, sizes, seed)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(common), sizes, st.integers(0, 999))
def test_lstm_equals_keras(options, sizes, seed):
    against_keras("LSTM", options, sizes, seed)


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_the_usual_activations_equal_keras(kind, reset_after):
    """Those that torch's operators compute, and TF1's and Keras's usual GRU."""
    options = {"use_bias": True, "go_backwards": reset_after}
    if kind == "GRU":
        options["reset_after"] = reset_after
    against_keras(kind, options, (2, 11, 3, 5), 4)


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_both_directions_equal_keras(kind, gate):
    own = {"recurrent_activation": gate, **({"reset_after": gate == "sigmoid"} if kind == "GRU" else {})}
    inner = getattr(tf.keras.layers, kind)(5, return_sequences=True, return_state=True, **own)
    keras = tf.keras.layers.Bidirectional(inner)
    x = np.random.default_rng(1).normal(size=(2, 7, 3)).astype(np.float32)
    keras.build(x.shape)
    weights = randomize(keras, 6)
    half = len(weights) // 2
    layer = getattr(tfnn, kind)(3, 5, batch_first=True, bidirectional=True, **own)
    layer.load_state_dict(
        {**from_keras(weights[:half], kind), **from_keras(weights[half:], kind, "_l0_reverse")}
    )
    wanted, *ends = keras(x)
    outputs, last = layer(torch.from_numpy(x))
    agree(outputs.detach(), wanted)
    states = last if kind == "LSTM" else [last]
    for direction in (0, 1):
        for number, state in enumerate(states):
            agree(state[direction].detach(), ends[direction * len(states) + number])


def test_hard_sigmoid_of_keras_2_is_tensorflows_own():
    backend = pytest.importorskip("tensorflow.python.keras.backend")
    x = np.linspace(-4, 4, 97).astype(np.float32)
    agree(tfnn.activation("hard_sigmoid_keras2")(torch.from_numpy(x)), backend.hard_sigmoid(tf.constant(x)))
    agree(tfnn.activation("hard_sigmoid")(torch.from_numpy(x)), tf.keras.activations.hard_sigmoid(x))


@pytest.mark.parametrize("name", sorted(set(tfnn.ACTIVATIONS) - {"hard_sigmoid_keras2", "swish"}))
def test_activations_equal_those_of_keras(name):
    x = np.linspace(-8, 8, 201).astype(np.float32)
    agree(tfnn.activation(name)(torch.from_numpy(x)), tf.keras.activations.get(name)(x))


def run_cell(make, x):
    """Variables by name, outputs (time, batch, units) and last states of one of TF1's cells, with random weights."""
    cells = pytest.importorskip("tensorflow.python.keras.layers.legacy_rnn.rnn_cell_impl")
    graph = tf.Graph()
    with graph.as_default():
        tf.compat.v1.set_random_seed(3)
        initializer = tf.compat.v1.random_uniform_initializer(-0.7, 0.7, seed=5)
        with tf.compat.v1.variable_scope("rnn", initializer=initializer, use_resource=False):
            outputs, state = tf.compat.v1.nn.dynamic_rnn(
                make(cells), tf.constant(x), dtype=tf.float32, time_major=True
            )
        variables = tf.compat.v1.global_variables()
        with tf.compat.v1.Session(graph=graph) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            rng = np.random.default_rng(7)
            for each in variables:
                each.load(rng.normal(0, 0.7, each.shape).astype(np.float32), session)
            values = session.run({each.name: each for each in variables})
            outputs, state = session.run([outputs, state])
    # Names such as rnn/rnn/lstm_cell/projection/kernel:0, by their ends.
    named = {}
    for name, value in values.items():
        *_, scope, last = name.removesuffix(":0").split("/")
        named[f"{scope}/{last}" if scope in ("gates", "candidate", "projection") else last] = value
    return named, outputs, state


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("projected", [None, 2])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("forget_bias", [1.0, 0.3])
def test_lstm_equals_tensorflow_1s_cell(peepholes, projected, clip, forget_bias):
    x = np.random.default_rng(2).normal(size=(9, 2, 3)).astype(np.float32)
    proj_clip = clip and projected and 0.3
    named, wanted, state = run_cell(
        lambda cells: cells.LSTMCell(
            5,
            use_peepholes=peepholes,
            num_proj=projected,
            cell_clip=clip,
            proj_clip=proj_clip,
            forget_bias=forget_bias,
        ),
        x,
    )
    layer = tfnn.LSTM(
        3,
        5,
        peepholes=peepholes,
        proj_size=projected or 0,
        cell_clip=clip,
        proj_clip=proj_clip,
        forget_bias=forget_bias,
    )
    order = (0, 2, 1, 3)  # i, j, f, o
    values = {
        "weight_ih_l0": gates(named["kernel"][:3], order),
        "weight_hh_l0": gates(named["kernel"][3:], order),
        "bias_ih_l0": gates(named["bias"], order),
        "bias_hh_l0": np.zeros(20, np.float32),
    }
    if peepholes:
        values |= {f"weight_c{gate}_l0": named[f"w_{gate}_diag"] for gate in "ifo"}
    if projected:
        values["weight_hr_l0"] = named["projection/kernel"].T
    layer.load_state_dict({key: torch.from_numpy(np.ascontiguousarray(v)) for key, v in values.items()})
    with torch.no_grad():
        outputs, (h, c) = layer(torch.from_numpy(x))
        faster = tfpt.optimize(layer.eval())
        torch.testing.assert_close(faster(torch.from_numpy(x))[0], outputs, rtol=1e-5, atol=1e-5)
    assert isinstance(faster, nn.LSTM) is (not peepholes and clip is None)
    agree(outputs, wanted)
    agree(c[0], state.c)
    agree(h[0], state.h)


def test_basic_lstm_equals_tensorflow_1s_cell():
    x = np.random.default_rng(2).normal(size=(9, 2, 3)).astype(np.float32)
    named, wanted, _ = run_cell(lambda cells: cells.BasicLSTMCell(5), x)
    layer = tfnn.LSTM(3, 5, forget_bias=1.0)
    order = (0, 2, 1, 3)
    layer.bias_hh_l0.data.zero_()
    layer.weight_ih_l0.data = torch.from_numpy(gates(named["kernel"][:3], order))
    layer.weight_hh_l0.data = torch.from_numpy(gates(named["kernel"][3:], order))
    layer.bias_ih_l0.data = torch.from_numpy(gates(named["bias"], order))
    agree(layer(torch.from_numpy(x))[0].detach(), wanted)


def test_gru_equals_tensorflow_1s_cell():
    x = np.random.default_rng(2).normal(size=(9, 2, 3)).astype(np.float32)
    named, wanted, state = run_cell(lambda cells: cells.GRUCell(5), x)
    layer = tfnn.GRU(3, 5, reset_after=False)
    kernel = np.concatenate([named["gates/kernel"], named["candidate/kernel"]], -1)
    bias = np.concatenate([named["gates/bias"], named["candidate/bias"]])
    layer.load_state_dict(
        {
            "weight_ih_l0": torch.from_numpy(kernel[:3].T.copy()),
            "weight_hh_l0": torch.from_numpy(kernel[3:].T.copy()),
            "bias_ih_l0": torch.from_numpy(bias),
        }
    )
    outputs, last = layer(torch.from_numpy(x))
    agree(outputs.detach(), wanted)
    agree(last[0].detach(), state)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_parameters_are_torchs(kind):
    for bidirectional in (False, True):
        stock = getattr(nn, kind)(3, 5, bidirectional=bidirectional)
        layer = getattr(tfnn, kind)(3, 5, bidirectional=bidirectional)
        layer.load_state_dict(stock.state_dict())
        assert list(layer.state_dict()) == list(stock.state_dict())
        x = torch.randn(7, 2, 3)
        torch.testing.assert_close(layer(x), stock(x))
        torch.testing.assert_close(layer(x[:, 0]), stock(x[:, 0]))
        faster = tfpt.optimize(layer.eval())
        assert type(faster) is getattr(nn, kind)
        torch.testing.assert_close(faster(x), stock(x))


def test_the_projection_is_torchs():
    stock, layer = nn.LSTM(3, 5, proj_size=2), tfnn.LSTM(3, 5, proj_size=2)
    layer.load_state_dict(stock.state_dict())
    x = torch.randn(7, 2, 3)
    torch.testing.assert_close(layer(x), stock(x))


@pytest.mark.parametrize(
    "layer",
    [
        tfnn.GRU(2, 3, reset_after=False, dtype=torch.float64),
        tfnn.LSTM(2, 3, peepholes=True, proj_size=2, forget_bias=1.0, dtype=torch.float64),
        tfnn.GRU(2, 3, bidirectional=True, recurrent_activation="softsign", dtype=torch.float64),
    ],
    ids=str,
)
def test_gradients_compilation_and_export(layer):
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(x), layer(x))
    shapes = ({1: torch.export.Dim("batch")}, None)
    x = x.detach()
    program = torch.export.export(layer, (x, None), dynamic_shapes=shapes, strict=False).module()
    y = torch.randn(3, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(program(y, None), layer(y))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: tfnn.GRU(0, 3), "sizes of a recurrent layer"),
        (lambda: tfnn.GRU(2, 3, activation="tahn"), "no such activation"),
        (lambda: tfnn.GRU(2, 3, bidirectional=True, go_backwards=True), "cannot go backwards"),
        (lambda: tfnn.LSTM(2, 3, proj_clip=1.0), "projection does not fit"),
        (lambda: tfnn.LSTM(2, 3, cell_clip=0.0), "clip has to be positive"),
        (lambda: tfnn.LSTM(2, 3)(torch.zeros(4, 5, 3)), "input of a recurrent layer"),
        (lambda: tfnn.LSTM(2, 3)(torch.zeros(0, 5, 2)), "at least one step"),
        (lambda: tfnn.GRU(2, 3)(torch.zeros(4, 5, 2), torch.zeros(1, 4, 3)), r"initial state|\(1, 5, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, why):
    with pytest.raises(ModelError, match=why):
        call()
