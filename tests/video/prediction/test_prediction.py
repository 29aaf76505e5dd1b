"""Clips classified, against the same computation written out with numpy and torch."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import tfpt
from tests.video.clips.footage import noise, plain, texture, write_folder, write_gif, write_video
from tests.video.clips.tiny_network import LABELS, SIZE, Net, reference, write_network
from tfpt.errors import MappingError, ModelError, SourceError, TfptError
from tfpt.video.prediction import Stream, predict

RANGE = 2 / 255


@pytest.fixture
def rgb(tmp_path):
    return write_network(tmp_path, "rgb")


@pytest.fixture
def flow(tmp_path):
    return write_network(tmp_path, "flow", kind="flow", seed=2)


def stream(network, **options):
    return Stream(network.mapping, network.weights, **options)


def run(network, clip, **options):
    return predict(stream(network), clip, trust=True, **options)


def exactly(pictures):
    return pictures.astype(np.float64) / 255 * 2 - 1


def softmax(logits):
    return torch.softmax(torch.from_numpy(np.asarray(logits)), 0).numpy()


def test_a_lossless_video_gives_the_logits_of_its_pictures(tmp_path, rgb):
    pictures = noise(19, SIZE, SIZE)
    found = run(rgb, write_video(tmp_path / "v.mkv", pictures, rate=50))
    expected = rgb.logits(exactly(pictures[::2]))
    (only,) = found.streams
    assert found.joint is None
    assert found.scores is only.scores
    assert (only.frames, only.windows, only.window, only.fps, only.size) == (10, 1, 10, 25, (SIZE, SIZE))
    np.testing.assert_allclose(only.scores.logits, expected, atol=1e-5)
    np.testing.assert_allclose(only.scores.probabilities, softmax(expected), atol=1e-5)
    assert only.scores.norm == pytest.approx(np.linalg.norm(expected), abs=1e-5)
    assert [guess.label for guess in only.scores.top] == [LABELS[k] for k in np.argsort(-expected)]


def test_a_video_that_is_resized_gives_nearly_the_logits_of_torch_s_resize(tmp_path, rgb):
    pictures = noise(10, 41, 57)
    found = run(rgb, write_video(tmp_path / "v.mkv", pictures))
    frames = reference(pictures)
    weights = sum(np.abs(rgb.values[name]).sum(axis=1).max() for name in ("mean.weight", "step.weight"))
    np.testing.assert_allclose(found.scores.logits, rgb.logits(frames), atol=weights * RANGE * 0.1)
    # The crop matters: another one is far away.
    shifted = np.roll(frames, 1, axis=2)
    assert np.abs(rgb.logits(shifted) - rgb.logits(frames)).max() > weights * RANGE


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_compressed_video_gives_nearly_the_logits_of_its_pictures(tmp_path, rgb, codec):
    levels = [20, 200, 60, 160, 110, 240, 90, 30, 180]
    path = write_video(tmp_path / "v.mp4", plain(levels, 64, 80), codec=codec, pixels="yuv420p")
    expected = rgb.logits(exactly(plain(levels, SIZE, SIZE)))
    weights = sum(np.abs(rgb.values[name].sum(axis=1)).max() for name in ("mean.weight", "step.weight"))
    np.testing.assert_allclose(run(rgb, path).scores.logits, expected, atol=4 * RANGE * weights)


def test_the_same_clip_in_any_form_gives_the_same(tmp_path, rgb):
    pictures = noise(7, SIZE, SIZE) // 64 * 64
    np.save(tmp_path / "pictures.npy", pictures)
    np.save(tmp_path / "values.npy", exactly(pictures).astype(np.float32)[None])
    clips = [
        tmp_path / "pictures.npy",
        tmp_path / "values.npy",
        write_gif(tmp_path / "a.gif", pictures),
        write_folder(tmp_path / "folder", pictures),
        write_video(tmp_path / "v.mkv", pictures),
    ]
    expected = rgb.logits(exactly(pictures))
    for clip in clips:
        np.testing.assert_allclose(run(rgb, clip).scores.logits, expected, atol=1e-5, err_msg=str(clip))


def test_both_streams_of_one_video_are_added(tmp_path, rgb, flow):
    wide = texture(40, 60)
    pictures = np.stack([wide[10 : 10 + SIZE, 10 + 2 * k : 10 + 2 * k + SIZE] for k in range(6)])
    clip = write_video(tmp_path / "v.mkv", pictures)
    found = predict([stream(rgb), stream(flow, weight=0.5)], clip, trust=True, top=3)
    algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
    gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    moved = np.stack([algorithm.calc(first, second, None) for first, second in pairwise(gray)])
    expected = rgb.logits(exactly(pictures[:5])), flow.logits(np.clip(moved, -20, 20) / 20)
    for one, logits in zip(found.streams, expected, strict=True):
        assert (one.frames, one.windows) == (5, 1)
        np.testing.assert_allclose(one.scores.logits, logits, atol=1e-5)
    joint = expected[0] + 0.5 * expected[1]
    np.testing.assert_allclose(found.joint.logits, joint, atol=1e-5)
    np.testing.assert_allclose(found.joint.probabilities, softmax(joint), atol=1e-5)
    assert found.joint.norm == pytest.approx(np.linalg.norm(joint), abs=1e-5)
    assert [guess.index for guess in found.joint.top] == np.argsort(-joint)[:3].tolist()
    assert found.scores is found.joint


@pytest.mark.parametrize(
    ("options", "spans"),
    [
        ({}, [(0, 23)]),
        ({"window": 10}, [(0, 10), (10, 20), (13, 23)]),
        ({"window": 10, "batch": 2}, [(0, 10), (10, 20), (13, 23)]),
        ({"window": 10, "stride": 4}, [(0, 10), (4, 14), (8, 18), (12, 22), (13, 23)]),
        ({"window": 100}, [(0, 23)]),
    ],
)
def test_logits_are_averaged_over_windows(tmp_path, rgb, options, spans):
    pictures = noise(23, SIZE, SIZE)
    found = run(rgb, write_video(tmp_path / "v.mkv", pictures), **options)
    expected = np.mean([rgb.logits(exactly(pictures[a:b])) for a, b in spans], axis=0)
    assert found.streams[0].windows == len(spans)
    np.testing.assert_allclose(found.scores.logits, expected, atol=1e-5)


def test_a_short_clip_can_be_repeated(tmp_path, rgb):
    pictures = noise(3, SIZE, SIZE)
    found = run(rgb, write_video(tmp_path / "v.mkv", pictures), window=8, loop=True)
    expected = rgb.logits(exactly(pictures[[0, 1, 2, 0, 1, 2, 0, 1]]))
    np.testing.assert_allclose(found.scores.logits, expected, atol=1e-5)
    assert (found.streams[0].frames, found.streams[0].window) == (3, 8)


def test_start_and_end_leave_the_rest_out(tmp_path, rgb):
    pictures = noise(60, SIZE, SIZE)
    found = run(rgb, write_video(tmp_path / "v.mkv", pictures), start=0.8, end=1.6)
    np.testing.assert_allclose(found.scores.logits, rgb.logits(exactly(pictures[20:40])), atol=1e-5)


def test_a_long_clip_takes_no_more_memory_than_a_short_one(tmp_path, rgb):
    """numpy tells tracemalloc of its arrays; those of the file are mapped, and not among them."""
    peaks = []
    for frames in (600, 3600):
        np.save(tmp_path / "v.npy", noise(frames, SIZE, SIZE))
        run(rgb, tmp_path / "v.npy", window=20)
        tracemalloc.start()
        found = run(rgb, tmp_path / "v.npy", window=20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.streams[0].windows == frames / 20
    assert peaks[1] < peaks[0] * 1.2
    assert peaks[0] < 600 * SIZE * SIZE * 3  # nor as much as the short one's pictures


def test_batches_run_as_soon_as_their_last_frame_is_there(tmp_path, rgb):
    seen = []
    np.save(tmp_path / "v.npy", noise(200, SIZE, SIZE))
    run(rgb, tmp_path / "v.npy", window=20, batch=3, progress=lambda *numbers: seen.append(numbers))
    assert seen == [("rgb", 60, 3), ("rgb", 120, 6), ("rgb", 180, 9), ("rgb", 200, 10)]


def test_a_model_that_is_ready_is_run_as_it_is(tmp_path, rgb):
    pictures = noise(4, SIZE, SIZE)
    net = Net().double()
    net.load_state_dict({name: torch.from_numpy(value) for name, value in rgb.values.items()})
    found = predict(Stream(rgb.mapping, net), write_video(tmp_path / "v.mkv", pictures))
    np.testing.assert_allclose(found.scores.logits, rgb.logits(exactly(pictures)), atol=1e-6)
    assert found.streams[0].weights == "Net"


def test_a_tensorflow_checkpoint_will_do(tmp_path, rgb):
    from tfpt.execution.sinks.bundle import write_bundle

    values = {name: value.astype(np.float32) for name, value in rgb.values.items()}
    variables = {
        "mean/w": values["mean.weight"].T,
        "mean/b": values["mean.bias"],
        "step/w": values["step.weight"].T,
    }
    write_bundle(tmp_path / "model.ckpt", variables, write_state=False)
    pictures = noise(4, SIZE, SIZE)
    clip = write_video(tmp_path / "v.mkv", pictures)
    found = predict(Stream(rgb.mapping, tmp_path / "model.ckpt"), clip, trust=True)
    np.testing.assert_allclose(found.scores.logits, rgb.logits(exactly(pictures)), atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("bfloat16", 0.2), ("float16", 0.05)])
def test_the_dtype_is_that_of_the_network(tmp_path, rgb, dtype, tolerance):
    pictures = noise(4, SIZE, SIZE)
    found = run(rgb, write_video(tmp_path / "v.mkv", pictures), dtype=dtype)
    np.testing.assert_allclose(found.scores.logits, rgb.logits(exactly(pictures)), atol=tolerance)


def test_single_pictures_are_averaged(tmp_path):
    network = write_network(tmp_path, "picture", layout="b h w c -> b c h w")
    pictures = noise(5, SIZE, SIZE)
    found = run(network, write_video(tmp_path / "v.mkv", pictures), batch=2)
    expected = np.mean([network.logits(picture[None]) for picture in exactly(pictures)], axis=0)
    np.testing.assert_allclose(found.scores.logits, expected, atol=1e-5)
    assert (found.streams[0].windows, found.streams[0].window) == (5, 1)


def test_what_was_fed_can_be_saved_and_fed_again(tmp_path, rgb, flow):
    wide = texture(40, 60)
    pictures = np.stack([wide[5 : 5 + 30, 5 + k : 5 + k + 44] for k in range(5)])
    streams = [stream(rgb), stream(flow)]
    clip = write_video(tmp_path / "v.mkv", pictures)
    found = predict(streams, clip, trust=True, save=tmp_path / "new/clips")
    assert found.saved == (tmp_path / "new/clips/rgb.npy", tmp_path / "new/clips/flow.npy")
    saved = np.load(found.saved[0])
    assert saved.shape == (1, 4, SIZE, SIZE, 3)
    np.testing.assert_allclose(saved[0], reference(pictures[:4]), atol=1.01 * RANGE)
    assert np.load(found.saved[1]).shape == (1, 4, SIZE, SIZE, 2)
    again = predict(
        [stream(rgb, clip=found.saved[0]), stream(flow, clip=found.saved[1])], trust=True, window=3, stride=1
    )
    whole = predict(streams, clip, trust=True, window=3, stride=1)
    np.testing.assert_array_equal(again.joint.logits, whole.joint.logits)
    with pytest.raises(TfptError, match="exists already"):
        predict(streams, clip, trust=True, save=tmp_path / "new/clips")


def test_two_streams_of_one_mapping_are_saved_under_two_names(tmp_path, rgb):
    clip = write_video(tmp_path / "v.mkv", noise(3, SIZE, SIZE))
    found = predict([stream(rgb), stream(rgb)], clip, trust=True, save=tmp_path / "s")
    assert [path.name for path in found.saved] == ["rgb.npy", "rgb_2.npy"]


def test_nothing_is_saved_where_a_stream_fails(tmp_path, rgb):
    clip = write_video(tmp_path / "v.mkv", noise(1, SIZE, SIZE))
    with pytest.raises(ModelError, match="too short"):
        run(rgb, clip, save=tmp_path / "s")
    assert list((tmp_path / "s").iterdir()) == []


# -- refusals ------------------------------------------------------------------------------------------


def test_too_short_a_clip_is_named_with_a_way_out(tmp_path, rgb):
    clip = write_video(tmp_path / "short.mkv", noise(1, SIZE, SIZE))
    with pytest.raises(ModelError, match="too short a clip") as refused:
        run(rgb, clip)
    assert refused.value.where == str(clip)
    assert refused.value.hint.startswith("--loop")


def test_one_picture_makes_no_flow(tmp_path, flow):
    clip = write_video(tmp_path / "v.mkv", noise(1, SIZE, SIZE))
    with pytest.raises(SourceError, match="flow cannot be computed from one picture"):
        run(flow, clip)


@pytest.mark.parametrize("kinds", ["known", "of a video"])
def test_streams_of_different_length_are_refused(tmp_path, rgb, flow, kinds):
    np.save(tmp_path / "flow.npy", np.zeros((5, SIZE, SIZE, 2), np.float32))
    pictures = noise(6, SIZE, SIZE) // 64 * 64
    clip = write_gif(tmp_path / "v.gif", pictures) if kinds == "known" else tmp_path / "v.mkv"
    if kinds != "known":
        write_video(clip, pictures)
    with pytest.raises(SourceError, match="differ in length") as refused:
        predict([stream(rgb), stream(flow, clip=tmp_path / "flow.npy")], clip, trust=True)
    assert refused.value.expected == f"6 frames, as rgb gets from {clip}"
    assert refused.value.got == "5 frames for flow"


def test_streams_of_different_classes_are_refused(tmp_path, rgb):
    clip = write_video(tmp_path / "v.mkv", noise(3, SIZE, SIZE))
    other = write_network(tmp_path, "seven", classes=7, labels=None)
    with pytest.raises(ModelError, match="different classes") as refused:
        predict([stream(rgb), stream(other)], clip, trust=True)
    assert (refused.value.expected, refused.value.got) == ("5 classes, as rgb", "7 classes, seven")
    renamed = write_network(tmp_path, "renamed", labels=LABELS[::-1])
    with pytest.raises(MappingError, match="name their classes differently"):
        predict([stream(rgb), stream(renamed)], clip, trust=True)


def test_a_stream_without_labels_takes_part(tmp_path, rgb):
    clip = write_video(tmp_path / "v.mkv", noise(3, SIZE, SIZE))
    nameless = write_network(tmp_path, "nameless", labels=None, seed=3)
    found = predict([stream(nameless), stream(rgb)], clip, trust=True)
    assert found.streams[0].scores.top[0].label is None
    assert found.joint.top[0].label in LABELS


def test_labels_of_another_number_are_refused_unless_the_head_was_changed(tmp_path):
    network = write_network(tmp_path, "net", classes=7)
    clip = write_video(tmp_path / "v.mkv", noise(3, SIZE, SIZE))
    with pytest.raises(MappingError, match="labels do not match"):
        run(network, clip)
    network.mapping.write_text(network.mapping.read_text().replace("num_classes: 7", "num_classes: 5"))
    found = run(network, clip, settings={"num_classes": 7})
    assert found.scores.top[0].label is None
    assert "net.txt names 5 classes, the network has 7" in found.streams[0].notes[0]


def test_weights_of_another_mapping_are_refused(tmp_path, rgb, flow):
    clip = write_video(tmp_path / "v.mkv", noise(3, SIZE, SIZE))
    with pytest.raises(ModelError, match="does not have the weights") as refused:
        predict([Stream(rgb.mapping, flow.weights), Stream(flow.mapping, rgb.weights)], clip, trust=True)
    assert refused.value.hint == "give each --mapping its own --weights, in the same order"
    assert len(refused.value.causes) == 2


def test_rates_of_prepared_clips_are_not_changed(tmp_path, rgb):
    np.save(tmp_path / "v.npy", np.zeros((5, SIZE, SIZE, 3), np.float32))
    with pytest.raises(SourceError, match="cannot be resampled to another rate"):
        run(rgb, tmp_path / "v.npy", fps=50)
    assert run(rgb, tmp_path / "v.npy", fps=25).streams[0].fps == 25


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"top": 0}, "top must be at least 1"),
        ({"window": 0}, "window must be at least 1"),
        ({"stride": -1}, "stride must be at least 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"fps": 0}, "fps must be a positive number"),
        ({"start": -1}, "start must not be negative"),
        ({"start": float("nan")}, "start must be a finite number of seconds"),
        ({"end": float("inf")}, "end must be a finite number of seconds"),
        ({"start": 2, "end": 1}, "must be after"),
        ({"device": "abacus"}, "no such device"),
        ({"dtype": "int8"}, "cannot run in this dtype"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_read(rgb, options, what):
    with pytest.raises(TfptError, match=what):
        run(rgb, "absent.mp4", **options)


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(rgb, weight):
    with pytest.raises(TfptError, match="weight must be finite"):
        predict(Stream(rgb.mapping, rgb.weights, weight=weight), "v.mkv")


def test_without_a_stream_or_a_clip_there_is_nothing_to_do(rgb):
    with pytest.raises(TfptError, match="no stream"):
        predict([], "clip.mp4")
    with pytest.raises(TfptError, match="has no clip"):
        predict(stream(rgb), trust=True)


# -- the published clips -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_published_clips_through_both_streams(shared: Path, tmp_path: Path) -> None:
    """The whole way of both GIFs, written out in a straight line, through the networks with random weights."""
    clips = {
        name: shared / f"real/i3d/clips/v_CricketShot_g04_c01_{name.removeprefix('i3d_')}.gif"
        for name in ("i3d_rgb", "i3d_flow")
    }
    streams, expected = [], []
    for name, clip in clips.items():
        checkpoint = tmp_path / f"{name}.ckpt"
        tfpt.sample(name, checkpoint, seed=len(name))
        streams.append(Stream(name, checkpoint, clip))
        with Image.open(clip) as image:
            pixels = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])
        assert pixels.shape == (79, 224, 224, 3)
        values = (
            pixels.astype(np.float64) / 255 * 2 - 1
            if name == "i3d_rgb"
            else pixels[..., :2].astype(np.float64) / 255 - 0.5
        )
        model = tfpt.load(name, checkpoint)
        with torch.no_grad():
            tensor = torch.from_numpy(values.astype(np.float32)).permute(3, 0, 1, 2)[None]
            expected.append(model(tensor)[0].double().numpy())
    found = predict(streams)
    for one, logits in zip(found.streams, expected, strict=True):
        assert (one.frames, one.windows, one.fps) == (79, 1, 25)
        np.testing.assert_allclose(one.scores.logits, logits, atol=1e-4 * np.abs(logits).max())
    joint = expected[0] + expected[1]
    np.testing.assert_allclose(found.joint.logits, joint, atol=1e-4 * np.abs(joint).max())
    assert [guess.index for guess in found.joint.top[:5]] == np.argsort(-joint)[:5].tolist()
