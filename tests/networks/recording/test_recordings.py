"""Recordings: the format that numpy reads, files that others made, and files that are not to be trusted."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import DATA
from tfpt.errors import SinkError, SourceError, TfptError
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording, read_recording, write_recording

SMALL = np.arange(2000, dtype=np.float32).reshape(40, 50) - 7
LARGE = np.random.default_rng(1).normal(size=(3, 17, 53)).astype(np.float32)


def samples(array):
    """As the recorded truth was sampled."""
    return array.reshape(-1)[:: max(1, array.size // 997)][:997]


def recording_of(**arrays):
    return Recording({name: RecordedEndpoint.of(name, array) for name, array in arrays.items()})


@pytest.mark.parametrize("name", ["rgb_f16_seed11", "rgb_f17_seed11", "flow_f16_seed12"])
def test_the_recorded_truth_is_read(name):
    path = DATA / f"i3d/{name}.npz"
    recording = read_recording(path)
    with np.load(path) as file:
        assert list(recording.endpoints) == [each for each in file.files if "." not in each]
        for each, endpoint in recording.endpoints.items():
            assert endpoint.name == each
            assert endpoint.shape == tuple(file[f"{each}.shape"])
            assert endpoint.mean_abs == file[f"{each}.mean_abs"]
            np.testing.assert_array_equal(endpoint.values, file[each])
    assert [each.whole for each in recording.endpoints.values()] == [False] * 16 + [True] * 2
    assert (recording.inputs, recording.facts, recording.location) == ({}, {}, str(path))


def test_up_to_2000_values_are_whole_and_more_are_sampled():
    small, large = RecordedEndpoint.of("a", SMALL), RecordedEndpoint.of("b", LARGE)
    assert small.whole
    np.testing.assert_array_equal(small.values, SMALL)
    assert not large.whole
    assert large.shape == (3, 17, 53)
    np.testing.assert_array_equal(large.values, samples(LARGE))
    assert large.mean_abs == pytest.approx(np.abs(LARGE.astype(np.float64)).mean(), rel=1e-12)
    np.testing.assert_array_equal(RecordedEndpoint.of("b", LARGE, whole=True).values, LARGE)


def test_the_samples_of_another_array_are_at_the_same_places():
    places = np.arange(LARGE.size).reshape(LARGE.shape)
    endpoint = RecordedEndpoint.of("b", LARGE)
    np.testing.assert_array_equal(LARGE.reshape(-1)[endpoint.samples_of(places)], endpoint.values)
    # The axes in another order in memory are the same axes.
    np.testing.assert_array_equal(
        endpoint.samples_of(np.ascontiguousarray(LARGE.transpose(2, 0, 1)).transpose(1, 2, 0)),
        endpoint.values,
    )
    whole = RecordedEndpoint.of("a", SMALL)
    np.testing.assert_array_equal(whole.samples_of(SMALL + 1), (SMALL + 1).reshape(-1))
    with pytest.raises(TfptError, match="another shape"):
        endpoint.samples_of(LARGE.reshape(17, 3, 53))


def test_numpy_reads_what_was_written(tmp_path):
    recording = recording_of(**{"net/Relu": SMALL, "net/Conv": LARGE})
    recording.inputs["input"] = np.ones((2, 3), np.float32)
    recording.facts.update({"seed": 7, "network": "n\u00e9t"})
    write_recording(tmp_path / "r.npz", recording)
    with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
        assert file.files[:6] == [
            "net/Relu", "net/Relu.shape", "net/Relu.mean_abs",
            "net/Conv", "net/Conv.shape", "net/Conv.mean_abs",
        ]  # fmt: skip
        np.testing.assert_array_equal(file["net/Relu"], SMALL)
        np.testing.assert_array_equal(file["net/Conv"], samples(LARGE))
        np.testing.assert_array_equal(file["net/Conv.shape"], [3, 17, 53])
        assert file["net/Conv.shape"].dtype == np.int64
        assert file["net/Conv.mean_abs"].dtype == np.float64
        np.testing.assert_array_equal(file["input"], np.ones((2, 3)))
        assert json.loads(str(file["recording.json"])) == {"seed": 7, "network": "n\u00e9t"}


def test_what_was_written_is_read(tmp_path):
    recording = recording_of(z=SMALL, a=LARGE)
    recording.inputs.update(left=np.ones(2), right=np.zeros((1, 5), np.int64))
    recording.facts["nested"] = {"shape": [1, 2]}
    write_recording(tmp_path / "r.npz", recording)
    again = read_recording(tmp_path / "r.npz")
    assert list(again.endpoints) == ["z", "a"]
    assert again.facts == {"nested": {"shape": [1, 2]}}
    assert {name: (array.shape, array.dtype.name) for name, array in again.inputs.items()} == {
        "left": ((2,), "float64"),
        "right": ((1, 5), "int64"),
    }
    for name, endpoint in recording.endpoints.items():
        found = again.endpoints[name]
        assert (found.shape, found.whole, found.mean_abs) == (
            endpoint.shape,
            endpoint.whole,
            endpoint.mean_abs,
        )
        np.testing.assert_array_equal(found.values, endpoint.values)


def test_one_recording_gives_the_same_bytes_each_time(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_recording(tmp_path / name, recording_of(x=LARGE))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_of_plain_arrays_is_a_recording_of_whole_activations(tmp_path):
    np.savez(tmp_path / "r.npz", z=LARGE, a=SMALL, input=np.ones((1, 3)))
    recording = read_recording(tmp_path / "r.npz")
    assert list(recording.endpoints) == ["z", "a"]
    assert recording.endpoints["z"].whole
    assert recording.endpoints["z"].mean_abs == pytest.approx(np.abs(LARGE).mean(dtype=np.float64))
    assert list(recording.inputs) == ["input"]
    np.savez_compressed(tmp_path / "packed.npz", z=np.asfortranarray(LARGE))
    np.testing.assert_array_equal(read_recording(tmp_path / "packed.npz").endpoints["z"].values, LARGE)


def test_small_floats_are_kept_as_what_everybody_reads(tmp_path):
    low = SMALL.astype(ml_dtypes.bfloat16)
    write_recording(tmp_path / "r.npz", recording_of(low=low))
    with np.load(tmp_path / "r.npz") as file:
        assert file["low"].dtype == np.float32
        np.testing.assert_array_equal(file["low"], low.astype(np.float32))


def test_scalars_empty_arrays_integers_and_nan_are_recorded(tmp_path):
    arrays = {
        "s": np.float32(3),
        "e": np.zeros((0, 5)),
        "i": np.arange(3),
        "n": np.float32([np.nan, 1]),
        "b": np.ones(2, bool),
    }
    write_recording(
        tmp_path / "r.npz", recording_of(**{name: np.asarray(array) for name, array in arrays.items()})
    )
    found = read_recording(tmp_path / "r.npz").endpoints
    assert {name: (each.shape, each.whole) for name, each in found.items()} == {
        "s": ((), True), "e": ((0, 5), True), "i": ((3,), True), "n": ((2,), True), "b": ((2,), True),
    }  # fmt: skip
    assert np.isnan(found["n"].mean_abs)
    assert found["i"].mean_abs == 1.0


def test_a_file_is_replaced_only_on_demand_and_whole(tmp_path):
    path = tmp_path / "r.npz"
    write_recording(path, recording_of(a=SMALL))
    before = path.read_bytes()
    with pytest.raises(SinkError, match="exists already"):
        write_recording(path, recording_of(b=SMALL))
    text = Recording({"b": RecordedEndpoint("b", (1,), np.array(["text"]), None)})
    with pytest.raises(SinkError, match="does not contain numbers"):
        write_recording(path, text, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write_recording(path, recording_of(b=SMALL), overwrite=True)
    assert list(read_recording(path).endpoints) == ["b"]


@pytest.mark.parametrize(
    "name", ["input", "input.x", "recording.json", "a.shape", "a.mean_abs", "", "/a", "a/../b", "a\\b"]
)
def test_names_that_a_reader_would_take_for_something_else_are_refused(tmp_path, name):
    with pytest.raises(SinkError, match=r"cannot be called|is not possible in an archive"):
        write_recording(tmp_path / "r.npz", recording_of(**{name: SMALL}))
    assert not list(tmp_path.iterdir())


def saved(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


WRONG = {
    "samples that are too few": ({"a": np.ones(996), "a.shape": [50, 60]}, "do not match its shape"),
    "samples of what would be whole": ({"a": np.ones(997), "a.shape": [10, 100]}, "do not match its shape"),
    "values of another shape": ({"a": np.ones((2, 3)), "a.shape": [3, 2]}, "do not match its shape"),
    "a shape below zero": ({"a": np.ones(997), "a.shape": [-50, -60]}, "its shape cannot be read"),
    "a shape of fractions": ({"a": np.ones(3), "a.shape": [3.0]}, "its shape cannot be read"),
    "a shape of two axes": ({"a": np.ones(3), "a.shape": [[3]]}, "its shape cannot be read"),
    "two means": ({"a": np.ones(3), "a.mean_abs": [1.0, 2.0]}, "its mean cannot be read"),
    "text": ({"a": np.array(["x"])}, "of another kind"),
    "dates": ({"a": np.array(["2020-01-01"], "M8[D]")}, "of another kind"),
    "facts that are no text": ({"a": np.ones(3), "recording.json": np.ones(1)}, "of another kind"),
    "facts that are no JSON": ({"a": np.ones(3), "recording.json": np.array("{")}, "facts"),
    "facts that are a list": ({"a": np.ones(3), "recording.json": np.array("[]")}, "facts"),
    "facts too deep": ({"a": np.ones(3), "recording.json": np.array("[" * 10**5)}, "facts"),
    "only an input": ({"input": np.ones(3)}, "no activation"),
    "two inputs of one name": (
        {"a": np.ones(3), "input": np.ones(3), "input.input": np.ones(3)},
        "have the same name",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_no_recording_holds_is_refused(tmp_path, case):
    arrays, message = WRONG[case]
    with pytest.raises(SourceError, match=message):
        read_recording(
            saved(tmp_path / "r.npz", **{name: np.asarray(value) for name, value in arrays.items()})
        )


def test_the_error_says_what_would_fit(tmp_path):
    with pytest.raises(SourceError) as caught:
        read_recording(saved(tmp_path / "r.npz", a=np.ones(7), **{"a.shape": np.array([50, 60])}))
    assert caught.value.where == f"{tmp_path / 'r.npz'}, endpoint a"
    assert caught.value.expected == "[50, 60], or 997 samples, as a.shape says"
    assert caught.value.got == "[7]"


def test_no_pickle_is_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for name in ("a", "input", "recording.json"):
        np.savez(tmp_path / "r.npz", ok=np.ones(3), **{name: np.array([Runs()], object)})
        with pytest.raises(SourceError, match="Python objects, which are never read"):
            read_recording(tmp_path / "r.npz")
    assert not (tmp_path / "ran").exists()


def test_every_cut_is_refused(tmp_path):
    write_recording(tmp_path / "good.npz", recording_of(a=np.arange(5.0), b=np.arange(3.0)))
    raw = (tmp_path / "good.npz").read_bytes()
    for size in range(0, len(raw), 7):
        (tmp_path / "cut.npz").write_bytes(raw[:size])
        with pytest.raises(SourceError):
            read_recording(tmp_path / "cut.npz")


def test_a_flipped_value_fails_its_checksum(tmp_path):
    path = saved(tmp_path / "r.npz", a=np.arange(100.0))
    raw = bytearray(path.read_bytes())
    raw[400] ^= 1
    path.write_bytes(raw)
    with pytest.raises(SourceError, match="is damaged"):
        read_recording(path)


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_archives_that_unpack_without_measure_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tfpt.formats.numpy.source._UNPACKED_FREELY", 1 << 24)
    zeros = npy(np.zeros(1 << 20))
    read_recording(packed(tmp_path / "one.npz", {"a.npy": zeros}))
    path = packed(tmp_path / "bomb.npz", {f"a{index}.npy": zeros for index in range(3)})
    assert path.stat().st_size < 1 << 16
    with pytest.raises(SourceError, match="too high a compression ratio"):
        read_recording(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "r.npz", "w") as archive:
        archive.writestr("a.npy", npy(np.ones(3)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", npy(np.zeros(3)))
    with pytest.raises(SourceError, match=r"two members are called 'a\.npy'"):
        read_recording(tmp_path / "r.npz")


def test_a_header_that_lies_about_its_size_is_refused(tmp_path):
    raw = npy(np.ones(3)).replace(b"'shape': (3,), }", b"'shape': (9,), }")
    with pytest.raises(SourceError, match="of another size"):
        read_recording(packed(tmp_path / "r.npz", {"a.npy": raw}))
    huge = npy(np.ones(3)).replace(b"'shape': (3,), }           ", b"'shape': (2305843009213,), }")
    with pytest.raises(SourceError):
        read_recording(packed(tmp_path / "r.npz", {"a.npy": huge}))


def test_other_files_are_no_recordings(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(SourceError, match="no directory at its end"):
        read_recording(tmp_path / "a.npy")
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    with pytest.raises(SourceError, match="the file is not a recording"):
        read_recording(tmp_path / "w.safetensors")
    with pytest.raises(SourceError, match="cannot read the file: No such file"):
        read_recording(tmp_path / "nothing.npz")


def test_facts_that_are_no_numbers_of_json_come_as_text(tmp_path):
    path = tmp_path / "r.npz"
    text = '{"nan": NaN, "range": [-Infinity, 1e999], "seed": 7, "low": -1.5, "half": "\\ud800"}'
    np.savez(path, **{"relu": np.ones(3, np.float32), "recording.json": np.array(text)})
    facts = read_recording(path).facts
    assert facts == {"nan": "NaN", "range": ["-Infinity", "1e999"], "seed": 7, "low": -1.5, "half": "?"}
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("shape", [(1, 64, 997, 64), (1, 8, 112, 112, 64), (2, 501, 2), (3, 1000), (2001,)])
def test_samples_are_spread_over_every_axis(shape):
    """Evenly over the whole, and over the channels: none is far from its share, and none is taken twice."""
    places = np.arange(np.prod(shape)).reshape(shape)
    taken = RecordedEndpoint.of("x", places).values
    assert len(set(taken.tolist())) == len(taken) == 997
    for size, along in zip(shape, np.unravel_index(taken, shape), strict=True):
        parts = min(size, 16)
        counts = np.bincount(along * parts // size, minlength=parts)
        assert counts.min() > 0.5 * 997 / parts
        assert counts.max() < 2 * 997 / parts


def test_where_samples_are_is_kept_in_the_file(tmp_path):
    array = np.random.default_rng(1).normal(size=(64, 97, 8))
    written = RecordedEndpoint.of("x", array)
    write_recording(tmp_path / "r.npz", Recording({"x": written}))
    read = read_recording(tmp_path / "r.npz").endpoints["x"]
    assert read.step == written.step == int(np.load(tmp_path / "r.npz")["x.step"])
    np.testing.assert_array_equal(read.samples_of(array), written.values)
    np.testing.assert_array_equal(array.reshape(-1)[np.arange(997) * read.step % array.size], written.values)


@pytest.mark.parametrize("step", [np.int64(0), np.int64(-3), np.int64(5000), np.float64(2), np.int64([1, 2])])
def test_a_step_that_is_none_is_refused(tmp_path, step):
    np.savez(tmp_path / "r.npz", **{"x": np.zeros(997), "x.shape": np.int64([5000]), "x.step": step})
    with pytest.raises(SourceError, match="the step of its samples"):
        read_recording(tmp_path / "r.npz")
