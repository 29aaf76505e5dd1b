"""Endpoints that compare a part of TensorFlow's activation, or the same numbers in another shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
from tfpt.errors import MappingError, ModelError, SourceError
from tfpt.language.endpoint_steps import part_of
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording

MAPPING = """\
version: 1
summary: heads, and scores with a background class
model: {{factory: "{module}:Net"}}
weights: [{{tf: w, pt: w}}]
endpoints:
{endpoints}
"""
HEADS = "  - {tf: heads, pt: queries, reshape: true}"
SCORES = '  - {tf: scores, pt: scores, tf_slice: "[..., 1:]"}'


class Net(nn.Module):
    """Queries of 2 heads of 4, all in one axis; scores of 6 classes without the background."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Linear(5, 8)
        self.scores = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(self.queries(x))


def mapping(folder, *endpoints):
    path = folder / "m.yaml"
    path.write_text(MAPPING.format(module=__name__, endpoints="\n".join(endpoints)))
    return path


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Net().double()


def recorded(model, *, whole, length=7, wrong=False):
    """What numpy computes: heads in axes of their own, and a background class before the others."""
    random = np.random.default_rng(11)
    x = random.normal(size=(3, length, 5))
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    queries = x @ state["queries.weight"].T + state["queries.bias"]
    scores = queries @ state["scores.weight"].T + state["scores.bias"]
    background = random.normal(size=(*scores.shape[:-1], 1))
    scores = np.concatenate([background, scores[..., ::-1] if wrong else scores], -1)
    heads = queries.reshape(3, length, 2, 4)
    endpoints = {name: RecordedEndpoint.of(name, array, whole=whole) for name, array in
                 {"heads": heads, "scores": scores}.items()}  # fmt: skip
    return Recording(endpoints, {"input": x})


@pytest.mark.parametrize(("whole", "length"), [(True, 7), (True, 301), (False, 301)])
def test_parts_and_other_shapes_agree(model, whole, length, tmp_path):
    recording = recorded(model, whole=whole, length=length)
    result = tfpt.verify(mapping(tmp_path, HEADS, SCORES), recording=recording, model=model)
    assert result.agrees
    assert [one.shape for one in result.endpoints] == [(3, length, 2, 4), (3, length, 6)]
    assert all(one.free.rel < 1e-12 for one in result.endpoints)
    # What TensorFlow computed takes the place of the output, whatever its shape.
    assert (result.endpoints[1].own is not None) == whole


@pytest.mark.parametrize("whole", [True, False])
def test_another_order_in_the_part_departs(model, whole, tmp_path):
    recording = recorded(model, whole=whole, length=301, wrong=True)
    path = mapping(tmp_path, HEADS, SCORES)
    result = tfpt.verify(path, recording=recording, model=model, seconds=0)
    assert [one.verdict for one in result.endpoints] == ["agrees", "departs"]


def test_another_shape_without_reshape_is_another_shape(model, tmp_path):
    plain = HEADS.replace(", reshape: true", "")
    result = tfpt.verify(
        mapping(tmp_path, plain, SCORES), recording=recorded(model, whole=True), model=model, seconds=0
    )
    assert result.endpoints[0].verdict == "shape"


def test_two_parts_of_one_activation_need_names_of_their_own(model, tmp_path):
    first = '  - {tf: scores, pt: queries, tf_slice: "[..., 0]"}'
    with pytest.raises(ModelError, match="different parts of scores"):
        tfpt.verify(mapping(tmp_path, first, SCORES), recording=recorded(model, whole=True), model=model)


def test_a_part_that_is_not_there_is_refused(model, tmp_path):
    path = mapping(tmp_path, SCORES.replace("[..., 1:]", "[0, 0, 0, 0]"))
    with pytest.raises(SourceError, match="does not have the part"):
        tfpt.verify(path, recording=recorded(model, whole=True), model=model)


@pytest.mark.parametrize("text", ["[..., 1:]", "[0, :, 2:-1]", "[..., -1]", "1:, ..., 0"])
def test_an_index_is_that_of_numpy(text):
    array = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    expected = eval(f"array[{text.strip('[]')}]")
    assert np.array_equal(array[part_of(text)], expected)


@pytest.mark.parametrize("text", ["", "[x]", "[..., ...]", "[1:2:3]", "[None]"])
def test_what_is_no_index_is_refused(text):
    with pytest.raises(MappingError):
        part_of(text)


def test_the_samples_of_a_part_are_those_in_it():
    array = np.random.default_rng(5).normal(size=(7, 11, 53))
    for index in [np.s_[..., 1:], np.s_[2], np.s_[:, 3:-2, ::1], np.s_[..., 0]]:
        part = RecordedEndpoint.of("x", array).part(index if isinstance(index, tuple) else (index,))
        assert part.shape == array[index].shape
        assert not part.whole
        assert np.array_equal(part.samples_of(array[index]), part.values)
        assert set(part.values) <= set(array[index].reshape(-1))
