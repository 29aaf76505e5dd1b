"""`tfpt predict`: what it prints, how options go with streams, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.commands.running import refused, run
from tests.video.clips.footage import noise, write_folder, write_gif, write_sound, write_video
from tests.video.clips.tiny_network import LABELS, SIZE, write_network


@pytest.fixture
def rgb(tmp_path):
    return write_network(tmp_path, "rgb")


@pytest.fixture
def flow(tmp_path):
    return write_network(tmp_path, "flow", kind="flow", seed=2)


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "v.mkv", noise(9, SIZE, SIZE))


def predict(*words):
    return run("predict", "--trust", *words)


def of(network):
    return ("--mapping", network.mapping, "--weights", network.weights)


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_one_stream_prints_norm_and_classes(rgb, clip):
    found = predict(clip, *of(rgb), "--top", 3)
    assert found.code == 0
    logits = rgb.logits(noise(9, SIZE, SIZE) / 255 * 2 - 1)
    order = np.argsort(-logits)
    printed = lines(found.out)
    assert printed[0] == f"rgb ← {rgb.weights}"
    assert printed[1] == f"{clip}: 9 frames of 13 by 13, 25 per second"
    assert printed[2].startswith("norm of logits ")
    assert float(printed[2].split()[-1]) == pytest.approx(np.linalg.norm(logits), abs=1e-4)
    assert printed[3] == "probability logit label"
    assert [line.split(maxsplit=2)[2] for line in printed[4:7]] == [LABELS[k] for k in order[:3]]
    assert float(printed[4].split()[1]) == pytest.approx(logits[order[0]], abs=1e-3)
    assert printed[7] == ""
    assert printed[8].startswith(f"{LABELS[order[0]]}, with probability 0.")
    assert len(printed) == 9


def test_several_streams_print_the_joint_one_last(rgb, flow, clip):
    found = predict(clip, *of(rgb), *of(flow), "--weight", 2)
    printed = lines(found.out)
    assert "joint = rgb + 2 × flow" in printed
    assert sum(line.startswith("norm of logits") for line in printed) == 3
    assert printed.index(f"flow ← {flow.weights}") < printed.index("joint = rgb + 2 × flow")


def test_json_has_everything_in_full(rgb, flow, clip):
    found = predict(clip, *of(rgb), *of(flow), "--json", "--top", 2, "--window", 4).json
    first, second = found["streams"]
    frames = noise(9, SIZE, SIZE)[:8] / 255 * 2 - 1
    expected = (rgb.logits(frames[:4]) + rgb.logits(frames[4:])) / 2
    np.testing.assert_allclose(first["logits"], expected, atol=1e-5)
    assert (first["mapping"], first["kind"], first["clip"]) == ("rgb", "rgb", str(clip))
    assert (second["mapping"], second["kind"], second["weights"]) == ("flow", "flow", str(flow.weights))
    for stream in (first, second):
        assert (stream["frames"], stream["windows"], stream["window"]) == (8, 2, 4)
        assert (stream["fps"], stream["size"], stream["weight"]) == (25, [SIZE, SIZE], 1)
    joint = found["joint"]
    np.testing.assert_allclose(joint["logits"], np.add(first["logits"], second["logits"]), rtol=1e-15)
    assert sum(joint["probabilities"]) == pytest.approx(1, abs=1e-12)
    assert joint["norm"] == pytest.approx(np.linalg.norm(joint["logits"]), rel=1e-15)
    assert len(joint["top"]) == 2
    best = joint["top"][0]
    assert best["logit"] == max(joint["logits"]) == joint["logits"][best["index"]]
    assert best["label"] == LABELS[best["index"]]
    assert best["probability"] == joint["probabilities"][best["index"]]


def test_options_belong_to_the_mapping_before_them(rgb, flow, clip, tmp_path):
    np.save(tmp_path / "own.npy", np.random.default_rng(4).uniform(-1, 1, (9, SIZE, SIZE, 2)).astype("f4"))
    words = (clip, *of(rgb), *of(flow), "--clip", tmp_path / "own.npy")
    found = predict(*words, "--json").json
    assert [stream["clip"] for stream in found["streams"]] == [str(clip), str(tmp_path / "own.npy")]
    assert [stream["weight"] for stream in found["streams"]] == [1, 1]
    found = predict(clip, *of(rgb), "--weight", 3, *of(flow), "--clip", tmp_path / "own.npy", "--json").json
    assert [stream["weight"] for stream in found["streams"]] == [3, 1]
    in_order = ("--mapping", rgb.mapping, "--mapping", flow.mapping, "--weights", rgb.weights,
                "--weights", flow.weights, "--clip", clip, "--clip", tmp_path / "own.npy")  # fmt: skip
    assert (
        predict(*in_order, "--json").json["joint"]["norm"] == predict(*words, "--json").json["joint"]["norm"]
    )


def test_prepared_clips_are_written_and_named(rgb, clip, tmp_path):
    found = predict(clip, *of(rgb), "--save-clips", tmp_path / "out")
    assert f"wrote {tmp_path / 'out/rgb.npy'}" in lines(found.out)
    assert np.load(tmp_path / "out/rgb.npy").shape == (1, 9, SIZE, SIZE, 3)
    assert "exists already" in refused("predict", "--trust", clip, *of(rgb), "--save-clips", tmp_path / "out")
    assert predict(clip, *of(rgb), "--save-clips", tmp_path / "out", "--force").code == 0


def test_a_repeated_clip_says_so(rgb, clip):
    printed = lines(predict(clip, *of(rgb), "--loop").out)
    assert printed[1] == f"{clip}: 9 frames of 13 by 13, 25 per second, repeated to fill 64"
    printed = lines(predict(clip, *of(rgb), "--window", 4).out)
    assert printed[1] == f"{clip}: 9 frames of 13 by 13, 25 per second, 3 windows of 4"


def test_a_changed_head_shows_numbers_and_says_so(tmp_path, clip):
    network = write_network(tmp_path, "net", classes=7)
    network.mapping.write_text(network.mapping.read_text().replace("num_classes: 7", "num_classes: 5"))
    printed = lines(predict(clip, *of(network), "--set", "num_classes=7").out)
    assert "note net.txt names 5 classes, the network has 7: classes are shown by number" in printed
    assert printed[-1].startswith("class ")


# -- refusals ------------------------------------------------------------------------------------------


def cut_mp4(path):
    write_video(path, noise(50, 48, 64), codec="libx264", pixels="yuv420p", movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def values(low=-1.0, high=1.0, shape=(1, 5, SIZE, SIZE, 3)):
    return np.random.default_rng(1).uniform(low, high, shape).astype(np.float32)


def with_nan():
    clip = values()
    clip[0, 1, 2, 3, 0] = np.nan
    return clip


def mixed_folder(path):
    write_folder(path, noise(3))
    write_folder(path / "other", noise(1, 22, 31))
    (path / "other/frame1.png").rename(path / "frame4.png")


BAD = {
    "short.mkv": (lambda path: write_video(path, noise(1, SIZE, SIZE)), "too short a clip", "--loop"),
    "small.npy": (
        lambda path: np.save(path, values(shape=(1, 5, 11, 11, 3))),
        "network's input size",
        "11 by 11",
    ),
    "flow.npy": (lambda path: np.save(path, values(shape=(1, 5, SIZE, SIZE, 2))), "2 channels", "--clip"),
    "int.npy": (
        lambda path: np.save(path, values().astype(np.int64)),
        "dtype that a clip cannot have",
        "int64",
    ),
    "rank.npy": (lambda path: np.save(path, values()[0, 0]), "not a clip", "(13, 13, 3)"),
    "bytes.npy": (lambda path: np.save(path, values(0, 255)), "outside the network's range", "as uint8"),
    "nan.npy": (lambda path: np.save(path, with_nan()), "not finite", "frame 1, row 2"),
    "text.mp4": (lambda path: path.write_text("a\n" * 99), "does not contain a video", "expected"),
    "empty.mp4": (lambda path: path.touch(), "empty file", "0 bytes"),
    "sound.m4a": (write_sound, "does not contain a video", "audio only"),
    "cut.mp4": (cut_mp4, "truncated", "--end"),
    "empty": (lambda path: path.mkdir(), "contains no pictures", "no file"),
    "mixed": (mixed_folder, "differ in size", "frame4.png"),
    "one.gif": (lambda path: write_gif(path, noise(1)), "a single picture is not a clip", "folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_clip_is_refused_with_its_name_and_what_to_do(rgb, tmp_path, name):
    make, what, also = BAD[name]
    make(tmp_path / name)
    message = refused("predict", "--trust", tmp_path / name, *of(rgb))
    assert what in message.splitlines()[0]
    assert also in message
    assert str(tmp_path / name) in message


@pytest.mark.parametrize(("missing", "what"), [("av", "PyAV"), ("cv2", "OpenCV"), ("cv2.optflow", "TV-L1")])
def test_without_the_packages_for_video_it_says_what_to_install(
    rgb, flow, tmp_path, monkeypatch, missing, what
):
    path = write_video(tmp_path / "v.mkv", noise(3))
    monkeypatch.setitem(sys.modules, missing, None)
    message = refused("predict", "--trust", path, *of(flow if missing == "cv2.optflow" else rgb))
    assert what in message
    assert 'pip install "tfpt[video]"' in message


def test_an_error_is_json_too(rgb, tmp_path):
    found = predict(tmp_path / "absent.mp4", *of(rgb), "--json")
    assert found.code == 2
    assert json.loads(found.out)["what"] == "there is no such clip"


def test_weights_of_another_stream_are_refused(rgb, flow, clip):
    message = refused("predict", "--trust", clip, "--mapping", rgb.mapping, "--weights", flow.weights)
    assert "does not have the weights of this model" in message
    assert "mean.weight has another shape" in message


def usage(*words):
    found = predict(*words)
    assert found.code == 2
    assert found.err.startswith("Usage: ")
    return found.err.splitlines()[-1]


def test_options_that_do_not_go_together_are_refused(rgb, flow, clip):
    both = (*of(rgb), "--mapping", flow.mapping)
    assert "2 --mapping and 1 --weights" in usage(clip, *both)
    assert "--clip comes before every --mapping" in usage("--clip", clip, clip, *of(rgb), *of(flow))
    assert "--weight is given twice" in usage(
        clip, *of(rgb), "--weight", 1, "--weight", 2, *of(flow), "--weight", 3
    )
    assert "Missing argument 'CLIP'" in usage(*of(rgb))
    assert "Missing option '--mapping'" in usage(clip)


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom tfpt.commands.main import main\n"
        "try:\n    main(['predict', '--help'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'tensorflow', 'numpy', 'cv2', 'av', 'PIL', 'matplotlib'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
