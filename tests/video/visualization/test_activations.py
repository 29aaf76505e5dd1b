"""Activations in pictures, against what torch computes, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tfpt
from tests.video.visualization.drawn import animation, cells, sheet, strip_cells, write_mapping
from tfpt.errors import ModelError, SourceError, TfptError
from tfpt.report.color_maps import diverging, flow, sequential

PICTURES = """\
version: 1
weights: [{pt: n, fill: 0, shape: []}]
input: {kind: rgb, layout: "b h w c -> b c h w", range: [0, 1], size: 13}
"""


@pytest.fixture
def mapping(tmp_path):
    return write_mapping(tmp_path)


def write_clip(folder, frames=7, channels=3, seed=0):
    """A clip in TensorFlow's layout, prepared."""
    values = np.random.default_rng(seed).uniform(-1, 1, (1, frames, 13, 13, channels)).astype(np.float32)
    np.save(folder / "clip.npy", values)
    return folder / "clip.npy", values


def network(channels=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(channels, 11, 3, stride=(2, 1, 1)), nn.ReLU(), nn.Conv3d(11, 5, 1)).eval()


def outputs(model, values):
    with torch.no_grad():
        x = torch.from_numpy(values.transpose(0, 4, 1, 2, 3).copy())
        return [(x := layer(x))[0].double().numpy() for layer in model]


def draw(mapping, model, tmp_path, clip, **options):
    return tfpt.draw_activations(
        mapping, None, clip, tmp_path / "a.gif", sheet=tmp_path / "a.png", model=model, **options
    )


def test_behind_a_relu_tiles_are_torch_s_values_from_zero_to_the_largest(mapping, tmp_path):
    clip, values = write_clip(tmp_path)
    model = network()
    expected = outputs(model, values)[1]
    assert expected.shape == (11, 3, 11, 11)
    drawing = draw(mapping, model, tmp_path, clip, layer="1", channels="all")
    assert drawing.shape == (1, 11, 3, 11, 11)
    assert (drawing.scale.kind, drawing.scale.limit) == ("sequential", pytest.approx(expected.max()))
    images, (lead, *places) = animation(drawing)
    assert lead.label == "input"
    assert len(images) == 3
    for channel, place in enumerate(places):
        assert (cells(images, place, 11, 11) == sequential(expected[channel], expected.max())).all()


def test_where_values_are_negative_zero_is_neutral(mapping, tmp_path):
    clip, values = write_clip(tmp_path)
    model = network()
    expected = outputs(model, values)[2]
    drawing = draw(mapping, model, tmp_path, clip, layer="2", channels="3,0")
    assert drawing.scale.kind == "diverging"
    limit = np.abs(expected[[3, 0]]).max()
    images, (_, *places) = animation(drawing)
    for channel, place in zip((3, 0), places, strict=True):
        assert (cells(images, place, 11, 11) == diverging(expected[channel], limit)).all()


def test_the_strongest_channels_come_first(mapping, tmp_path):
    clip, values = write_clip(tmp_path)
    model = network()
    means = np.abs(outputs(model, values)[1]).mean((1, 2, 3))
    drawing = draw(mapping, model, tmp_path, clip, layer="1", channels="top 4")
    assert drawing.shown == tuple(np.argsort(-means)[:4])


def test_the_sheet_has_a_strip_for_the_clip_and_one_for_each_channel(mapping, tmp_path):
    clip, values = write_clip(tmp_path)
    model = network()
    expected = outputs(model, values)[1]
    picture, (lead, *places) = sheet(draw(mapping, model, tmp_path, clip, layer="1", channels="5,2"))
    assert [place.label for place in places] == ["channel 5", "channel 2"]
    limit = expected[[5, 2]].max()
    for channel, place in zip((5, 2), places, strict=True):
        assert (strip_cells(picture, place, 3, 11, 11) == sequential(expected[channel], limit)).all()
    assert lead.width == places[0].width


