"""TensorFlow Lite models: every tensor between input and output, against TensorFlow and numpy."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tfpt
from tests.formats.tflite.models import convert
from tfpt.errors import SourceError

tf = pytest.importorskip("tensorflow")


def values_by_hand(x):
    """What `convert` puts into its models, in double precision."""
    random = np.random.default_rng(7)
    kernel = random.normal(size=(3, 3, 2, 11)).astype(np.float32)
    bias = random.normal(size=11).astype(np.float32)
    dense = random.normal(size=(3 * 5 * 11, 7)).astype(np.float32)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    relu = np.maximum(np.einsum("bhwcij,ijco->bhwo", windows, kernel) + bias, 0)
    return relu, relu.reshape(1, -1) @ dense


def close(found, expected, steps):
    """Whether values differ by at most this many steps of 8 bits over their range."""
    step = (expected.max() - expected.min()) / 255
    assert np.abs(found - expected).max() <= steps * step


@pytest.fixture(params=["ai_edge_litert", "tensorflow"])
def interpreter(request, monkeypatch):
    if request.param == "tensorflow":
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    else:
        pytest.importorskip("ai_edge_litert")
    return {"ai_edge_litert": "ai-edge-litert", "tensorflow": "TensorFlow"}[request.param]


def test_every_tensor_is_recorded_and_right(interpreter, tmp_path):
    path = convert(tmp_path / "net.tflite", "float")
    found = tfpt.record(None, path, all_layers=True, whole=True)
    assert found.facts["runtime"].startswith(interpreter)
    assert found.inputs["input"].shape == (1, 3, 5, 2)
    expected = values_by_hand(found.inputs["input"])
    activations = list(found.endpoints.values())
    shapes = [each.shape for each in activations]
    assert (1, 3, 5, 11) in shapes
    relu = activations[shapes.index((1, 3, 5, 11))]
    np.testing.assert_allclose(relu.values, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(activations[-1].values, expected[1], rtol=1e-5, atol=1e-4)


def test_quantized_activations_are_the_numbers_that_they_represent(interpreter, tmp_path):
    path = convert(tmp_path / "net.tflite", "int8")
    found = tfpt.record(None, path, all_layers=True, whole=True)
    expected = values_by_hand(found.inputs["input"])
    shapes = {each.shape: each.values for each in found.endpoints.values()}
    close(shapes[1, 3, 5, 11], expected[0], 4)
    close(shapes[1, 7], expected[1], 4)


def test_names_are_found_by_any_of_the_joined_ones(tmp_path):
    path = convert(tmp_path / "net.tflite", "float")
    names = [each.name for each in tfpt.networks.recording.recordable(path)]
    joined = next(name for name in names if ";" in name)
    found = tfpt.record(None, path, endpoints=[joined.split(";")[0]])
    assert list(found.endpoints) == [joined.split(";")[0]]
    with pytest.raises(SourceError, match="the model has no tensor nonesuch"):
        tfpt.record(None, path, endpoints=["nonesuch"])


def test_an_open_batch_is_resized(tmp_path):
    keras = pytest.importorskip("keras")
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Dense(5, activation="relu", name="dense")(x))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    found = tfpt.record(None, tmp_path / "m.tflite", all_layers=True, whole=True, batch=7)
    expected = model(found.inputs["input"]).numpy()
    assert expected.shape == (7, 5)
    last = list(found.endpoints.values())[-1]
    np.testing.assert_allclose(last.values, expected, rtol=1e-6)


def test_without_an_interpreter_one_error_says_what_to_install(tmp_path, monkeypatch):
    path = convert(tmp_path / "net.tflite", "float")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(SourceError, match="needs its interpreter, which is not installed") as caught:
        tfpt.record(None, path, all_layers=True)
    assert caught.value.hint == 'pip install ai-edge-litert; or pip install "tfpt[tensorflow]"'


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_damaged_model_is_refused_before_the_interpreter_reads_it(part, tmp_path):
    path = convert(tmp_path / "net.tflite", "float")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(SourceError):
        tfpt.record(None, path, all_layers=True)


def test_wrong_offsets_are_refused(tmp_path):
    path = convert(tmp_path / "net.tflite", "float")
    data = bytearray(path.read_bytes())
    data[:4] = (len(data) - 8).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SourceError):
        tfpt.record(None, path, all_layers=True)


def test_a_trusted_model_is_read_by_the_interpreter_itself(tmp_path):
    path = convert(tmp_path / "net.tflite", "float")
    checked, trusted = (tfpt.record(None, path, all_layers=True, trust=trust) for trust in (False, True))
    for name, endpoint in checked.endpoints.items():
        assert np.array_equal(endpoint.values, trusted.endpoints[name].values)
