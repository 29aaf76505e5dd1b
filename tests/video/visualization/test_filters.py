"""Filters in pictures: known kernels are found again where, when and in the colors in which they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
from tests.video.visualization.drawn import animation, cells, sheet, strip_cells, write_mapping
from tfpt.errors import ModelError, TfptError
from tfpt.report.color_maps import diverging, flow, rgb, sequential

GRAY = [128, 128, 128]


@pytest.fixture
def mapping(tmp_path):
    return write_mapping(tmp_path)


def conv(weight: np.ndarray) -> nn.Module:
    """A network whose first convolution has this weight."""
    layer = nn.Conv3d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False)
    layer.weight.data = torch.from_numpy(weight.astype(np.float32))
    return nn.Sequential(nn.Identity(), layer)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def draw(mapping, model, tmp_path, **options):
    """On a common scale, unless `scale` says otherwise."""
    options.setdefault("scale", "common")
    return tfpt.draw_filters(
        mapping, None, tmp_path / "f.gif", sheet=tmp_path / "f.png", model=model, **options
    )


def test_a_filter_for_red_is_red_and_one_against_it_is_not(mapping, tmp_path):
    weight = np.zeros((3, 3, 2, 3, 5))
    weight[0, 0] = 0.4  # red, everywhere
    weight[1, 0] = -0.4
    weight[2, 2] = 0.2  # blue, half as strong
    drawing = draw(mapping, conv(weight), tmp_path)
    images, places = animation(drawing)
    expected = [[255, 128, 128], [0, 128, 128], [128, 128, 191]]
    for place, color in zip(places, expected, strict=True):
        assert (cells(images, place, 3, 5) == color).all()
    assert drawing.scale.limit == pytest.approx(0.4)
    assert drawing.scale.kind == "rgb"


def test_an_edge_that_moves_is_at_each_time_where_it_is_in_the_kernel(mapping, tmp_path):
    weight = np.zeros((2, 3, 5, 3, 7))
    for step in range(5):
        weight[0, :, step, :, step] = 1  # rightwards
        weight[1, :, step, :, 6 - step] = 1  # leftwards
    images, (right, left) = animation(draw(mapping, conv(weight), tmp_path))
    assert len(images) == 5
    for step in range(5):
        bright = (cells(images[step], right, 3, 7) == 255).all(-1)
        assert bright.sum() == 3
        assert bright[:, step].all()
        assert (cells(images[step], left, 3, 7) == 255).all(-1)[:, 6 - step].all()


def test_every_filter_is_in_its_tile_in_both_pictures(mapping, tmp_path):
    weight = random(13, 3, 5, 3, 7)
    drawing = draw(mapping, conv(weight), tmp_path)
    expected = rgb(weight.astype(float), float(np.abs(weight).max()))  # no channel is last here
    expected = rgb(np.moveaxis(weight, 1, -1).astype(float), float(np.abs(weight).max()))
    picture, places = sheet(drawing)
    assert [place.label for place in places] == [str(index) for index in range(13)]
    for index, place in enumerate(places):
        assert (strip_cells(picture, place, 5, 3, 7) == expected[index]).all()
    # The GIF has 256 colors for all of them.
    images, places = animation(drawing)
    for index, place in enumerate(places):
        assert np.abs(cells(images, place, 3, 7).astype(int) - expected[index]).max() < 48


def test_two_channels_are_a_motion(mapping, tmp_path):
    weight = random(5, 2, 3, 3, 3)
    drawing = draw(write_mapping(tmp_path, "flow"), conv(weight), tmp_path)
    limit = float(np.hypot(weight[:, 0], weight[:, 1]).max())
    assert (drawing.scale.kind, drawing.scale.limit) == ("flow", pytest.approx(limit))
    picture, places = sheet(drawing)
    expected = flow(np.moveaxis(weight, 1, -1).astype(float), limit)
    for index, place in enumerate(places):
        assert np.abs(strip_cells(picture, place, 3, 3, 3).astype(int) - expected[index]).max() <= 1


def test_each_channel_by_itself_is_blue_to_red_and_named(mapping, tmp_path):
    weight = random(4, 2, 3, 3, 5)
    drawing = draw(write_mapping(tmp_path, "flow"), conv(weight), tmp_path, channels="each")
    images, places = animation(drawing)
    assert [place.label for place in places][:4] == ["0 u", "0 v", "1 u", "1 v"]
    # Both channels of a filter are in one row.
    assert [place.y for place in places[::2]] == [place.y for place in places[1::2]]
    limit = float(np.abs(weight).max())
    for index, place in enumerate(places):
        expected = diverging(weight[index // 2, index % 2].astype(float), limit)
        assert (cells(images, place, 3, 5) == expected).all()


def test_many_channels_are_drawn_by_their_norm_or_one_at_a_time(mapping, tmp_path):
    weight = random(3, 11, 2, 3, 3)
    norm = np.sqrt((weight.astype(float) ** 2).sum(1))
    drawing = draw(mapping, conv(weight), tmp_path)
    images, places = animation(drawing)
    for index, place in enumerate(places):
        assert (cells(images, place, 3, 3) == sequential(norm[index], norm.max())).all()
    drawing = draw(mapping, conv(weight), tmp_path, input_channel=7, overwrite=True)
    images, places = animation(drawing)
    one = weight[:, 7].astype(float)
    for index, place in enumerate(places):
        assert (cells(images, place, 3, 3) == diverging(one[index], np.abs(one).max())).all()


def test_with_a_scale_for_each_every_tile_reaches_full_color(mapping, tmp_path):
    weight = random(3, 1, 2, 3, 3) * np.array([1, 0.1, 0.01])[:, None, None, None, None]
    images, places = animation(draw(mapping, conv(weight), tmp_path, scale="each"))
    for index, place in enumerate(places):
        one = weight[index, 0].astype(float)
        assert (cells(images, place, 3, 3) == diverging(one, np.abs(one).max())).all()


def test_by_default_filters_of_any_magnitude_are_equally_visible(mapping, tmp_path):
    factors = np.logspace(-3, 0, 7)
    kernel = random(1, 3, 2, 3, 3)
    weight = kernel * factors[:, None, None, None, None]
    drawing = draw(mapping, conv(weight), tmp_path, scale=None)
    assert (drawing.scale.each, drawing.scale.clipped) == (True, 0)
    assert drawing.scale.limit == pytest.approx(np.abs(kernel).max())
    picture, places = sheet(drawing)
    expected = rgb(np.moveaxis(kernel[0], 0, -1).astype(float), float(np.abs(kernel).max()))
    for place in places:
        assert np.abs(strip_cells(picture, place, 2, 3, 3).astype(int) - expected).max() <= 1


def test_one_outlier_does_not_flatten_its_filter(mapping, tmp_path):
    weight = random(2, 1, 2, 5, 5)
    weight[1, 0, 1, 2, 2] = 1000
    drawing = draw(mapping, conv(weight), tmp_path, scale=None)
    assert drawing.scale.clipped == 1
    assert "max of each tile without outliers (in 1 tile)" in drawing.scale.text
    images, places = animation(drawing)
    magnitudes = np.sort(np.abs(weight[1].astype(float)), None)
    limits = (
        np.abs(weight[0]).max(),
        magnitudes[-2],
    )  # of 50 values, the second largest is the 98th percentile
    for index, place in enumerate(places):
        expected = diverging(weight[index, 0].astype(float), limits[index])
        assert (cells(images, place, 5, 5) == expected).all()


def test_a_filter_of_few_taps_keeps_its_largest(mapping, tmp_path):
    """What is not zero in a sparse kernel is not an outlier."""
    weight = np.zeros((1, 1, 3, 5, 5))
    weight[0, 0, 1, 2, 2] = 0.7
    drawing = draw(mapping, conv(weight), tmp_path, scale=None)
    assert (drawing.scale.clipped, drawing.scale.limit) == (0, pytest.approx(0.7))


def test_a_limit_makes_the_scale_common(mapping, tmp_path):
    drawing = draw(mapping, conv(random(3, 1, 2, 3, 3)), tmp_path, scale=None, limit=0.5)
    assert (drawing.scale.each, drawing.scale.limit) == (False, 0.5)


def test_filters_can_be_chosen_and_keep_their_numbers(mapping, tmp_path):
    weight = random(11, 1, 2, 3, 3)
    weight[3] *= 10
    weight[8] *= 5
    drawing = draw(mapping, conv(weight), tmp_path, filters="top 2")
    assert drawing.shown == (3, 8)
    assert [place.label for place in drawing.pictures[0].tiles] == ["3", "8"]
    assert draw(mapping, conv(weight), tmp_path, filters="5,0-2", overwrite=True).shown == (5, 0, 1, 2)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(3, 5, (3, 7)), (1, 3, 7)),
        (nn.Conv1d(3, 5, 7), (1, 1, 7)),
        (nn.ConvTranspose3d(5, 3, (2, 3, 5)), (2, 3, 5)),
    ],
)
def test_convolutions_of_other_kinds_have_filters_too(mapping, tmp_path, layer, shape):
    drawing = draw(mapping, layer, tmp_path, filters="0-2", channels="norm")
    weight = layer.weight.detach().double().numpy()
    kernels = weight.swapaxes(0, 1) if isinstance(layer, nn.ConvTranspose3d) else weight
    images, places = animation(drawing)
    norm = np.sqrt((kernels**2).sum(1)).reshape(-1, *shape)[:3]
    for index, place in enumerate(places):
        assert (cells(images, place, *shape[1:]) == sequential(norm[index], norm.max())).all()


def test_a_layer_is_found_by_path_by_container_or_by_endpoint(tmp_path):
    def layer(name, file):
        return tfpt.draw_filters("i3d_rgb", None, tmp_path / file, layer=name, filters="0-3").layer

    assert layer(None, "a.gif") == "conv3d_1a_7x7.conv3d"
    assert layer("conv3d_2c_3x3", "b.gif") == "conv3d_2c_3x3.conv3d"
    assert layer("Mixed_3b", "c.gif") == "mixed_3b.branch_0.conv3d"


def test_weights_come_from_a_checkpoint(sampled_rgb, tmp_path):
    drawing = tfpt.draw_filters(
        "i3d_rgb", sampled_rgb, sheet=tmp_path / "f.png", filters="0-8", scale="common"
    )
    weight = tfpt.load("i3d_rgb", sampled_rgb).conv3d_1a_7x7.conv3d.weight.detach().double().numpy()
    picture, places = sheet(drawing)
    limit = np.abs(weight[:9]).max()
    for index, place in enumerate(places):
        expected = rgb(np.moveaxis(weight[index], 0, -1), limit)
        assert (strip_cells(picture, place, 7, 7, 7) == expected).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": "2"}, ModelError, "no layer 2"),
        ({"layer": "0"}, ModelError, "no convolution"),
        ({"filters": "11"}, TfptError, "no such filter"),
        ({"filters": "3-1"}, TfptError, "no such filter"),
        ({"filters": "best"}, TfptError, "is invalid"),
        ({"filters": "top 0"}, TfptError, "no filter is selected"),
        ({"channels": "color"}, TfptError, "cannot be drawn as a color"),
        ({"channels": "gray"}, TfptError, "no such way"),
        ({"scale": "all"}, TfptError, "no such scale"),
        ({"zoom": 0}, TfptError, "zoom must be at least 1"),
        ({"fps": 0}, TfptError, "frame rate must be above 0"),
        ({"fps": float("nan")}, TfptError, "frame rate must be above 0"),
        ({"limit": float("inf")}, TfptError, "limit must be above 0"),
        ({"filters": "0-" + "9" * 5000}, TfptError, "is invalid"),
        ({"zoom": 10_000}, TfptError, "too large for one picture"),
        ({"input_channel": 4}, TfptError, "no such input channel"),
        ({"input_channel": 1, "channels": "each"}, TfptError, "cannot be combined"),
    ],
)
def test_invalid_options_are_refused_and_leave_nothing(mapping, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        draw(mapping, conv(random(11, 4, 2, 3, 3)), tmp_path, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


def test_too_many_tiles_are_refused(mapping, tmp_path):
    with pytest.raises(TfptError, match="too many for one picture") as refused:
        draw(mapping, conv(random(64, 50, 1, 1, 1)), tmp_path, channels="each", filters="all")
    assert "--filters" in refused.value.hint


def test_weights_that_are_not_finite_are_refused(mapping, tmp_path):
    weight = random(3, 3, 2, 3, 3)
    weight[1, 1, 1, 1, 1] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        draw(mapping, conv(weight), tmp_path)


def test_lazy_weights_are_refused(mapping, tmp_path):
    with pytest.raises(ModelError, match="LazyConv3d has no weights"):
        draw(mapping, nn.Sequential(nn.LazyConv3d(2, 1)), tmp_path)


def test_a_limit_far_below_the_weights_is_full_color_without_a_warning(mapping, tmp_path, recwarn):
    drawing = draw(mapping, conv(np.full((1, 1, 1, 1, 1), 2.0)), tmp_path, limit=1e-320)
    images, (place,) = animation(drawing)
    assert cells(images, place, 1, 1).tolist() == [[[diverging(np.array(1.0), 1.0).tolist()]]]
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]