def test_each_step_is_shown_with_the_frame_in_the_middle_of_its_span(mapping, tmp_path):
    values = np.zeros((1, 7, 13, 13, 3), np.float32)
    for frame in range(7):
        values[:, frame] = (frame + 1) / 10
    np.save(tmp_path / "clip.npy", values)
    images, (lead, *_) = animation(draw(mapping, network(), tmp_path, tmp_path / "clip.npy", layer="1"))
    shown = images[:, lead.y + 5, lead.x + 5, 0]
    # Of seven frames, three steps have 2⅓ each: their middles lie in the second, the fourth and the sixth.
    expected = [round((value + 1) / 2 * 255) for value in (0.2, 0.4, 0.6)]
    assert shown.tolist() == pytest.approx(expected, abs=1)


def test_a_clip_of_flow_is_shown_as_motion(tmp_path):
    clip, values = write_clip(tmp_path, channels=2)
    model = nn.Conv3d(2, 3, 3, padding=1)
    drawing = draw(write_mapping(tmp_path, "flow"), nn.Sequential(model), tmp_path, clip, layer="0", zoom=1)
    picture, (lead, *_) = sheet(drawing)
    assert lead.label.startswith("input, full color")
    limit = float(np.hypot(values[..., 0], values[..., 1]).max())
    shown = strip_cells(picture, lead, 7, 13, 13)
    assert np.abs(shown.astype(int) - flow(values[0].astype(float), limit)).max() <= 1


def test_a_network_of_pictures_sees_each_frame_by_itself(tmp_path):
    path = write_mapping(tmp_path, text=PICTURES)
    frames = [np.random.default_rng(k).integers(0, 255, (13, 13, 3)).astype(np.uint8) for k in range(4)]
    images = [Image.fromarray(frame) for frame in frames]
    (tmp_path / "clip").mkdir()
    for index, image in enumerate(images):
        image.save(tmp_path / "clip" / f"{index}.png")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).eval()
    with torch.no_grad():
        x = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2).astype(np.float32) / 255)
        expected = model(x).double().numpy().swapaxes(0, 1)
    shown, (_, *places) = animation(draw(path, model, tmp_path, tmp_path / "clip", layer="1", channels="all"))
    assert len(shown) == 4
    for channel, place in enumerate(places):
        found = cells(shown, place, 11, 11)
        wanted = sequential(expected[channel], expected.max())
        # Values on the border of two colors may fall to either side.
        assert (np.abs(found.astype(int) - wanted).max(-1) > 8).sum() == 0
    still = draw(path, model, tmp_path, tmp_path / "clip", layer="1", frames=1, overwrite=True)
    assert still.pictures[0].frames == 1


def test_large_activations_are_averaged_and_small_ones_magnified(tmp_path):
    text = PICTURES.replace("size: 13", "size: 301")
    values = np.random.default_rng(0).uniform(0, 1, (1, 301, 301, 3)).astype(np.float32)
    np.save(tmp_path / "clip.npy", values)
    path = write_mapping(tmp_path, text=text)
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 2, 1))
    drawing = draw(path, model, tmp_path, tmp_path / "clip.npy", layer="0", channels="2")
    picture, (_, place) = sheet(drawing)
    assert (place.width, place.height) == (100, 100)
    blocks = values[0, :300, :300, 2].reshape(100, 3, 100, 3).mean((1, 3), dtype=np.float64)
    found = cells(picture, place, 100, 100)
    assert np.abs(found.astype(int) - sequential(blocks, blocks.max())).max() <= 8


