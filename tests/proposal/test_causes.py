"""Findings by cause, and rows that repair a plan when they are pasted."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.console import Console

from tests.growth import assert_linear
from tfpt.execution.samples import sample_specs
from tfpt.language.loader import load_mapping
from tfpt.planning import Plan, make_plan
from tfpt.proposal.causes import Cause, causes_of, causes_to_json
from tfpt.report.plans import print_causes
from tfpt.targets.manifest import read_manifest
from tfpt.tensors import TensorSpec

Specs = dict[str, TensorSpec]


def specs(**shapes: tuple[int, ...]) -> Specs:
    return named({name.replace("__", "/"): shape for name, shape in shapes.items()})


def named(shapes: Mapping[str, tuple[int, ...]]) -> Specs:
    return {name: TensorSpec(name, shape, "float32") for name, shape in shapes.items()}


@pytest.fixture(name="planned")
def planned_fixture(tmp_path: Path) -> Callable[[str, Specs, Specs], Plan]:
    def planned(text: str, variables: Specs, parameters: Specs) -> Plan:
        path = tmp_path / "m.yaml"
        path.write_text(f"version: 1\n{text}")
        return make_plan(load_mapping(path), variables, parameters, source="ckpt")

    return planned


@pytest.fixture(name="bert")
def bert_fixture() -> tuple[Specs, Specs]:
    mapping = load_mapping("bert")
    parameters = read_manifest(mapping.manifest_path)
    return sample_specs(mapping, parameters), dict(parameters)


def pasted(text: str, plan: Plan) -> str:
    """The mapping with what every cause says under the key that it names."""
    for cause in causes_of(plan)[0]:
        for repair in cause.repairs:
            lines = "".join(f"{line}\n" for line in repair.lines)
            if repair.section == "ignore":
                lines = "".join(f"  {line}\n" for line in repair.lines)
                if "  ignore:\n" not in text:
                    text = text.replace("source:\n", "source:\n  ignore:\n")
                    text = text if "source:\n" in text else f"source:\n  ignore:\n{text}"
                text = text.replace("  ignore:\n", f"  ignore:\n{lines}")
            elif f"\n{repair.section}:\n" in f"\n{text}":
                text = f"\n{text}".replace(f"\n{repair.section}:\n", f"\n{repair.section}:\n{lines}")[1:]
            else:
                text += f"{repair.section}:\n{lines}"
    return text


def printed(plan: Plan) -> list[str]:
    out = Console(file=io.StringIO(), width=200, highlight=False)
    print_causes(out, plan)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def test_one_missing_block_is_one_cause(bert: tuple[Specs, Specs]):
    variables, parameters = bert
    rest = {name: spec for name, spec in variables.items() if "/layer_5/" not in name}
    plan = make_plan(load_mapping("bert"), rest, parameters, source="ckpt")
    assert len(plan.findings) == 16
    assert printed(plan)[1:] == [
        "absent  bert.encoder.layer.5  (16)",
        "  16 variables that the mapping reads are not in the checkpoint, and no other variable fits",
        "    wanted     bert/encoder/layer_5/attention/self/{query,key,value}/{kernel,bias}",
        "               bert/encoder/layer_5/attention/output/dense/{kernel,bias}",
        "               bert/encoder/layer_5/attention/output/LayerNorm/{gamma,beta}",
        "               bert/encoder/layer_5/{intermediate,output}/dense/{kernel,bias}",
        "               … and 1 more (--all shows them)",
        "    for        bert.encoder.layer.5.attention.self.{query,key,value}.{weight,bias}",
        "               bert.encoder.layer.5.attention.output.{dense,LayerNorm}.{weight,bias}",
        "               bert.encoder.layer.5.intermediate.dense.{weight,bias}",
        "               bert.encoder.layer.5.output.{dense,LayerNorm}.{weight,bias}",
        f"    row        {_keras()}:7",
        "  next      --config config.json, the file that comes with the checkpoint, if the model is larger than the "
        "checkpoint",
    ]


def _keras() -> str:
    from tfpt.language.tree import display_path

    return display_path(load_mapping("bert").path.parent / "layers/keras.yaml")


def test_two_missing_blocks_are_one_cause_as_well(bert: tuple[Specs, Specs]):
    variables, parameters = bert
    rest = {name: s for name, s in variables.items() if "/layer_5/" not in name and "/layer_7/" not in name}
    [cause] = causes_of(make_plan(load_mapping("bert"), rest, parameters))[0]
    assert (cause.kind, cause.scope, len(cause.findings)) == ("absent", "bert.encoder.layer.{5,7}", 32)


def test_one_wrong_size_is_one_cause_with_a_next_step(bert: tuple[Specs, Specs]):
    variables, parameters = bert
    smaller = named(
        {name: tuple(512 if n == 768 else n for n in spec.shape) for name, spec in variables.items()}
    )
    plan = make_plan(load_mapping("bert"), smaller, parameters, source="ckpt")
    [cause], rest = causes_of(plan)
    assert len(plan.findings) == len(cause.findings) == 193
    assert not rest
    assert (cause.kind, cause.scope) == ("shape", "512 instead of 768")
    lines = printed(plan)
    assert lines[2] == "  193 parameters have another size in the model than the checkpoint gives"
    assert (
        "bert.embeddings.token_type_embeddings.weight  [2, 768], but [2, 512] from the checkpoint" in lines[4]
    )
    assert lines[-1] == "  next      --config config.json, the file that comes with the checkpoint"


def test_without_a_configuration_the_next_step_of_a_wrong_size_is_the_model(planned):
    plan = planned('weights: [{tf: "{x}", pt: "{x}"}]', specs(a=(7,), b=(7, 3)), specs(a=(5,), b=(5, 3)))
    [cause] = causes_of(plan)[0]
    assert cause.hint == (
        "build the model with the checkpoint's sizes (7 for 5): --set, or model.kwargs in the mapping"
    )


def test_sizes_that_occur_together_are_one_cause_and_others_another(planned):
    plan = planned(
        'weights: [{tf: "{x}", pt: "{x}"}]',
        specs(a=(7, 11), b=(7,), c=(11,), d=(17,)),
        specs(a=(5, 13), b=(5,), c=(13,), d=(19,)),
    )
    found = causes_of(plan)[0]
    assert [(cause.scope, len(cause.findings)) for cause in found] == [
        (found[0].scope, 3),
        ("17 instead of 19", 1),
    ]
    assert set(found[0].scope.split(", ")) == {"7 instead of 5", "11 instead of 13"}


def test_a_wrong_layout_is_not_a_wrong_size(planned):
    plan = planned('weights: [{tf: a, pt: a, layout: "i o -> i o"}]', specs(a=(5, 7)), specs(a=(7, 5)))
    causes, rest = causes_of(plan)
    assert not causes
    assert [finding.kind for finding in rest] == ["shape"]


def test_a_scope_without_a_row_comes_with_the_row(planned):
    text = "weights:\n  - {tf: a, pt: a}\n"
    variables = specs(a=(3,), net__head__kernel=(5, 7), net__head__bias=(7,))
    parameters = named({"a": (3,), "head.weight": (7, 5), "head.bias": (7,)})
    plan = planned(text, variables, parameters)
    assert printed(plan)[1:] == [
        "missing  head  (2)",
        "  no row writes these 2 parameters",
        "    parameters head.weight  [7, 5]",
        "               head.bias  [7]",
        "    unused     net/head/{kernel,bias}",
        "    nearest    for head.weight [7, 5]",
        "                 net/head/kernel  same shape after i o -> o i; named alike; unused",
        "    nearest    for head.bias [7]",
        "                 net/head/bias  same shape; named alike; unused",
        f"  paste into {plan.named}, under scopes:",
        "    - {tf: net/head, pt: head, use: keras/dense}",
        "  next      paste this, and plan again with --dry-run",
    ]
    assert planned(pasted(text, plan), variables, parameters).ok


def test_a_renamed_scope_comes_with_one_row_for_all(bert: tuple[Specs, Specs], tmp_path: Path):
    variables, parameters = bert
    changed = named({name.replace("/self/query/", "/self/q/"): s.shape for name, s in variables.items()})
    plan = make_plan(load_mapping("bert"), changed, parameters)
    [cause] = causes_of(plan)[0]
    assert (cause.scope, len(plan.findings)) == ("bert.encoder.layer.{0..11}.attention.self.query", 48)
    [repair] = cause.repairs
    assert repair.lines == (
        '  - {tf: "bert/encoder/layer_{i:int}/attention/self/q", '
        'pt: "bert.encoder.layer.{i}.attention.self.query", use: keras/dense}',
    )
    path = tmp_path / "mine.yaml"
    path.write_text(pasted("version: 1\nextends: bert\n", plan))
    assert make_plan(load_mapping(path), changed, parameters).ok


def test_a_wrong_word_of_a_row_is_named(planned):
    plan = planned(
        'weights: [{tf: "l{i}/kernle", pt: "l{i:int}.w"}, {tf: a, pt: a}]',
        specs(l0__kernel=(3, 5), l1__kernel=(3, 5), a=(2,)),
        named({"l0.w": (3, 5), "l1.w": (3, 5), "a": (2,)}),
    )
    [cause] = causes_of(plan)[0]
    assert cause.hint.startswith("write kernel for kernle at ")
    assert cause.hint.endswith("m.yaml:2; or paste this, and plan again with --dry-run")


@pytest.mark.parametrize("scope", ["", "net", "net/deep"])
def test_a_stray_scope_comes_with_the_entry_that_ignores_it(planned, scope):
    text = f"source:\n  scope: {scope or chr(34) * 2}\nweights:\n  - {{tf: a, pt: a}}\n"
    inside = f"{scope}/" if scope else ""
    variables = named(
        {f"{inside}a": (3,), f"{inside}old_1/x/w": (5,), f"{inside}old_2/x/w": (5,), "far/off/v": (7,)}
    )
    plan = planned(text, variables, specs(a=(3,)))
    kinds = {cause.kind for cause in causes_of(plan)[0]}
    assert kinds == {"unused"}
    again = planned(pasted(text, plan), variables, specs(a=(3,)))
    assert again.ok, pasted(text, plan)
    assert len(again.ignored) == 3


def test_entries_leave_alone_what_rows_claim(planned):
    text = 'weights:\n  - {tf: "l_1/{x}", pt: "{x}"}\n'
    variables = specs(l_0__a=(3,), l_1__a=(3,), l_2__a=(3,), l_2__b=(5,))
    plan = planned(text, variables, specs(a=(3,)))
    again = planned(pasted(text, plan), variables, specs(a=(3,)))
    assert again.ok, pasted(text, plan)


def test_optimizer_slots_and_counters_are_ignored_by_role(planned):
    text = "weights:\n  - {tf: a, pt: a}\n"
    variables = named({"a": (3,), "a/Adam": (3,), "a/Adam_1": (3,), "global_step": ()})
    plan = planned(text, variables, specs(a=(3,)))
    [cause] = causes_of(plan)[0]
    assert cause.repairs[0].lines == (
        "  - {role: counter, why: step counter}",
        "  - {role: slot, why: optimizer slot}",
    )
    assert cause.scope == "step counter, optimizer slot"
    assert not cause.candidates
    assert planned(pasted(text, plan), variables, specs(a=(3,))).ok


def test_what_the_checkpoint_has_not_can_be_kept(planned):
    text = "weights:\n  - {tf: a, pt: a}\n"
    parameters = named({"a": (3,), "head.0.weight": (2, 5), "head.1.weight": (2, 5), "head.0.bias": (2,)})
    plan = planned(text, specs(a=(3,)), parameters)
    [cause] = causes_of(plan)[0]
    assert (cause.kind, cause.scope) == ("missing", "head")
    assert cause.repairs[0].instead == "the checkpoint has nothing for them, and they will be trained"
    assert planned(pasted(text, plan), specs(a=(3,)), parameters).ok


def test_a_table_that_the_model_shares_is_found(planned):
    text = 'source: {scope: net}\nweights:\n  - {tf: emb, pt: emb.weight, layout: "n d -> n d"}\n'
    variables, parameters = (
        named({"net/emb": (50, 8)}),
        named({"emb.weight": (50, 8), "decoder.weight": (50, 8)}),
    )
    plan = planned(text, variables, parameters)
    [cause] = causes_of(plan)[0]
    assert [miss.reasons[-2:] for _, [miss] in cause.candidates] == [
        ("becomes emb.weight", "the only one of this shape")
    ]
    assert [(repair.lines, repair.instead) for repair in cause.repairs] == [
        (
            ('  - {tf: emb, pt: decoder.weight, layout: "n d -> n d", tied: true}',),
            "the model shares the tensor",
        )
    ]
    assert planned(pasted(text, plan), variables, parameters).ok


def test_parts_that_the_model_joins_are_one_row(planned):
    text = "weights:\n  - {tf: a, pt: a}\n"
    parts = {f"l{i}/attn/{part}/kernel": (8, 8) for i in range(3) for part in ("query", "key", "value")}
    variables = named({"a": (3,), **parts})
    parameters = named({"a": (3,), **{f"l.{i}.attn.in_proj_weight": (24, 8) for i in range(3)}})
    plan = planned(text, variables, parameters)
    [cause] = causes_of(plan)[0]
    assert dict(cause.facts)["unused"] == ("l{0..2}/attn/{query,key,value}/kernel",)
    assert planned(pasted(text, plan), variables, parameters).ok


def test_another_size_is_said_of_a_candidate(planned):
    plan = planned(
        "weights: [{tf: a, pt: a}]",
        specs(a=(3,), head__kernel=(8, 11)),
        named({"a": (3,), "head.weight": (10, 8)}),
    )
    missing, unused = causes_of(plan)[0]
    [(_, [miss])] = missing.candidates
    assert miss.reasons == ("another shape, [8, 11]", "named alike", "unused")
    [(_, [other])] = unused.candidates
    assert other.reasons == ("another shape, [10, 8]", "named alike", "nothing writes it")


def test_parameters_that_the_model_does_not_have_are_one_cause(planned):
    plan = planned(
        'weights: [{tf: "x/{n}", pt: "blok.{n}"}]',
        specs(x__w=(5, 3), x__b=(7,)),
        named({"block.w": (5, 3), "block.b": (7,)}),
    )
    found = {cause.kind: cause for cause in causes_of(plan)[0]}
    assert found["extra"].scope == "blok"
    assert dict(found["extra"].facts)["written"] == ("blok.{w,b}",)
    spec, [miss] = found["extra"].candidates[0]
    assert (spec.name, miss.spec.name) == ("x/w", "block.w")
    assert miss.reasons == ("same shape", "named block for blok", "nothing writes it")
    [(_, [other]), *_] = found["missing"].candidates
    assert "its row writes blok.w, not in the model" in other.reasons


def test_names_with_braces_come_without_a_row(planned):
    plan = planned("weights: [{tf: a, pt: a}]", named({"a": (3,), "b{0}": (5,)}), specs(a=(3,)))
    [cause] = causes_of(plan)[0]
    assert (cause.scope, cause.repairs) == ("b{0}", ())


def test_the_json_has_candidates_and_rows_and_the_plan_comes_back(planned):
    plan = planned(
        "weights: [{tf: a, pt: a}]", specs(a=(3,), b__kernel=(5, 7)), named({"a": (3,), "b.weight": (7, 5)})
    )
    values = causes_to_json(plan)
    assert values == {
        "causes": [
            {
                "kind": "missing",
                "scope": "b",
                "what": "no row writes the parameter b.weight",
                "findings": 1,
                "parameters": ["b.weight  [7, 5]"],
                "unused": ["b/kernel"],
                "candidates": [
                    {
                        "name": "b.weight",
                        "shape": [7, 5],
                        "nearest": [
                            {
                                "name": "b/kernel",
                                "shape": [5, 7],
                                "fits": True,
                                "layout": "i o -> o i",
                                "reasons": ["same shape after i o -> o i", "named alike", "unused"],
                            }
                        ],
                    }
                ],
                "paste": [{"section": "scopes", "lines": ["  - {tf: b, pt: b, use: keras/dense}"]}],
                "next": "paste this, and plan again with --dry-run",
            }
        ]
    }
    assert Plan.from_json({**plan.to_json(), **values}) == plan


def test_a_plan_without_findings_has_no_causes(planned):
    plan = planned("weights: [{tf: a, pt: a}]", specs(a=(3,)), specs(a=(3,)))
    assert causes_of(plan) == ([], [])
    assert causes_to_json(plan) == {}
    assert printed(plan) == []


@pytest.mark.parametrize("what", ["missing and unused", "shapes", "extra"])
def test_the_cost_of_causes_grows_with_the_findings(planned, what):
    def run(n: int) -> Callable[[], tuple[list[Cause], object]]:
        text = "weights: [{tf: a, pt: a}]"
        variables = named({"a": (2,), **{f"net/z{i}/w": (2,) for i in range(n)}})
        parameters = named({"a": (2,), **{f"net.y{i}.w": (2,) for i in range(n)}})
        if what != "missing and unused":
            text = 'weights: [{tf: "l{i}/w", pt: "l{i}.w"}]'
            variables = named({f"l{i}/w": (2 * i + 3,) for i in range(n)})
            parameters = named({f"{'l' if what == 'shapes' else 'm'}{i}.w": (2 * i + 4,) for i in range(n)})
        plan = planned(text, variables, parameters)
        return lambda: causes_of(plan)

    assert_linear(run(700), run(2800))


def test_rows_to_paste_say_what_the_mapping_said_before_a_word_was_wrong(tmp_path: Path):
    """57 rows of I3D, whose checkpoint has one scope with another name than all the others."""
    bundled = load_mapping("i3d_rgb")
    parameters = read_manifest(bundled.manifest_path)
    variables = sample_specs(bundled, parameters)
    path = tmp_path / "mine.yaml"
    text = bundled.path.read_text().replace("batch_norm/beta", "batch_norm/bete")
    path.write_text(text)
    plan = make_plan(load_mapping(path), variables, parameters)
    path.write_text(pasted(text, plan))
    again = make_plan(load_mapping(path), variables, parameters)
    assert again.ok

    def made(plan: Plan) -> dict[str, tuple[str, ...]]:
        return {step.writes[0].name: tuple(read.name for read in step.reads) for step in plan.steps}

    assert made(again) == made(make_plan(bundled, variables, parameters))
