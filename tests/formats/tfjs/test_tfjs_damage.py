"""Manifests and shards that are damaged, incomplete or hostile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import DATA
from tests.growth import assert_linear
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.tfjs.source import TfjsSource
from tfpt.io import limits

TFJS = DATA / "tfjs"


def save(folder: Path, weights: list, shards: dict[str, bytes]) -> Path:
    """A model of one group."""
    group = {"paths": list(shards), "weights": weights}
    (folder / "model.json").write_text(json.dumps({"format": "layers-model", "weightsManifest": [group]}))
    for name, content in shards.items():
        (folder / name).write_bytes(content)
    return folder / "model.json"


def floats(*names: str, size: int = 3) -> list:
    return [{"name": name, "shape": [size], "dtype": "float32"} for name in names]


VALUES = np.arange(12, dtype="<f4").tobytes()
FOUR = floats("a", "b", "c", "d")


def refusal(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_source(path)
    return caught.value


@pytest.mark.parametrize("change", [-1, 1, -12, 12, -48])
def test_shards_of_another_size_are_refused(change: int, tmp_path: Path) -> None:
    content = VALUES[:change] if change < 0 else VALUES + bytes(change)
    error = refusal(save(tmp_path, FOUR, {"s1": content[:20], "s2": content[20:]}))
    assert error.what == "the shards do not match the manifest"
    assert error.expected == "48 bytes in s1, s2"
    assert error.got == f"{48 + change} bytes"


def test_a_pointer_of_git_lfs_in_place_of_a_shard_is_named(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 48\n"
    error = refusal(save(tmp_path, FOUR, {"s1": pointer}))
    assert error.hint == "s1 is a Git LFS pointer, not the file itself: git lfs pull"


def test_without_any_shard_the_shards_are_named(tmp_path: Path) -> None:
    path = save(tmp_path, FOUR, {"s1": VALUES[:20], "s2": VALUES[20:]})
    for name in ("s1", "s2"):
        (tmp_path / name).unlink()
    error = refusal(path)
    assert error.what == "all shards of this model are missing: its weights are in them"
    assert error.expected == "in the same folder: s1, s2"
    assert error.where == str(path)


@pytest.mark.parametrize(
    ("gone", "skipped"), [("s1", "ab"), ("s2", "bcd"), ("s3", "d")], ids=["first", "middle", "last"]
)
def test_tensors_of_a_missing_shard_are_skipped(gone: str, skipped: str, tmp_path: Path) -> None:
    # 20, 20 and 8 bytes: the writers' shards are of one size, the last one smaller. b and d cross borders.
    path = save(tmp_path, FOUR, {"s1": VALUES[:20], "s2": VALUES[20:40], "s3": VALUES[40:]})
    (tmp_path / gone).unlink()
    source = open_source(path)
    assert source.skipped == dict.fromkeys(skipped, f"in {gone}, which is missing")
    for place, name in enumerate("abcd"):
        if name not in skipped:
            assert source.read(name).tolist() == [3 * place, 3 * place + 1, 3 * place + 2]
    with pytest.raises(SourceError, match="cannot be read: in s"):
        source.read(skipped[0])


@pytest.mark.parametrize(
    ("sizes", "gone", "changed"),
    [
        ([3, 3, 4, 2], (1,), {}),  # of unequal sizes
        ([5, 5, 2], (1,), {2: 1}),  # the last one cut off: it does not add up
        ([5, 5, 5, 2], (1,), {0: 4}),  # the first one cut off
        ([3, 2, 3, 4, 2], (1, 3), {}),  # two of three would add up, and be wrong
        ([3, 3, 3, 3, 2], (1, 3), {}),
        ([5, 2], (0,), {}),  # nothing to compare with
    ],
)
def test_what_lies_behind_a_missing_shard_is_not_guessed(
    sizes: list[int], gone: tuple[int, ...], changed: dict[int, int], tmp_path: Path
) -> None:
    ends = np.cumsum([0, *sizes])
    parts = [np.arange(begin, end, dtype="<f4") for begin, end in pairwise(ends)]
    names = [f"w{n}" for n in range(ends[-1])]
    path = save(
        tmp_path,
        floats(*names, size=1),
        {f"s{n}": part[: changed.get(n)].tobytes() for n, part in enumerate(parts)},
    )
    for n in gone:
        (tmp_path / f"s{n}").unlink()
    source = open_source(path)
    first = gone[0]
    there = sum(changed.get(n, size) for n, size in enumerate(sizes[:first]))
    assert list(source.specs) == names[:there]
    assert [source.read(name).item() for name in source.specs] == list(range(there))
    assert set(source.skipped.values()) == {f"in or after s{first}, which is missing"}


def test_a_missing_shard_of_the_usual_size_is_known_by_it(tmp_path: Path) -> None:
    size = 1 << 20
    path = save(tmp_path, [*floats("a", size=size), *FOUR[1:]], {"s0": b"", "s1": VALUES[:36]})
    (tmp_path / "s0").unlink()
    source = open_source(path)
    assert source.skipped == {"a": "in s0, which is missing"}
    assert [source.read(name)[0] for name in "bcd"] == [0, 3, 6]


def test_too_long_shards_are_refused_though_one_is_missing(tmp_path: Path) -> None:
    path = save(tmp_path, FOUR, {"s1": VALUES + bytes(9), "s2": b"x"})
    (tmp_path / "s2").unlink()
    assert refusal(path).got == "57 bytes"


@pytest.mark.parametrize(
    "name",
    [
        "../w.bin",
        "sub/../../w.bin",
        "/etc/passwd",
        "\\\\host\\w.bin",
        "..\\w.bin",
        "C:\\w.bin",
        "https://example.org/w.bin",
        "file:///etc/passwd",
        "memory://w.bin",
        "~/w.bin",
        "",
        ".",
        "..",
        "w\0.bin",
        7,
        None,
        ["w.bin"],
    ],
)
def test_shards_outside_the_folder_are_refused(name: object, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(VALUES)
    path = tmp_path / "m" / "model.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"format": "x", "weightsManifest": [{"paths": [name], "weights": FOUR}]}))
    assert refusal(path).what.startswith("not a valid TensorFlow.js manifest: a shard ")


def lying(**changes: object) -> Callable[[], list]:
    return lambda: [{**FOUR[0], **changes}]


@pytest.mark.parametrize(
    "weights",
    [
        lying(shape=[-3]),
        lying(shape=[3.0]),
        lying(shape=[True]),
        lying(shape="3"),
        lying(shape=None),
        lying(shape=[1] * 33),
        lying(shape=[1 << 40, 1 << 40]),
        lying(name=None),
        lying(name=""),
        lying(dtype=None),
        lambda: [FOUR[0], FOUR[0]],
        lambda: ["w"],
        lambda: [None],
    ],
)
def test_entries_that_describe_no_weight_are_refused(weights: Callable[[], list], tmp_path: Path) -> None:
    error = refusal(save(tmp_path, weights(), {"w.bin": VALUES}))
    assert error.what.startswith("not a valid TensorFlow.js manifest: ")


def test_a_shape_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    error = refusal(save(tmp_path, lying(shape=[1 << 40])(), {"w.bin": VALUES}))
    assert error.what == "the shards do not match the manifest"


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "layers-model", "weightsManifest": 7}',
        '{"format": "layers-model"}',
        '{"format": "layers-model", "weightsManifest": [{}]}',
        '{"format": "layers-model", "weightsManifest": [[]]}',
        '{"format": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"format": ' + "9" * 5_000 + "}",
        '{"format": "layers-model", "weights',
        '[{"weights": [], "paths": {}}]',
    ],
)
def test_damaged_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    assert refusal(tmp_path / "model.json").what.startswith("not a valid TensorFlow.js manifest: ")


def test_a_manifest_of_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "model.json", "wb") as file:
        file.write(b'{"format": "layers-model", ')
        file.truncate(1 << 30)
    assert refusal(tmp_path / "model.json").got == f"{1 << 30:,} bytes"


def test_a_shard_that_comes_twice_and_too_many_shards_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, FOUR, {"s1": VALUES[:24]})
    group = {"paths": ["s1", "./s1"], "weights": FOUR}
    path.write_text(json.dumps({"format": "x", "weightsManifest": [group]}))
    assert "duplicate shard 's1'" in refusal(path).what
    group["paths"] = [f"s{n}" for n in range(limits.TFJS_SHARDS + 1)]
    path.write_text(json.dumps({"format": "x", "weightsManifest": [group]}))
    assert "too many shards" in refusal(path).what


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": "float99"}, "its dtype 'float99' is not a dtype of TensorFlow.js"),
        ({"quantization": {"dtype": "int4", "scale": 1, "min": 0}}, "its quantization is unknown"),
        ({"quantization": 7}, "its quantization is unknown"),
    ],
)
def test_what_is_not_known_is_skipped_with_what_lies_behind(
    change: dict, reason: str, tmp_path: Path
) -> None:
    path = save(tmp_path, [FOUR[0], {**FOUR[1], **change}, FOUR[2]], {"w.bin": VALUES[:36]})
    source = open_source(path)
    assert source.read("a").tolist() == [0, 1, 2]
    assert source.skipped["b"].startswith(reason)
    assert source.skipped["c"].startswith("after 'b', whose size is unknown")


@pytest.mark.parametrize(
    "how",
    [
        {"dtype": "uint8"},
        {"dtype": "uint8", "scale": "1", "min": 0},
        {"dtype": "uint8", "scale": float("nan"), "min": 0},
        {"dtype": "uint8", "scale": 1, "min": float("inf")},
        {"dtype": "uint8", "scale": 1e38, "min": 0},
        {"dtype": "uint8", "scale": 10**400, "min": 0},
        {"dtype": "uint16", "scale": True, "min": 0},
    ],
)
def test_scales_that_give_no_number_are_skipped_alone(how: dict, tmp_path: Path) -> None:
    width = 1 if how["dtype"] == "uint8" else 2
    path = save(
        tmp_path, [{**FOUR[0], "quantization": how}, FOUR[1]], {"w.bin": bytes(3 * width) + VALUES[:12]}
    )
    source = open_source(path)
    assert source.skipped["a"].startswith("its scale and minimum do not yield float32")
    assert source.read("b").tolist() == [0, 1, 2]


def test_int32_is_quantized_and_rounded_as_tensorflowjs_does(tmp_path: Path) -> None:
    how = {"dtype": "uint8", "scale": 0.7, "min": -3}
    entry = {"name": "w", "shape": [256], "dtype": "int32", "quantization": how}
    stored = np.arange(256, dtype=np.uint8)
    source = open_source(save(tmp_path, [entry], {"w.bin": stored.tobytes()}), dequantize=True)
    assert source.read("w").dtype == np.int32
    assert np.array_equal(source.read("w"), np.round(stored * 0.7 - 3).astype(np.int32))


def test_quantized_as_what_does_not_fit_is_skipped(tmp_path: Path) -> None:
    how = {"dtype": "float16"}
    entry = {"name": "w", "shape": [3], "dtype": "int32", "quantization": how}
    source = open_source(save(tmp_path, [entry, FOUR[0]], {"w.bin": bytes(6) + VALUES[:12]}))
    assert source.skipped == {"w": "int32 cannot be quantized as float16"}


@pytest.mark.parametrize("content", [b"\2\0\0\0a", b"\xff\xff\xff\xffabc", b"\1\0\0\0a\5\0\0\0", b""])
def test_strings_that_end_behind_the_shard_are_refused(content: bytes, tmp_path: Path) -> None:
    entry = {"name": "w", "shape": [2], "dtype": "string"}
    error = refusal(save(tmp_path, [entry], {"w.bin": content}))
    assert error.what == "the strings of tensor 'w' extend beyond the last shard"


def test_tensors_behind_strings_of_a_missing_shard_are_skipped(tmp_path: Path) -> None:
    strings = {"name": "w", "shape": [2], "dtype": "string"}
    content = VALUES[:12] + b"\2\0\0\0ab\1\0\0\0c" + VALUES[12:24]
    path = save(tmp_path, [FOUR[0], strings, FOUR[1]], {"s1": content[:20], "s2": content[20:]})
    source = open_source(path)
    assert source.read("w").tolist() == [b"ab", b"c"]
    assert source.read("b").tolist() == [3, 4, 5]
    (tmp_path / "s2").unlink()
    source = open_source(path)
    assert list(source.specs) == ["a"]
    assert set(source.skipped) == {"w", "b"}


def test_any_byte_that_is_not_zero_is_true(tmp_path: Path) -> None:
    entry = {"name": "w", "shape": [3], "dtype": "bool"}
    values = open_source(save(tmp_path, [entry], {"w.bin": b"\2\0\1"})).read("w")
    assert np.array_equal(values.view(np.uint8), [1, 0, 1])


def test_strings_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfpt.formats.tfjs.weight.TFJS_STRINGS", 10)
    entry = {"name": "w", "shape": [11], "dtype": "string"}
    assert "11 strings are more than 10" in refusal(save(tmp_path, [entry], {"w.bin": bytes(44)})).what


def test_many_weights_and_shards_cost_in_proportion(tmp_path: Path) -> None:
    def model(count: int) -> Callable[[], object]:
        folder = tmp_path / str(count)
        folder.mkdir()
        shards = {f"s{n}": bytes(4 * 30) for n in range(count // 30)}
        path = save(folder, floats(*(f"w{n}" for n in range(count)), size=1), shards)

        def read() -> None:
            source = TfjsSource(str(path))
            for name in source.specs:
                source.read(name)

        return read

    assert_linear(model(1_500), model(6_000))


@settings(max_examples=150)
@given(data=st.data())
def test_no_damage_of_a_manifest_or_a_shard_escapes(data: st.DataObject, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("m")
    shutil.copytree(
        TFJS / data.draw(st.sampled_from(["layers", "quantized", "graph"])), folder, dirs_exist_ok=True
    )
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.integers(0, 255))
    else:
        del content[at : at + data.draw(st.integers(1, 40))]
    path.write_bytes(content)
    manifest = next(folder.glob("*.json"))
    with suppress(SourceError):  # or it is read: a byte of a value may be any
        source = open_source(manifest, dequantize=True)
        for name, spec in source.specs.items():
            assert source.read(name).shape == spec.shape
    # Behind the border an exception of any kind would be a SourceError, too.
    with suppress(SourceError):
        inner = TfjsSource(str(manifest), dequantize=True)
        for name in inner.specs:
            inner.read(name)
    shutil.rmtree(folder)


def test_strings_are_counted_through_windows_and_in_proportion(tmp_path: Path) -> None:
    def model(count: int) -> Callable[[], object]:
        words = [b"x" * (n % 37) for n in range(count)] + [b"y" * 200_000]
        content = b"".join(len(word).to_bytes(4, "little") + word for word in words)
        folder = tmp_path / str(count)
        folder.mkdir()
        entry = {"name": "w", "shape": [count + 1], "dtype": "string"}
        shards = {f"s{at}": content[at : at + 99_991] for at in range(0, len(content), 99_991)}
        path = save(folder, [entry, FOUR[0]], {**shards, "last": VALUES[:12]})

        def read() -> None:
            source = TfjsSource(str(path))
            assert source.read("w").tolist() == words
            assert source.read("a").tolist() == [0, 1, 2]

        return read

    assert_linear(model(10_000), model(40_000))
