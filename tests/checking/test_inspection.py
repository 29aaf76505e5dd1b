"""What is in a file: names, totals, and statistics against numpy."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from tests.commands.running import run
from tfpt.checking.inspection import inspect
from tfpt.checking.statistics import statistics_of
from tfpt.errors import TfptError
from tfpt.execution.sinks.bundle import write_bundle


@given(arrays.arrays(np.float32, (3, 5, 7), elements=st.floats(-1000, 1000, width=32)))
def test_statistics_are_numpys(values):
    found = statistics_of(values)
    wide = values.astype(np.float64)
    assert (found.minimum, found.maximum) == (wide.min(), wide.max())
    assert found.mean == pytest.approx(wide.mean(), abs=1e-9)
    assert found.std == pytest.approx(wide.std(), abs=1e-6)
    assert (found.nans, found.infinities) == (0, 0)


def test_statistics_of_many_values_far_from_zero_keep_their_digits():
    values = 1e6 + np.random.default_rng(2).normal(size=(1 << 20) + 17)
    found = statistics_of(values)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.std == pytest.approx(values.std(), rel=1e-9)


@pytest.mark.filterwarnings("error")
def test_statistics_of_values_whose_squares_are_too_large_or_too_small():
    for scale in (1e300, 1e-300):
        found = statistics_of(np.array([1.0, -1.0, 3.0, 1.0]) * scale)
        assert found.mean == pytest.approx(scale)
        assert found.std == pytest.approx(np.sqrt(2) * scale)


def test_what_is_no_number_is_counted_and_left_out():
    values = np.float32([np.nan, 3, -np.inf, 7, np.nan, np.inf])
    found = statistics_of(values)
    assert (found.minimum, found.maximum, found.mean, found.std) == (3, 7, 5, 2)
    assert (found.nans, found.infinities) == (2, 2)


@pytest.mark.parametrize("kind", [np.int8, np.bool_, np.uint64, ml_dtypes.bfloat16, np.float16])
def test_statistics_of_other_types(kind):
    values = np.array([0, 1, 1, 1]).astype(kind)
    found = statistics_of(values)
    assert (found.minimum, found.maximum, found.mean) == (0, 1, 0.75)
    assert found.std == pytest.approx(np.std([0, 1, 1, 1]))


@pytest.fixture
def checkpoint(tmp_path):
    random = np.random.default_rng(1)
    values = {f"layer_{n}/w": random.normal(size=(3, 5)).astype(np.float32) for n in (9, 10, 2)}
    values |= {"step": np.int64(7), "words": np.array([b"a", b"bc"], object)}
    values |= {"empty": np.zeros((0, 3)), "wave": np.complex64([1j])}
    write_bundle(tmp_path / "m", values)
    return tmp_path / "m", values


def test_names_shapes_dtypes_and_totals(checkpoint):
    path, values = checkpoint
    found = inspect(path)
    assert {name: spec.shape for name, spec in found.specs.items()} == {
        name: np.asarray(value).shape for name, value in values.items()
    }
    assert found.total == 7
    assert found.by_dtype["float32"] == (3, 3 * 3 * 5 * 4)
    assert found.by_dtype["int64"] == (1, 8)
    assert found.statistics == {}


def test_statistics_are_of_tensors_of_real_numbers(checkpoint):
    path, values = checkpoint
    found = inspect(path, stats=True).statistics
    assert set(found) == {"layer_9/w", "layer_10/w", "layer_2/w", "step"}
    assert found["layer_9/w"].maximum == values["layer_9/w"].max()
    assert found["step"].mean == 7


def test_grep_keeps_names_that_hold_the_expression(checkpoint):
    path, _ = checkpoint
    found = inspect(path, grep=r"_\d/|st.p")
    assert set(found.specs) == {"layer_2/w", "layer_9/w", "step"}
    assert found.total == 7


def test_an_expression_that_is_none_is_refused(checkpoint):
    with pytest.raises(TfptError, match="not a regular expression") as error:
        inspect(checkpoint[0], grep="(w")
    assert "(w" in str(error.value)


def test_the_fingerprint_changes_with_the_content(checkpoint, tmp_path):
    path, values = checkpoint
    before = inspect(path).fingerprint
    values["step"] = np.int64(8)
    write_bundle(tmp_path / "m", values)
    assert inspect(path).fingerprint != before


def test_a_saved_model_says_how_it_is_called(tmp_path):
    tf = pytest.importorskip("tensorflow")

    class Net(tf.Module):
        def __init__(self):
            self.w = tf.Variable(np.ones((3, 5), np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def __call__(self, x):
            return {"y": x @ self.w}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "m"), signatures=net.__call__)
    found = inspect(tmp_path / "m")
    assert "signature serving_default: x [?, 3] float32 → y [?, 5] float32" in found.details
    assert found.to_json()["details"] == list(found.details)


def test_safetensors_say_their_metadata(tmp_path):
    save_file({"w": np.zeros(2, np.float32)}, tmp_path / "w.safetensors", metadata={"format": "pt"})
    assert inspect(tmp_path / "w.safetensors").details == ("format: pt",)


def test_values_near_the_limits_of_float64_have_finite_statistics():
    most = np.finfo(np.float64).max
    found = statistics_of(np.array([most, -most, most, -most, 0.0]))
    assert (found.minimum, found.maximum, found.mean) == (-most, most, 0)
    assert found.std == pytest.approx(np.sqrt(0.8) * most)
    assert statistics_of(np.full(3, most)).mean == pytest.approx(most)


def test_where_no_value_is_a_number_json_says_null(tmp_path):
    save_file({"w": np.full(3, np.nan, np.float32), "v": np.float32([np.inf])}, tmp_path / "w.safetensors")
    found = inspect(tmp_path / "w.safetensors", stats=True)
    text = json.dumps(found.to_json(), allow_nan=False)
    values = {tensor["name"]: tensor["statistics"] for tensor in json.loads(text)["tensors"]}
    assert values["w"] == {
        "min": None,
        "max": None,
        "mean": None,
        "std": None,
        "nan": 3,
        "inf": 0,
        "denormal": 0,
    }
    assert values["v"]["inf"] == 1


@pytest.fixture
def halved(tmp_path):
    """A checkpoint of two data files, of which the second is gone: what is in it, and in which file."""
    values = {f"w{at}": np.full(3, at, np.float32) for at in range(6)} | {
        "words": np.array([b"a", b"bcd"], object)
    }
    write_bundle(tmp_path / "m", values, num_shards=2)
    (tmp_path / "m.data-00001-of-00002").unlink()
    return tmp_path / "m", values


def test_tensors_whose_data_file_is_missing_are_marked_and_the_others_measured(halved):
    path, values = halved
    found = inspect(path, stats=True)
    assert set(found.specs) == set(values)
    assert found.unreadable
    assert set(found.unreadable.values()) == {"the data file m.data-00001-of-00002 is missing"}
    numbers = {name for name in values if name != "words"}
    assert set(found.statistics) == numbers - set(found.unreadable)
    assert all(found.statistics[name].mean == values[name][0] for name in found.statistics)
    marked = {tensor["name"] for tensor in found.to_json()["tensors"] if "unreadable" in tensor}
    assert marked == set(found.unreadable) == set(inspect(path).unreadable)


def test_a_damaged_tensor_is_marked_and_the_others_measured(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.float32([1, 2]), "b": np.float32([3, 5])})
    data = tmp_path / "m.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[content.index(np.float32([1, 2]).tobytes())] ^= 1
    data.write_bytes(content)
    found = inspect(tmp_path / "m", stats=True)
    assert found.statistics["b"].mean == 4
    assert "checksum" in found.unreadable["a"]


def test_strings_have_a_size(checkpoint):
    found = inspect(checkpoint[0])
    assert found.sizes["words"] >= len(b"abc")
    assert found.by_dtype["string"] == (1, found.sizes["words"])


def test_odd_values_are_named(tmp_path):
    random = np.random.default_rng(3)
    fine = random.normal(size=(3, 5)).astype(np.float32)
    few, many = fine.copy(), np.full(300, 1.0, np.float32)
    few[0, 0], few[1, 2] = np.nan, -np.inf
    many[:7], many[7:] = 1e-40, random.uniform(1, 2, 293)
    values = {
        "a/kernel": fine,
        "a/broken": few,
        "a/zeros": np.zeros((2, 3), np.float32),
        "bn/gamma": np.ones(7, np.float32),
        "bn/moving_variance": np.float32([0.5, -1e-3]),
        "bn/invariance": np.float32([0.5, -1e-3]),
        "tiny": many,
        "once": np.concatenate([many[6:], many[7:]]),
        "global_step": np.int64(0),
        "scale": np.float32([3]),
    }
    write_bundle(tmp_path / "m", values)
    found = inspect(tmp_path / "m", stats=True)
    expected = {
        "NaN": ["a/broken"],
        "infinity": ["a/broken"],
        "negative variance": ["bn/moving_variance"],
        "all zeros": ["a/zeros"],
        "constant": ["bn/gamma"],
        "denormals": ["tiny"],
    }
    assert found.oddities == expected
    assert found.to_json()["oddities"] == expected
    assert found.statistics["tiny"].denormals == int((many < np.finfo(np.float32).tiny).sum()) == 7
    assert "oddities" not in inspect(tmp_path / "m").to_json()
    out = run("inspect", tmp_path / "m", "--stats").out.splitlines()
    assert "NaN in a/broken" in out
    assert "variances below 0 in bn/moving_variance" in out
    assert "many denormal values in tiny" in out
    assert not [line for line in run("inspect", tmp_path / "m").out.splitlines() if line.startswith("NaN")]


@pytest.mark.parametrize(
    "name", ["running_var", "moving_variance", "variance", "bn.running_var", "x/BatchNorm/var"]
)
def test_variances_are_known_by_their_names(tmp_path, name):
    save_file({name: np.float32([-1, 2])}, tmp_path / "w.safetensors")
    assert inspect(tmp_path / "w.safetensors", stats=True).oddities == {"negative variance": [name]}


def test_many_names_are_abbreviated(tmp_path):
    save_file({f"w{n:02}": np.zeros(3, np.float32) for n in range(11)}, tmp_path / "w.safetensors")
    out = run("inspect", tmp_path / "w.safetensors", "--stats").out
    assert "nothing but zeros in 11 tensors: w00, w01" in out
    assert "w07 and 3 more" in out
