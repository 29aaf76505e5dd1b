"""Transformer-XL against the recorded outputs of transformers 4.46.3, which had its class, with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import tfpt
from tests.mappings.recorded import FOLDER, read


def test_it_computes_what_transformers_computed(tmp_path: Path) -> None:
    case = read("transfo_xl")
    # The outputs were recorded with a tenth of the table's values.
    variables = {
        name: value * np.float32(0.1) if value.dtype == np.float32 else value
        for name, value in case.variables().items()
    }
    model = tfpt.load("transfo_xl", case.write(tmp_path, variables), config=case.config).eval()
    outputs = np.load(FOLDER / "transfo_xl.outputs.npz")
    words = torch.from_numpy(outputs["words"])
    with torch.inference_mode():
        scores, memory = model(words)
        again, _ = model(words, memory)
    np.testing.assert_allclose(scores.numpy(), outputs["scores"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(again.numpy(), outputs["again"], rtol=1e-5, atol=1e-5)
    assert np.abs(outputs["again"] - outputs["scores"]).max() > 1e-2  # the memory matters


def test_scores_are_log_probabilities() -> None:
    model = small_model()
    scores, _ = model(torch.tensor([[0, 19, 20, 49]]))
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(1, 4))


def small_model() -> torch.nn.Module:
    from tfpt.models.transfo_xl import TransfoXL

    torch.manual_seed(0)
    model = TransfoXL(50, [20], 16, 16, n_layer=2, n_head=2, d_head=8, d_inner=32, mem_len=4)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model
