"""Pickles of arrays are read under any name, whoever wrote them; none is run."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import DATA
from tests.formats.numpy.test_damage import Runs
from tests.formats.numpy.test_numpy import TREE, assert_same
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.pickle.source import PickleSource

JAX = DATA / "jax"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["w.pkl", "w.pickle", "w.ckpt", "weights"])
def test_a_pickle_of_every_protocol_is_known_by_its_content(tmp_path: Path, protocol: int, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(TREE, protocol))
    source = open_source(tmp_path / name)
    assert source.format == "pickle"
    assert_same(source.read("conv/w"), TREE["conv"]["w"])  # type: ignore[index]
    assert_same(source.read("blocks/1/0"), np.arange(6).reshape(2, 3))
    assert source.skipped == {"blocks/1/1": "None", "big": "an integer of more than 64 bits"}


@pytest.mark.parametrize("protocol", range(6))
def test_a_list_and_a_single_array(tmp_path: Path, protocol: int) -> None:
    arrays = [np.arange(6, dtype="<f4").reshape(2, 3), np.arange(1_003)]
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(arrays, protocol))
    assert list(open_source(tmp_path / "w.pkl").specs) == ["0", "1"]
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(arrays[1], protocol))
    assert_same(open_source(tmp_path / "w.pkl").read("w"), arrays[1])


def test_a_real_pickle(shared: Path) -> None:
    path = shared / "wild" / "pkl-lingvo-mat" / "lingvo-test_mat_2.pickle"
    expected = pickle.loads(path.read_bytes())  # known to be an array
    assert_same(open_source(path).read("lingvo-test_mat_2"), expected)


@pytest.mark.parametrize("name", ["plain", "zlib", "gzip", "bz2", "xz"])
def test_what_joblib_dumped(name: str) -> None:
    """As tests/data/jax/make.py gave it to joblib."""
    source = open_source(JAX / f"{name}.joblib")
    expected = {
        "fortran": np.arange(15.0).reshape(3, 5),
        "nested/0": np.arange(7, dtype=">i4"),
        "nested/1/0": np.int64(1),
        "nested/1/1": np.zeros(0),
        "nested/1/2": np.float32(2),
        "objects/0": np.ones(2),
        "last": np.arange(3),
    }
    for key, values in expected.items():
        assert_same(source.read(key), np.asarray(values))
    assert set(source.specs) == {*expected, "objects/1"}


# pickle.dumps(…, 4) of what these versions of dm-haiku make of HAIKU_VALUES: to_immutable_dict of them as arrays of
# numpy 2 or JAX 0.10, and {"a": FrozenList([bias])}. base64.
HAIKU = {
    "0.0.1, frozendict": (
        "gASVegEAAAAAAACMGmhhaWt1Ll9zcmMuZGF0YV9zdHJ1Y3R1cmVzlIwKZnJvemVuZGljdJSTlH2UKIwGbGluZWFylGgCfZQo"
        "jAF3lIwWbnVtcHkuX2NvcmUubXVsdGlhcnJheZSMDF9yZWNvbnN0cnVjdJSTlIwFbnVtcHmUjAduZGFycmF5lJOUSwCFlEMB"
        "YpSHlFKUKEsBSwJLA4aUaAqMBWR0eXBllJOUjAJmNJSJiIeUUpQoSwOMATyUTk5OSv////9K/////0sAdJRiiUMYAAAAAAAA"
        "gD4AAAA/AABAPwAAgD8AAKA/lHSUYowBYpRoCWgMSwCFlGgOh5RSlChLAUsDhZRoFolDDAAAgD8AAADAAAAAP5R0lGJ1hZRS"
        "lIwKbGluZWFyL34vbpRoAn2UjAFzlGgJaAxLAIWUaA6HlFKUKEsBSwGFlGgTjAJpNJSJiIeUUpQoSwNoF05OTkr/////Sv//"
        "//9LAHSUYolDBAcAAACUdJRic4WUUpR1hZRSlC4="
    ),
    "0.0.1, FrozenList": (
        "gASVzwAAAAAAAAB9lIwBYZSMGmhhaWt1Ll9zcmMuZGF0YV9zdHJ1Y3R1cmVzlIwKRnJvemVuTGlzdJSTlF2UjBZudW1weS5f"
        "Y29yZS5tdWx0aWFycmF5lIwMX3JlY29uc3RydWN0lJOUjAVudW1weZSMB25kYXJyYXmUk5RLAIWUQwFilIeUUpQoSwFLA4WU"
        "aAmMBWR0eXBllJOUjAJmNJSJiIeUUpQoSwOMATyUTk5OSv////9K/////0sAdJRiiUMMAACAPwAAAMAAAAA/lHSUYmGFlFKU"
        "cy4="
    ),
    "0.0.9, FlatMap": (
        "gASVewEAAAAAAACMGmhhaWt1Ll9zcmMuZGF0YV9zdHJ1Y3R1cmVzlIwLRmxhdE1hcHBpbmeUk5R9lCiMBmxpbmVhcpRoAn2U"
        "KIwBd5SMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJheZSTlEsAhZRD"
        "AWKUh5RSlChLAUsCSwOGlGgKjAVkdHlwZZSTlIwCZjSUiYiHlFKUKEsDjAE8lE5OTkr/////Sv////9LAHSUYolDGAAAAAAA"
        "AIA+AAAAPwAAQD8AAIA/AACgP5R0lGKMAWKUaAloDEsAhZRoDoeUUpQoSwFLA4WUaBaJQwwAAIA/AAAAwAAAAD+UdJRidYWU"
        "UpSMCmxpbmVhci9+L26UaAJ9lIwBc5RoCWgMSwCFlGgOh5RSlChLAUsBhZRoE4wCaTSUiYiHlFKUKEsDaBdOTk5K/////0r/"
        "////SwB0lGKJQwQHAAAAlHSUYnOFlFKUdYWUUpQu"
    ),
    "0.0.16, FlatMap of JAX arrays": (
        "gASVyQEAAAAAAACMGmhhaWt1Ll9zcmMuZGF0YV9zdHJ1Y3R1cmVzlIwLRmxhdE1hcHBpbmeUk5R9lCiMBmxpbmVhcpRoAn2U"
        "KIwBYpSMDmpheC5fc3JjLmFycmF5lIwSX3JlY29uc3RydWN0X2FycmF5lJOUKIwWbnVtcHkuX2NvcmUubXVsdGlhcnJheZSM"
        "DF9yZWNvbnN0cnVjdJSTlIwFbnVtcHmUjAduZGFycmF5lJOUSwCFlEMBYpSHlChLAUsDhZRoDYwFZHR5cGWUk5SMAmY0lImI"
        "h5RSlChLA4wBPJROTk5K/////0r/////SwB0lGKJQwwAAIA/AAAAwAAAAD+UdJR9lIwJd2Vha190eXBllIlzdJRSlIwBd5Ro"
        "CShoDGgPSwCFlGgRh5QoSwFLAksDhpRoGIlDGAAAAAAAAIA+AAAAPwAAQD8AAIA/AACgP5R0lH2UaB6Jc3SUUpR1hZRSlIwK"
        "bGluZWFyL34vbpRoAn2UjAFzlGgJKGgMaA9LAIWUaBGHlChLAUsBhZRoFYwCaTSUiYiHlFKUKEsDaBlOTk5K/////0r/////"
        "SwB0lGKJQwQHAAAAlHSUfZRoHolzdJRSlHOFlFKUdYWUUpQu"
    ),
}
HAIKU_VALUES = {
    "linear/w": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "linear/b": np.array([1, -2, 0.5], np.float32),
    "linear/~/n/s": np.array([7], np.int32),
}


@pytest.mark.parametrize("version", HAIKU)
def test_pickled_parameters_of_haiku(tmp_path: Path, version: str) -> None:
    (tmp_path / "w.pkl").write_bytes(base64.b64decode(HAIKU[version]))
    source = open_source(tmp_path / "w.pkl")
    expected = {"a/0": HAIKU_VALUES["linear/b"]} if "List" in version else HAIKU_VALUES
    assert set(source.specs) == set(expected)
    for name, values in expected.items():
        assert_same(source.read(name), values)


def test_haikus_other_names_are_refused(tmp_path: Path) -> None:
    raw = base64.b64decode(HAIKU["0.0.1, frozendict"]).replace(b"\x8c\x0afrozendict", b"\x8c\x0aotherthing")
    (tmp_path / "w.pkl").write_bytes(raw)
    with pytest.raises(SourceError, match=r"would run code: haiku\._src\.data_structures\.otherthing"):
        open_source(tmp_path / "w.pkl")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": np.ones(2), "x": Runs(print, "here")}, protocol))
    with pytest.raises(SourceError, match=r"would run code: .*print"):
        open_source(tmp_path / "w.pkl")


def test_a_pickle_without_arrays_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": None}))
    with pytest.raises(SourceError, match="the pickle contains no array") as caught:
        open_source(tmp_path / "w.pkl")
    assert caught.value.got == "a: None"


ENDLESS: list[object] = [np.ones(2)]
ENDLESS.append(ENDLESS)
JOBLIB = b"\x80\x03cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(X\5\0\0\0shapeK\x05\x85X\5\0\0\0order" + (
    b"X\1\0\0\0CX\5\0\0\0dtypecnumpy\ndtype\nX\2\0\0\0f8\x85R(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbub"
)
OBJECTS = JOBLIB.replace(b"f8", b"O8")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pickle.dumps(ENDLESS), "too many levels"),
        (b"I" + b"9" * 4_301 + b"\n.", "not a valid pickle|no array"),
        (pickle.dumps({"w": np.ones(9)}, 2)[:-20], "not a valid pickle"),
        (JOBLIB + b"\0" * 39 + b".", "40 bytes, 40 are left|40 bytes, 39 are left|not a valid pickle"),
        (JOBLIB.replace(b"K\x05\x85", b"\x8a\x08" + b"\xff" * 7 + b"\x0f\x85") + b".", "not a valid pickle"),
        (OBJECTS * 3_000, "nested pickles"),
        (b"\x80\x03cjoblib.numpy_pickle\nNDArrayWrapper\n)\x81.", "in separate files"),
    ],
    ids=["endless", "digits", "cut off", "joblib cut off", "joblib large", "joblib deep", "joblib of old"],
)
def test_a_hostile_pickle_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "w").write_bytes(raw)
    with pytest.raises(SourceError, match=message):
        PickleSource(str(tmp_path / "w"))


def test_joblib_reads_its_array_from_behind_the_state(tmp_path: Path) -> None:
    values = np.arange(5.0) / 3
    (tmp_path / "w.joblib").write_bytes(JOBLIB + values.tobytes() + b".")
    assert_same(open_source(tmp_path / "w.joblib").read("w"), values)


def test_text_that_begins_as_an_old_pickle_is_none(tmp_path: Path) -> None:
    for text in (b"(dull words end here.", b"}.", b"]]].", b"cfoo bar.\n", b"(d"):
        (tmp_path / "t").write_bytes(text)
        with pytest.raises(SourceError):
            open_source(tmp_path / "t")
