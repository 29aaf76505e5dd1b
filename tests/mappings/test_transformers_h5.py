"""Files of transformers' TensorFlow classes, and what its own loader makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.mappings.recorded import read

pytest.importorskip("transformers")

NAMES = [f"hf_{family}_h5" for family in ("bert", "vit", "resnet", "t5", "gpt2", "convnext", "wav2vec2")]


@pytest.mark.parametrize(
    ("name", "gold"),
    [("bert", "gold"), ("vit", "gold"), ("resnet", "gold_with_bn_stats"), ("t5", "gold")],
)
def test_real_files_become_what_transformers_makes_of_them(
    name: str, gold: str, shared: Path, tmp_path: Path
) -> None:
    folder = shared / "gold/converters" / f"h5_{name}"
    out = tmp_path / "out.safetensors"
    tfpt.convert(f"hf_{name}_h5", folder / "tf/tf_model.h5", out, config=str(folder / "config.json"))
    written, expected = load_file(out), load_file(folder / f"{gold}.safetensors")
    if name == "vit":
        # transformers 5 has other names, which the recorded table has: by value.
        assert set(written) == set(read("hf_vit_h5").parameters)
        assert sorted(value.tobytes() for value in written.values()) == sorted(
            value.tobytes() for value in expected.values()
        )
        return
    assert set(written) == set(expected)
    for parameter, value in expected.items():
        np.testing.assert_array_equal(written[parameter], value, err_msg=parameter)


@pytest.mark.parametrize("name", NAMES)
def test_the_counter_of_the_process_makes_no_difference(name: str, tmp_path: Path) -> None:
    case = read(name)
    variables = case.variables()
    # The model's name is the second component: tf_bert_model, and tf_bert_model_3 for a third one in the process.
    counted = {}
    for variable, value in variables.items():
        layer, model, *rest = variable.split("/")
        counted["/".join((layer, f"{model}_3" if model.startswith("tf") else model, *rest))] = value
    assert set(counted) != set(variables)
    results = []
    for folder, values in ((tmp_path / "a", variables), (tmp_path / "b", counted)):
        folder.mkdir()
        tfpt.convert(name, case.write(folder, values), folder / "out.safetensors", config=case.config)
        results.append(load_file(folder / "out.safetensors"))
    assert results[0].keys() == results[1].keys()
    for parameter, value in results[0].items():
        np.testing.assert_array_equal(results[1][parameter], value, err_msg=parameter)


@pytest.mark.parametrize("name", NAMES)
def test_samples_convert(name: str, tmp_path: Path) -> None:
    case = read(name)
    tfpt.sample(name, tmp_path / "model.ckpt", config=case.config)
    done = tfpt.convert(name, tmp_path / "model.ckpt", tmp_path / "out.safetensors", config=case.config)
    assert len(done.plan.writes) == len(case.parameters)


def test_a_bert_without_heads(tmp_path: Path) -> None:
    case = read("hf_bert_h5")
    variables = {name: value for name, value in case.variables().items() if name.startswith("bert/")}
    config = case.config | {"architectures": ["BertModel"]}
    done = tfpt.convert(
        "hf_bert_h5", case.write(tmp_path, variables), tmp_path / "o.safetensors", config=config
    )
    assert not [name for name in done.plan.writes if name.startswith(("bert.", "cls."))]


def test_an_older_t5_has_its_table_once(tmp_path: Path) -> None:
    case = read("hf_t5_h5")
    variables = {name: value for name, value in case.variables().items() if "/shared/" not in name}
    table = np.ones((128, 32), np.float32)
    checkpoint = case.write(tmp_path, {**variables, "shared/shared/weight:0": table})
    tfpt.convert("hf_t5_h5", checkpoint, tmp_path / "o.safetensors", config=case.config)
    written = load_file(tmp_path / "o.safetensors")
    for name in ("shared", "encoder.embed_tokens", "decoder.embed_tokens"):
        np.testing.assert_array_equal(written[f"{name}.weight"], table)
