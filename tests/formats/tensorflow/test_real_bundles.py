"""Checkpoints that other people published, against TensorFlow's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.formats.tensorflow.saving import REAL, assert_same
from tfpt.errors import SourceError
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.formats.tensorflow.checkpoint import open_checkpoint
from tfpt.tensors import BY_TENSORFLOW

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real checkpoints are not at {REAL}")

INDEXES = sorted(REAL.glob("**/*.index"))
NAMES = [str(path.relative_to(REAL).parent) for path in INDEXES]


def has_data(index: Path) -> bool:
    return any(index.parent.glob(f"{index.name.removesuffix('.index')}.data-*"))


@pytest.mark.parametrize("index", INDEXES, ids=NAMES)
def test_names_shapes_and_dtypes_are_those_tensorflow_sees(index: Path) -> None:
    reader = tf.train.load_checkpoint(str(index).removesuffix(".index"))
    expected = {
        name: (tuple(shape), BY_TENSORFLOW[reader.get_variable_to_dtype_map()[name].as_datatype_enum].name)
        for name, shape in reader.get_variable_to_shape_map().items()
    }
    assert {s.name: (s.shape, s.dtype) for s in BundleSource(index).specs.values()} == expected
    assert open_checkpoint(str(index)).format != "TensorFlow V1 checkpoint"


@pytest.mark.parametrize(
    "index",
    [i for i in INDEXES if has_data(i)],
    ids=[n for i, n in zip(INDEXES, NAMES, strict=True) if has_data(i)],
)
def test_values_are_those_tensorflow_reads_bit_for_bit(index: Path) -> None:
    reader = tf.train.load_checkpoint(str(index).removesuffix(".index"))
    source = BundleSource(index)
    assert source.specs
    for name in source.specs:
        expected = reader.get_tensor(name)
        if isinstance(expected, bytes):
            array = np.empty((), np.object_)
            array[()] = expected
            expected = array
        assert_same(source.read(name), expected)


def test_without_the_data_file_names_are_known_and_values_asked_for_say_what_is_missing() -> None:
    source = BundleSource(REAL / "i3d" / "rgb_imagenet" / "model.ckpt")
    name = "RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w"
    assert source.specs[name].shape == (7, 7, 7, 3, 64)
    with pytest.raises(SourceError, match="missing") as caught:
        source.read(name)
    assert str(caught.value.where).endswith("model.ckpt.data-00000-of-00001")


@pytest.mark.parametrize(
    "path", ["v1-har/model.ckpt", "v1-acrobot/model.ckpt", "v1-sugyan-regression/regression.ckpt"]
)
def test_a_v1_checkpoint_is_detected_from_its_content_and_is_no_bundle(path: str) -> None:
    assert open_checkpoint(str(REAL / path)).format == "TensorFlow V1 checkpoint"
    with pytest.raises(SourceError, match="V1 checkpoint, where the index of a V2"):
        BundleSource(REAL / path)


@pytest.mark.parametrize(
    "path", ["h5-crepe-tiny/model-tiny.h5", "sm-mlperf-kws/saved_model.pb", "npy-facenet-mtcnn"]
)
def test_other_formats_are_not_taken_for_checkpoints(path: str) -> None:
    with pytest.raises(SourceError):
        BundleSource(REAL / path)
    with pytest.raises(SourceError):
        open_checkpoint(str(REAL / path))
