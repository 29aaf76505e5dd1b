"""Prepared clips written to .npy files; the oracle is numpy."""

from __future__ import annotations

import numpy as np
import pytest

from tfpt.errors import SinkError
from tfpt.video.clips.arrays import ClipWriter


@pytest.mark.parametrize("shape", [(1, 2, 3, 1), (13, 5, 7, 2), (123, 11, 3, 3)])
def test_numpy_reads_what_was_written(tmp_path, shape):
    clip = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with ClipWriter(tmp_path / "c.npy") as writer:
        for frame in clip:
            writer.append(frame[::-1][::-1])
        writer.finish().commit()
    found = np.load(tmp_path / "c.npy")
    assert found.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(found, clip[None])
    assert (tmp_path / "c.npy").stat().st_size == 128 + clip.nbytes


def test_without_a_commit_nothing_is_left(tmp_path):
    with ClipWriter(tmp_path / "c.npy") as writer:
        writer.append(np.zeros((2, 2, 3), np.float32))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_kept_unless_asked(tmp_path):
    (tmp_path / "c.npy").write_text("mine")
    with pytest.raises(SinkError, match="exists already"):
        ClipWriter(tmp_path / "c.npy")
    assert (tmp_path / "c.npy").read_text() == "mine"
    with ClipWriter(tmp_path / "c.npy", overwrite=True) as writer:
        writer.append(np.zeros((2, 2, 3), np.float32))
        writer.finish().commit()
    assert np.load(tmp_path / "c.npy").shape == (1, 1, 2, 2, 3)
