"""Plans without a model: parameters have the names, shapes and dtypes that the rows give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tfpt
from tests.conftest import Tiny
from tests.growth import assert_linear
from tests.planning.conftest import specs
from tfpt.errors import MappingError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats.source import Quantized
from tfpt.language.loader import load_mapping
from tfpt.planning import Plan, make_plan

Planned = Callable[..., Plan]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planned:
    """Plan a mapping given as text without a model (`version: 1` goes before it, so that its first line is 2)."""
    monkeypatch.chdir(tmp_path)

    def planned(text: str, tf: dict[str, Any], **options: Any) -> Plan:
        Path("m.yaml").write_text(f"version: 1\n{text}", encoding="utf-8")
        return make_plan(load_mapping("m.yaml"), specs(tf), None, source="ckpt", **options)

    return planned


def written(found: Plan) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (spec.shape, spec.dtype) for name, spec in found.writes.items()}


def kinds(found: Plan) -> list[str]:
    return [finding.kind for finding in found.findings]


# -- against the same plan with a model ----------------------------------------------------------------------


def test_a_file_written_without_a_model_is_the_one_written_with_it(tiny: Tiny, tmp_path: Path) -> None:
    done = tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / "a.safetensors")
    tiny.mapping.with_suffix(".manifest.json").unlink(missing_ok=True)
    (tiny.folder / "tiny.manifest.json").unlink(missing_ok=True)
    with pytest.raises(MappingError) as caught:
        tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / "b.safetensors")
    assert caught.value.hint == "--no-model takes the names and shapes that the rows give"
    alone = tfpt.convert(tiny.mapping, tiny.checkpoint, tmp_path / "b.safetensors", use_model=False)
    assert alone.plan.writes == done.plan.writes
    found = load_file(tmp_path / "b.safetensors")
    assert set(found) == set(tiny.parameters)
    for name, values in tiny.parameters.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)
    [note] = alone.plan.notes
    assert (note.kind, note.got) == ("unchecked", "--no-model")
    assert note.what.startswith("names, shapes and dtypes of the PyTorch side were not checked")
    assert Plan.from_json(alone.plan.to_json()) == alone.plan


@pytest.mark.parametrize("name", ["i3d_rgb", "i3d_flow", "bert"])
def test_a_bundled_mapping_writes_the_same_parameters(name: str, tmp_path: Path) -> None:
    tfpt.sample(name, tmp_path / "model.ckpt")
    with_model = tfpt.plan(name, tmp_path / "model.ckpt")
    without = tfpt.plan(name, tmp_path / "model.ckpt", use_model=False)
    assert without.findings == ()
    assert dict(without.writes) == dict(with_model.writes)
    assert {(step.work, step.writes) for step in without.steps} == {
        (step.work, step.writes) for step in with_model.steps
    }
    assert tfpt.diff(tmp_path / "model.ckpt", mapping=name, use_model=False).same


def test_sizes_other_than_those_of_the_manifest_are_those_of_the_checkpoint(
    tiny: Tiny, tmp_path: Path
) -> None:
    variables = {name: np.zeros((11, 13), np.float32) for name in ("net/dense/kernel",)}
    variables |= {
        "net/dense/bias": np.zeros(13, np.float32),
        "net/conv/w": np.zeros((3, 3, 2, 5), np.float32),
    }
    write_bundle(tmp_path / "other.ckpt", variables, write_state=False)
    assert set(kinds(tfpt.plan(tiny.mapping, tmp_path / "other.ckpt"))) == {"shape"}
    found = tfpt.plan(tiny.mapping, tmp_path / "other.ckpt", use_model=False)
    assert written(found) == {
        "conv.weight": ((5, 2, 3, 3), "float32"),
        "fc.bias": ((13,), "float32"),
        "fc.weight": ((13, 11), "float32"),
        "steps": ((), "int64"),
    }


# -- names ----------------------------------------------------------------------------------------------------


def test_pieces_stacks_and_splits_are_counted_from_the_variables(plan: Planned) -> None:
    text = """\
weights:
  - {tf: encoder/kernel, pt: "layers.{i:int}.weight", layout: "n i o -> n o i"}
  - {tf: "step_{i:int}/w", pt: steps, layout: "n i -> n i"}
  - {tf: qkv, pt: [q, k, v], layout: "i (n o) -> n o i", axes: {n: 3}}
  - {tf: kv, pt: [a, b], layout: "i o -> o i", split: {axis: o, sizes: [3, 4]}}
"""
    tf = {"encoder/kernel": (11, 5, 7), "step_0/w": (5,), "step_1/w": (5,), "qkv": (5, 21), "kv": (5, 7)}
    found = plan(text, tf)
    assert found.findings == ()
    layers = {f"layers.{number}.weight": ((7, 5), "float32") for number in range(11)}
    qkv = dict.fromkeys("qkv", ((7, 5), "float32"))
    pieces = {"a": ((3, 5), "float32"), "b": ((4, 5), "float32")}
    assert written(found) == {**layers, **qkv, **pieces, "steps": ((2, 5), "float32")}
    # In natural order: layers.2 before layers.10.
    assert [name for name in written(found) if name.startswith("layers")] == list(layers)


def test_precedence_is_that_of_a_plan_with_a_model(plan: Planned) -> None:
    text = """\
