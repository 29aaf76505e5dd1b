"""Kinds of fields in whole plans: which variable is written to which parameter, and the findings where that is open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfpt.planning import Finding, Plan

Planned = Callable[..., Plan]


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


def written(plan: Plan) -> dict[str, list[str]]:
    assert plan.ok, [finding.what for finding in plan.findings]
    return {
        " ".join(spec.name for spec in step.writes): [spec.name for spec in step.reads] for step in plan.steps
    }


def row(tf: str, pt: str, rest: str = "") -> str:
    return f'weights: [{{tf: "{tf}", pt: "{pt}"{rest}}}]'


def vectors(*names: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(names, (3,))


# -- discarded words and alternatives ---------------------------------------------------------------------


def test_a_name_that_changed_is_read_under_both_names(plan: Planned) -> None:
    text = row("l{i}/{_:layer_norm|rms_norm}/scale", "{i:int}.norm")
    found = plan(text, vectors("l0/layer_norm/scale", "l1/rms_norm/scale"), vectors("0.norm", "1.norm"))
    assert written(found) == {"0.norm": ["l0/layer_norm/scale"], "1.norm": ["l1/rms_norm/scale"]}


def test_a_variable_under_both_names_is_an_overlap_and_under_a_third_unused(plan: Planned) -> None:
    text = row("{_:layer_norm|rms_norm}/scale", "norm")
    found = only(plan(text, vectors("layer_norm/scale", "rms_norm/scale"), vectors("norm")).findings)
    assert (found.kind, found.name) == ("overlap", "rms_norm/scale")
    kinds = [each.kind for each in plan(text, vectors("group_norm/scale"), vectors("norm")).findings]
    assert kinds == ["scope"]


@pytest.mark.parametrize("name", ["norm.weight", "norm.gamma"])
def test_the_alternative_that_the_model_has_is_written(plan: Planned, name: str) -> None:
    found = plan(row("scale", "norm.{_:weight|gamma}"), vectors("scale"), vectors(name))
    assert written(found) == {name: ["scale"]}


def test_without_any_alternative_the_first_is_extra(plan: Planned) -> None:
    found = plan(row("scale", "norm.{_:weight|gamma}"), vectors("scale"), vectors("norm.g")).findings
    assert [(each.kind, each.name) for each in found] == [("extra", "norm.weight"), ("missing", "norm.g")]


def test_of_several_alternatives_the_first_is_written_and_the_others_are_missing(plan: Planned) -> None:
    model = vectors("norm.gamma", "norm.weight")
    found = plan(row("scale", "norm.{_:weight|gamma}"), vectors("scale"), model)
    assert (only(found.findings).kind, only(found.findings).name) == ("missing", "norm.gamma")
    assert [step.writes[0].name for step in found.steps] == ["norm.weight"]


def test_alternatives_of_which_the_variable_is_absent_are_one_finding(plan: Planned) -> None:
    text = 'weights: [{tf: "{x}/w", pt: "{x}.{_:weight|gamma}"}, {tf: b, pt: b}]'
    found = only(plan(text, vectors("b"), vectors("norm.gamma", "b")).findings)
    assert (found.kind, found.name) == ("absent", "norm/w")


LAYER = """\
layers:
  norm: {weights: [{tf: scale, pt: "{_:weight|gamma}"}, {pt: "{_:bias|beta}", fill: 0, like: "{_:weight|gamma}"}]}
