"""Norm, softmax and order, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tfpt.video.prediction.scores import scores_of


def test_norm_probabilities_and_order_are_torch_s():
    logits = np.random.default_rng(0).normal(0, 20, 401)
    scores = scores_of(logits, None, 20)
    tensor = torch.from_numpy(logits)
    assert scores.norm == pytest.approx(float(torch.linalg.vector_norm(tensor)), rel=1e-14)
    np.testing.assert_allclose(scores.probabilities, torch.softmax(tensor, 0).numpy(), rtol=1e-12)
    values, indices = torch.topk(tensor, 20)
    assert [guess.index for guess in scores.top] == indices.tolist()
    assert [guess.logit for guess in scores.top] == values.tolist()
    assert {guess.label for guess in scores.top} == {None}


def test_large_logits_do_not_overflow():
    scores = scores_of(np.array([2000.0, 1999.0, -2000.0]), ["a", "b", "c"], 2)
    assert [guess.label for guess in scores.top] == ["a", "b"]
    assert scores.top[0].probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert scores.probabilities.sum() == pytest.approx(1)


def test_no_more_classes_are_listed_than_there_are_and_ties_go_by_number():
    scores = scores_of(np.array([1.0, 2.0, 2.0]), None, 20)
    assert [guess.index for guess in scores.top] == [1, 2, 0]