source: {ignore: [{tf: old/w, why: unused, overrides: true}]}
weights:
  - {tf: "{a}/w", pt: "{a}.weight"}
  - {tf: head/w, pt: head.weight, layout: "i o -> o i", overrides: true}
  - {tf: old/w, pt: old.weight}
  - {tf: embed/w, pt: head.weight, tied: true, fallback: true}
  - {tf: embed/w, pt: tied.weight, tied: true, fallback: true}
"""
    found = plan(
        text.replace('"{a}/w"', '"{a:embed|head}/w"'), {"embed/w": (3, 5), "head/w": (5, 7), "old/w": (2,)}
    )
    assert found.findings == ()
    assert {name: shape for name, (shape, _) in written(found).items()} == {
        "embed.weight": (3, 5),
        "head.weight": (7, 5),
        "tied.weight": (3, 5),
    }


def test_what_the_checkpoint_says_is_checked_all_the_same(plan: Planned) -> None:
    text = """\
weights:
  - {tf: "step_{i:int}/w", pt: steps, layout: "n i -> n i"}
  - {tf: conv/w, pt: conv.weight, layout: "h w i o -> o i h w"}
  - {tf: [a, b], pt: ab, layout: "n i -> n i"}
  - {tf: c, pt: ab}
"""
    found = plan(text, {"step_2/w": (5,), "conv/w": (3, 5), "loose": (2,), "a": (3,), "b": (3,), "c": (2, 3)})
    assert sorted(kinds(found)) == ["absent", "absent", "overlap", "shape", "unused"]
    assert not plan("weights: [{tf: a, pt: b}]", {"b": (2,)}).ok


# -- constants ------------------------------------------------------------------------------------------------

LAYERS = """\
layers:
  norm:
    weights:
      - {tf: gamma, pt: weight}
      - {pt: bias, fill: 0, like: weight}
      - {pt: count, fill: 0, shape: [], dtype: int64}
scopes:
  - {tf: "block_{i:int}/norm", pt: "blocks.{i}.norm", layer: norm}
  - {tf: last/norm, pt: norm, layer: norm}
  - {tf: other/norm, pt: other, layer: norm}
"""


def test_constants_are_written_where_their_layer_occurs(plan: Planned) -> None:
    found = plan(
        LAYERS,
        {"block_0/norm/gamma": (3,), "block_7/norm/gamma": ((5,), "bfloat16"), "last/norm/gamma": (2,)},
    )
    assert found.findings == ()
    assert written(found) == {
        "blocks.0.norm.bias": ((3,), "float32"),
        "blocks.0.norm.count": ((), "int64"),
        "blocks.0.norm.weight": ((3,), "float32"),
        "blocks.7.norm.bias": ((5,), "bfloat16"),
        "blocks.7.norm.count": ((), "int64"),
        "blocks.7.norm.weight": ((5,), "bfloat16"),
        "norm.bias": ((2,), "float32"),
        "norm.count": ((), "int64"),
        "norm.weight": ((2,), "float32"),
    }


def test_a_constant_may_be_like_a_constant(plan: Planned) -> None:
    text = """\
weights:
  - {pt: c, fill: 1, like: b, dtype: float16}
  - {pt: b, fill: 2, like: a}
  - {pt: a, fill: 3, shape: [3, 5], dtype: int32}
  - {tf: w, pt: w}
"""
    assert written(plan(text, {"w": (2,)})) == {
        "a": ((3, 5), "int32"),
        "b": ((3, 5), "int32"),
        "c": ((3, 5), "float16"),
        "w": ((2,), "float32"),
    }


def test_a_chain_of_constants_is_followed_once(plan: Planned) -> None:
    def planned(count: int) -> None:
        rows = "".join(f"  - {{pt: p{place}, fill: 0, like: p{place + 1}}}\n" for place in range(count))
        end = f"  - {{pt: p{count}, fill: 0, shape: [3], dtype: int8}}\n"
        found = plan(f"weights:\n  - {{tf: w, pt: w}}\n{rows}{end}", {"w": (2,)})
        assert len(found.writes) == count + 2
        broken = plan(f"weights:\n  - {{tf: w, pt: w}}\n{rows}", {"w": (2,)})
        assert len(broken.findings) == count

    assert_linear(lambda: planned(200), lambda: planned(800))


NESTED = """\
layers:
  norm:
    weights:
      - {tf: gamma, pt: weight}
      - {pt: bias, fill: 0, like: weight}
  counter:
    weights: [{pt: count, fill: 0, shape: [], dtype: int64}]
  block:
    scopes:
      - {tf: norm, pt: norm, layer: norm}
      - {tf: "", pt: counter, layer: counter}
