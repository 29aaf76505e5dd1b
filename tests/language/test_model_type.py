"""A configuration of another type of model is refused, before anything else is compared with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfpt.errors import MappingError
from tfpt.language.loader import load_mapping
from tfpt.language.mapping import Mapping

Load = Callable[..., Mapping]

TEXT = """\
version: 1
params: {layers: {from: num_hidden_layers}}
model: {factory: "transformers:BertModel", config: "transformers:BertConfig", type: bert}
weights: [{tf: "l_${layers}/w", pt: w}]
"""


@pytest.mark.parametrize(
    ("config", "got"),
    [
        ({"model_type": "gpt2", "n_layer": 2}, "model_type: gpt2"),
        ({"model_type": "roberta", "num_hidden_layers": 2}, "model_type: roberta"),
        ({"model_type": "gpt2", "architectures": ["BertModel"]}, "model_type: gpt2"),
        ({"architectures": ["GPT2LMHeadModel"]}, "architectures: GPT2LMHeadModel"),
        ({"architectures": ["TFRobertaModel"], "model_type": None}, "architectures: TFRobertaModel"),
    ],
)
def test_a_configuration_of_another_type_is_refused_at_once(load: Load, config: Any, got: str) -> None:
    with pytest.raises(MappingError) as caught:
        load(TEXT, config=config)
    error = caught.value
    assert error.what == "the configuration belongs to a model of another type"
    assert (error.where, error.expected, error.got) == ("m.yaml:3:85", "model_type: bert", got)
    assert error.hint == "tfpt mappings lists the mappings of other models"
    assert error.causes == ()


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert"},
        {"architectures": ["BertForMaskedLM"]},
        {"architectures": ["TFBertForMaskedLM"]},
        {"architectures": ["FlaxBertModel"]},
        {"architectures": []},
        {"architectures": "BertModel"},
        {"architectures": [3]},
        {"model_type": 5},
        {},
    ],
)
def test_a_configuration_of_the_same_or_of_no_type_is_used(load: Load, config: Any) -> None:
    config = {"num_hidden_layers": 2, **config}
    assert load(TEXT, config=config).alternatives[0].rows[0].tf[0].text == "l_2/w"


def test_a_mapping_may_take_several_types_or_any(load: Load) -> None:
    several = TEXT.replace("type: bert", "type: [bert, camembert]")
    load(several, config={"model_type": "camembert", "num_hidden_layers": 2})
    with pytest.raises(MappingError) as caught:
        load(several, config={"model_type": "gpt2"})
    assert caught.value.expected == "model_type: bert or camembert"
    load(TEXT.replace(", type: bert", ""), config={"model_type": "gpt2", "num_hidden_layers": 2})


def test_the_type_is_a_text_and_inherited(load: Load) -> None:
    with pytest.raises(MappingError, match=r"model.type: "):
        load(TEXT.replace("type: bert", "type: [3]"), config={"model_type": "bert", "num_hidden_layers": 2})
    with pytest.raises(MappingError) as caught:
        load("extends: base.yaml", {"base.yaml": TEXT}, config={"model_type": "gpt2"})
    assert caught.value.where == "base.yaml:3:85"


CLASSES = """
BertConfig GPT2Config T5Config TransfoXLConfig XLMRobertaConfig MobileNetV2Config GPTNeoConfig BigBirdConfig
OpenAIGPTConfig ConvBertConfig ElectraConfig AlbertConfig CanineConfig FunnelConfig Wav2Vec2Config ViTConfig
"""


@pytest.mark.parametrize(
    "name",
    CLASSES.split(),
)
def test_the_classes_of_transformers_begin_with_their_type(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    from tfpt.language.model_type import _belongs

    found = getattr(transformers, name, None)
    if found is None:
        pytest.skip(f"this version of transformers has no {name}")
    classes = [other for other in dir(transformers) if other.startswith(name.removesuffix("Config") + "For")]
    assert all(_belongs(other, found.model_type) for other in [name, *classes])


def test_the_bundled_mapping_of_bert_refuses_other_models(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gpt2", "n_layer": 2, "vocab_size": 7}))
    with pytest.raises(MappingError, match=r"config\.json belongs to a model of another type"):
        load_mapping("bert", config=path)
    path.write_text(json.dumps({"num_hidden_layers": 2, "vocab_size": 7}))  # Google's own has no type
    load_mapping("bert", config=path)
