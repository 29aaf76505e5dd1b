"""The published I3D on its published sample: norm and the 20 likeliest classes, as its authors printed them.

Opt-in, since the weights are 100 MB: TFPT_KINETICS_I3D names a checkout of google-deepmind/kinetics-i3d with its
data (git lfs pull).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tfpt.video.prediction import Stream, predict

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/i3d/published_top20.json").read_text())

# The authors' figures are those of TensorFlow 1 in float32, printed in eight digits.
TOLERANCE = 2e-4


def test_the_published_figures_agree_with_each_other():
    """The joint logits of a class that all three lists name are the sum of both streams'; softmax is of the logits."""
    logits = {
        name: {label: logit for _, logit, label in PUBLISHED[name]["top"]}
        for name in ("rgb", "flow", "joint")
    }
    common = set(logits["rgb"]) & set(logits["flow"]) & set(logits["joint"])
    assert len(common) >= 5
    for label in common:
        total = logits["rgb"][label] + logits["flow"][label]
        assert logits["joint"][label] == pytest.approx(total, abs=1e-5)
    for name in logits:
        (first, highest, _), *rest = PUBLISHED[name]["top"]
        for probability, logit, _ in rest:
            assert probability / first == pytest.approx(np.exp(logit - highest), rel=1e-4)


def test_every_published_label_is_among_the_mapping_s():
    labels = set(tfpt.load_mapping("i3d_rgb").labels.read_text().splitlines())
    for name in ("rgb", "flow", "joint"):
        assert {label for _, _, label in PUBLISHED[name]["top"]} <= labels


@pytest.fixture(scope="module")
def published() -> Path:
    """The data folder of the authors' repository."""
    named = os.environ.get("TFPT_KINETICS_I3D")
    if not named:
        pytest.skip("TFPT_KINETICS_I3D names no checkout of google-deepmind/kinetics-i3d")
    data = Path(named).expanduser() / "data"
    if not (data / "v_CricketShot_g04_c01_rgb.npy").is_file():
        pytest.skip(f"there is no v_CricketShot_g04_c01_rgb.npy in {data} (git lfs pull)")
    return data


@pytest.mark.slow
def test_the_sample_gives_the_published_norms_and_classes(published: Path, tmp_path: Path) -> None:
    streams = []
    for name in ("rgb", "flow"):
        checkpoint = published / f"checkpoints/{name}_imagenet/model.ckpt"
        done = tfpt.convert(f"i3d_{name}", checkpoint, tmp_path / f"{name}.safetensors")
        streams.append(Stream(f"i3d_{name}", done.path, published / f"v_CricketShot_g04_c01_{name}.npy"))
    found = predict(streams)
    for name, scores in zip(
        ("rgb", "flow", "joint"), (*(stream.scores for stream in found.streams), found.joint), strict=True
    ):
        assert scores is not None
        expected = PUBLISHED[name]
        assert scores.norm == pytest.approx(expected["norm"], rel=TOLERANCE), name
        assert [guess.label for guess in scores.top] == [label for _, _, label in expected["top"]], name
        for guess, (probability, logit, _) in zip(scores.top, expected["top"], strict=True):
            assert guess.logit == pytest.approx(logit, rel=TOLERANCE, abs=1e-3), (name, guess)
            assert guess.probability == pytest.approx(probability, rel=5e-3), (name, guess)
