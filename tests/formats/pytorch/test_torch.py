"""Reads what `torch.save` wrote, and runs none of it."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tfpt.errors import SourceError
from tfpt.formats.pytorch.torch import TorchSource
from tfpt.tensors import DTYPES

KNOWN = [known for known in DTYPES.values() if known.torch is not None]


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path):
    """Saves an object in one of the two kinds of files there are."""

    def run(content: object) -> Path:
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=request.param)
        return tmp_path / "w.pth"

    return run


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_every_dtype_is_read_as_it_was_saved(save, known, request: pytest.FixtureRequest) -> None:
    if "legacy" in request.node.name and known.name.startswith(("uint", "float8")) and known.name != "uint8":
        pytest.skip("torch itself cannot load this dtype from the older kind of file")
    bits = np.random.default_rng(5).integers(
        0, 2 if known.name == "bool" else 256, 35 * known.itemsize, np.uint8
    )
    source = TorchSource(save({"a": torch.from_numpy(bits).view(getattr(torch, known.torch)).reshape(5, 7)}))
    values = source.read("a")
    assert str(source.specs["a"]) == f"a [5, 7] {known.name}"
    assert values.dtype == known.numpy
    assert values.shape == (5, 7)
    assert values.tobytes() == bits.tobytes()
    assert not values.flags.writeable


def test_a_model_is_read_in_its_own_order_with_its_buffers(save) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 7), torch.nn.BatchNorm2d(5))
    source = TorchSource(save(model.state_dict()))
    assert list(source.specs) == list(model.state_dict())
    assert source.specs["1.num_batches_tracked"].shape == ()
    assert source.inside == ""
    for name, tensor in model.state_dict().items():
        assert np.array_equal(source.read(name), tensor.numpy())


def test_views_parameters_and_shared_storage(save) -> None:
    kernel = torch.arange(105.0).reshape(3, 5, 7)
    tied = torch.nn.Parameter(torch.ones(4, 2))
    source = TorchSource(save({"t": kernel.permute(2, 0, 1), "s": kernel[1:, ::2], "x": tied, "y": tied}))
    assert np.array_equal(source.read("t"), kernel.permute(2, 0, 1).numpy())
    assert source.read("t").flags.c_contiguous
    assert np.array_equal(source.read("s"), kernel[1:, ::2].numpy())
    assert source.read("x").tolist() == source.read("y").tolist() == [[1, 1]] * 4


def test_a_complex_conjugate_is_read_conjugated(save) -> None:
    assert TorchSource(save({"c": torch.tensor([1 + 2j]).conj()})).read("c").tolist() == [1 - 2j]


@pytest.mark.parametrize(
    ("content", "inside", "skipped"),
    [
        ({"a": torch.ones(3)}, "", {}),
        ({"state_dict": {"a": torch.ones(3)}, "epoch": 3}, "state_dict", {"epoch": "int"}),
        (
            {
                "model": {"module": {"a": torch.ones(3), "n": None}},
                "optimizer": {"state": {0: {"e": torch.ones(3)}}},
            },
            "model.module",
            {"model.module.n": "NoneType"},
        ),
    ],
    ids=["plain", "lightning", "nested"],
)
def test_a_checkpoint_is_unwrapped(save, content: dict, inside: str, skipped: dict[str, str]) -> None:
    source = TorchSource(save(content))
    assert (source.inside, source.skipped) == (inside, skipped)
    assert source.read("a").tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("ignore")
def test_what_numpy_cannot_hold_is_listed_with_the_reason(tmp_path: Path) -> None:
    content = {
        "a": torch.ones(3),
        "blocks": torch.eye(4).to_sparse_bsr((2, 2)),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "packed": torch.quantize_per_channel(
            torch.ones(2, 4), torch.ones(2), torch.zeros(2), 0, torch.quint4x2
        ),
        "half": torch.zeros(2, dtype=torch.complex32),
        "meta": torch.zeros(2, device="meta"),
        "version": "1.0",
        7: torch.zeros(1),
    }
    torch.save(content, tmp_path / "w.pth")
    source = TorchSource(tmp_path / "w.pth")
    assert list(source.specs) == ["a"]
    assert source.skipped == {
        "blocks": "torch.sparse_bsr tensor",
        "nested": "a nested tensor",
        "packed": "dtype torch.quint4x2",
        "half": "dtype torch.complex32",
        "meta": "a tensor without values",
        "version": "str",
        "7": "its key is not a string but 7",
    }


def test_of_two_dicts_of_tensors_none_is_chosen(save) -> None:
    path = save({"model": {"a": torch.ones(3)}, "ema": {"a": torch.ones(3)}})
    with pytest.raises(SourceError, match="more than one dict of tensors") as caught:
        TorchSource(path)
    assert "model, ema" in str(caught.value)
    assert "['model']" in str(caught.value)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(3)], torch.ones(3)], ids=repr)
def test_a_file_without_a_dict_of_tensors_is_refused(save, content: object) -> None:
    with pytest.raises(SourceError, match="no dict of tensors"):
        TorchSource(save(content))


class Evil:
    """Makes a file when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.trace}",)


def test_a_pickle_that_would_run_code_is_refused_in_plain_words(save, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="would run code") as caught:
        TorchSource(save({"a": torch.ones(3), "b": Evil(tmp_path / "trace")}))
    assert not (tmp_path / "trace").exists()
    assert "system" in str(caught.value)
    with pytest.raises(SourceError, match="would run code") as caught:
        TorchSource(save({"a": torch.ones(3), "args": argparse.Namespace(lr=1)}))
    assert caught.value.got == "argparse.Namespace"
    with pytest.raises(SourceError, match="would run code"):
        TorchSource(save(torch.nn.Linear(2, 3)))


def test_a_file_cut_off_anywhere_is_refused(save) -> None:
    whole = save({"a": torch.arange(5003.0)}).read_bytes()
    path = save({})
    for size in (0, 3, 40, len(whole) // 3, len(whole) - 9):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError) as caught:
            TorchSource(path)
        assert caught.value.where == str(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    for name in ("text", "pickle"):
        with pytest.raises(SourceError, match=r"not a file that torch\.save wrote"):
            TorchSource(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a/b.txt", "c")
    with pytest.raises(SourceError, match=r"no data\.pkl"):
        TorchSource(tmp_path / "zip")
    with pytest.raises(SourceError, match="No such file"):
        TorchSource(tmp_path / "absent")
    with pytest.raises(SourceError, match="Is a directory"):
        TorchSource(tmp_path)


def test_arrays_outlive_the_source_and_the_source_says_it_is_closed(save) -> None:
    source = TorchSource(save({"a": torch.arange(100_003)}))
    values = source.read("a")
    source.release("a")
    source.close()
    assert np.array_equal(values, np.arange(100_003))
    with pytest.raises(SourceError, match="was closed"):
        source.read("a")


def test_an_unknown_name_gets_the_nearest(save) -> None:
    with pytest.raises(SourceError, match=r"no tensor called 'conv\.wieght'") as caught:
        TorchSource(save({"conv.weight": torch.zeros(1)})).read("conv.wieght")
    assert caught.value.nearest == ("conv.weight",)


def test_the_fingerprint_follows_the_content(save) -> None:
    prints = [TorchSource(save({"a": torch.full((101, 7), fill)})).fingerprint() for fill in (1.0, 1.0, 2.0)]
    assert prints[0] == prints[1] != prints[2]


def test_importing_the_reader_imports_no_framework() -> None:
    code = "import sys, tfpt.formats.pytorch.torch; print({'torch', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
