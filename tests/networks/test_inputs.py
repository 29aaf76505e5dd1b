"""What a network is fed: shapes, seeded values, axes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tfpt.errors import MappingError, ModelError
from tfpt.language.loader import load_mapping
from tfpt.networks.inputs import channels_of, input_axes, input_shape, rearrange, seeded_input
from tfpt.operations.layout import Layout


def mapping_with(tmp_path, text):
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\n{text}")
    return load_mapping(path)


def test_a_shape_is_put_together_in_tensorflows_order():
    rgb = load_mapping("i3d_rgb")
    assert input_shape(rgb) == (1, 16, 224, 224, 3)
    assert input_shape(rgb, batch=2, frames=7, size=11, channels=5) == (2, 7, 11, 11, 5)
    assert input_shape(load_mapping("i3d_flow"))[-1] == 2


def test_pictures_have_no_frames(tmp_path):
    mapping = mapping_with(tmp_path, 'input: {kind: rgb, layout: "b h w c -> b c h w", size: 37}')
    assert input_axes(mapping) == ["b", "h", "w", "c"]
    assert input_shape(mapping, frames=5) == (1, 37, 37, 3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("input: {size: 37}", "does not describe the network's input"),
        ('input: {kind: rgb, layout: "b h w c -> b c h w"}', "'h'"),
        ('input: {size: 37, layout: "b h w c -> b c h w"}', "'c'"),
        ('input: {kind: rgb, size: 37, layout: "b n h -> b h n"}', "'n'"),
    ],
)
def test_what_the_mapping_leaves_open_is_refused(tmp_path, text, what):
    with pytest.raises(MappingError, match=what):
        input_shape(mapping_with(tmp_path, text))


def test_seeded_values_fill_the_range_and_are_the_same_again(tmp_path):
    mapping = mapping_with(tmp_path, "input: {range: [0, 255]}")
    first = seeded_input((7, 11, 13), mapping, seed=1)
    assert np.array_equal(first, seeded_input((7, 11, 13), mapping, seed=1))
    assert not np.array_equal(first, seeded_input((7, 11, 13), mapping, seed=2))
    assert (first.min() >= 0, first.max() <= 255, first.max() - first.min() > 230) == (True, True, True)
    assert np.array_equal(first, np.random.default_rng(1).uniform(0, 255, (7, 11, 13)).astype(np.float32))


def test_channels_are_those_of_the_first_convolution():
    assert (
        channels_of(nn.Sequential(nn.Linear(5, 3), nn.Sequential(nn.Conv3d(2, 7, 1), nn.Conv2d(7, 1, 1))))
        == 2
    )
    assert channels_of(nn.Linear(5, 3)) is None


@pytest.mark.parametrize("make", [lambda a: a, torch.from_numpy])
def test_axes_are_turned_one_way_and_back(make):
    array = np.arange(2 * 3 * 5 * 7 * 11).reshape(2, 3, 5, 7, 11)
    turned = rearrange(make(array), "b t h w c -> b c t h w")
    assert np.array_equal(np.asarray(turned), array.transpose(0, 4, 1, 2, 3))
    assert np.array_equal(np.asarray(rearrange(turned, "b t h w c -> b c t h w", back=True)), array)


def test_sizes_of_a_layout_hold_in_both_directions():
    array = np.arange(2 * 15 * 7).reshape(2, 15, 7)
    layout = Layout.parse("b (n h) d -> b n d h", {"n": 3})
    turned = rearrange(array, layout)
    assert np.array_equal(turned, array.reshape(2, 3, 5, 7).transpose(0, 1, 3, 2))
    assert np.array_equal(rearrange(turned, layout, back=True), array)


def test_without_a_layout_nothing_is_turned():
    array = np.zeros((2, 3))
    assert rearrange(array, None) is array


def test_an_array_of_other_axes_is_refused():
    with pytest.raises(ModelError, match="axes of its layout") as error:
        rearrange(np.zeros((2, 3)), "b t h w c -> b c t h w")
    assert error.value.got == "(2, 3)"
