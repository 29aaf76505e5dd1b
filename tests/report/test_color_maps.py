"""Colors of values: matplotlib's own maps, and the wheel of flow as its authors' software has it."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from tfpt.errors import ModelError, TfptError
from tfpt.report.color_maps import STEPS, diverging, flow, rgb, sequential
from tfpt.video.visualization.scale import Scale, fit_scale, legend


@pytest.mark.parametrize(("function", "name", "low"), [(diverging, "RdBu_r", -1), (sequential, "viridis", 0)])
def test_a_map_is_matplotlib_s_to_a_step(function, name, low):
    values = np.random.default_rng(3).uniform(low, 1, 997)
    theirs = matplotlib.colormaps[name]((values - low) / (1 - low))[:, :3] * 255
    # Half a step away in a map of so many.
    steepest = np.abs(
        np.diff(matplotlib.colormaps[name](np.linspace(0, 1, STEPS))[:, :3] * 255, axis=0)
    ).max()
    assert np.abs(function(values * 7, 7.0) - theirs).max() <= steepest


def test_zero_is_neutral_in_every_map():
    assert np.ptp(diverging(np.zeros(1), 1.0)) <= 1
    assert rgb(np.zeros((1, 3)), 1.0).tolist() == [[128, 128, 128]]
    assert flow(np.zeros((1, 2)), 1.0).tolist() == [[255, 255, 255]]
    assert sequential(np.zeros(1), 1.0).tolist() == [[68, 1, 84]]  # where viridis begins


def test_beyond_the_limit_there_is_no_other_color():
    for function in (diverging, sequential):
        assert (function(np.array([2.0]), 1.0) == function(np.array([1.0]), 1.0)).all()
    assert (rgb(np.array([[-5.0, 5.0, 0.0]]), 1.0) == [[0, 255, 128]]).all()
    assert (flow(np.array([[3.0, 0.0]]), 1.0) == [[255, 0, 0]]).all()


def baker(u: float, v: float) -> np.ndarray:
    """The color of one motion, by the evaluation software's description: 55 hues, the angle of (-u, -v)."""
    wheel = []
    for count, column, rising, full in (
        (15, 1, True, 0), (6, 0, False, 1), (4, 2, True, 1), (11, 1, False, 2), (13, 0, True, 2), (6, 2, False, 0)
    ):  # fmt: skip
        for index in range(count):
            color = [0.0, 0.0, 0.0]
            color[full] = 255
            share = np.floor(255 * index / count)
            color[column] = share if rising else 255 - share
            wheel.append(color)
    hues = np.array(wheel) / 255
    radius = np.hypot(u, v)
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(hues) - 1)
    first = int(np.floor(place))
    share = place - first
    color = (1 - share) * hues[first] + share * hues[(first + 1) % len(hues)]
    return np.floor(255 * (1 - radius * (1 - color)))


def test_flow_has_the_colors_of_the_established_wheel():
    motions = np.random.default_rng(5).uniform(-0.7, 0.7, (499, 2))
    theirs = np.stack([baker(u, v) for u, v in motions])
    # They cut fractions off where this rounds them.
    assert np.abs(flow(motions, 1.0) - theirs).max() <= 2


@pytest.mark.parametrize(
    ("motion", "hue"),
    [((1, 0), "red"), ((0, 1), "yellow"), ((-1, 0), "cyan"), ((0, -1), "violet"), ((1, 1), "orange")],
)
def test_directions_have_hues_that_people_know(motion, hue):
    expected = {
        "red": lambda r, g, b: r == 255 and g == b == 0,
        "yellow": lambda r, g, b: r == 255 and g > 200 and b == 0,
        "cyan": lambda r, g, b: r == 0 and g > 150 and b == 255,
        "violet": lambda r, g, b: 50 < r < 150 and g == 0 and b == 255,
        "orange": lambda r, g, b: r == 255 and 80 < g < 160 and b == 0,
    }
    length = np.hypot(*motion)
    assert expected[hue](*map(int, flow(np.array([motion]) / length, 1.0)[0]))


# -- scales and legends -----------------------------------------------------------------------------------


def test_a_scale_is_fitted_to_the_largest_of_all_tiles():
    tiles = [np.array([0.5, -3.0]), np.array([2.0])]
    assert fit_scale(tiles, "diverging", each=False, what="w").limit == 3.0
    assert fit_scale([np.array([[3.0, 4.0]])], "flow", each=False, what="w").limit == 5.0
    assert fit_scale([np.zeros(3)], "sequential", each=False, what="w").limit == 1.0
    assert fit_scale(tiles, "diverging", each=False, what="w", limit=0.25).limit == 0.25


def test_with_each_a_tile_has_its_own_limit():
    scale = fit_scale([np.array([0.5]), np.array([2.0])], "diverging", each=True, what="w")
    assert (scale.color(np.array([0.5])) == scale.color(np.array([2.0]))).all()


def test_values_that_are_not_finite_have_no_color():
    with pytest.raises(ModelError, match="the weights of conv cannot be drawn") as refused:
        fit_scale([np.array([np.nan, 1, np.inf])], "diverging", each=False, what="the weights of conv")
    assert refused.value.got == "2 NaN or infinite"


@pytest.mark.parametrize("options", [{"each": True, "limit": 1.0}, {"each": False, "limit": -1.0}])
def test_a_limit_that_makes_no_sense_is_refused(options):
    with pytest.raises(TfptError, match="the limit must be"):
        fit_scale([np.ones(1)], "diverging", what="w", **options)


def test_the_ends_of_a_bar_are_the_colors_of_the_limits():
    for kind, low in (("diverging", -1.0), ("sequential", 0.0)):
        scale = Scale(kind, 0.3)
        column = legend(scale)[:, 0]
        bar = column[(column != 255).any(1)]
        assert bar[0].tolist() == scale.color(np.array([0.3]))[0].tolist()
        assert bar[-1].tolist() == scale.color(np.array([low * 0.3]))[0].tolist()
        assert bar[len(bar) // 2].tolist() == scale.color(np.array([(0.3 + low * 0.3) / 2]))[0].tolist()


def test_the_bars_of_colors_end_in_each_channel_at_its_limits():
    picture = legend(Scale("rgb", 1.0))
    colors = {tuple(map(int, color)) for color in picture.reshape(-1, 3)}
    assert {(255, 128, 128), (128, 255, 128), (128, 128, 255)} <= colors
    assert {(0, 128, 128), (128, 0, 128), (128, 128, 0)} <= colors


def test_the_wheel_has_right_at_its_right_and_down_below():
    picture = legend(Scale("flow", 1.0))
    height = width = 121
    assert picture[height // 2, width - 1].tolist() == [255, 0, 0]
    assert picture[height - 1, width // 2].tolist() == flow(np.array([[0.0, 1.0]]), 1.0)[0].tolist()
    assert picture[0, width // 2].tolist() == flow(np.array([[0.0, -1.0]]), 1.0)[0].tolist()
    assert picture[height // 2, width // 2].tolist() == [255, 255, 255]
    assert picture[0, 0].tolist() == [255, 255, 255]
