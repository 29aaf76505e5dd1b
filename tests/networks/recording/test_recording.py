"""`tfpt.record`: which endpoints, from which network, fed with what, kept how."""

from __future__ import annotations

import numpy as np
import pytest

import tfpt
from tests.conftest import DATA
from tests.models.deepmind_i3d import seeded_clip
from tests.networks.running.graphs import Small
from tfpt.errors import SinkError, SourceError
from tfpt.networks.recording import record, recordable
from tfpt.networks.recording.recordings import read_recording

tf = pytest.importorskip("tensorflow")

MAPPING = """\
version: 1
source: {scope: [other, net]}
weights:
  - {tf: unit/w, pt: unit.weight, layout: "i o -> o i"}
endpoints:
  - {tf: unit,     pt: unit}
  - {tf: Mixed,    pt: mixed}
  - {tf: averages, pt: averages, op: Mean}
"""
# Templates, for a model that is not there.
OPEN = (
    MAPPING[: MAPPING.index("endpoints")]
    + """\
model: {factory: "nowhere:Net"}
endpoints:
  - {tf: "Mixed/Branch_{i:int}", pt: "mixed.{i:int}"}
  - {tf: "{part:unit|Mixed}", pt: "{part:unit|Mixed}"}
"""
)


@pytest.fixture(scope="module")
def small():
    return Small()


@pytest.fixture(scope="module")
def meta(small, tmp_path_factory):
    return small.save(tmp_path_factory.mktemp("meta") / "model.ckpt")


@pytest.fixture
def mapping(tmp_path):
    (tmp_path / "small.yaml").write_text(MAPPING)
    return tmp_path / "small.yaml"


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(11).normal(size=(7, 3)).astype(np.float32)


