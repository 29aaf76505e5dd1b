"""Files of transformers' Flax classes: what else is true of them than the recorded conversions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.mappings.recorded import FOLDER, Recorded, read, recorded, variants
from tfpt.checking.ranking import rank
from tfpt.errors import TfptError
from tfpt.planning.plan import PlanError

pytest.importorskip("transformers")

FAMILIES = [f"flax_{family}" for family in ("bert", "roberta", "t5", "vit", "clip", "whisper")]
CASES = [case for case in (*recorded(), *variants()) if case.form == "flax"]


def kinds(case: Recorded, folder: Path, config: dict) -> set[str]:
    with pytest.raises(PlanError) as error:
        tfpt.convert(
            case.mapping, case.write(folder, case.variables()), folder / "o.safetensors", config=config
        )
    return {finding.kind for finding in error.value.plan.findings}


def without_scope(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """A sample has the first of the mapping's scopes, which differ between classes with and without a head."""
    return {re.sub("^(bert|roberta|vit|model)/", "", name): shape for name, shape in shapes.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_samples_have_the_names_and_shapes_of_flax(case: Recorded, tmp_path: Path) -> None:
    tfpt.sample(case.mapping, tmp_path / "model.ckpt", config=case.config)
    sampled = {name: spec.shape for name, spec in tfpt.open_source(tmp_path / "model.ckpt").specs.items()}
    assert without_scope(sampled) == without_scope(case.shapes)
    if case.name in FAMILIES and case.name != "flax_vit":
        assert sampled == case.shapes
    done = tfpt.convert(case.mapping, tmp_path / "model.ckpt", tmp_path / "o.safetensors", config=case.config)
    assert len(done.plan.writes) == len(case.parameters)


@pytest.mark.parametrize("name", [*FAMILIES, "flax_t5.v1_1"])
def test_the_model_computes_what_the_flax_model_computed(name: str, tmp_path: Path) -> None:
    case = read(name)
    outputs = np.load(FOLDER / "flax.outputs.npz")
    values = {key.partition(":")[2]: outputs[key] for key in outputs if key.startswith(f"{name}:")}
    [output] = [key for key in values if "logits" in key]
    wanted = values.pop(output)
    model = tfpt.load(case.mapping, case.write(tmp_path, case.variables()), config=case.config).eval()
    with torch.inference_mode():
        got = model(**{key: torch.from_numpy(value) for key, value in values.items()})[output].numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", [*FAMILIES, "flax_clip_text", "flax_clip_vision"])
def test_the_mapping_of_a_file_is_ranked_first(name: str, tmp_path: Path) -> None:
    case = read(name)
    best, *others = rank(case.write(tmp_path, case.variables()))
    assert (best.mapping.name, best.score) == (name, 1)
    assert all(other.score < 1 for other in others)


@pytest.mark.parametrize(
    "name",
    [path.stem for path in sorted(FOLDER.glob("flax_*.*.tsv")) if "untied" not in path.stem],
)
def test_other_heads_are_ranked_first_too(name: str, tmp_path: Path) -> None:
    case = read(name)
    names = [candidate.mapping.name for candidate in rank(case.write(tmp_path, case.variables()))]
    # Without a head, RoBERTa's file has the names of BERT's.
    assert case.mapping in (names[:2] if name == "flax_roberta.base" else names[:1])


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("flax_bert", "BertModel"),
        ("flax_bert.base", "BertForMaskedLM"),
        ("flax_bert.masked", "BertForPreTraining"),
        ("flax_roberta", "RobertaForSequenceClassification"),
        ("flax_t5", "T5EncoderModel"),
        ("flax_t5.encoder", "T5ForConditionalGeneration"),
        ("flax_vit.base", "ViTForImageClassification"),
        ("flax_vit", "ViTModel"),
        ("flax_whisper.audio", "WhisperForConditionalGeneration"),
        ("flax_clip_text.projection", "CLIPTextModel"),
    ],
)
def test_another_class_in_the_configuration_than_in_the_file_is_found(
    name: str, architecture: str, tmp_path: Path
) -> None:
    """The official loader warns, and leaves what it does not find at random values."""
    case = read(name)
    found = kinds(case, tmp_path, case.config | {"architectures": [architecture]})
    assert found & {"missing", "extra", "unused", "absent"}


def test_the_configuration_of_another_part_of_clip_is_an_error(tmp_path: Path) -> None:
    case = read("flax_clip")
    with pytest.raises(TfptError, match="clip_text_model"):
        tfpt.plan("flax_clip", case.write(tmp_path, case.variables()), config=read("flax_clip_text").config)


@pytest.mark.parametrize("name", ["flax_bert.untied", "flax_roberta.untied", "flax_t5.v1_1"])
def test_an_output_layer_of_its_own_in_a_file_of_a_tied_model_is_found(name: str, tmp_path: Path) -> None:
    case = read(name)
    assert kinds(case, tmp_path, case.config | {"tie_word_embeddings": True}) == {"unused"}


def test_a_decoder_of_bert_has_another_name_in_pytorch(tmp_path: Path) -> None:
    """FlaxBertForCausalLM is BertLMHeadModel, as the mapping's notes say; the official loader ends in a traceback."""
    case = read("flax_bert.masked")
    checkpoint = case.write(tmp_path, case.variables())
    config = case.config | {"architectures": ["BertForCausalLM"]}
    with pytest.raises(TfptError, match="BertForCausalLM"):
        tfpt.plan("flax_bert", checkpoint, config=config)
    tfpt.convert(
        "flax_bert",
        checkpoint,
        tmp_path / "o.safetensors",
        config=config,
        settings={"architecture": "BertLMHeadModel"},
    )
    written = load_file(tmp_path / "o.safetensors")
    for name, value in case.expected(case.variables()).items():
        np.testing.assert_array_equal(written[name], value, err_msg=name)