scopes: [{tf: "l{i}", pt: "{_:layers|blocks}.{i:int}", layer: norm}]
"""


@pytest.mark.parametrize("outer", ["layers", "blocks"])
@pytest.mark.parametrize(("weight", "bias"), [("weight", "beta"), ("gamma", "bias")])
def test_alternatives_of_scopes_layers_and_likes_agree_with_the_model(
    plan: Planned, outer: str, weight: str, bias: str
) -> None:
    model = vectors(*(f"{outer}.{i}.{leaf}" for i in (0, 1) for leaf in (weight, bias)))
    found = plan(LAYER, vectors("l0/scale", "l1/scale"), model)
    assert written(found) == {
        f"{outer}.{i}.{leaf}": reads
        for i in (0, 1)
        for leaf, reads in ((weight, [f"l{i}/scale"]), (bias, []))
    }


def test_an_alternative_constant_without_fields_that_the_model_does_not_have_is_extra(plan: Planned) -> None:
    text = 'weights: [{tf: a, pt: a}, {pt: "{_:b|c}", fill: 0}]'
    found = only(plan(text, vectors("a"), vectors("a")).findings)
    assert (found.kind, found.name) == ("extra", "b")
    assert plan(text, vectors("a"), vectors("a", "c")).ok


def test_alternatives_of_constants_are_chosen_in_every_module(plan: Planned) -> None:
    text = 'weights: [{tf: a, pt: a}, {pt: "{_...}.{_:count|steps}", fill: 0}]'
    model = {"a": (3,), "x.steps": (), "y.z.count": (), "v.steps": (), "v.count": ()}
    found = plan(text, vectors("a"), model)
    assert (only(found.findings).kind, only(found.findings).name) == ("missing", "v.steps")
    assert found.filled == 3


# -- numbers ------------------------------------------------------------------------------------------------


def test_keras_counters_number_layers_from_nothing(plan: Planned) -> None:
    text = row("lstm{i:counter}/kernel", "lstms.{i}.w")
    names = ["lstm/kernel", *(f"lstm_{i}/kernel" for i in range(1, 12))]
    found = plan(text, vectors(*names), vectors(*(f"lstms.{i}.w" for i in range(12))))
    assert written(found) == {f"lstms.{i}.w": [name] for i, name in enumerate(names)}


def test_variables_with_counters_are_stacked(plan: Planned) -> None:
    text = row("lstm{i:counter}/k", "all", ', layout: "n c -> n c"')
    found = plan(text, vectors("lstm_2/k", "lstm_1/k", "lstm/k"), {"all": (3, 3)})
    assert written(found) == {"all": ["lstm/k", "lstm_1/k", "lstm_2/k"]}
    missing = only(plan(text, vectors("lstm_1/k"), {"all": (2, 3)}).findings)
    assert (missing.kind, missing.name) == ("absent", "lstm/k")


def test_words_mapped_to_numbers_stack_variables_in_that_order(plan: Planned) -> None:
    text = row("{j:value=2|query=0|key=1}/w", "qkv", ', layout: "n c -> (n c)"')
    found = plan(text, vectors("key/w", "query/w", "value/w"), {"qkv": (9,)})
    assert written(found) == {"qkv": ["query/w", "key/w", "value/w"]}


def test_words_mapped_to_numbers_unstack_a_variable(plan: Planned) -> None:
    text = row("qkv", "{j:v=2|q=0|k=1}.w", ', layout: "n c -> n c"')
    assert written(plan(text, {"qkv": (3, 3)}, vectors("q.w", "k.w", "v.w"))) == {"q.w k.w v.w": ["qkv"]}


def test_words_on_one_side_that_are_not_numbers_are_still_refused(plan: Planned) -> None:
    with pytest.raises(Exception, match="on one side of the row only"):
        plan(row("{j:a=x|b=y}/w", "all"), vectors("a/w"), vectors("all"))


def test_a_ragged_numbering_is_written_flat(plan: Planned) -> None:
    text = "params: {depths: [3, 4, 6, 3]}\n" + row(
        "stage{i//${depths}+1}/unit_{i%${depths}+1}/w", "units.{i}.w"
    )
    names = [f"stage{s + 1}/unit_{u + 1}/w" for s, size in enumerate([3, 4, 6, 3]) for u in range(size)]
    found = plan(text, vectors(*names), vectors(*(f"units.{i}.w" for i in range(16))))
    assert written(found) == {f"units.{i}.w": [name] for i, name in enumerate(names)}
    kinds = {each.kind for each in plan(text, vectors(*names), vectors("units.16.w")).findings}
    assert kinds == {"extra", "missing"}


def test_caffe_letters_the_units_of_each_stage(plan: Planned) -> None:
    text = row("res{i//[3,4]+2}{i%[3,4]:a=0|b=1|c=2|d=3}_w", "layers.{i}.w")
    names = [f"res{stage}{unit}_w" for stage, units in ((2, "abc"), (3, "abcd")) for unit in units]
    found = plan(text, vectors(*names), vectors(*(f"layers.{i}.w" for i in range(7))))
    assert written(found) == {f"layers.{i}.w": [name] for i, name in enumerate(names)}


def test_one_word_beside_numbers(plan: Planned) -> None:
    names = ["stem/w", *(f"{i}/w" for i in range(1, 5))]
    found = plan(row("{i:stem=0|int}/w", "l.{i}"), vectors(*names), vectors(*(f"l.{i}" for i in range(5))))
    assert written(found) == {f"l.{i}": [name] for i, name in enumerate(names)}


# -- paths --------------------------------------------------------------------------------------------------


def test_a_path_with_a_dot_in_a_component_is_written_through(plan: Planned) -> None:
    text = row("{path...}/kernel", "{path...}.weight", ', layout: "i o -> o i"')
    found = plan(text, {"enc/layers.0/dense/kernel": (2, 3)}, {"enc.layers.0.dense.weight": (3, 2)})
    assert written(found) == {"enc.layers.0.dense.weight": ["enc/layers.0/dense/kernel"]}


def test_two_paths_that_are_written_as_one_are_an_overlap(plan: Planned) -> None:
    text = row("{path...}/w", "{path...}.w")
    found = only(plan(text, vectors("a/b.0/w", "a/b/0/w"), vectors("a.b.0.w")).findings)
    assert (found.kind, found.name) == ("overlap", "a/b/0/w")
    assert found.got == "a/b.0 and a/b/0, which {path...} reads as one path"


def test_the_average_of_a_variable_with_a_dot_belongs_to_it(plan: Planned) -> None:
    text = 'source: {ema: {tf: "{path...}/EMA", use: prefer}}\n' + row("{p...}/w", "{p...}.w")
    found = plan(text, vectors("l.0/a/w", "l.0/a/w/EMA"), vectors("l.0.a.w"))
    assert found.shadows == {"l.0/a/w": "l.0/a/w/EMA"}
    assert written(found) == {"l.0.a.w": ["l.0/a/w/EMA"]}


# -- names as the libraries give them -----------------------------------------------------------------------


def test_pytorchs_names_of_a_bidirectional_lstm(plan: Planned) -> None:
    from torch import nn

    model = nn.LSTM(3, 5, num_layers=12, bidirectional=True).state_dict()
    text = row(
        "l{i}/{d:forward=|backward=_reverse}/{b:kernel=weight_ih|recurrent=weight_hh|bias=bias_ih|bias_2=bias_hh}",
        "{b}_l{i:int}{d}",
    )
    names = {
        f"l{i}/{d}/{b}": tuple(model[name.format(i)].shape)
        for i in range(12)
        for d, end in (("forward", ""), ("backward", "_reverse"))
        for b, name in (
            ("kernel", f"weight_ih_l{{}}{end}"),
            ("recurrent", f"weight_hh_l{{}}{end}"),
            ("bias", f"bias_ih_l{{}}{end}"),
            ("bias_2", f"bias_hh_l{{}}{end}"),
        )
    }
    found = plan(text, names, {name: tuple(value.shape) for name, value in model.items()})
    assert found.ok
    assert len(found.steps) == 96
    reads = {step.writes[0].name: step.reads[0].name for step in found.steps}
    assert reads["weight_ih_l11_reverse"] == "l11/backward/kernel"
    assert reads["bias_hh_l1"] == "l1/forward/bias_2"


def test_kerass_own_counters(plan: Planned) -> None:
    keras = pytest.importorskip("keras")
    keras.backend.clear_session()
    names = [f"{keras.layers.Dense(3).name}/kernel" for _ in range(12)]
    assert len(set(names)) == 12
    found = plan(
        row("dense{i:counter}/kernel", "{i}.w"), vectors(*names), vectors(*(f"{i}.w" for i in range(12)))
    )
    assert written(found) == {f"{i}.w": [name] for i, name in enumerate(names)}


def test_the_stages_of_a_published_resnet(plan: Planned) -> None:
    import torch

    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        model = transformers.ResNetModel(transformers.ResNetConfig())
    names = [name for name, _ in model.named_parameters() if name.endswith("layer.1.convolution.weight")]
    assert len(names) == 16
    text = row(
        "unit_{i:02}/w", "encoder.stages.{i//[3,4,6,3]}.layers.{i%[3,4,6,3]}.layer.1.convolution.weight"
    )
    found = plan(text, vectors(*(f"unit_{i:02}/w" for i in range(16))), vectors(*names))
    assert written(found) == {name: [f"unit_{i:02}/w"] for i, name in enumerate(names)}