def assert_close(endpoint, expected):
    np.testing.assert_allclose(endpoint.values, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_the_endpoints_of_a_mapping_are_recorded_with_the_input(small, meta, mapping, x, tmp_path):
    recording = tfpt.record(mapping, meta, tmp_path / "r.npz", inputs=x)
    expected = small.expected(x)
    assert list(recording.endpoints) == ["unit", "Mixed", "averages"]
    for name, of in (("unit", "unit"), ("Mixed", "Mixed"), ("averages", "Mean")):
        assert_close(recording.endpoints[name], expected[of])
    again = read_recording(tmp_path / "r.npz")
    np.testing.assert_array_equal(again.inputs["input"], x)
    assert again.facts == recording.facts
    assert again.facts["ops"] == {
        "unit": "net/unit/Relu:0",
        "Mixed": "net/Mixed/concat:0",
        "averages": "net/Mean:0",
    }
    assert again.facts["largest"]["Mixed"] == pytest.approx(np.abs(expected["Mixed"]).max(), rel=1e-5)
    assert (again.facts["training"], again.facts["tensorflow"]) == (False, tf.__version__)


def test_a_seeded_input_can_be_made_again_from_the_facts(small, meta, mapping, tmp_path):
    kept = record(mapping, meta, seed=7, batch=5)
    without = record(mapping, meta, tmp_path / "r.npz", seed=7, batch=5, store_input=False)
    facts = read_recording(tmp_path / "r.npz").facts
    again = np.random.default_rng(facts["seed"]).uniform(*facts["range"], facts["shape"]).astype(np.float32)
    assert without.inputs == {}
    np.testing.assert_array_equal(kept.inputs["input"], again)
    assert again.shape == (5, 3)
    assert_close(without.endpoints["Mixed"], small.expected(again)["Mixed"])


def test_names_are_recorded_without_a_mapping_and_chosen_from_one(meta, mapping, x):
    alone = record(None, meta, inputs=x, endpoints=["net/Softmax", "Mixed"])
    assert list(alone.endpoints) == ["net/Softmax", "Mixed"]
    chosen = record(mapping, meta, inputs=x, endpoints=["averages", "Softmax"])
    assert chosen.facts["ops"] == {"averages": "net/Mean:0", "Softmax": "net/Softmax:0"}
    with pytest.raises(SourceError, match="nothing to record") as caught:
        record(None, meta, inputs=x)
    assert caught.value.hint.startswith("--endpoint NAME")


def test_where_the_model_cannot_be_built_templates_match_the_networks_names(small, meta, tmp_path, x):
    (tmp_path / "open.yaml").write_text(OPEN)
    recording = record(tmp_path / "open.yaml", meta, inputs=x)
    assert list(recording.endpoints) == ["Mixed/Branch_0", "Mixed/Branch_1", "unit", "Mixed"]
    mixed = small.expected(x)["Mixed"]
    assert_close(recording.endpoints["Mixed/Branch_0"], mixed[:, :2])
    assert_close(recording.endpoints["Mixed/Branch_1"], mixed[:, 2:])


def test_everything_that_a_graph_computes_can_be_recorded(small, meta, x):
    recording = record(None, meta, inputs=x, all_layers=True)
    assert list(recording.endpoints) == [each.name for each in recordable(meta)]
    assert_close(recording.endpoints["net/Mixed/concat"], small.expected(x)["Mixed"])


def test_endpoints_that_are_not_there_are_said_at_once(meta, tmp_path, x):
    (tmp_path / "m.yaml").write_text(
        MAPPING.replace("tf: unit,", "tf: uint,").replace("tf: Mixed,", "tf: Mixde,")
    )
    with pytest.raises(SourceError, match="2 of 3 endpoints are not found") as caught:
        record(tmp_path / "m.yaml", meta, tmp_path / "r.npz", inputs=x)
    assert [cause.nearest[0] for cause in caught.value.causes] == ["unit", "Mixed"]
    assert not (tmp_path / "r.npz").exists()


def test_more_than_2000_values_are_sampled_unless_all_are_wanted(meta, x):
    many = np.tile(x, (67, 1))
    sampled = record(None, meta, inputs=many, endpoints=["Mixed"]).endpoints["Mixed"]
    whole = record(None, meta, inputs=many, endpoints=["Mixed"], whole=True).endpoints["Mixed"]
    assert (sampled.shape, sampled.values.shape) == ((469, 9), (997,))
    np.testing.assert_array_equal(sampled.values, whole.values.reshape(-1)[::4][:997])
    assert sampled.mean_abs == whole.mean_abs


def test_training_can_be_switched_on_and_is_noted(small, meta, x):
    recording = record(None, meta, inputs=x, endpoints=["net/unit"], feeds={"is_training": True})
    assert recording.facts["training"] is True
    assert recording.facts["feeds"] == {"is_training": True}
    assert np.abs(recording.endpoints["net/unit"].values - small.expected(x)["unit"]).max() > 0.01


def test_a_tensor_inside_is_fed_as_an_input(small, meta):
    unit = np.random.default_rng(3).uniform(size=(2, 5)).astype(np.float32)
    recording = record(None, meta, feeds={"net/unit/Relu": unit}, endpoints=["Mixed"])
    expected = np.concatenate([unit @ small.values[f"net/Mixed/Branch_{n}/w"] for n in (0, 1)], 1)
    assert_close(recording.endpoints["Mixed"], expected)
    np.testing.assert_array_equal(recording.inputs["input"], unit)
    assert recording.facts["inputs"]["input"]["tensor"] == "net/unit/Relu"


def test_an_output_that_exists_is_refused_before_anything_runs(meta, mapping, tmp_path):
    (tmp_path / "r.npz").write_bytes(b"precious")
    with pytest.raises(SinkError, match="exists already"):
        record(mapping, tmp_path / "no network at all", tmp_path / "r.npz")
    assert (tmp_path / "r.npz").read_bytes() == b"precious"
    record(mapping, meta, tmp_path / "r.npz", overwrite=True)
    assert list(read_recording(tmp_path / "r.npz").endpoints) == ["unit", "Mixed", "averages"]


def test_a_model_of_keras_is_recorded_as_it_is_layer_by_layer():
    keras = pytest.importorskip("keras")
    images = keras.Input((5, 7, 2))
    h = keras.layers.Conv2D(3, 2, strides=2, padding="same", name="conv")(images)
    model = keras.Model(images, keras.layers.Softmax(name="soft")(h))
    recording = record(None, model, all_layers=True, seed=3)
    assert list(recording.endpoints) == ["conv", "soft"]
    kernel, bias = map(np.asarray, model.get_layer("conv").weights)
    expected = tf.nn.conv2d(recording.inputs["input"], kernel, 2, "SAME").numpy() + bias
    assert_close(recording.endpoints["conv"], expected)
    np.testing.assert_allclose(recording.endpoints["soft"].values.sum(-1), 1, rtol=1e-6)


def test_anything_else_is_no_network():
    with pytest.raises(SourceError, match="not a TensorFlow network"):
        record(None, object(), endpoints=["x"])


def test_deepminds_graph_gives_the_recorded_truth(tmp_path):
    from tests.networks.running.i3d_graph import write_i3d_graph

    meta = write_i3d_graph(tmp_path / "model.ckpt", "RGB", 3, 11)
    recording = record("i3d_rgb", meta, tmp_path / "r.npz", inputs=seeded_clip(16, 3, 11), whole=True)
    truth = read_recording(DATA / "i3d/rgb_f16_seed11.npz")
    assert list(recording.endpoints) == list(truth.endpoints)
    for name, expected in truth.endpoints.items():
        found = recording.endpoints[name]
        assert found.shape == expected.shape
        values = expected.samples_of(found.values).astype(np.float64)
        error = np.abs(values - expected.values.reshape(-1)).max() / np.abs(expected.values).max()
        assert error < 3e-6, (name, error)
        assert found.mean_abs == pytest.approx(expected.mean_abs, rel=1e-6)


def test_a_fed_value_that_is_not_a_number_is_text_in_the_facts(tmp_path):
    import json

    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 3), "x")
        tf.multiply(x, tf.compat.v1.placeholder(tf.float32, (), "scale"), name="scaled")
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    recording = record(None, tmp_path / "net.pb", feeds={"scale": float("nan")}, endpoints=["scaled"])
    assert recording.facts["feeds"] == {"scale": "nan"}
    json.dumps(recording.facts, allow_nan=False)


def test_an_input_that_no_machine_has_room_for_is_refused(meta):
    with pytest.raises(SourceError, match="not enough memory for the input") as error:
        record(None, meta, endpoints=["net/unit"], feeds={"is_training": False}, batch=10**15)
    assert "1000000000000000" in error.value.got
