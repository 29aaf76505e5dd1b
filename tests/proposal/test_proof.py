"""Proposals settled by what both networks compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tfpt

keras = pytest.importorskip("keras")


class Dense(nn.Module):
    """Two square layers with one activation, then a head; named so that names do not tell the two apart."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(7, 7)
        self.right = nn.Linear(7, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.left(torch.relu(self.right(x)))))


class Layers(Dense):
    """The same with modules for the activations."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.tanh = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.tanh(self.left(self.relu(self.right(x)))))


class Norm(nn.Module):
    """A convolution and a normalization with torch's epsilon."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


class Strided(nn.Module):
    """Convolutions of stride 2 that pad evenly, as torch does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, 2, padding=1)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.second = nn.Conv2d(5, 7, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.pool(torch.relu(self.first(x))))


class Head(nn.Module):
    """Logits, of which Keras computes probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


class Mix(nn.Module):
    """A square matrix that is not transposed, unlike a linear layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


def saved(model, folder):
    random = np.random.default_rng(0)
    values = [random.normal(0, 0.5, weight.shape) for weight in model.weights]
    model.set_weights(
        [
            np.abs(value) if "variance" in weight.path else value
            for weight, value in zip(model.weights, values, strict=True)
        ]
    )
    path = folder / "model.keras"
    model.save(path)
    return path


def propose(checkpoint, kind, folder, **options):
    return tfpt.propose(
        checkpoint, folder / "m.yaml", model=f"{__name__}:{kind.__name__}", trust=True, **options
    )


@pytest.mark.parametrize("kind", [Dense, Layers])
def test_layers_in_the_other_order_are_found_by_what_they_compute(kind, tmp_path):
    x = keras.Input((7,))
    first = keras.layers.Dense(7, "relu", name="alpha")(x)
    second = keras.layers.Dense(7, "tanh", name="omega")(first)
    network = saved(keras.Model(x, keras.layers.Dense(3, name="head")(second)), tmp_path)
    undecided = propose(network, kind, tmp_path)
    assert not undecided.settled
    proven = propose(network, kind, tmp_path, prove=network, overwrite=True)
    assert proven.proof.proven
    assert proven.settled
    steps = {step.writes[0].name: step.reads[0].name for step in proven.plan.steps}
    assert steps["right.weight"].startswith("alpha/")
    assert steps["left.weight"].startswith("omega/")
    assert "# proven on one input" in proven.text
    assert "endpoints:" in proven.text


def test_an_epsilon_is_found_and_written(tmp_path):
    x = keras.Input((8, 9, 3))
    y = keras.layers.Conv2D(5, 3, use_bias=False, name="conv")(x)
    y = keras.layers.BatchNormalization(epsilon=1e-3, name="norm")(y)
    network = saved(keras.Model(x, keras.layers.ReLU(name="relu")(y)), tmp_path)
    # A small variance, so that the epsilon matters.
    model = keras.models.load_model(network)
    model.get_layer("norm").set_weights([*model.get_layer("norm").get_weights()[:3], np.full(5, 0.01)])
    model.save(network)
    proven = propose(network, Norm, tmp_path, prove=network)
    assert proven.proof.proven
    assert "eps: 1.0e-3" in proven.text
    assert 'input: {layout: "b h w c -> b c h w"}' in proven.text
    assert tfpt.load_mapping(tmp_path / "m.yaml").endpoints


def test_same_padding_is_found_and_written(tmp_path):
    x = keras.Input((8, 9, 3))
    y = keras.layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="first")(x)
    y = keras.layers.MaxPooling2D(3, 2, padding="same", name="pool")(y)
    network = saved(keras.Model(x, keras.layers.Conv2D(7, 3, padding="same", name="second")(y)), tmp_path)
    proven = propose(network, Strided, tmp_path, prove=network)
    assert proven.proof.proven
    assert proven.text.count("padding: same") == 2
    assert "{pt: pool, padding: same}" in proven.text
    tfpt.record(tmp_path / "m.yaml", network, tmp_path / "r.npz", trust=True)
    assert tfpt.verify(
        tmp_path / "m.yaml", network, recording=tmp_path / "r.npz", adapt=True, trust=True
    ).agrees


def test_a_square_matrix_is_not_transposed_if_the_network_says_so(tmp_path):
    x = keras.Input((7,))
    network = saved(keras.Model(x, keras.layers.Dense(7, use_bias=False, name="mix")(x)), tmp_path)
    proven = propose(network, Mix, tmp_path, prove=network)
    assert proven.proof.proven
    step = proven.plan.steps[0]
    array = np.arange(49, dtype=np.float32).reshape(7, 7)
    assert np.array_equal(step.bound.apply([array], [np.dtype("float32")])[0], array)


def test_a_model_that_computes_something_else_is_not_proven(tmp_path):
    x = keras.Input((7,))
    first = keras.layers.Dense(7, "relu", name="right")(x)
    second = keras.layers.Dense(7, "relu", name="left")(first)  # not tanh
    network = saved(keras.Model(x, keras.layers.Dense(3, name="head")(second)), tmp_path)
    proposal = propose(network, Layers, tmp_path, prove=network)
    assert not proposal.proof.proven
    assert not proposal.settled
    assert proposal.proof.departs == "head"  # the last that agrees is relu of left
    assert "# not proven" in proposal.text


def test_a_saved_model_whose_names_say_nothing_of_variables_is_proven(tmp_path):
    x = keras.Input((8, 9, 3))
    y = keras.layers.Conv2D(5, 3, use_bias=False, name="conv")(x)
    y = keras.layers.BatchNormalization(epsilon=1e-2, name="norm")(y)
    keras_file = saved(keras.Model(x, keras.layers.ReLU(name="relu")(y)), tmp_path)
    keras.models.load_model(keras_file).export(tmp_path / "exported", verbose=False)
    proven = propose(keras_file, Norm, tmp_path, prove=tmp_path / "exported")
    assert proven.proof.proven
    assert "eps: 1.0e-2" in proven.text
    modules = [endpoint.pt.text for endpoint in tfpt.load_mapping(tmp_path / "m.yaml").endpoints]
    assert len(set(modules)) == len(modules) > 1


def test_a_graph_of_tensorflow_1_is_proven(tmp_path):
    tf = pytest.importorskip("tensorflow")
    tf1, random = tf.compat.v1, np.random.default_rng(0)
    with tf1.Graph().as_default(), tf1.Session() as session:
        images = tf1.placeholder(tf.float32, [None, 8, 9, 3], "images")
        kernel = tf1.get_variable("net/conv/kernel", [3, 3, 3, 5])
        values = {
            name: tf1.get_variable(f"net/norm/{name}", [5])
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        with tf1.name_scope("net/conv/"):
            y = tf.nn.conv2d(images, kernel, 1, "VALID")
        with tf1.name_scope("net/norm/"):
            mean, variance = values["moving_mean"], values["moving_variance"]
            y = tf.nn.batch_normalization(y, mean, variance, values["beta"], values["gamma"], 1e-3)
        with tf1.name_scope("net/relu/"):
            tf.nn.relu(y)
        session.run(tf1.global_variables_initializer())
        for variable in values.values():
            variable.load(np.abs(random.normal(0.1, 0.05, 5)), session)
        tf1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    proven = propose(tmp_path / "model.ckpt", Norm, tmp_path, prove=tmp_path / "model.ckpt.meta")
    assert proven.proof.proven
    assert "eps: 1.0e-3" in proven.text


def test_an_activation_that_a_keras_layer_includes_is_written_at_the_endpoint(tmp_path):
    x = keras.Input((7,))
    network = saved(keras.Model(x, keras.layers.Dense(3, "softmax", name="head")(x)), tmp_path)
    proven = propose(network, Head, tmp_path, prove=network)
    assert proven.proof.proven
    assert 'pt: head, layout: "b c -> b c", apply: {softmax: c}' in proven.text
    tfpt.record(tmp_path / "m.yaml", network, tmp_path / "r.npz", trust=True)
    assert tfpt.verify(tmp_path / "m.yaml", network, recording=tmp_path / "r.npz", trust=True).agrees


def test_an_output_of_zeros_proves_nothing(tmp_path):
    x = keras.Input((7,))
    model = keras.Model(x, keras.layers.Dense(3, "relu", name="head")(x))
    model.set_weights([np.zeros((7, 3)), np.full(3, -1.0)])
    model.save(tmp_path / "model.keras")
    assert not propose(tmp_path / "model.keras", Head, tmp_path, prove=tmp_path / "model.keras").proof.proven


def test_a_recording_is_as_good_as_the_network(tmp_path):
    x = keras.Input((7,))
    network = saved(keras.Model(x, keras.layers.Dense(7, use_bias=False, name="mix")(x)), tmp_path)
    tfpt.record(None, network, tmp_path / "r.npz", all_layers=True)
    assert propose(network, Mix, tmp_path, prove=tmp_path / "r.npz").proof.proven


def test_only_a_model_can_be_run(tmp_path):
    x = keras.Input((7,))
    network = saved(keras.Model(x, keras.layers.Dense(7, use_bias=False, name="mix")(x)), tmp_path)
    (tmp_path / "m.manifest.json").write_text('{"weight": {"dtype": "float32", "shape": [7, 7]}}')
    with pytest.raises(tfpt.TfptError, match="only a model can be run"):
        tfpt.propose(network, tmp_path / "m.yaml", target=tmp_path / "m.manifest.json", prove=network)
