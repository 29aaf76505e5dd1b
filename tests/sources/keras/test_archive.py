"""``.keras`` archives: the names that Keras shows, and archives that are not to be trusted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tests.sources.keras.building import BUILDERS, assert_same, fill, model_tensors, weights_of
from tfpt.errors import SourceError


def repack(path: Path, out: Path, change=None, compression: int = zipfile.ZIP_STORED) -> Path:
    """The archive again, its members changed by ``change(name, content)``; `None` leaves one out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name) if change is None else change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out


@pytest.fixture(scope="session")
def plain(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "plain.keras"
    model("plain").save(path)
    return path


@pytest.mark.parametrize("name", BUILDERS)
def test_names_and_values_are_those_of_model_weights(model, name, tmp_path: Path) -> None:
    built = model(name)
    built.save(tmp_path / "m.keras")
    source = tfpt.open_source(tmp_path / "m.keras")
    expected = weights_of(built)
    assert set(source.specs) == set(expected)
    for path, values in expected.items():
        assert_same(source.read(path), values)
    assert source.config["class_name"] == type(built).__name__
    source.close()


def test_raw_paths_and_the_names_after_loading_are_aliases(model, keras, plain: Path) -> None:
    source = tfpt.open_source(plain)
    assert source.aliases["layers/dense/vars/0"] == "my_dense/kernel"
    assert_same(source.read("layers/dense/vars/0"), source.read("my_dense/kernel"))
    loaded = keras.models.load_model(plain)
    for path, values in weights_of(loaded).items():
        assert_same(source.read(path), values)


def test_an_optimizer_keeps_its_paths(trained, tmp_path: Path) -> None:
    trained.save(tmp_path / "m.keras")
    source = tfpt.open_source(tmp_path / "m.keras")
    assert set(model_tensors(source)) == set(weights_of(trained))
    assert source.roles["optimizer/vars/0"] == "counter"
    assert source.roles["optimizer/vars/1"] == "slot"


def test_layers_of_other_people_keep_the_paths_of_the_file_below_their_name(keras, tmp_path: Path) -> None:
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.proj = layers.Dense(3, name="query")
            self.more = [layers.Dense(3), layers.Dense(3)]

        def build(self, shape):
            self.scale = self.add_weight(shape=(3,), name="scale")
            for layer in (self.proj, *self.more):
                layer.build(shape)

        def call(self, x):
            return self.more[1](self.more[0](self.proj(x))) * self.scale

    class Dense(layers.Layer):  # of a name that Keras has too
        def build(self, shape):
            self.b = self.add_weight(shape=(3,), name="shift")
            self.a = self.add_weight(shape=(3, 3), name="matrix")

        def call(self, x):
            return x @ self.a + self.b

    x = keras.Input((3,))
    built = keras.Model(x, layers.Dense(2, name="head")(Dense(name="mine")(Block(name="block")(x))))
    fill(built)
    built.save(tmp_path / "m.keras")
    source = tfpt.open_source(tmp_path / "m.keras")
    assert list(source.specs) == [
        "head/kernel",
        "head/bias",
        *(f"block/{part}/vars/{n}" for part in ("more/dense", "more/dense_1", "proj") for n in (0, 1)),
        "block/vars/0",
        "mine/vars/0",
        "mine/vars/1",
    ]
    expected = weights_of(built)
    assert_same(source.read("block/proj/vars/0"), expected["block/query/kernel"])
    assert_same(source.read("mine/vars/1"), expected["mine/matrix"])
    assert_same(source.read("head/kernel"), expected["head/kernel"])


def test_a_model_that_is_a_class_of_its_own_keeps_the_paths(keras, tmp_path: Path) -> None:
    class Net(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.head = keras.layers.Dense(2)

        def call(self, x):
            return self.head(x)

    built = Net()
    built(np.ones((1, 3), np.float32))
    built.save(tmp_path / "m.keras")
    source = tfpt.open_source(tmp_path / "m.keras")
    assert list(source.specs) == ["head/vars/0", "head/vars/1"]
    assert_same(source.read("head/vars/0"), np.asarray(built.head.kernel))


def test_a_variable_that_is_saved_twice_has_its_name_once(keras, tmp_path: Path) -> None:
    layers = keras.layers
    inner = layers.Dense(3, name="inner")
    built = keras.Sequential([keras.Input((5,)), layers.SpectralNormalization(inner, name="sn")], name="net")
    built.save(tmp_path / "m.keras")
    source = tfpt.open_source(tmp_path / "m.keras")
    assert set(source.specs) == {*weights_of(built), "net/sn/vars/0"}
    assert_same(source.read("net/sn/vars/0"), source.read("net/sn/inner/kernel"))


def test_where_file_and_configuration_disagree_paths_are_names(plain: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"my_dense", b"another") if name == "config.json" else content

    source = tfpt.open_source(repack(plain, tmp_path / "m.keras", change))
    assert "layers/dense/vars/0" in source.specs
    assert "bn/gamma" in source.specs


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"config": 5}', b"[" * 100_000, b'{"class_name": "Functional"}']
)
def test_without_a_configuration_paths_are_names(plain: Path, tmp_path: Path, content: bytes) -> None:
    changed = repack(plain, tmp_path / "m.keras", lambda name, c: content if name == "config.json" else c)
    source = tfpt.open_source(changed)
    assert "layers/dense/vars/0" in source.specs
    assert len(source.specs) == len(tfpt.open_source(plain).specs)


