"""Plans written as JSON are read back equal, are carried out elsewhere to the same file, and damage is reported."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import tfpt
from tfpt.execution.samples import sample_specs
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.language.loader import bundled_mappings, load_mapping
from tfpt.language.tree import Position
from tfpt.operations.add import Add
from tfpt.operations.concat import Concat, Split
from tfpt.operations.layout import Layout
from tfpt.operations.pad import Pad
from tfpt.operations.reorder import Reorder
from tfpt.operations.scale import Scale
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack
from tfpt.operations.transform import Transform
from tfpt.operations.zero import Zero
from tfpt.planning import Copy, Fill, Keep, Plan, PlanFormatError, Step, make_plan
from tfpt.planning.serialization import decode, encode
from tfpt.targets.manifest import target_specs
from tfpt.tensors import TensorSpec

# Carries a plan out without its mapping: a plan, an output.
ELSEWHERE = """
import json, sys
from tfpt.execution.sinks import open_sink
from tfpt.execution.translate import metadata_of, translate
from tfpt.formats import open_source
from tfpt.planning import Plan
plan = Plan.from_json(json.load(open(sys.argv[1])))
source = open_source(plan.source)
with open_sink(sys.argv[2], plan.writes.values(), metadata_of(plan, source)) as sink:
    translate(plan, source, sink)
    sink.commit()
"""

ROWS = """\
version: 1
source: {ignore: [{tf: step, why: counter}]}
weights:
  - {tf: kernel, pt: kernel, layout: "h w i o -> o i h w", scale: 1/7}
  - {tf: "part/{n:int}", pt: parts}
  - {tf: [q, k], pt: qk, layout: "i o -> o i", concat: o}
  - {tf: table, pt: table, layout: "n d -> n d", slice: {n: "1:"}, pad: {axis: n, multiple: 4, value: -1.5}}
  - {tf: both, pt: [left, right], layout: "i o -> o i", split: {axis: o}}
  - {tf: gates, pt: gates, layout: "i g -> g i", reorder: {axis: g, as: [1, 0]}, add: 0.1}
  - {pt: count, fill: 3}
  - {tf: heads, pt: heads, layout: "i ... -> (...) i"}
  - {tf: flat, pt: flat, layout: "(g i) -> i g", axes: {g: 2}, slice: {"(g i)": "1:7", i: "1:"}}
  - {tf: [wide, high], pt: joined, layout: ["(a b) i -> i (b a)", "n -> 1 n"], axes: {a: 2}, concat: i}
  - {tf: [b1, b2], pt: sum, combine: [1, -1/3], apply: exp}
  - {tf: [w, u], pt: v, product: "h i o, 1 o -> (i h)", apply: normalize}
  - {tf: log_sigma, pt: variance, apply: [exp, square]}
  - tf: [conv/kernel, conv/mean, conv/variance]
    pt: [conv.weight, conv.bias]
    layout: "i o -> o i"
    fold: {batch_norm: [kernel, mean, variance], eps: 1.0e-3, axis: o}
