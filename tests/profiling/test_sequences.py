"""The cost of models whose input is token ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import tfpt
from tests.commands.running import refused, run
from tests.profiling.profiled import write_mapping
from tfpt.errors import ModelError

DATA = Path(__file__).resolve().parents[1] / "data"
QUICK = {"frames": 7, "batch": 3, "repeats": 1, "warmup": 0}


@pytest.fixture
def mapping(tmp_path):
    return write_mapping(tmp_path, "version: 1\nweights: [{pt: n, fill: 0, shape: []}]\n")


class Tagger(nn.Module):
    """Looks ids up and multiplies: 2 · 5 · 11 operations per token."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(13, 5)
        self.head = nn.Linear(5, 11, bias=False)

    def forward(self, ids):
        self.seen = ids
        return self.head(self.table(ids))


def test_a_model_of_ids_is_run_on_rows_of_its_table(mapping):
    found = tfpt.profile(mapping, model=Tagger(), **QUICK)
    assert (found.shape, found.sample) == ((3, 7), "sequence")
    forward, training = found.passes
    assert forward.flops == 3 * 7 * 2 * 5 * 11
    assert training.flops == 3 * forward.flops  # the product, and the gradients of both factors
    assert (forward.batch, forward.frames) == (3, 7)
    assert {layer.path for layer in forward.layers.rows()} == {"table", "head"}
    assert forward.memory >= 4 * (13 * 5 + 5 * 11) + 8 * 3 * 7 + 4 * 3 * 7 * (5 + 11)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "autocast"])
def test_ids_stay_integers_whatever_the_dtype_of_the_model(mapping, dtype):
    class Checking(Tagger):
        def forward(self, ids):
            assert ids.dtype == torch.int64
            assert int(ids.max()) == 12
            return super().forward(ids)

    found = tfpt.profile(mapping, model=Checking(), dtype=dtype, channels_last=True, train=False, **QUICK)
    assert found.dtype == dtype


def test_an_error_of_the_model_names_the_ids_and_the_length(mapping):
    class Short(Tagger):
        def forward(self, ids):
            raise IndexError("index out of range in self")

    with pytest.raises(ModelError, match="index out of range") as error:
        tfpt.profile(mapping, model=Short(), **QUICK)
    assert error.value.got == "int64 of [3, 7] on cpu"
    assert "--frames" in error.value.hint


class TestBert:
    WORDS = ("--mapping", "bert", "--config", DATA / "bert/config.json", "--repeats", 1, "--warmup", 0)

    def test_a_checkpoint_is_profiled_from_the_command_line(self):
        weights = ("--weights", DATA / "bert/tf", "--batch", 3, "--frames", 11)
        found = run("profile", *self.WORDS, *weights)
        assert found.code == 0, found.err
        assert "input 3 × 11: 3 sequences of 11 tokens; float32" in found.out
        for words in ("sequences/s", "tokens/s", "GFLOP/sequence", "lookup", "attention"):
            assert words in found.out, words

    def test_so_is_a_sampled_one_as_json(self, tmp_path):
        config = ("--config", DATA / "bert/config.json")
        assert run("sample", "--mapping", "bert", *config, "--out", tmp_path / "m").code == 0
        found = run(
            "profile", *self.WORDS, "--weights", tmp_path / "m", "--forward-only", "--frames", 5, "--json"
        )
        assert (found.code, found.err) == (0, "")
        assert (found.json["sample"], found.json["shape"]) == ("sequence", [2, 5])
        # By hand: the products of weights with 2 · 5 tokens, and attention, for width 32 and 2 layers of 64.
        tokens, width, inner, layers = 10, 32, 64, 2
        sizes = json.loads((DATA / "bert/config.json").read_text())
        assert (sizes["hidden_size"], sizes["intermediate_size"]) == (width, inner)
        encoder = layers * (tokens * (4 * width**2 + 2 * width * inner) + 2 * tokens * 5 * width)
        heads = tokens * (width**2 + width * sizes["vocab_size"]) + 2 * (width**2 + 2 * width)
        assert found.json["passes"][0]["flops"] == 2 * (encoder + heads)

    def test_more_tokens_than_positions_is_one_error(self):
        assert "lower --frames" in refused("profile", *self.WORDS, "--frames", 41)

    def test_a_size_in_pixels_is_refused(self):
        assert "sequences of ids, which have no size" in refused("profile", *self.WORDS, "--size", 224)

    def test_drawing_its_activations_is_one_error(self, tmp_path):
        words = ("--weights", DATA / "bert/tf", "--out", tmp_path / "a.gif")
        for layer in ((), ("--layer", "bert.embeddings")):
            error = refused("visualize", "activations", *self.WORDS[:4], *words, *layer)
            assert "networks that take pictures or clips" in error
            assert "BertForPreTraining, which takes sequences of ids" in error
        assert not list(tmp_path.iterdir())

    def test_it_has_no_filters(self, tmp_path):
        words = ("--weights", DATA / "bert/tf", "--out", tmp_path / "a.gif")
        assert "contains no convolution" in refused("visualize", "filters", *self.WORDS[:4], *words)
