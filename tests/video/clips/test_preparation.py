"""From clips to what a network takes: rates, sizes, ranges and flow, against torch, numpy and OpenCV."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise

import cv2
import numpy as np
import pytest

from tests.video.clips.footage import noise, texture, write_folder, write_gif, write_video
from tests.video.clips.tiny_network import SIZE, reference, write_network
from tfpt import load_mapping
from tfpt.errors import MappingError, SourceError, TfptError
from tfpt.video.clips import check_clip, open_clip, prepared, scaled
from tfpt.video.clips.preparation import check_input


@pytest.fixture
def rgb(tmp_path):
    return load_mapping(write_network(tmp_path, "rgb").mapping)


@pytest.fixture
def flow(tmp_path):
    return load_mapping(write_network(tmp_path, "flow", kind="flow").mapping)


def values(clip, mapping, **options):
    return scaled(np.stack(list(prepared(clip, mapping, **options))), mapping, clip)


def test_a_video_is_sampled_resized_cropped_and_scaled(tmp_path, rgb):
    pictures = noise(20, 37, 53)
    clip = open_clip(write_video(tmp_path / "v.mkv", pictures, rate=50))
    assert check_clip(clip, rgb) == ()
    found = values(clip, rgb)
    assert found.dtype == np.float32
    assert found.shape == (10, SIZE, SIZE, 3)
    # OpenCV's fixed point and rounding: within one of 255 levels.
    np.testing.assert_allclose(found, reference(pictures[::2]), atol=1.01 * 2 / 255)


def test_pictures_of_the_very_size_are_only_scaled(tmp_path, rgb):
    pictures = noise(4, SIZE, SIZE)
    found = values(open_clip(write_video(tmp_path / "v.mkv", pictures)), rgb)
    np.testing.assert_array_equal(found, (pictures.astype(np.float64) / 255 * 2 - 1).astype(np.float32))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (50, [0, 2, 4, 6, 8, 10]),
        (30, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]),
        (24, [0, *range(12)]),
        (10, [k // 5 for k in range(0, 60, 2)]),
    ],
)
def test_videos_of_any_rate_come_out_at_the_network_s(tmp_path, rgb, rate, expected):
    pictures = noise(12, SIZE, SIZE)
    clip = open_clip(write_video(tmp_path / "v.mov", pictures, rate=rate, codec="png", pixels="rgb24"))
    found = list(prepared(clip, rgb))
    assert [int((pictures == picture).all(axis=(1, 2, 3)).argmax()) for picture in found] == expected
    for picture, k in zip(found, expected, strict=True):
        np.testing.assert_array_equal(picture, pictures[k])


def test_start_and_end_of_a_video_are_seconds(tmp_path, rgb):
    pictures = noise(60, SIZE, SIZE)
    path = write_video(tmp_path / "v.mkv", pictures, codec="ffv1")
    found = np.stack(list(prepared(open_clip(path), rgb, start=0.8, end=2)))
    np.testing.assert_array_equal(found, pictures[20:50])


def test_a_span_without_a_frame_is_refused(tmp_path, rgb):
    clip = open_clip(write_gif(tmp_path / "a.gif", noise(3, SIZE, SIZE) // 64 * 64))
    with pytest.raises(SourceError, match="no frame in this span") as refused:
        list(prepared(clip, rgb, start=5, end=6))
    assert refused.value.got == "from 5 s to 6 s"


def test_a_clip_without_times_takes_the_network_s_rate_and_says_so(tmp_path, rgb):
    pictures = noise(30, SIZE, SIZE)
    folder = write_folder(tmp_path / "f", pictures)
    clip = open_clip(folder, default_fps=25)
    assert check_clip(clip, rgb) == ("assuming 25 frames per second (--fps gives another rate)",)
    np.testing.assert_array_equal(np.stack(list(prepared(clip, rgb))), pictures)
    np.testing.assert_array_equal(np.stack(list(prepared(clip, rgb, start=1))), pictures[25:])
    half = np.stack(list(prepared(open_clip(folder, fps=50), rgb)))
    np.testing.assert_array_equal(half, pictures[::2])


def test_a_slower_clip_says_that_frames_are_repeated(tmp_path, rgb):
    clip = open_clip(write_gif(tmp_path / "a.gif", noise(3, SIZE, SIZE) // 64 * 64, 100))
    assert check_clip(clip, rgb) == ("10 frames per second, repeated to get the network's 25",)


def test_flow_is_computed_at_the_resized_size_and_then_cropped(tmp_path, flow):
    wide = texture(60, 90)
    pictures = np.stack([wide[10 - k : 50 - k, 10 + 2 * k : 70 + 2 * k] for k in range(5)])
    clip = open_clip(write_video(tmp_path / "v.mkv", pictures))
    found = np.stack(list(prepared(clip, flow)))
    # By OpenCV alone, step by step: shorter side 15, and 13 of 15 by 22 from the center.
    gray = [
        cv2.cvtColor(cv2.resize(picture, (22, 15), interpolation=cv2.INTER_LINEAR), cv2.COLOR_RGB2GRAY)
        for picture in pictures
    ]
    algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
    moved = np.stack([algorithm.calc(first, second, None) for first, second in pairwise(gray)])
    assert found.shape == (4, SIZE, SIZE, 2)
    np.testing.assert_array_equal(found, (np.clip(moved, -20, 20) / 20)[:, 1:14, 4:17])


def test_pictures_beside_flow_are_as_many_as_the_flows(tmp_path, rgb):
    pictures = noise(5, SIZE, SIZE)
    clip = open_clip(write_video(tmp_path / "v.mkv", pictures))
    np.testing.assert_array_equal(np.stack(list(prepared(clip, rgb, but_last=True))), pictures[:4])


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-1.0, 3.0), (0.0, 255.0)])
def test_the_range_is_the_mapping_s(tmp_path, low, high):
    network = write_network(tmp_path, "net")
    network.mapping.write_text(network.mapping.read_text().replace("[-1, 1]", f"[{low}, {high}]"))
    mapping = load_mapping(network.mapping)
    pictures = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    np.save(tmp_path / "p.npy", pictures)
    found = scaled(pictures, mapping, open_clip(tmp_path / "p.npy"))
    np.testing.assert_array_equal(found, (low + pictures / 255.0 * (high - low)).astype(np.float32))


def test_prepared_values_go_through_untouched(tmp_path, rgb):
    clip = np.random.default_rng(2).uniform(-1, 1, (1, 5, SIZE, SIZE, 3)).astype(np.float32)
    np.save(tmp_path / "c.npy", clip)
    opened = open_clip(tmp_path / "c.npy", default_fps=25)
    assert check_clip(opened, rgb) == ()
    np.testing.assert_array_equal(values(opened, rgb), clip[0])


def write_values(folder, low, high, size=SIZE, channels=3):
    clip = np.random.default_rng(2).uniform(low, high, (5, size, size, channels)).astype(np.float32)
    np.save(folder / "c.npy", clip)
    return open_clip(folder / "c.npy")


def test_values_of_another_size_or_other_channels_are_refused(tmp_path, rgb, flow):
    with pytest.raises(SourceError, match="the network's input size") as refused:
        check_clip(write_values(tmp_path, -1, 1, size=11), rgb)
    assert (refused.value.expected, refused.value.got) == ("13 by 13", "11 by 11")
    with pytest.raises(SourceError, match="2 channels, but the network takes 3"):
        check_clip(write_values(tmp_path, -1, 1, channels=2), rgb)
    with pytest.raises(SourceError, match="3 channels, but the network takes 2") as refused:
        check_clip(write_values(tmp_path, -1, 1), flow)
    assert "--clip" in refused.value.hint


def test_values_beyond_the_range_are_refused_with_a_way_to_scale_them(tmp_path, rgb):
    with pytest.raises(SourceError, match="outside the network's range") as refused:
        check_clip(write_values(tmp_path, 0, 255), rgb)
    assert refused.value.expected == "values from -1 to 1"
    assert refused.value.hint.endswith("0.00784314 * clip + -1")
    with pytest.raises(SourceError, match="outside") as refused:
        check_clip(write_values(tmp_path, -2, 2), rgb)
    assert refused.value.hint == "scale the values"


def test_values_from_0_to_1_are_taken_with_a_question(tmp_path, rgb):
    (note,) = check_clip(write_values(tmp_path, 0, 1), rgb)
    assert note.endswith("is the clip scaled from 0 to 1?")


def test_drawn_flow_is_for_flow_alone(tmp_path, rgb, flow):
    drawn = np.full((3, SIZE, SIZE, 3), 127, np.uint8)
    drawn[..., 0] = np.arange(3).reshape(3, 1, 1) * 60
    clip = open_clip(write_gif(tmp_path / "flow.gif", drawn))
    (note,) = check_clip(clip, flow)
    assert note.startswith("flow drawn as RGB")
    np.testing.assert_allclose(values(clip, flow)[..., 0], drawn[..., 0] / 255 - 0.5, atol=1e-7)
    with pytest.raises(SourceError, match="2 channels, but the network takes 3") as refused:
        check_clip(clip, rgb)
    assert refused.value.got == "drawn flow"


def test_pictures_that_change_in_size_are_refused(tmp_path, rgb):
    clip = open_clip(write_video(tmp_path / "v.mkv", noise(2, 22, 30)))
    other = open_clip(write_video(tmp_path / "w.mkv", noise(2, 22, 40)))

    def frames(start):
        late = (replace(frame, time=frame.time + 1, end=frame.end + 1) for frame in other.frames(start))
        return chain(clip.frames(start), late)

    with pytest.raises(SourceError, match="change in size") as refused:
        list(prepared(replace(clip, frames=frames), rgb))
    assert refused.value.where.endswith("v.mkv, at 1.00 s")


def test_a_mapping_without_a_clip_is_refused(tmp_path, rgb):
    network = write_network(tmp_path, "net")
    whole = network.mapping.read_text()
    for old, new in (("kind: rgb, ", ""), ("b t h w c -> b c t h w", "b t c -> b c t")):
        network.mapping.write_text(whole.replace(old, new))
        with pytest.raises(MappingError, match="what kind of clip"):
            check_input(load_mapping(network.mapping))
    network.mapping.write_text(whole.replace(" range: [-1, 1],", ""))
    with pytest.raises(MappingError, match="the range to which"):
        check_clip(open_clip(write_folder(tmp_path / "f", noise(2))), load_mapping(network.mapping))


def test_seconds_of_a_clip_without_times_are_refused_where_the_network_has_no_rate(tmp_path):
    network = write_network(tmp_path, "net")
    network.mapping.write_text(network.mapping.read_text().replace(", fps: 25", ""))
    clip = open_clip(write_folder(tmp_path / "f", noise(2)))
    assert clip.fps is None
    with pytest.raises(TfptError, match="needs a frame rate"):
        list(prepared(clip, load_mapping(network.mapping), start=1))
    assert open_clip(tmp_path / "f", fps=Fraction(10)).fps == 10


@pytest.mark.parametrize(
    ("rate", "expected"), [(25, list(range(12))), (10, [k // 5 for k in range(0, 60, 2)])]
)
def test_a_container_that_counts_frames_loses_none(tmp_path, rgb, rate, expected):
    """AVI's unit of time is a frame: nothing is rounded to it."""
    pictures = noise(12, SIZE, SIZE)
    path = write_video(tmp_path / "v.avi", pictures, rate=rate, codec="rawvideo", pixels="bgr24")
    np.testing.assert_array_equal(np.stack(list(prepared(open_clip(path), rgb))), pictures[expected])
