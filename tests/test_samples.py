"""Sample checkpoints: they fit their mapping, TensorFlow reads them, and the seed decides every value."""

from __future__ import annotations

import numpy as np
import pytest

import tfpt
from tfpt.errors import MappingError
from tfpt.mapping.loading import bundled_mappings

SMALL_BERT = {"vocab_size": 11, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 6, "max_position_embeddings": 13}  # fmt: skip


def options(name: str) -> dict[str, object]:
    """Sizes that keep a sample small; BERT's needs transformers for it."""
    if name != "bert":
        return {}
    pytest.importorskip("transformers")
    return {"config": SMALL_BERT}


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_a_sample_of_every_bundled_mapping_converts_without_findings(name, tmp_path):
    number = tfpt.sample(name, tmp_path / "m", **options(name))
    done = tfpt.convert(name, tmp_path / "m", tmp_path / "w.safetensors", **options(name))
    assert done.plan.findings == ()
    assert len(done.plan.used) == done.plan.variables == number


@pytest.mark.parametrize("name", ["i3d_rgb", "bert"])
def test_tensorflow_reads_a_sample(name, tmp_path):
    tf = pytest.importorskip("tensorflow")
    tfpt.sample(name, tmp_path / "m", **options(name))
    reader = tf.train.load_checkpoint(str(tmp_path))
    shapes = reader.get_variable_to_shape_map()
    source = tfpt.open_source(tmp_path / "m")
    assert shapes == {name: list(spec.shape) for name, spec in source.specs.items()}
    for variable in list(shapes)[::20]:
        np.testing.assert_array_equal(reader.get_tensor(variable), source.read(variable))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        tfpt.sample(tiny.mapping, tmp_path / name, seed=seed)
    files = [(tmp_path / f"{name}.data-00000-of-00001").read_bytes() for name in "abc"]
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert (tmp_path / "a.index").read_bytes() == (tmp_path / "b.index").read_bytes()
    assert not tfpt.diff(tmp_path / "a", tmp_path / "c").same


def test_variances_are_positive_and_kernels_keep_the_size_of_activations(sampled_rgb):
    found = tfpt.inspect(sampled_rgb, stats=True).statistics
    assert all(s.minimum >= 0.5 for name, s in found.items() if name.endswith("moving_variance"))
    kernel = found["RGB/inception_i3d/Conv3d_2c_3x3/conv_3d/w"]
    assert kernel.std == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.01)


def test_variables_of_one_shape_have_values_of_their_own(sampled_rgb):
    source = tfpt.open_source(sampled_rgb)
    unit = "RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/batch_norm"
    assert not np.array_equal(source.read(f"{unit}/beta"), source.read(f"{unit}/moving_mean"))


def test_a_row_that_leaves_sizes_open_is_refused_with_its_place(tiny, tmp_path):
    tiny.rewrite('"h w i o -> o i h w"', '"h w (i o) -> 1 (h w) i o"')
    with pytest.raises(MappingError, match="does not say how large") as error:
        tfpt.sample(tiny.mapping, tmp_path / "m")
    assert "tiny.yaml:10" in str(error.value)
    assert "axes:" in str(error.value)
    assert not (tmp_path / "m.index").exists()
