"""Every bundled mapping of a published model against what the official converter does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.mappings.recorded import Recorded, read, recorded, variants
from tfpt.formats.keras.by_layer import names_by_layer
from tfpt.formats.tensorflow.object_graph import GRAPH_KEY
from tfpt.language.loader import load_mapping
from tfpt.planning.plan import PlanError

pytest.importorskip("transformers")

CASES = [*recorded(), *variants()]
# The variables of a case that are left out, one at a time: the first, the last, and two between.
SOME = (0.0, 0.34, 0.67, 1.0)


def findings(case: Recorded, folder: Path, variables: dict[str, np.ndarray], config: dict) -> set[str]:
    """The kinds of what stops the conversion. No file is written."""
    if not case.has_model:
        pytest.skip(f"needs {case.package}")
    checkpoint = case.write(folder, variables)
    with pytest.raises(PlanError) as error:
        tfpt.convert(case.mapping, checkpoint, folder / "out.safetensors", config=config)
    assert not (folder / "out.safetensors").exists()
    return {finding.kind for finding in error.value.plan.findings}


def without_average(variable: str) -> str:
    """The variable that a moving average shadows."""
    return variable.removesuffix("/ExponentialMovingAverage")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_converts_as_the_official_converter_does(case: Recorded, tmp_path: Path) -> None:
    variables = case.variables()
    checkpoint = case.write(tmp_path, variables)
    done = tfpt.convert(
        case.mapping, checkpoint, tmp_path / "out.safetensors", config=case.config, use_model=case.has_model
    )
    expected = case.expected(variables)
    written = load_file(tmp_path / "out.safetensors")
    assert set(written) == set(expected)
    for name, value in expected.items():
        if value is not None:
            np.testing.assert_array_equal(written[name], value, err_msg=name)
    # Rows and plans may use other names for variables than the file: `source.names`.
    names = (
        names_by_layer(tfpt.open_source(checkpoint)) if load_mapping(case.mapping).names == "keras" else {}
    )
    # A variable that is there as its average only is not left out.
    left_out = set(done.plan.ignored) | (set(done.plan.shadows) & variables.keys())
    assert left_out - {GRAPH_KEY} == {names.get(name, name) for name in case.unused}
    allowed = {"unconfirmed-layout", "default"} | (set() if case.has_model else {"unchecked"})
    assert {note.kind for note in done.plan.notes} <= allowed


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sample_has_the_variables_of_the_original_with_their_shapes(case: Recorded, tmp_path: Path) -> None:
    if case.form not in ("bundle", "objects"):
        pytest.skip("samples are TensorFlow checkpoints")
    tfpt.sample(case.mapping, tmp_path / "model.ckpt", config=case.config)
    sampled = {name: spec.shape for name, spec in tfpt.open_source(tmp_path / "model.ckpt").specs.items()}
    wanted = {without_average(name): case.shapes[name] for name in case.used}
    if any(re.search(case.alternatives, name) for name in wanted):
        assert len(sampled) == len(wanted)
    for shapes in (sampled, wanted):
        for name in [name for name in shapes if re.search(case.alternatives, name)]:
            del shapes[name]
    assert sampled == wanted
    assert tfpt.convert(
        case.mapping, tmp_path / "model.ckpt", tmp_path / "o.safetensors", config=case.config
    ).plan.ok


# Where official converters go on without a word, or fail with an error that says something else.


@pytest.mark.parametrize("case", recorded(), ids=str)
def test_a_second_network_under_another_scope_is_found(case: Recorded, tmp_path: Path) -> None:
    variables = case.variables()
    stray = {f"teacher/{name}": variables[name] for name in case.used}
    assert findings(case, tmp_path, variables | stray, case.config) <= {"unused", "scope"}


@pytest.mark.parametrize("place", SOME)
@pytest.mark.parametrize("case", recorded(), ids=str)
def test_a_variable_that_is_absent_is_found(case: Recorded, place: float, tmp_path: Path) -> None:
    absent = without_average(case.used[round(place * (len(case.used) - 1))])
    # Its slots of the optimizer too, which would be found as variables of their own.
    variables = {name: value for name, value in case.variables().items() if not name.startswith(absent)}
    assert findings(case, tmp_path, variables, case.config) <= {"absent", "missing"}


@pytest.mark.parametrize("case", [case for case in variants() if case.repeated], ids=str)
def test_fewer_layers_in_the_configuration_than_in_the_file_are_found(case: Recorded, tmp_path: Path) -> None:
    [base] = [base for base in recorded() if base.name == case.name]
    deeper = {**case.config, **{key: base.config[key] for key in case.config.keys() & base.config.keys()}}
    assert findings(case, tmp_path, case.variables(), deeper) & {"extra", "unused", "missing"}


@pytest.mark.parametrize("case", [case for case in recorded() if case.form == "bundle"], ids=str)
def test_the_step_counter_of_training_changes_nothing(case: Recorded, tmp_path: Path) -> None:
    variables = case.variables() | {"global_step": np.int64(7)}
    checkpoint = case.write(tmp_path, variables)
    assert tfpt.plan(case.mapping, checkpoint, config=case.config).ok


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("funnel", {"n_head": 2, "d_head": 16}),
        ("funnel_base", {"n_head": 2, "d_head": 16}),
        ("bert_tf2", {"num_attention_heads": 2}),
        ("bert_token_dropping", {"num_attention_heads": 2}),
    ],
)
def test_other_heads_in_the_configuration_than_in_the_file_are_found(
    name: str, heads: dict[str, int], tmp_path: Path
) -> None:
    """The official converters only reshape, which scrambles the values or gives wrong shapes."""
    case = read(name)
    assert findings(case, tmp_path, case.variables(), case.config | heads) == {"shape"}
