"""The arguments of models: named ones, those read from keywords, and those passed on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tfpt.networks.arguments import accepted_arguments


class Plain(nn.Module):
    def forward(self, ids, mask=None):
        return ids


class Reads(nn.Module):
    def forward(self, ids, **kwargs):
        if "mask" in kwargs:
            ids = ids * kwargs["mask"]
        return ids + kwargs.get("offset", 0) + kwargs.pop("bias", 0)


class PassesOn(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.parts = nn.ModuleDict({"inner": inner})
        self.inner = inner

    def forward(self, **kwargs):
        return self.inner(**kwargs)


class Inherits(Plain):
    def forward(self, types, **kwargs):
        return super().forward(**kwargs) + types


class Loops(nn.Module):
    def forward(self, **kwargs):
        return sum(value for value in kwargs.values())


class Ignores(nn.Module):
    def forward(self, ids, **kwargs):
        return ids


def decorated(function):
    import functools

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Decorated(nn.Module):
    @decorated
    def forward(self, ids, **kwargs):
        return ids + kwargs["mask"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Plain(), ["ids", "mask"]),
        (Reads(), ["ids", "bias", "mask", "offset"]),
        (PassesOn(Plain()), ["ids", "mask"]),
        (PassesOn(PassesOn(Reads())), ["ids", "bias", "mask", "offset"]),
        (Inherits(), ["types", "ids", "mask"]),
        (Ignores(), ["ids"]),
        (Decorated(), ["ids", "mask"]),
        (Loops(), None),
    ],
)
def test_the_arguments_are_those_that_the_code_takes(model, expected):
    found = accepted_arguments(model)
    assert (found if found is None else sorted(found)) == (expected if expected is None else sorted(expected))


def test_a_model_of_transformers_takes_what_it_names():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, vocab_size=7
    )
    found = accepted_arguments(transformers.BertModel(config))
    assert {"input_ids", "attention_mask", "token_type_ids"} <= set(found)
    assert "masks" not in found


def test_the_model_takes_what_was_found():
    ids, mask = torch.ones(2, 3), torch.zeros(2, 3)
    given = {"ids": ids, "mask": mask, "offset": 1}
    assert set(given) <= set(accepted_arguments(Reads()))
    assert torch.equal(Reads()(**given), torch.ones(2, 3))
