"""Weights in several files are read as the one file they would be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.serving import serving
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.pytorch.shards import ShardedSource

SAFE, BIN = "model.safetensors.index.json", "pytorch_model.bin.index.json"
WEIGHTS = {
    "b.weight": torch.arange(35, dtype=torch.float32).reshape(5, 7),
    "a.weight": torch.arange(3, dtype=torch.bfloat16),
    "a.steps": torch.tensor(7),
}
SHARD_OF = {"b.weight": 2, "a.weight": 1, "a.steps": 2}


def save(folder: Path, index: str, extra: dict[str, torch.Tensor] | None = None) -> Path:
    """Two shards, and the index that says where each tensor is."""
    folder.mkdir(exist_ok=True)
    stem, ending = ("model", "safetensors") if index == SAFE else ("pytorch_model", "bin")
    names = {number: f"{stem}-{number:05}-of-00002.{ending}" for number in (1, 2)}
    for number, file in names.items():
        tensors = {name: tensor for name, tensor in WEIGHTS.items() if SHARD_OF[name] == number}
        tensors |= extra or {}
        if index == SAFE:
            save_file(tensors, folder / file)
        else:
            torch.save(tensors, folder / file)
    table = {name: names[number] for name, number in SHARD_OF.items()}
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 154}, "weight_map": table}))
    return folder / index


@pytest.mark.parametrize("index", [SAFE, BIN])
@pytest.mark.parametrize("by_folder", [False, True])
def test_tensors_of_all_shards_are_read(tmp_path: Path, index: str, by_folder: bool) -> None:
    path = save(tmp_path / "m", index)
    source = ShardedSource(path.parent if by_folder else path)
    assert source.location == str(path)
    assert list(source.specs) == list(SHARD_OF)
    for name, tensor in WEIGHTS.items():
        values = source.read(name)
        assert values.shape == source.specs[name].shape == tuple(tensor.shape)
        assert f"torch.{source.specs[name].dtype}" == str(tensor.dtype)
        assert np.array_equal(values.astype(np.float64), tensor.double().numpy())
        source.release(name)
    assert source.metadata == {"total_size": 154}
    assert not source.skipped
    assert source.side == "pt"
    source.close()
    with pytest.raises(SourceError, match="closed"):
        source.read("a.steps")


def test_safetensors_come_before_torch_and_two_of_a_kind_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    save(folder, BIN)
    save(folder, SAFE)
    assert ShardedSource(folder).location == str(folder / SAFE)
    (folder / "model.fp16.safetensors.index.json").write_text((folder / SAFE).read_text())
    with pytest.raises(SourceError, match="more than one index"):
        ShardedSource(folder)
    with pytest.raises(SourceError, match="no index of shards"):
        ShardedSource(tmp_path)


@pytest.mark.parametrize("index", [SAFE, BIN])
def test_the_tensors_of_a_missing_shard_are_skipped_with_the_reason(tmp_path: Path, index: str) -> None:
    path = save(tmp_path / "m", index)
    (gone,) = path.parent.glob("*00001-of-00002.*")
    gone.unlink()
    source = ShardedSource(path)
    assert source.skipped == {"a.weight": f"in {gone.name}, which is missing"}
    assert list(source.specs) == ["b.weight", "a.steps"]
    assert source.read("a.steps").item() == 7
    with pytest.raises(SourceError, match=r"'a\.weight' cannot be read: in .*, which is missing"):
        source.read("a.weight")
    for left in path.parent.glob("*00002-of-00002.*"):
        left.unlink()
    with pytest.raises(SourceError, match="a shard is missing") as caught:
        ShardedSource(path)
    assert caught.value.where == str(path.parent / caught.value.got.rpartition(" ")[2])


def test_a_shard_without_its_tensor_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = save(tmp_path / "m", SAFE)
    content = json.loads(path.read_text())
    content["weight_map"]["b.weights"] = "model-00002-of-00002.safetensors"
    path.write_text(json.dumps(content))
    with pytest.raises(SourceError, match=r"lacks the tensor 'b\.weights'") as caught:
        ShardedSource(path)
    assert caught.value.nearest[0] == "b.weight"


def test_tensors_that_the_index_does_not_list_are_said(tmp_path: Path) -> None:
    source = ShardedSource(save(tmp_path / "m", SAFE, {"more": torch.zeros(1)}))
    assert list(source.skipped) == ["more"]
    assert "more" not in source.specs


@pytest.mark.parametrize(
    "file",
    ["../x", "/etc/passwd", "a/../../x", "..", "a\\..\\x", "C:\\x", "C:x", "http://a/x", "~/x", "\\x", ""],
)
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / SAFE).write_text(json.dumps({"weight_map": {"w": file}}))
    with pytest.raises(SourceError, match="outside the folder"):
        ShardedSource(tmp_path)


BAD = {
    "empty": ("", "not JSON"),
    "no JSON": ("{", "not JSON"),
    "a list": ("[]", "no weight_map"),
    "no map": ('{"weight_map": []}', "no weight_map"),
    "no file": ('{"weight_map": {"w": 3}}', "has no file"),
    "files": ('{"weight_map": {"w": ["a", "b"]}}', "has no file"),
    "a name twice": ('{"weight_map": {"w": "a", "w": "b"}}', "duplicate key 'w'"),
    "deep": ('{"a":' * 100_000, "not JSON"),
    "zero byte": ('{"weight_map": {"w": "a\\u0000"}}', "missing"),
    "lone surrogate": ('{"weight_map": {"w": "\\ud800"}}', "missing"),
    "a folder": ('{"weight_map": {"w": "."}}', "missing"),
    "itself": ('{"weight_map": {"w": "model.safetensors.index.json"}}', "another format"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_index_is_refused(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    (tmp_path / SAFE).write_text(text)
    with pytest.raises(SourceError, match=message):
        ShardedSource(tmp_path)


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no tensor") as caught:
        ShardedSource(save(tmp_path / "m", SAFE)).read("a.weigth")
    assert caught.value.nearest[0] == "a.weight"


def test_what_the_readers_of_the_shards_skip_and_quantize_is_passed_on(tmp_path: Path) -> None:
    path = save(tmp_path / "m", BIN)
    shard = path.parent / "pytorch_model-00001-of-00002.bin"
    quantized = torch.quantize_per_tensor(torch.arange(3.0), 0.5, -3, torch.qint8)
    blocks = torch.eye(4).to_sparse_bsr((2, 2))
    torch.save({"a.weight": quantized, "a.blocks": blocks, "a.more": blocks}, shard)
    content = json.loads(path.read_text())
    content["weight_map"]["a.blocks"] = shard.name
    path.write_text(json.dumps(content))
    source = ShardedSource(path)
    assert source.skipped == {"a.blocks": "torch.sparse_bsr tensor", "a.more": "torch.sparse_bsr tensor"}
    assert str(source.quantized["a.weight"]) == "scale 0.5, zero point -3"
    assert np.array_equal(source.read("a.weight"), quantized.int_repr().numpy())
    real = open_source(path, dequantize=True)
    assert not real.quantized
    assert np.array_equal(real.read("a.weight"), quantized.dequantize().numpy())


@pytest.mark.parametrize("value", ["null", "7", "[null]", "[[]]", "9" * 4_301])
def test_a_shard_of_no_name_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / SAFE).write_text(f'{{"weight_map": {{"w": {value}}}}}')
    for place in (tmp_path, tmp_path / SAFE):
        with pytest.raises(SourceError, match=r"has no file|not JSON|does not know the format"):
            open_source(place)


@pytest.mark.parametrize("index", [SAFE, BIN])
def test_shards_on_a_web_server(tmp_path: Path, index: str) -> None:
    path = save(tmp_path / "m", index)
    with serving() as web:
        web.add(*path.parent.iterdir())
        source = open_source(f"{web.url}/m/{path.name}")
        for name, tensor in WEIGHTS.items():
            assert np.array_equal(source.read(name).astype(np.float64), tensor.double().numpy())


@pytest.mark.parametrize("index", [SAFE, BIN])
def test_the_fingerprint_follows_the_content(tmp_path: Path, index: str) -> None:
    first = ShardedSource(save(tmp_path / "a", index)).fingerprint()
    assert ShardedSource(save(tmp_path / "b", index)).fingerprint() == first
    changed = save(tmp_path / "c", index, {"b.weight": torch.zeros(5, 7)})
    assert ShardedSource(changed).fingerprint() != first