def test_without_a_clip_there_is_noise_from_a_seed(mapping, tmp_path):
    first = draw(mapping, network(), tmp_path, None, layer="1", frames=5)
    assert first.shape == (1, 11, 2, 11, 11)
    before = (tmp_path / "a.png").read_bytes()
    draw(mapping, network(), tmp_path, None, layer="1", frames=5, overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == before


def test_no_more_frames_are_read_than_asked_for(mapping, tmp_path):
    clip, values = write_clip(tmp_path, frames=11)
    drawing = draw(mapping, network(), tmp_path, clip, layer="1", frames=5)
    assert drawing.shape == (1, 11, 2, 11, 11)
    assert drawing.scale.limit == pytest.approx(
        max(outputs(network(), values[:, :5])[1][channel].max() for channel in drawing.shown)
    )


def test_the_model_runs_no_further_than_the_layer(mapping, tmp_path):
    class Failing(nn.Module):
        def forward(self, x):
            raise AssertionError("beyond the layer")

    model = nn.Sequential(*network()[:2], Failing())
    assert draw(mapping, model, tmp_path, write_clip(tmp_path)[0], layer="1").layer == "1"


def test_the_default_layer_is_the_first_endpoint(tmp_path):
    drawing = tfpt.draw_activations("i3d_flow", None, None, tmp_path / "a.gif", frames=9, channels="0-1")
    assert drawing.layer == "conv3d_1a_7x7"
    assert drawing.scale.kind == "sequential"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": "nonesuch"}, ModelError, "no layer nonesuch"),
        ({"layer": "flat"}, ModelError, "is not an image"),
        ({"layer": "unused"}, ModelError, "is not run"),
        ({"layer": "conv", "channels": "5"}, TfptError, "no such channel"),
        ({"layer": "conv", "frames": 0}, TfptError, "too few frames"),
        ({"layer": "conv", "start": float("nan")}, TfptError, "must be a time in the clip"),
        ({"layer": "conv", "device": "tpu"}, TfptError, "no such device"),
    ],
)
def test_invalid_options_are_refused_and_leave_nothing(mapping, tmp_path, options, error, message):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(3, 5, 1)
            self.flat = nn.Flatten()
            self.unused = nn.Identity()

        def forward(self, x):
            return self.flat(self.conv(x))

    with pytest.raises(error, match=message):
        draw(mapping, Net(), tmp_path, None, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


def test_a_clip_of_another_network_is_refused(mapping, tmp_path):
    clip, _ = write_clip(tmp_path, channels=2)
    with pytest.raises(SourceError, match="channels"):
        draw(mapping, network(), tmp_path, clip, layer="1")


def test_activations_that_are_not_finite_are_refused(mapping, tmp_path):
    model = network()
    model[0].weight.data[3] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        draw(mapping, model, tmp_path, None, layer="0", channels="3")


def test_a_model_that_is_given_runs_in_evaluation_mode_and_stays_as_it_is(mapping, tmp_path):
    clip, values = write_clip(tmp_path)
    model = nn.Sequential(nn.Conv3d(3, 5, 1), nn.BatchNorm3d(5), nn.Dropout(0.5)).train()
    model[2].eval()
    drawing = draw(mapping, model, tmp_path, clip, layer="1", channels="0")
    assert model[1].num_batches_tracked == 0
    assert [module.training for module in model.modules()] == [True, True, True, False]
    expected = outputs(model.eval(), values)[1][0]
    assert drawing.scale.limit == pytest.approx(np.abs(expected).max())


def test_what_a_model_raises_is_one_error_with_its_input(mapping, tmp_path):
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(3, 5, 1)

        def forward(self, x):
            raise KeyError("features")

    clip, _ = write_clip(tmp_path)
    with pytest.raises(ModelError, match="cannot be run on this input: 'features'") as refused:
        draw(mapping, Wrong(), tmp_path, clip, layer="conv")
    assert "[1, 3, 7, 13, 13] on cpu" in refused.value.got
    assert not list(tmp_path.glob("a.*"))


def test_a_long_clip_name_is_shortened(mapping, tmp_path):
    _, values = write_clip(tmp_path)
    clip = tmp_path / f"a\nb{'x' * 200}.npy"
    np.save(clip, values)
    drawing = draw(mapping, network(), tmp_path, clip, layer="0", channels="0")
    assert drawing.pictures[0].width < 1000


def test_many_strips_are_arranged_in_columns(mapping, tmp_path):
    clip, _ = write_clip(tmp_path, frames=2)
    drawing = draw(mapping, nn.Conv3d(3, 600, 1), tmp_path, clip, layer=None, channels="all", zoom=1)
    picture = drawing.pictures[1]
    assert 1 / 2 < picture.width / picture.height < 2


def test_a_clip_too_long_for_a_gif_is_refused_before_it_is_drawn(mapping, tmp_path):
    clip, _ = write_clip(tmp_path, frames=2000)
    with pytest.raises(TfptError, match="too large") as refused:
        draw(mapping, nn.Conv3d(3, 5, 1), tmp_path, clip, layer=None, frames=2000, channels="0")
    assert "--frames" in refused.value.hint
    assert not list(tmp_path.glob("a.*"))
