"""``.keras`` archives: the names that Keras shows, and archives that are not to be trusted."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tests.formats.keras.building import BUILDERS, assert_same, fill, model_tensors, weights_of
from tests.serving import serving
from tfpt.errors import SourceError
from tfpt.io import limits, stores


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


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../b", "..\\evil"])
def test_members_that_lie_outside_are_refused(plain: Path, tmp_path: Path, name: str) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(SourceError, match="leads out of the archive"):
        tfpt.open_source(changed)


def test_a_member_twice_is_refused(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    with zipfile.ZipFile(changed, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(SourceError, match="two members are called"):
        tfpt.open_source(changed)


def test_an_archive_with_weights_of_another_kind_says_so(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras", lambda name, c: None if name.endswith(".h5") else c)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("model.weights.npz", b"")
    with pytest.raises(SourceError, match="no weights that tfpt can read") as caught:
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
    with pytest.raises(SourceError, match="too high a compression ratio"):
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


def flip(path: Path, name: str, distance: int) -> None:
    """Change one bit of a member, so many bytes behind the header of it."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    content[info.header_offset + 30 + len(name) + distance] ^= 1
    path.write_bytes(content)


def test_one_bit_of_the_stored_weights_fails_their_checksum(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    with zipfile.ZipFile(changed) as archive:
        content = archive.read("model.weights.h5")
    kernel = tfpt.open_source(plain).read("my_dense/kernel")
    flip(changed, "model.weights.h5", content.index(kernel.tobytes()) + 2)
    source = tfpt.open_source(changed)
    for name in ("shared/bias", "my_dense/kernel", "my_dense/kernel"):
        with pytest.raises(SourceError, match="fails its checksum") as caught:
            source.read(name)
        assert str(caught.value.where).endswith("m.keras, model.weights.h5")
    assert source.fingerprint() == tfpt.open_source(plain).fingerprint()  # the checksum is the old one
    other = tfpt.open_source(changed, verify_checksums=False).read("my_dense/kernel")
    assert (other != kernel).sum() == 1


def test_weights_of_an_archive_elsewhere_are_fetched_once(plain: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    stores.forget()
    with serving() as web:
        web.add(plain)
        source = tfpt.open_source(f"{web.url}/m/plain.keras")
        expected = tfpt.open_source(plain)
        assert source.fingerprint() == expected.fingerprint()
        before = sum(asked.sent for asked in web.gets())
        for name in expected.specs:
            assert_same(source.read(name), expected.read(name))
        assert sum(asked.sent for asked in web.gets()) - before <= plain.stat().st_size
        source.close()


def test_nothing_holds_an_archive_that_was_closed(plain: Path, tmp_path: Path) -> None:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = repack(plain, tmp_path / f"{compression}.keras", compression=compression)
        source = tfpt.open_source(path)
        kept = source.read("my_dense/kernel")
        source.close()
        held = {str(each.resolve()) for each in Path("/proc/self/fd").iterdir() if each.exists()}
        assert str(path) not in held
        assert str(path) not in Path("/proc/self/maps").read_text()
        path.write_bytes(b"")
        assert_same(kept, tfpt.open_source(plain).read("my_dense/kernel"))


def test_a_configuration_of_nothing_but_blanks_is_bounded(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
        with new.open("config.json", "w") as member:
            for _ in range(63):
                member.write(b" " * (1 << 20))
    tracemalloc.start()
    with pytest.raises(SourceError, match="too large"):
        tfpt.open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_configuration_that_is_packed_too_tightly_is_refused(
    plain: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(limits, "LARGE_MEMBER", 2 << 20)
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
        new.writestr("config.json", b" " * (8 << 20))
    with pytest.raises(SourceError, match="too high a compression ratio"):
        tfpt.open_source(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["model.weights.h5", "config.json"])
def test_damaged_members_of_every_compression_are_refused(
    plain: Path, tmp_path: Path, method: int, name: str
) -> None:
    for distance in range(0, 200, 29):
        changed = repack(plain, tmp_path / "m.keras", compression=method)
        flip(changed, name, distance)
        with contextlib.suppress(SourceError):
            source = tfpt.open_source(changed)
            for each in source.specs:
                source.read(each)
            assert distance == 0 or name == "config.json"


def test_an_encrypted_member_is_refused(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    content = bytearray(changed.read_bytes())
    place = content.rindex(b"PK\1\2", 0, content.rindex(b"model.weights.h5"))
    content[place + 8] |= 1
    changed.write_bytes(content)
    with pytest.raises(SourceError, match="encrypted"):
        tfpt.open_source(changed)


def test_members_that_share_their_bytes_are_refused(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    content = bytearray(changed.read_bytes())
    with zipfile.ZipFile(changed) as archive:
        place = archive.getinfo("model.weights.h5").header_offset
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"config.json"))
    content[entry + 42 : entry + 46] = (place + 50).to_bytes(4, "little")
    changed.write_bytes(content)
    with pytest.raises(SourceError, match="shares its bytes"):
        tfpt.open_source(changed)


def test_a_name_that_is_not_utf8_is_refused(plain: Path, tmp_path: Path) -> None:
    changed = repack(plain, tmp_path / "m.keras")
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("größer", "x")
    changed.write_bytes(changed.read_bytes().replace("größer".encode(), b"gr\xff\xff\xff\xfeer"))
    with pytest.raises(SourceError, match="cannot be read"):
        tfpt.open_source(changed)


def test_an_archive_that_is_cut_off_is_refused(plain: Path, tmp_path: Path) -> None:
    content = plain.read_bytes()
    for size in range(40, len(content), len(content) // 23):
        (tmp_path / "m.keras").write_bytes(content[:size])
        with pytest.raises(SourceError):
            tfpt.open_source(tmp_path / "m.keras")


def test_the_metadata_tell_the_version(keras, plain: Path) -> None:
    source = tfpt.open_source(plain)
    assert source.reader.keras_version == keras.__version__
    with zipfile.ZipFile(plain) as archive:
        assert source.config == json.loads(archive.read("config.json"))
