"""Every finding: what it is, where it stands, what was expected and got, what is nearest."""

from __future__ import annotations

from collections.abc import Callable

from tests.growth import cpu_budget
from tfpt.planning import Finding, Plan
from tfpt.tensors import TensorSpec

Planned = Callable[..., Plan]

DENSE = """\
layers:
  dense:
    weights:
      - {tf: kernel, pt: weight, layout: "i o -> o i"}
      - {tf: bias, pt: bias, layout: "o -> o"}
scopes:
  - {tf: "net/layer_{i}", pt: "layers.{i:int}", layer: dense}
"""


def dense(*indices: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    tf = {
        f"net/layer_{i}/{leaf}": shape
        for i in indices
        for leaf, shape in (("kernel", (3, 5)), ("bias", (5,)))
    }
    pt = {
        f"layers.{i}.{leaf}": shape for i in indices for leaf, shape in (("weight", (5, 3)), ("bias", (5,)))
    }
    return tf, pt


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


def test_a_mapping_that_fits_has_steps_in_the_order_of_the_model_and_no_findings(plan: Planned) -> None:
    tf, pt = dense(0, 1, 10)
    found = plan(DENSE, dict(reversed(tf.items())), pt)
    assert found.ok
    assert found.notes == ()
    assert [(step.reads[0].name, step.writes[0].name, step.writes[0].shape) for step in found.steps] == [
        ("net/layer_0/kernel", "layers.0.weight", (5, 3)),
        ("net/layer_0/bias", "layers.0.bias", (5,)),
        ("net/layer_1/kernel", "layers.1.weight", (5, 3)),
        ("net/layer_1/bias", "layers.1.bias", (5,)),
        ("net/layer_10/kernel", "layers.10.weight", (5, 3)),
        ("net/layer_10/bias", "layers.10.bias", (5,)),
    ]
    assert found.steps[0].where == "m.yaml:5 (in the scope at line 8)"


def test_a_variable_that_a_row_needs_is_absent(plan: Planned) -> None:
    tf, pt = dense(0, 1)
    del tf["net/layer_1/bias"]
    found = only(plan(DENSE, tf, pt).findings)
    assert (found.kind, found.name) == ("absent", "net/layer_1/bias")
    assert found.what == "the variable net/layer_1/bias is not in the checkpoint"
    assert found.where == "m.yaml:6 (in the scope at line 8)"
    assert found.expected == "it, for layers.1.bias [5]"
    assert found.nearest[0] == "net/layer_0/bias"
    assert found.hint == "tfpt inspect ckpt"


def test_a_parameter_that_no_row_writes_is_missing(plan: Planned) -> None:
    tf, pt = dense(0)
    found = plan(DENSE, {**tf, "net/extra/gamma": (7,)}, {**pt, "layers.0.scale": (7,)})
    missing, unused = found.findings
    assert (missing.kind, missing.name) == ("missing", "layers.0.scale")
    assert missing.expected == "a row for layers.0.scale [7] float32"
    assert missing.got == "no row writes it"
    assert missing.where == "near m.yaml:6 (in the scope at line 8)"
    assert (unused.kind, unused.name, unused.where) == ("unused", "net/extra/gamma", "m.yaml")
    assert unused.expected == "a row for it, or an entry under source.ignore"
    assert unused.got == "[7] float32"


def test_what_is_unused_names_the_parameters_its_values_would_fit(plan: Planned) -> None:
    found = plan(
        "weights: [{tf: a, pt: a}]",
        {"a": (2,), "block/conv/kernel": (3, 5)},
        {"a": (2,), "block.conv.weight": (5, 3), "block.conv.bias": (5,)},
    )
    by_name = {finding.name: finding for finding in found.findings}
    assert by_name["block/conv/kernel"].nearest == ("block.conv.weight",)
    assert by_name["block.conv.weight"].nearest == ("block/conv/kernel",)


def test_an_optional_row_leaves_its_parameter_missing_and_says_so(plan: Planned) -> None:
    found = plan(
        "weights: [{tf: a, pt: a}, {tf: b, pt: b, optional: true}]", {"a": (2,)}, {"a": (2,), "b": (3,)}
    )
    missing = only(found.findings)
    assert (missing.kind, missing.name) == ("missing", "b")
    assert missing.got == "the optional row at m.yaml:2 would, from b"


def test_an_optional_row_whose_parameter_is_not_in_the_model_either_is_no_finding(plan: Planned) -> None:
    found = plan("weights: [{tf: a, pt: a}, {tf: b, pt: b, optional: true}]", {"a": (2,)}, {"a": (2,)})
    assert (found.findings, found.notes) == ((), ())


def test_a_row_that_writes_what_the_model_does_not_have_is_extra(plan: Planned) -> None:
    tf, pt = dense(0, 1, 2)
    del pt["layers.2.bias"]
    found = only(plan(DENSE, tf, pt).findings)
    assert (found.kind, found.name) == ("extra", "layers.2.bias")
    assert found.where == "m.yaml:6 (in the scope at line 8)"
    assert found.got == "from net/layer_2/bias"
    assert "layers.0.bias" in found.nearest


def test_another_shape_in_the_model_names_both_and_the_layout(plan: Planned) -> None:
    tf, pt = dense(0)
    pt["layers.0.weight"] = (7, 3)
    found = only(plan(DENSE, tf, pt).findings)
    assert (found.kind, found.name) == ("shape", "layers.0.weight")
    assert found.where == "m.yaml:5 (in the scope at line 8)"
    assert found.expected == "[7, 3], as the model has it"
    assert found.got == "[5, 3] from [3, 5] by i o -> o i"


def test_a_variable_that_does_not_fit_its_layout_is_a_shape_finding(plan: Planned) -> None:
    tf, pt = dense(0)
    tf["net/layer_0/kernel"] = (1, 3, 5)
    found = only(plan(DENSE, tf, pt).findings)
    assert found.kind == "shape"
    assert found.what == (
        "net/layer_0/kernel → layers.0.weight: the left side of the layout does not have as many axes as the tensor"
    )
    assert (found.expected, found.got) == ("2 axes, as in i o -> o i", "3 axes: [1, 3, 5]")


def test_another_size_hints_at_the_configuration_where_the_model_has_one(plan: Planned) -> None:
    text = "model: {factory: 'x:y', config: 'x:z'}\nweights: [{tf: a, pt: a}]"
    found = plan(text, {"a": (3,)}, {"a": (2,)})
    assert only(found.findings).hint == "--config config.json, the file that comes with the checkpoint"
    assert only(plan(text, {"a": (3,)}, {"a": (2,)}, config={}).findings).hint == ""


def test_a_row_that_matched_nothing_is_a_note(plan: Planned) -> None:
    found = plan('weights: [{tf: a, pt: a}, {tf: "z/{x}", pt: "z.{x}"}]', {"a": (2,)}, {"a": (2,)})
    assert found.ok
    note = only(found.notes)
    assert (note.kind, note.where, note.row) == ("dead-row", "m.yaml:2", "z/{x} → z.{x}")


def test_layouts_that_no_shape_confirms_are_one_note_a_row(plan: Planned) -> None:
    tf = {f"net/layer_{i}/kernel": (5, 5) for i in range(3)} | {f"net/layer_{i}/bias": (5,) for i in range(3)}
    pt = {f"layers.{i}.weight": (5, 5) for i in range(3)} | {f"layers.{i}.bias": (5,) for i in range(3)}
    found = plan(DENSE, tf, pt)
    assert found.ok
    note = only(found.notes)
    assert (note.kind, note.where) == ("unconfirmed-layout", "m.yaml:5")
    assert note.what == (
        "3 tensors, net/layer_0/kernel first, have equal axes i and o: the shapes cannot confirm the layout"
    )
    assert note.got == "layout i o -> o i on [5, 5]"


def test_every_finding_is_told_at_once(plan: Planned) -> None:
    text = """\
source: {ignore: [{tf: step, why: counter}]}
weights:
  - {tf: shape, pt: shape}
  - {tf: dtype, pt: dtype}
  - {tf: absent, pt: absent}
  - {tf: extra, pt: extra}
  - {tf: "{x}lap", pt: "{x}1"}
  - {tf: "over{x}", pt: "two{x}"}
  - {tf: dead, pt: dead}
"""
    tf = {
        "shape": (2, 3),
        "dtype": ((2,), "float64"),
        "extra": (2,),
        "overlap": (2,),
        "unused": (2,),
        "step": ((), "int64"),
    }
    pt = {"shape": (3, 2), "dtype": (2,), "absent": (2,), "over1": (2,), "twolap": (2,), "missing": (11,)}
    found = plan(text, tf, pt)
    assert sorted((finding.kind, finding.name) for finding in found.findings) == [
        ("absent", "absent"),
        ("dtype", "dtype"),
        ("extra", "extra"),
        ("missing", "missing"),
        ("overlap", "overlap"),
        ("shape", "shape"),
        ("unused", "unused"),
    ]
    assert [note.kind for note in found.notes] == ["dead-row"]
    assert found.ignored == {"step": "counter"}


def test_several_rows_that_would_write_one_parameter_are_one_finding(plan: Planned) -> None:
    text = "weights:\n  - {tf: own, pt: out}\n  - {tf: table, pt: out, fallback: true}\n  - {tf: a, pt: a}"
    found = only(plan(text, {"a": (2,)}, {"a": (2,), "out": (3,)}).findings)
    assert found.what == "the variable own or table is not in the checkpoint"
    assert found.where == "m.yaml:3 and m.yaml:4"


def test_thousands_of_variables_are_planned_in_no_time(plan: Planned) -> None:
    rows = [
        f'  - {{tf: "net/l_{{i}}/k{k}/w", pt: "l.{{i:int}}.k{k}.w", layout: "i o -> o i"}}' for k in range(60)
    ]
    tf = {f"net/l_{i}/k{k}/w": (64, 32) for i in range(50) for k in range(60)}
    pt = {f"l.{i}.k{k}.w": (32, 64) for i in range(50) for k in range(60)}
    with cpu_budget(20):  # 0.2 s on the machine it was written on
        found = plan("weights:\n" + "\n".join(rows), tf, pt)
    assert found.ok
    assert len(found.steps) == 3000


def test_a_mapping_of_another_model_is_told_apart_in_no_time(plan: Planned) -> None:
    rows = [f'  - {{tf: "net/l_{{i}}/k{k}/w", pt: "l.{{i:int}}.k{k}.w"}}' for k in range(60)]
    tf = {f"nets/l_{i}/k{k}/w": (64, 64) for i in range(50) for k in range(60)} | {"net/l_0/k0/w": (64, 64)}
    pt = {f"l.{i}.k{k}.w": (64, 64) for i in range(50) for k in range(60)}
    with cpu_budget(20):  # 0.5 s
        found = plan("weights:\n" + "\n".join(rows), tf, pt)
    assert len(found.findings) == 5999
    assert found.findings[0].nearest


def test_findings_carry_the_tensors_that_they_are_about(plan: Callable[..., Plan]) -> None:
    found = plan(
        'weights: [{tf: a, pt: x}, {tf: "gone/{n}", pt: "g.{n}"}]',
        {"a": (3, 2), "loose": (5,)},
        {"x": (2, 3), "g.w": (7,), "y": (11,)},
    ).findings
    about = {finding.kind: (finding.variables, finding.parameters) for finding in found}
    assert about["shape"] == (
        (TensorSpec("a", (3, 2), "float32"),),
        (TensorSpec("x", (2, 3), "float32"),),
    )
    assert about["unused"] == ((TensorSpec("loose", (5,), "float32"),), ())
    assert about["absent"] == ((), (TensorSpec("g.w", (7,), "float32"),))
    assert about["missing"] == ((), (TensorSpec("y", (11,), "float32"),))
    said = {finding.kind: (finding.wanted, finding.made) for finding in found}
    assert said["shape"] == ((), (3, 2))
    assert said["absent"] == (("gone/w",), None)
    assert said["missing"] == said["unused"] == ((), None)
    for finding in found:  # what a row is blamed for names the row and its line
        if finding.kind in ("shape", "absent"):
            assert finding.row
            assert finding.where.startswith("m.yaml:")