"""
TENSORS = {
    "kernel": (3, 2, 5, 7),
    "part/0": (3,),
    "part/1": (3,),
    "q": (2, 3),
    "k": (2, 5),
    "table": (6, 3),
    "both": (3, 4),
    "gates": (3, 4),
    "step": (),
    "heads": (2, 3, 5),
    "flat": (8,),
    "wide": (6, 5),
    "high": (6,),
    "b1": (3,),
    "b2": (3,),
    "w": (2, 3, 5),
    "u": (1, 5),
    "log_sigma": (3,),
    "conv/kernel": (2, 3),
    "conv/mean": (3,),
    "conv/variance": (3,),
}
MANIFEST = {
    "kernel": (7, 5, 3, 2),
    "parts": (2, 3),
    "qk": (8, 2),
    "table": (8, 3),
    "left": (2, 3),
    "right": (2, 3),
    "gates": (4, 3),
    "count": (),
    "heads": (15, 2),
    "flat": (2, 2),
    "joined": (6, 6),
    "sum": (3,),
    "v": (6,),
    "variance": (3,),
    "conv.weight": (3, 2),
    "conv.bias": (3,),
}


def again(plan: Plan) -> Plan:
    return Plan.from_json(json.loads(json.dumps(plan.to_json(), allow_nan=False)))


@pytest.fixture
def everything(tmp_path: Path) -> tuple[Path, Path]:
    """A mapping with an operation of nearly every kind, and a checkpoint."""
    (tmp_path / "m.yaml").write_text(ROWS)
    table = {name: {"dtype": "float32", "shape": shape} for name, shape in MANIFEST.items()}
    (tmp_path / "m.manifest.json").write_text(json.dumps(table))
    random = np.random.default_rng(3)
    write_bundle(
        tmp_path / "c",
        {name: random.uniform(0.5, 1.5, size=shape).astype("f4") for name, shape in TENSORS.items()},
    )
    return tmp_path / "m.yaml", tmp_path / "c"


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_the_plan_of_a_bundled_mapping_is_read_back_equal(name: str) -> None:
    mapping = load_mapping(name)
    targets = target_specs(mapping)
    plan = make_plan(mapping, sample_specs(mapping, targets), targets, source="ckpt")
    assert plan.ok
    assert again(plan) == plan


def test_findings_are_read_back_equal(plan: Callable[..., Plan]) -> None:
    text = "weights: [{tf: a, pt: a}, {tf: b, pt: x}, {tf: 'z/{x}', pt: 'z.{x}'}]"
    found = plan(text, {"a": (2, 2), "b": (2,), "\udc80": (3,)}, {"a": (2, 2), "c": (5,)})
    assert {finding.kind for finding in found.findings} == {"extra", "missing", "unused"}
    assert len(found.notes) == 2
    assert again(found) == found


def test_a_plan_is_carried_out_in_another_process_to_the_same_file(
    everything: tuple[Path, Path], tmp_path: Path
) -> None:
    done = tfpt.convert(*everything, tmp_path / "here.safetensors")
    (tmp_path / "plan.json").write_text(json.dumps(done.plan.to_json()))
    for file in ("m.yaml", "m.manifest.json"):
        (tmp_path / file).unlink()
    there = tmp_path / "there.safetensors"
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path / "plan.json", there], check=True)
    assert there.read_bytes() == done.path.read_bytes()


@st.composite
def copies(draw: st.DrawFn) -> Copy:
    """A step with a random layout and operations that fit it."""
    sizes = dict(zip("abcd", draw(st.permutations([2, 3, 4, 6])), strict=True))
    axes = list(sizes)[: draw(st.integers(1, 4))]
    order = draw(st.permutations(axes))
    axis, join = order[0], draw(st.sampled_from([None, "stack", "concat"]))
    left, right = (" ".join(each) for each in (axes, order))
    if join == "stack":
        left, right = f"s {left}", f"s {right}"
    pieces = draw(st.sampled_from([1, 2])) if join is None else 1
    number = st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False))
    factor = number.filter(bool)
    transform = Transform(
        layout=Layout.parse(f"{left} -> {right}", draw(st.sampled_from([None, {axes[0]: sizes[axes[0]]}])))
        if join != "concat"
        else Layout.parse(f"{left} -> {right}"),
        join=Stack() if join == "stack" else Concat(axis=axis) if join else None,
        slices=draw(st.sampled_from([(), (Slice(axis=order[-1], start=1),)])) if pieces == 1 else (),
        scale=draw(st.none() | st.builds(Scale, numerator=factor, denominator=st.integers(1, 9))),
        add=draw(st.none() | st.builds(lambda value: Add(values={"": value}), number)),
        reorder=Reorder(axis=axis, order=(1, 0))
        if draw(st.booleans()) and sizes[axis] % 2 == 0 and len(order) > 1
        else None,
        pad=draw(st.none() | st.just(Pad(axis=order[-1], multiple=12, value=-1.5))) if pieces == 1 else None,
        zero=draw(st.none() | st.just(Zero(axis=order[-1], at=0))),
        split=Split(axis=axis, sizes=(1, sizes[axis] - 1)) if pieces == 2 else None,
    )
    reads = tuple(
        TensorSpec(
            f"v{index}", tuple(sizes[each] for each in axes), draw(st.sampled_from(["float32", "bfloat16"]))
        )
        for index in range(2 if join else 1)
    )
    bound = transform.bind([spec.shape for spec in reads], pieces)
    writes = tuple(TensorSpec(f"p{index}", shape, "float32") for index, shape in enumerate(bound.shapes))
    return Copy(reads=reads, writes=writes, transform=transform, position=Position("m.yaml", 4, 5))


@given(copies())
def test_a_random_step_is_read_back_equal(step: Copy) -> None:
    found = Step.from_json(json.loads(json.dumps(step.to_json(), allow_nan=False)))
    assert found == step
    assert isinstance(found, Copy)
    assert (found.bound.shapes, found.where, found.work) == (step.bound.shapes, step.where, step.work)


@given(st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False))
def test_a_constant_keeps_its_type_and_every_digit(value: float) -> None:
    dtype = "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float64"
    scopes = (Position("base.yaml", 7, 1), Position("m.yaml", 2, 3))
    step = Fill(
        writes=(TensorSpec("c", (2,), dtype),), position=Position("m.yaml", 4, 5), scopes=scopes, value=value
    )
    found = Step.from_json(json.loads(json.dumps(step.to_json(), allow_nan=False)))
    assert isinstance(found, Fill)
    assert found == step
    assert type(found.value) is type(value)
    assert found.where == "m.yaml:4 (in the scopes at base.yaml:7, line 2)"


def test_a_step_that_keeps_has_its_position_and_no_operation() -> None:
    step = Keep(writes=(TensorSpec("c", (2,), "float32"),), position=Position("m.yaml", 4, 5))
    assert Step.from_json(step.to_json()) == step
    assert step.to_json()["kind"] == "keep"


class Model(BaseModel, frozen=True):
    factor: float
    axis: str | None = None


def test_pydantic_models_are_encoded_as_dataclasses_are() -> None:
    assert encode((Model(factor=2), Model(factor=2, axis="i"))) == [
        {"factor": 2.0},
        {"factor": 2.0, "axis": "i"},
    ]
    assert decode(tuple[Model, ...], [{"factor": 2.0, "axis": "i"}], "x") == (Model(factor=2, axis="i"),)
    with pytest.raises(PlanFormatError, match=r"damaged"):
        decode(Model, {"factor": "two"}, "x")


def test_the_json_that_the_command_prints_is_a_plan(everything: tuple[Path, Path]) -> None:
    from tests.commands.running import run

    mapping, checkpoint = everything
    (printed,) = run("convert", "--mapping", mapping, "--checkpoint", checkpoint, "--dry-run", "--json").json
    assert Plan.from_json(printed) == tfpt.plan(mapping, checkpoint)


def changed(values: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    values = copy.deepcopy(values)
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    place: Any = values
    for key in keys:
        place = place[key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("version", 2, "version"),
        ("version", KeyError, "version"),
        ("version", True, "version"),
        ("mapping", 7, "mapping"),
        ("digest", KeyError, "the plan"),
        ("surprise", 1, "the plan"),
        ("steps", {}, "steps"),
        ("steps.0", "copy", "steps[0]"),
        ("steps.0.kind", "paste", "steps[0]"),
        ("steps.0.kind", [], "steps[0]"),
        ("steps.0.kind", "keep", "steps[0]"),
        ("steps.0.writes", [], "steps[0]"),
        ("steps.0.writes.0.name", "parts", "steps"),
        ("steps.0.writes.0.shape", [7, 5, 2, 3], "steps[0]"),
        ("steps.0.writes.0.shape.0", -7, "steps[0].writes[0]"),
        ("steps.0.writes.0.shape.0", 7.0, "steps[0].writes[0].shape[0]"),
        ("steps.0.writes.0.dtype", "float33", "steps[0].writes[0]"),
        ("steps.0.writes.0.dtype", "string", "steps[0]"),
        ("steps.0.reads.0.shape", [3, 2], "steps[0].transform"),
        ("steps.0.reads", [], "steps[0]"),
        ("steps.0.transform.layout.pattern", "h w", "steps[0].transform.layout"),
        ("steps.0.transform.scale", {"numerator": "x"}, "steps[0].transform.scale.numerator"),
        ("steps.0.transform.zero", {"axis": "q", "at": 0}, "steps[0].transform"),
        ("steps.0.transform.sharpen", 1, "steps[0].transform"),
        ("steps.8.transform.slices.0.axis", "(x y)", "steps[8].transform"),
        ("steps.9.transform.layouts.1", KeyError, "steps[9].transform"),
        ("steps.9.transform.layouts.0.axes", {}, "steps[9].transform"),
        ("steps.10.transform.join", {"numbers": [1]}, "steps[10].transform.join.Stack.numbers"),
        ("steps.10.transform.functions", {"functions": ["cos"]}, "steps[10].transform.functions.functions.0"),
        ("steps.11.transform.join.factors.0", ["h", "i", "x"], "steps[11].transform"),
        ("steps.11.transform.layouts", [], "steps[11].transform"),
        ("steps.13.transform.fold.axis", "i2", "steps[13].transform"),
        ("steps.13.transform.fold.batch_norm", ["kernel", "mean"], "steps[13].transform.fold"),
        ("steps.13.transform.layouts", [], "steps[13].transform"),
        ("steps.0.position.line", "4", "steps[0].position.line"),
        ("steps.0.position", KeyError, "steps[0]"),
        ("steps.6.value", 1e39, "steps[6]"),
        ("steps.6.value", "3", "steps[6].value"),
        ("notes", [{"kind": "shape", "what": "x"}], "notes"),
        ("findings", [{"kind": "odd", "what": "x"}], "findings[0]"),
        ("findings", [{"kind": {}, "what": "x"}], "findings[0]"),
        ("ignored", {"step": 1}, "ignored.step"),
    ],
)
def test_a_damaged_plan_is_reported_with_the_location(
    everything: tuple[Path, Path], path: str, value: object, where: str
) -> None:
    values = json.loads(json.dumps(tfpt.plan(*everything).to_json()))
    with pytest.raises(PlanFormatError) as error:
        Plan.from_json(changed(values, path, value))
    assert error.value.where == where


@pytest.mark.parametrize("values", [None, [], "plan", 1, {}])
def test_what_is_not_a_plan_is_refused(values: object) -> None:
    with pytest.raises(PlanFormatError, match="not a plan"):
        Plan.from_json(values)


def test_a_plan_is_not_carried_out_on_another_checkpoint(
    everything: tuple[Path, Path], tmp_path: Path
) -> None:
    from tfpt.execution.translate import translated
    from tfpt.formats import open_source

    plan = tfpt.plan(*everything)
    write_bundle(tmp_path / "d", {name: np.zeros(shape[::-1], "f4") for name, shape in TENSORS.items()})
    with pytest.raises(tfpt.errors.SourceError, match="not the checkpoint") as error:
        translated(plan, open_source(tmp_path / "d"))
    assert (error.value.expected, error.value.got) == (
        "kernel [3, 2, 5, 7] float32",
        "kernel [7, 5, 2, 3] float32",
    )
