"""Tensors that are not plain: quantized, sparse, expanded, in tuples; what torch makes of them is the oracle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.serving import serving
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.pytorch.torch import TorchSource
from tfpt.io import limits

WEIGHT = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
SCALES = torch.rand(7, generator=torch.Generator().manual_seed(5), dtype=torch.double) + 0.01
QUANTIZED = {
    "int8": torch.quantize_per_tensor(WEIGHT, 0.05, -3, torch.qint8),
    "uint8": torch.quantize_per_tensor(WEIGHT, 0.031, 128, torch.quint8),
    "int32": torch.quantize_per_tensor(WEIGHT, 1e-7, 0, torch.qint32),
    "transposed": torch.quantize_per_tensor(WEIGHT, 0.05, -3, torch.qint8).t(),
    "channels": torch.quantize_per_channel(WEIGHT, SCALES, torch.arange(7), 1, torch.qint8),
    "fractions": torch.quantize_per_channel(
        WEIGHT, SCALES[:5].float(), torch.arange(5) + 0.5, 0, torch.quint8
    ),
}
SPARSE = {
    "coo": WEIGHT.relu().to_sparse(),
    "twice": torch.sparse_coo_tensor(torch.tensor([[0, 0, 2], [1, 1, 3]]), torch.tensor([1.0, 2, 3]), (5, 7)),
    "hybrid": torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.ones(2, 3), (5, 3)),
    "bfloat16": torch.sparse_coo_tensor(torch.tensor([[0, 0]]), torch.tensor([1.0, 2]).bfloat16(), (5,)),
    "csr": WEIGHT.relu().to_sparse_csr(),
    "csc": WEIGHT.relu().to_sparse_csc(),
    "nothing": torch.zeros(5, 7).to_sparse(),
}


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path):
    def run(content: object) -> Path:
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=request.param)
        return tmp_path / "w.pth"

    return run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_tensors_are_integers_that_stand_for_real_numbers(save, name: str) -> None:
    tensor = QUANTIZED[name]
    path = save({"w": tensor, "plain": WEIGHT})
    source, real = open_source(path), open_source(path, dequantize=True)
    assert source.specs["w"].dtype == str(tensor.int_repr().dtype).removeprefix("torch.")
    assert np.array_equal(source.read("w"), tensor.int_repr().numpy())
    assert list(source.quantized) == ["w"]
    how = source.quantized["w"]
    if tensor.qscheme() is torch.per_tensor_affine:
        assert (how.scales, how.zero_points, how.axis) == (
            (tensor.q_scale(),),
            (tensor.q_zero_point(),),
            None,
        )
    else:
        assert how.scales == tuple(tensor.q_per_channel_scales().tolist())
        assert how.zero_points == tuple(tensor.q_per_channel_zero_points().tolist())
        assert how.axis == tensor.q_per_channel_axis()
    assert real.specs["w"].dtype == "float32"
    assert not real.quantized
    np.testing.assert_allclose(real.read("w"), tensor.dequantize().numpy(), rtol=3e-7, atol=1e-7)
    assert np.array_equal(real.read("plain"), WEIGHT.numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SPARSE)
def test_sparse_tensors_are_read_with_their_zeros(save, name: str) -> None:
    source = TorchSource(save({"w": SPARSE[name], "plain": WEIGHT}))
    dense = SPARSE[name].to_dense()
    assert source.specs["w"].shape == tuple(dense.shape)
    assert np.array_equal(source.read("w").astype(np.float64), dense.double().numpy())
    assert not source.skipped


def test_indices_outside_of_a_sparse_tensor_are_refused(save) -> None:
    wrong = torch.sparse_coo_tensor(torch.tensor([[0, 9]]), torch.ones(2), (5,), check_invariants=False)
    source = TorchSource(save({"w": wrong, "plain": WEIGHT}))
    with pytest.raises(SourceError, match="an index of a sparse tensor is out of range"):
        source.read("w")


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_layer_keeps_its_weight_in_a_tuple(save) -> None:
    """What torch.ao.nn.quantized.Linear has in its state dict."""
    content = {
        "fc.scale": torch.tensor(0.5),
        "fc._packed_params.dtype": torch.qint8,
        "fc._packed_params._packed_params": (QUANTIZED["int8"], None),
    }
    source = TorchSource(save(content))
    name = "fc._packed_params._packed_params"
    assert np.array_equal(source.read(f"{name}.0"), QUANTIZED["int8"].int_repr().numpy())
    assert source.skipped == {f"{name}.1": "NoneType", "fc._packed_params.dtype": "torch.qint8"}


def test_expanded_tensors_are_read_within_bounds(save) -> None:
    content = {
        "plain": WEIGHT,
        "small": torch.ones(1).expand(3, 5),
        "large": torch.ones(1).expand(900_000_000),
        "absurd": torch.ones(1).expand(10**12),
    }
    path = save(content)
    source = TorchSource(path)
    assert list(source.specs) == ["plain", "small"]
    assert np.array_equal(source.read("small"), np.ones((3, 5), np.float32))
    size = f"expanded from a file of {path.stat().st_size:,}"
    assert source.skipped == {
        "large": f"3,600,000,000 bytes, {size}",
        "absurd": f"4,000,000,000,000 bytes, {size}",
    }


def test_a_sparse_tensor_is_bounded_as_well(save) -> None:
    large = torch.sparse_coo_tensor(torch.zeros(1, 1).long(), torch.ones(1), (10**10,))
    places = torch.zeros(1, 1).long().expand(1, 10**10)
    many = torch.sparse_coo_tensor(
        places, torch.ones(1).expand(10**10), (3,), check_invariants=False, is_coalesced=True
    )
    source = TorchSource(save({"plain": WEIGHT, "large": large, "many": many}))
    assert list(source.specs) == ["plain"]
    assert all("expanded from" in reason for reason in source.skipped.values())


def test_protocols_that_torch_itself_does_not_load_without_running_code(tmp_path: Path) -> None:
    for protocol in (3, 4, 5):
        torch.save({"w": WEIGHT}, tmp_path / "w.pth", pickle_protocol=protocol)
        assert np.array_equal(open_source(tmp_path / "w.pth").read("w"), WEIGHT.numpy())


def test_one_storage_under_many_names_is_bounded(save, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = torch.ones(1_000)
    path = save({f"w{index}": shared for index in range(300)})
    assert len(TorchSource(path).specs) == 300
    monkeypatch.setattr(limits, "EXPANDED_FREELY", 0)
    kept = len(TorchSource(path).specs)
    assert 0 < kept * 4_000 <= limits.EXPANDED_GROWTH * path.stat().st_size


def test_a_file_on_a_web_server_is_read_by_ranges(save, request: pytest.FixtureRequest) -> None:
    content = {f"l{index}.w": torch.full((256, 1024), float(index)) for index in range(12)}
    path = save(content)
    with serving() as web:
        web.add(path)
        source = open_source(f"{web.url}/m/w.pth")
        if "zip" in request.node.name:
            # The directory, the pickle and the byte order are in blocks of 256 KB; checksums tell versions apart.
            assert source.fingerprint()
            assert len(web.gets()) <= 6
            assert sum(asked.sent for asked in web.gets()) < 2 << 20
        before = len(web.gets()), sum(asked.sent for asked in web.gets())
        for index in (3, 7):
            assert np.array_equal(source.read(f"l{index}.w"), content[f"l{index}.w"].numpy())
        assert len(web.gets()) - before[0] <= 4
        assert sum(asked.sent for asked in web.gets()) - before[1] <= (2 << 20) + (512 << 10)


def test_a_changed_value_fails_its_checksum(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(999), "b": torch.arange(999)[7:11]}, tmp_path / "w.pth")
    raw = bytearray((tmp_path / "w.pth").read_bytes())
    raw[raw.index(torch.arange(900, 903).numpy().tobytes())] ^= 1
    (tmp_path / "w.pth").write_bytes(raw)
    source = open_source(tmp_path / "w.pth")
    with pytest.raises(SourceError, match="is damaged"):
        source.read("a")
    assert open_source(tmp_path / "w.pth", verify_checksums=False).read("a")[900] != 900
    assert source.read("b").tolist() == [7, 8, 9, 10]


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    serialization = torch.serialization
    serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(9)}, tmp_path / "w.pth")
    finally:
        serialization.set_crc32_options(True)
    assert open_source(tmp_path / "w.pth").read("a").tolist() == list(range(9))


def test_a_program_of_torchscript_is_refused_in_plain_words(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 5), torch.ones(2, 3)), tmp_path / "w.pt")
    with pytest.raises(SourceError, match="a TorchScript program"):
        open_source(tmp_path / "w.pt")


def test_the_other_byte_order(tmp_path: Path) -> None:
    """As a big-endian machine saves it; torch swaps what it loads."""
    content = {
        "a": torch.arange(7, dtype=torch.int32),
        "b": torch.tensor([1.0, 2.0]).bfloat16(),
        "c": torch.tensor([1 + 2j]),
    }
    widths = {28: 4, 4: 2, 8: 4}  # bytes of a member, bytes that change places
    torch.save(content, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as old, zipfile.ZipFile(tmp_path / "big.pth", "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name.endswith("byteorder"):
                member = b"big"
            if "/data/" in name:
                member = np.frombuffer(member, f"<u{widths[len(member)]}").byteswap().tobytes()
            new.writestr(name, member)
    assert all(
        torch.equal(tensor, content[name]) for name, tensor in torch.load(tmp_path / "big.pth").items()
    )
    source = TorchSource(tmp_path / "big.pth")
    for name, tensor in content.items():
        assert source.read(name).tobytes() == bytes(tensor.view(torch.uint8).tolist())
