"""Inputs made for PyTorch models: pictures and clips as the mapping says, ids for models that look them up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tfpt.errors import MappingError, ModelError
from tfpt.language.loader import load_mapping
from tfpt.networks.model_inputs import embedding_rows, random_input, sample_of, takes_sequences

IDS = "input: {range: [0, 50]}"
SEQUENCE = 'input: {layout: "b t -> t b", range: [0, 50]}'
PICTURE = 'input: {layout: "b h w c -> b c h w", size: 13, range: [0, 255]}'


@pytest.fixture
def mapping(tmp_path):
    def write(text=""):
        path = tmp_path / "m.yaml"
        path.write_text(f"version: 1\nweights: [{{pt: n, fill: 0, shape: []}}]\n{text}\n")
        return load_mapping(path)

    return write


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (nn.Sequential(nn.Dropout(), nn.Sequential(nn.Embedding(101, 8)), nn.Embedding(7, 8)), 101),
        (nn.EmbeddingBag(31, 8), 31),
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.Embedding(197, 8)), None),
        (nn.Sequential(nn.Linear(3, 8), nn.Embedding(197, 8)), None),
        (nn.ReLU(), None),
    ],
)
def test_the_first_layer_decides_whether_a_model_takes_ids(model, rows):
    assert embedding_rows(model) == rows


def test_ids_are_valid_rows_and_reach_both_ends_of_the_table(mapping):
    model = nn.Embedding(23, 5)
    ids = random_input(model, mapping(), batch=3, frames=11)
    assert (ids.shape, ids.dtype) == ((3, 11), torch.int64)
    assert set(ids.flatten().tolist()) == set(range(23))  # 33 ids: each row at least once
    assert model(ids).shape == (3, 11, 5)


def test_ids_are_reproducible_from_the_seed(mapping):
    first, same, other = (random_input(nn.Embedding(997, 2), mapping(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_mapping_can_restrict_the_ids_and_order_the_axes(mapping):
    model = nn.Embedding(997, 2)
    assert int(random_input(model, mapping(IDS), frames=500).max()) == 50
    ids = random_input(model, mapping(SEQUENCE), batch=3, frames=500)
    assert ids.shape == (500, 3)
    assert (int(ids.min()), int(ids.max())) == (0, 50)


def test_a_mapping_of_pictures_wins_over_an_embedding_that_comes_first(mapping):
    """A vision transformer may create its position embedding before its first convolution."""

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Embedding(7, 5)
            self.patches = nn.Conv2d(4, 5, 3)

    values = random_input(Transformer(), mapping(PICTURE), batch=2)
    assert (values.shape, values.dtype) == ((2, 4, 13, 13), torch.float32)
    assert np.allclose((values.min(), values.max()), (0, 255), atol=2)
    assert sample_of(Transformer(), mapping(PICTURE)) == "picture"
    assert not takes_sequences(Transformer(), mapping(PICTURE))


def test_clips_and_sequences_are_told_apart(mapping):
    assert sample_of(nn.Conv3d(3, 5, 1), load_mapping("i3d_rgb")) == "clip"
    assert sample_of(nn.Embedding(5, 7), mapping()) == "sequence"
    assert sample_of(nn.Embedding(5, 7), mapping(SEQUENCE)) == "sequence"


@pytest.mark.parametrize("sizes", [{"size": 3}, {"channels": 3}, {"size": 3, "channels": 3}])
def test_sequences_have_neither_size_nor_channels(mapping, sizes):
    with pytest.raises(ModelError, match=f"have no {' and no '.join(sizes)}"):
        random_input(nn.Embedding(5, 7), mapping(), **sizes)


def test_without_an_embedding_the_mapping_must_describe_the_input(mapping):
    with pytest.raises(MappingError, match="does not describe the network's input"):
        random_input(nn.Conv2d(3, 5, 1), mapping())
