"""What it costs to look at an HDF5 file: time that grows with the file, and few requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import tfpt
from tests.growth import assert_linear
from tests.serving import serving
from tfpt.checking.inspection import inspect
from tfpt.io import stores


def assert_grows_linearly(write: Callable[[int], Path], read: Callable[[Path], object], few: int) -> None:
    small, large = write(few), write(4 * few)
    assert_linear(lambda: read(small), lambda: read(large))


def test_many_datasets(tmp_path: Path) -> None:
    def write(count: int) -> Path:
        with h5py.File(tmp_path / f"{count}.h5", "w") as file:
            for number in range(count):
                file[f"layers/dense_{number}/vars/0"] = np.float32([1, 2])
        return tmp_path / f"{count}.h5"

    assert_grows_linearly(write, lambda path: tfpt.open_source(path).close(), 300)


def test_many_lists_of_names_of_any_length(tmp_path: Path) -> None:
    def write(count: int) -> Path:
        with h5py.File(tmp_path / f"{count}.h5", "w") as file:
            file.attrs["layer_names"] = [f"layer_{number}" for number in range(count)]
            for number in range(count):
                group = file.create_group(f"layer_{number}")
                group["kernel"] = np.zeros(1000, np.float32)
                group.attrs["weight_names"] = ["kernel"]
        return tmp_path / f"{count}.h5"

    assert_grows_linearly(write, lambda path: tfpt.open_source(path).close(), 200)


def test_many_chunks(tmp_path: Path) -> None:
    def write(count: int) -> Path:
        with h5py.File(tmp_path / f"{count}.h5", "w") as file:
            dataset = file.create_dataset("w", (count, 3), "f4", chunks=(1, 3))
            dataset[:] = np.arange(3 * count).reshape(count, 3)
        return tmp_path / f"{count}.h5"

    def read(path: Path) -> None:
        source = tfpt.open_source(path)
        values = source.read("w")
        assert values[-1, -1] == values.size - 1
        source.close()

    assert_grows_linearly(write, read, 1000)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Forty layers of 2 MB in the old format, with lists of names of any length."""
    random = np.random.default_rng(3)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = [f"layer_{number}" for number in range(20)]
        for number in range(20):
            group = file.create_group(f"layer_{number}")
            group.attrs["weight_names"] = ["kernel", "bias"]
            group["kernel"] = random.random((1000, 500), np.float32)
            group["bias"] = random.random(500, np.float32)
    return tmp_path / "m.h5"


def test_an_inspection_over_the_web_reads_descriptions_and_no_weights(large: Path) -> None:
    pytest.importorskip("aiohttp")
    stores.forget()
    with serving() as web:
        web.add(large)
        found = inspect(f"{web.url}/m/m.h5")
        asked = web.gets()
    assert found.total == 40
    assert found.fingerprint == inspect(large).fingerprint
    # One request for the beginning to tell the format, and one for each place with descriptions.
    assert len(asked) <= 25
    assert len({each.range for each in asked}) >= len(asked) - 1
    assert sum(each.sent for each in asked) < large.stat().st_size / 5


def test_reading_one_tensor_over_the_web_fetches_that_one(large: Path) -> None:
    pytest.importorskip("aiohttp")
    stores.forget()
    with serving() as web:
        web.add(large)
        source = tfpt.open_source(f"{web.url}/m/m.h5")
        before = len(web.gets())
        values = source.read("layer_7/kernel")
        assert len(web.gets()) == before + 1
        source.close()
    with h5py.File(large) as file:
        assert (values == file["layer_7/kernel"][()]).all()


def test_a_file_that_only_the_library_reads_comes_over_the_web_piece_by_piece(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    stores.forget()
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        for number in range(4):
            file[f"w{number}"] = np.arange(500_000.0)
    with serving() as web:
        web.add(tmp_path / "m.h5")
        source = tfpt.open_source(f"{web.url}/m/m.h5")
        assert len(source.specs) == 4
        assert source.fingerprint() == tfpt.open_source(tmp_path / "m.h5").fingerprint()
        assert sum(each.sent for each in web.gets()) < 4_000_000
        assert source.read("w3")[-1] == 499_999
        source.close()
