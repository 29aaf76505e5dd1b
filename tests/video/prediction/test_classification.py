"""Windows through a network: batches, averages, and what a network does wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.video.clips.tiny_network import SIZE, Net, write_network
from tfpt import load_mapping
from tfpt.errors import ModelError, TfptError
from tfpt.video.prediction.classification import batched, mean_logits


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path, "rgb")


def clips(number, frames=3):
    return np.random.default_rng(7).uniform(-1, 1, (number, frames, SIZE, SIZE, 3)).astype(np.float32)


def filled(network):
    net = Net()
    net.load_state_dict({name: torch.from_numpy(value).float() for name, value in network.values.items()})
    return net.eval()


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
def test_logits_are_averaged_over_windows_however_they_are_batched(network, batch):
    windows = clips(7)
    net = filled(network)
    found, number = mean_logits(net, load_mapping(network.mapping), windows, batch=batch)
    assert number == 7
    expected = np.mean([network.logits(window) for window in windows], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    sizes = [shape[0] for shape in net.windows]
    assert sizes == [batch] * (7 // batch) + ([7 % batch] if 7 % batch else [])
    assert net.windows[0][1:] == (3, 3, SIZE, SIZE)


def test_a_batch_is_run_before_the_window_behind_it_is_read():
    def windows():
        yield from np.zeros((3, 2))
        raise AssertionError("read ahead")

    assert next(batched(windows(), 3)).shape == (3, 2)


def test_a_network_of_single_pictures_takes_windows_of_one_frame(tmp_path):
    network = write_network(tmp_path, "picture", layout="b h w c -> b c h w")
    windows = clips(5, frames=1)
    found, _ = mean_logits(filled(network), load_mapping(network.mapping), windows, batch=2)
    expected = np.mean([network.logits(window) for window in windows], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_network_s_dtype_is_kept(network):
    found, _ = mean_logits(filled(network).double(), load_mapping(network.mapping), clips(2))
    expected = np.mean([network.logits(window) for window in clips(2)], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_a_refusal_names_the_clip(network):
    with pytest.raises(ModelError, match="too short a clip") as refused:
        mean_logits(filled(network), load_mapping(network.mapping), clips(1, frames=1), location="v.mp4")
    assert (refused.value.where, refused.value.got) == ("v.mp4", "1 frame")


class Wrong(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, clip):
        return self.answer(clip)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda clip: clip @ torch.zeros(5, 5), "cannot be run on the clip"),
        (lambda clip: clip.mean(dim=(3, 4)), "output is not logits"),
        (lambda clip: clip.mean(dim=(2, 3, 4))[:1], "output is not logits"),
        (lambda clip: clip.mean(dim=(2, 3, 4)) / 0, "not finite"),
    ],
)
def test_what_gives_no_logits_is_refused(network, answer, what):
    with pytest.raises(ModelError, match=what):
        mean_logits(Wrong(answer), load_mapping(network.mapping), clips(2), batch=2)


def test_where_memory_runs_out_smaller_windows_are_proposed(network):
    def exhausted(clip):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")

    with pytest.raises(TfptError, match="not enough memory") as refused:
        mean_logits(Wrong(exhausted), load_mapping(network.mapping), clips(1))
    assert "--window" in refused.value.hint


@pytest.mark.parametrize("error", [ValueError(), AssertionError(), KeyError("clip"), AttributeError("stem")])
def test_whatever_a_network_raises_is_said(error):
    class Refusing(nn.Module):
        def forward(self, clip):
            raise error

    with pytest.raises(ModelError, match="cannot be run on the clip") as refused:
        mean_logits(Refusing(), load_mapping("i3d_rgb"), [np.zeros((2, 4, 4, 3), np.float32)])
    assert (str(error) or type(error).__name__) in refused.value.got
