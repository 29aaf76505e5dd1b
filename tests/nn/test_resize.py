"""Resizing against TensorFlow's kernels: every rule and mode, up and down, within float32 rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.tensorflow_oracle import tf
from tfpt import nn as tfnn
from tfpt.errors import ModelError
from tfpt.nn.resize_weights import RULES

RAW = {
    "bilinear": tf.raw_ops.ResizeBilinear,
    "bicubic": tf.raw_ops.ResizeBicubic,
    "nearest": tf.raw_ops.ResizeNearestNeighbor,
}
TF2_MODES = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def pixels(shape, seed, low=0.0):
    return np.random.default_rng(seed).uniform(low, 1, shape).astype(np.float32)


def layer(size, mode, rule, **more):
    return tfnn.Resize(
        size,
        mode=mode,
        align_corners=rule == "align_corners",
        half_pixel_centers=rule == "half_pixel_centers",
        **more,
    )


def channels_first(y):
    return np.moveaxis(np.asarray(y), -1, 1)


def agree(got, wanted, largest=1.0, rounding=1e-6):
    """Equal up to the rounding of float32, relative to the largest value that was added up."""
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=rounding, atol=rounding * largest)


def against_raw(before, after, mode, rule, seed):
    x = pixels((2, *before, 3), seed, -1.0)
    wanted = RAW[mode](
        images=x,
        size=list(after),
        align_corners=rule == "align_corners",
        half_pixel_centers=rule == "half_pixel_centers",
    )
    got = layer(after, mode, rule)(torch.from_numpy(np.moveaxis(x, -1, 1))).numpy()
    if mode == "nearest":
        np.testing.assert_array_equal(got, channels_first(wanted))
    else:
        agree(got, channels_first(wanted))


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.sampled_from(sorted(RAW)), st.sampled_from(RULES), st.integers(0, 999))
def test_every_rule_equals_tensorflows_operators(before, after, mode, rule, seed):
    against_raw(before, after, mode, rule, seed)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(sizes, sizes, st.sampled_from(sorted(RAW)), st.sampled_from(RULES), st.integers(0, 999))
def test_many_sizes_equal_tensorflows_operators(before, after, mode, rule, seed):
    against_raw(before, after, mode, rule, seed)


@pytest.mark.parametrize("rule", RULES)
def test_nearest_reads_tensorflows_index_for_all_sizes_up_to_64(rule):
    """Each index depends on how float32 rounds the scale."""
    for before, after in itertools.product(range(1, 65), range(1, 65)):
        x = np.arange(before, dtype=np.int32).reshape(1, 1, before, 1)
        wanted = RAW["nearest"](
            images=x,
            size=[1, after],
            align_corners=rule == "align_corners",
            half_pixel_centers=rule == "half_pixel_centers",
        )
        got = layer((1, after), "nearest", rule)(torch.from_numpy(x.reshape(1, 1, 1, before)))
        assert got.dtype == torch.int32
        np.testing.assert_array_equal(got.numpy().ravel(), np.asarray(wanted).ravel())


def image_resize(x, after, mode, antialias=False):
    return channels_first(tf.image.resize(x, after, mode, antialias=antialias))


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, st.sampled_from(TF2_MODES), st.booleans(), st.integers(0, 999))
def test_every_mode_equals_tf_image_resize(before, after, mode, antialias, seed):
    x = pixels((1, *before, 2), seed)
    got = tfnn.Resize(after, mode=mode, antialias=antialias)(torch.from_numpy(np.moveaxis(x, -1, 1))).numpy()
    # Sines of kernels stretched over many pixels differ by a few units in the last place.
    agree(got, image_resize(x, after, mode, antialias), rounding=4e-6 if mode.startswith("lanczos") else 2e-6)


@settings(max_examples=100, deadline=None)
@given(sizes, sizes, st.booleans(), st.integers(0, 999))
def test_areas_equal_tensorflow_1s(before, after, align_corners, seed):
    x = pixels((1, *before, 2), seed)
    wanted = channels_first(tf.compat.v1.image.resize_area(x, after, align_corners=align_corners))
    got = tfnn.Resize(after, mode="area", align_corners=align_corners)(
        torch.from_numpy(np.moveaxis(x, -1, 1))
    )
    agree(got.numpy(), wanted, rounding=2e-6)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest_neighbor"])
def test_it_equals_the_functions_of_tensorflow_1(mode, align_corners):
    x = pixels((2, 7, 11, 3), 1)
    wanted = getattr(tf.compat.v1.image, f"resize_{mode}")(x, (13, 5), align_corners=align_corners)
    rule = "align_corners" if align_corners else "legacy"
    got = layer((13, 5), mode.removesuffix("_neighbor"), rule)(torch.from_numpy(np.moveaxis(x, -1, 1)))
    agree(got.numpy(), channels_first(wanted))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_scales_equal_keras_upsampling(dimensions, factor):
    factors = (factor, factor + 1, 2)[:dimensions]
    x = pixels((2, *(7, 5, 3)[:dimensions], 3), factor)
    wanted = getattr(tf.keras.layers, f"UpSampling{dimensions}D")(factors if dimensions > 1 else factor)(x)
    first = torch.from_numpy(np.moveaxis(x, -1, 1))
    np.testing.assert_array_equal(
        tfnn.Resize(scale=factors, mode="nearest")(first).numpy(), channels_first(wanted)
    )


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"])
@pytest.mark.parametrize("kind", ["UpSampling2D", "Resizing"])
def test_modes_equal_those_of_keras(kind, mode):
    x = pixels((2, 7, 5, 3), 3)
    keras = tf.keras.layers
    wanted = keras.UpSampling2D((2, 3), interpolation=mode) if kind == "UpSampling2D" else None
    ours = tfnn.Resize(scale=(2, 3), mode=mode) if wanted else tfnn.Resize((3, 11), mode=mode)
    wanted = wanted or keras.Resizing(3, 11, interpolation=mode)
    agree(ours(torch.from_numpy(np.moveaxis(x, -1, 1))).numpy(), channels_first(wanted(x)), rounding=2e-6)


@pytest.mark.parametrize("mode", TF2_MODES)
def test_integers_become_float32_as_in_tensorflow(mode):
    x = np.random.default_rng(2).integers(0, 256, (1, 9, 8, 3)).astype(np.uint8)
    got = tfnn.Resize((5, 12), mode=mode)(torch.from_numpy(np.moveaxis(x, -1, 1)))
    wanted = image_resize(x, (5, 12), mode)
    assert got.numpy().dtype == wanted.dtype
    agree(got.numpy(), wanted, largest=255.0, rounding=2e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_dtypes_are_kept(dtype):
    x = torch.rand(1, 2, 7, 8).to(dtype)
    for mode in ("bilinear", "bicubic", "area", "nearest"):
        ours = tfnn.Resize((5, 9), mode=mode)
        assert ours(x).dtype == dtype
        torch.testing.assert_close(ours(x), ours(x.float()).to(dtype), rtol=1e-5, atol=1e-5)


def test_torch_computes_the_same_where_the_module_says_so():
    x = torch.rand(1, 2, 7, 8)
    interpolate = torch.nn.functional.interpolate
    torch.testing.assert_close(tfnn.Resize((5, 13))(x), interpolate(x, (5, 13), mode="bilinear"))
    aligned = interpolate(x, (5, 13), mode="bilinear", align_corners=True)
    torch.testing.assert_close(tfnn.Resize((5, 13), align_corners=True)(x), aligned)
    assert torch.equal(
        tfnn.Resize((5, 13), mode="nearest", half_pixel_centers=False)(x),
        interpolate(x, (5, 13), mode="nearest"),
    )
    assert torch.equal(tfnn.Resize((5, 13), mode="nearest")(x), interpolate(x, (5, 13), mode="nearest-exact"))


def test_an_input_without_a_batch_is_taken():
    x = torch.rand(3, 7, 8)
    assert torch.equal(tfnn.Resize((5, 6))(x), tfnn.Resize((5, 6))(x[None])[0])
    assert torch.equal(
        tfnn.Resize((5, 6), mode="nearest")(x), tfnn.Resize((5, 6), mode="nearest")(x[None])[0]
    )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "area", "lanczos3", "nearest"])
def test_gradients_are_those_of_finite_differences(mode):
    x = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tfnn.Resize((5, 2), mode=mode), x)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest", "lanczos3"])
@pytest.mark.parametrize("rule", RULES)
def test_it_exports_with_any_sizes(mode, rule):
    if mode == "lanczos3" and rule != "half_pixel_centers":
        return
    ours = tfnn.Resize(
        scale=2,
        mode=mode,
        align_corners=rule == "align_corners",
        half_pixel_centers=rule == "half_pixel_centers",
    )
    dims = {
        0: torch.export.Dim("n"),
        2: torch.export.Dim("h", min=3, max=64),
        3: torch.export.Dim("w", min=3, max=64),
    }
    program = torch.export.export(ours, (torch.rand(2, 2, 6, 7),), dynamic_shapes=(dims,), strict=False)
    for shape in ((1, 2, 9, 4), (3, 2, 6, 7)):
        x = torch.rand(shape)
        torch.testing.assert_close(program.module()(x), ours(x))


def test_it_compiles_whole():
    torch._dynamo.reset()
    ours = tfnn.Resize((5, 9), mode="bicubic")
    compiled = torch.compile(ours, fullgraph=True, backend="eager")
    for size in (4, 7):
        x = torch.rand(1, 2, size, 6)
        torch.testing.assert_close(compiled(x), ours(x))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: tfnn.Resize(), "either a size or a scale"),
        (lambda: tfnn.Resize(3, 2), "either a size or a scale"),
        (lambda: tfnn.Resize(3, mode="cubic"), "no such mode"),
        (lambda: tfnn.Resize(0), "size does not fit"),
        (lambda: tfnn.Resize(scale=1.5), "scale does not fit"),
        (lambda: tfnn.Resize(3, align_corners=True, half_pixel_centers=True), "exclude each other"),
        (lambda: tfnn.Resize(3, align_corners=True, antialias=True), "half-pixel centers only"),
        (lambda: tfnn.Resize(3, mode="lanczos3", half_pixel_centers=False), "half-pixel centers only"),
        (lambda: tfnn.Resize((3, 4, 5))(torch.zeros(1, 1, 2, 2, 2)), "cannot be resized"),
        (lambda: tfnn.Resize(3)(torch.zeros(2, 2)), "cannot be resized"),
        (lambda: tfnn.Resize(3)(torch.zeros(1, 2, 0, 4)), "cannot be resized"),
        (lambda: tfnn.Resize(3, mode="nearest")(torch.zeros(3)), "cannot be resized"),
    ],
)
def test_what_does_not_fit_is_refused(make, why):
    with pytest.raises(ModelError, match=why):
        make()