scopes:
  - {tf: "block_{i:int}", pt: "blocks.{i}", layer: block}
  - {tf: other, pt: other, layer: block}
"""


def test_constants_of_layers_in_layers_are_written_where_these_occur(plan: Planned) -> None:
    found = plan(NESTED, {"block_2/norm/gamma": (3,), "block_5/norm/gamma": (5,)})
    assert found.findings == ()
    assert {name: spec.shape for name, spec in found.writes.items()} == {
        "blocks.2.counter.count": (),
        "blocks.2.norm.bias": (3,),
        "blocks.2.norm.weight": (3,),
        "blocks.5.counter.count": (),
        "blocks.5.norm.bias": (5,),
        "blocks.5.norm.weight": (5,),
    }


@pytest.mark.parametrize(
    ("row", "what", "got"),
    [
        ("{pt: a, fill: 0, dtype: int64}", "the shape of the constant a is not known", "no shape:"),
        ("{pt: a, fill: 0, shape: [3]}", "the dtype of the constant a is not known", "no dtype:"),
        (
            "{pt: a, fill: 0, like: b}",
            "the shape of the constant a is not known",
            "like: b, which no row writes",
        ),
        (
            "{pt: a, fill: 0, like: a}",
            "the shape of the constant a is not known",
            "like: a, which no row writes",
        ),
        (
            '{pt: "a_{i}", fill: 0, shape: []}',
            "a_{i} cannot be written",
            "a name with fields that no variable has",
        ),
        ("{pt: a, keep: true}", "a cannot be written", "keep:, the model's own value"),
        ("{pt: a, keep: random}", "a cannot be written", "keep:, the model's own value"),
    ],
)
def test_a_constant_that_says_too_little_is_refused(plan: Planned, row: str, what: str, got: str) -> None:
    found = plan(f"weights:\n  - {{tf: w, pt: w}}\n  - {row}\n", {"w": (2,)})
    [finding] = found.findings
    assert (finding.kind, finding.what, finding.got) == ("unknown-model", f"{what} without a model", got)
    assert finding.where == "m.yaml:4"


def test_constants_that_may_be_missing_are_left_out(plan: Planned) -> None:
    text = """\
weights:
  - {tf: w, pt: w}
  - {pt: "head.{part}", fill: 0, shape: [3], dtype: int32, fallback: true}
  - {pt: "tail.{part}", fill: 0, shape: [3], dtype: int32, optional: true}
  - {pt: tail.bias, fill: 0, shape: [3], dtype: int32, optional: true}
"""
    found = plan(text, {"w": (2,)})
    assert found.findings == ()
    assert list(found.writes) == ["w"]


# -- dtypes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "tf", "dtype"),
    [
        ("{tf: a, pt: p}", {"a": ((3,), "float16")}, "float16"),
        ("{tf: a, pt: p}", {"a": ((3,), "int64")}, "int64"),
        ("{tf: a, pt: p}", {"a": ((3,), "complex64")}, "complex64"),
        ("{tf: a, pt: p}", {"a": ((3,), "int4")}, "int8"),
        ("{tf: a, pt: p, dtype: float16}", {"a": ((3,), "float32")}, "float16"),
        ("{tf: [a, b], pt: p}", {"a": ((3,), "float16"), "b": ((3,), "bfloat16")}, "float32"),
        ("{tf: [a, b], pt: p}", {"a": ((3,), "int32"), "b": ((3,), "float32")}, "float64"),
        ("{tf: a, pt: p, scale: 1/7}", {"a": ((3,), "float16")}, "float16"),
    ],
)
def test_the_dtype_is_that_of_the_variable_unless_the_row_says_one(
    plan: Planned, row: str, tf: dict[str, Any], dtype: str
) -> None:
    found = plan(f"weights: [{row}]", tf)
    assert found.findings == ()
    assert found.writes["p"].dtype == dtype
    if row == "{tf: a, pt: p}":
        half = plan(f"weights: [{row}]", tf, dtype="bfloat16")
        assert half.writes["p"].dtype == ("bfloat16" if dtype.startswith("float") else dtype)


@pytest.mark.parametrize("dtype", ["string", "resource"])
def test_what_has_no_numbers_is_refused(plan: Planned, dtype: str) -> None:
    [finding] = plan("weights: [{tf: a, pt: p}]", {"a": ((3,), dtype)}).findings
    assert (finding.kind, finding.expected) == ("dtype", "a variable of numbers")


def test_quantized_integers_are_not_taken_for_weights(plan: Planned) -> None:
    quantized = {"a": Quantized((0.5,), (0,))}
    [finding] = plan("weights: [{tf: a, pt: p}]", {"a": ((3,), "int8")}, quantized=quantized).findings
    assert finding.kind == "quantized"
    found = plan("weights: [{tf: a, pt: p, dtype: int8}]", {"a": ((3,), "int8")}, quantized=quantized)
    assert (found.findings, found.writes["p"].dtype) == ((), "int8")