def test_a_compressed_archive_is_unpacked(plain: Path, tmp_path: Path) -> None:
    packed = repack(plain, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED)
    ours, theirs = tfpt.open_source(packed), tfpt.open_source(plain)
    for name in theirs.specs:
        assert_same(ours.read(name), theirs.read(name))
    assert ours.fingerprint() == theirs.fingerprint()


def test_a_stored_archive_is_read_in_place(plain: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", None)  # nothing is unpacked
    source = tfpt.open_source(plain)
    assert source.read("my_dense/kernel").shape == (7, 4)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../b", "C:/x", "..\\evil"])
def test_members_that_lie_outside_are_refused(plain: Path, tmp_path: Path, name: str) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(SourceError, match="lies outside"):
        tfpt.open_source(changed)


def test_a_member_twice_is_refused(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    with zipfile.ZipFile(changed, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(SourceError, match="twice"):
        tfpt.open_source(changed)


def test_an_archive_with_weights_of_another_kind_says_so(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras", lambda name, c: None if name.endswith(".h5") else c)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("model.weights.npz", b"")
    with pytest.raises(SourceError, match="no weights that tfpt reads") as caught:
        tfpt.open_source(changed)
    assert caught.value.got == "model.weights.npz"


def test_a_member_that_claims_more_than_its_bytes_can_fill_is_refused(plain: Path, tmp_path: Path) -> None:
    packed = repack(plain, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED)
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        size = archive.getinfo("model.weights.h5").file_size
    place = content.rfind(size.to_bytes(4, "little"))  # in the central directory
    content[place : place + 4] = (3 << 30).to_bytes(4, "little")
    packed.write_bytes(content)
    with pytest.raises(SourceError, match="claims a size"):
        tfpt.open_source(packed)


def test_a_damaged_member_fails_its_checksum(plain: Path, tmp_path: Path) -> None:
    packed = repack(plain, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED)
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        place = archive.getinfo("model.weights.h5").header_offset + 2000
    content[place] ^= 255
    packed.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read"):
        tfpt.open_source(packed)


def test_an_archive_that_is_cut_off_is_refused(plain: Path, tmp_path: Path) -> None:
    content = plain.read_bytes()
    for size in range(40, len(content), len(content) // 23):
        (tmp_path / "m.keras").write_bytes(content[:size])
        with pytest.raises(SourceError):
            tfpt.open_source(tmp_path / "m.keras")


def test_the_metadata_tell_the_version(keras, plain: Path) -> None:
    source = tfpt.open_source(plain)
    assert source.keras_version == keras.__version__
    with zipfile.ZipFile(plain) as archive:
        assert source.config == json.loads(archive.read("config.json"))
