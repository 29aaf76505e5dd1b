"""A plan is plain data, and says in one error why it cannot be carried out."""

from __future__ import annotations

import json
from collections.abc import Callable

from tfpt.planning import KINDS, Plan, PlanError

Planned = Callable[..., Plan]

TEXT = """\
source: {ignore: [{tf: step, why: counter}]}
weights:
  - {tf: a, pt: a, layout: "i o -> o i", scale: 1/7}
  - {pt: c, fill: 0}
  - {tf: b, pt: b}
  - {tf: "z/{x}", pt: "z.{x}"}
"""
TF = {"a": (2, 3), "step": ((), "int64"), "b": (2,), "odd": (7,)}
PT = {"a": (3, 2), "c": ((), "int64"), "b": (5,)}


def test_the_json_of_a_plan_says_everything_and_comes_back_the_same(plan: Planned) -> None:
    found = plan(TEXT, TF, PT).to_json()
    assert json.loads(json.dumps(found)) == found
    assert (found["mapping"], found["source"], found["scope"], found["ok"]) == ("m", "ckpt", "", False)
    assert found["summary"] == {
        "variables": 4,
        "used": 1,
        "ignored": 1,
        "parameters": 2,
        "filled": 1,
        "findings": 2,
        "notes": 1,
    }
    assert found["steps"] == [
        {
            "kind": "copy",
            "reads": [{"name": "a", "shape": [2, 3], "dtype": "float32"}],
            "writes": [{"name": "a", "shape": [3, 2], "dtype": "float32"}],
            "transform": {
                "layout": {"pattern": "i o -> o i"},
                "scale": {"numerator": 1, "denominator": 7},
            },
            "position": {"file": "m.yaml", "line": 4, "column": 5},
            "work": "layout i o -> o i, scale 1/7",
            "row": "m.yaml:4",
        },
        {
            "kind": "fill",
            "reads": [],
            "writes": [{"name": "c", "shape": [], "dtype": "int64"}],
            "value": 0,
            "position": {"file": "m.yaml", "line": 5, "column": 5},
            "work": "fill 0",
            "row": "m.yaml:5",
        },
    ]
    assert found["findings"][0] == {
        "kind": "shape",
        "severity": "error",
        "what": "b has another shape in the model",
        "name": "b",
        "where": "m.yaml:6",
        "row": "b → b",
        "expected": "[5], as the model has it",
        "got": "[2] from [2]",
        "variables": [{"name": "b", "shape": [2], "dtype": "float32"}],
        "parameters": [{"name": "b", "shape": [5], "dtype": "float32"}],
        "made": [2],
    }
    assert found["findings"][1]["kind"] == "unused"
    assert [note["severity"] for note in found["notes"]] == ["note"]
    assert found["ignored"] == {"step": "counter"}


def test_the_error_of_a_plan_names_each_finding_and_the_next_command(plan: Planned) -> None:
    error = PlanError(plan(TEXT, TF, PT))
    assert error.what == "m does not fit ckpt: 2 findings, nothing was written"
    assert error.hint.startswith("tfpt diff --mapping ")
    assert error.hint.endswith("m.yaml ckpt")
    assert [cause.what for cause in error.causes] == [
        "shape: b has another shape in the model",
        "unused: no row claims the variable odd",
    ]
    assert "m.yaml:6" in str(error)
    json.dumps(error.to_json())


def test_a_note_does_not_stop_a_conversion_and_a_finding_does(plan: Planned) -> None:
    found = plan("weights: [{tf: a, pt: a}, {tf: 'z/{x}', pt: 'z.{x}'}]", {"a": (2,)}, {"a": (2,)})
    assert found.ok
    assert [note.stops for note in found.notes] == [False]
    assert {kind for kind, stops in KINDS.items() if not stops} == {
        "unconfirmed-layout",
        "dead-row",
        "shadowed-row",
        "single-value",
        "unused-param",
        "unused-layer",
        "default",
        "unchecked",
    }


def test_the_error_of_a_plan_groups_what_has_one_cause_and_keeps_every_finding(plan: Planned) -> None:
    """Of twelve layers, nothing writes the second halves; two parameters have another size; one block is left over."""
    text = (
        'weights: [{tf: "layer_{i}/w", pt: "layers.{i:int}.weight"}, '
        '{tf: "head/{b:w=weight|b=bias}", pt: "head.{b}"}]'
    )
    tf = {f"layer_{i}/w": (3,) for i in range(12)} | {"head/w": (7,), "head/b": (7,)}
    tf |= {f"old/{leaf}": (2,) for leaf in "abcdefghij"}
    pt = {f"layers.{i}.{leaf}": (3,) for i in range(12) for leaf in ("weight", "scale")}
    pt |= {"head.weight": (5,), "head.bias": (5,)}
    error = PlanError(plan(text, tf, pt))
    assert error.what.endswith("24 findings, nothing was written")
    assert error.findings == error.plan.findings
    assert len(error.findings) == 24
    assert [(cause.what, cause.got) for cause in error.causes] == [
        (
            "shape: 7 instead of 5: 2 parameters have another size in the model than the checkpoint gives",
            "head.{weight,bias}  [5], but [7] from the checkpoint",
        ),
        (
            "missing: layers.{0..11}.scale: no row writes these 12 parameters",
            "layers.{0..11}.scale  [3]",
        ),
        ("unused: old: no row claims these 10 variables", "old/{a,b,c,d,e,f,g,h,i,j}  [2]"),
    ]
    assert len(str(error).splitlines()) < 20
