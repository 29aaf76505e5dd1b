"""Proposals for small models: what is proposed, what is unsure, what is left open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
from tests.mappings.recorded import read
from tests.proposal.pairs import Names, of_recorded
from tfpt.errors import ModelError, SinkError, TfptError
from tfpt.proposal.proposal import Proposal
from tfpt.proposal.propose import propose
from tfpt.proposal.target import Target, target_of_file, target_of_model
from tfpt.tensors import TensorSpec


def specs(**shapes):
    """Tensors by name, with `__` for a slash and `_0_` style names as they are."""
    return {name: TensorSpec(name, tuple(shape), "float32") for name, shape in shapes.items()}


def proposed(
    variables: dict[str, tuple[int, ...]], model: nn.Module | Target, folder: Path, **options
) -> Proposal:
    source = Names({name: TensorSpec(name, shape, "float32") for name, shape in sorted(variables.items())})
    target = model if isinstance(model, Target) else target_of(model)
    return propose(source, target, folder, **options)


def target_of(model: nn.Module) -> Target:
    from tfpt.proposal.target import _kinds, _tied
    from tfpt.targets.model import model_specs

    return Target(model_specs(model), _kinds(model), _tied(model), {})


def sources(proposal: Proposal) -> dict[str, tuple[str, ...]]:
    """The variables of each parameter."""
    return {
        spec.name: tuple(read.name for read in step.reads)
        for step in proposal.plan.steps
        for spec in step.writes
    }


class TestSides:
    def test_a_model_has_kinds_and_ties(self):
        target = target_of_model(
            "transformers:GPT2LMHeadModel", config={"n_embd": 8, "n_head": 2, "n_layer": 1, "vocab_size": 11}
        )
        assert target.kinds["transformer.h.0.mlp.c_fc.weight"] == "Conv1D"
        assert target.tied == {"lm_head.weight": "transformer.wte.weight"}
        assert target.model["config"] == "transformers:GPT2Config"

    def test_a_model_of_ones_own_needs_trust(self):
        with pytest.raises(TfptError, match="outside the packages"):
            target_of_model("tests.proposal.test_propose:Net")

    def test_a_configuration_is_for_transformers(self):
        with pytest.raises(ModelError, match="not built from a configuration"):
            target_of_model("tfpt.models.i3d:I3D", config={"a": 1})

    def test_a_manifest_is_a_target(self, tmp_path):
        (tmp_path / "m.manifest.json").write_text('{"w": {"dtype": "float32", "shape": [3, 5]}}')
        assert target_of_file(tmp_path / "m.manifest.json").specs["w"].shape == (3, 5)


class TestLayouts:
    def test_a_square_kernel_of_a_linear_layer_is_transposed_and_a_table_is_not(self, tmp_path):
        model = nn.ModuleDict({"embedding": nn.Embedding(7, 7), "dense": nn.Linear(7, 7)})
        variables = {"embedding/embeddings": (7, 7), "dense/kernel": (7, 7), "dense/bias": (7,)}
        proposal = proposed(variables, model, tmp_path)
        assert proposal.settled
        steps = {spec.name: step for step in proposal.plan.steps for spec in step.writes}
        array = np.arange(49, dtype=np.float32).reshape(7, 7)
        dtypes = [np.dtype("float32")]
        assert np.array_equal(steps["dense.weight"].bound.apply([array], dtypes)[0], array.T)
        assert np.array_equal(steps["embedding.weight"].bound.apply([array], dtypes)[0], array)

    def test_layers_of_the_same_name_decide_a_square_one(self, tmp_path):
        # As GPT-2: `w` is not transposed where shapes tell, so neither where they do not.
        shapes = {"a/w": (1, 5, 7), "b/w": (1, 7, 7), "c/w": (1, 7, 3)}
        target = Target(specs(**{"a.weight": (5, 7), "b.weight": (7, 7), "c.weight": (7, 3)}))
        proposal = proposed(shapes, target, tmp_path)
        step = next(step for step in proposal.plan.steps if step.writes[0].name == "b.weight")
        array = np.arange(49, dtype=np.float32).reshape(1, 7, 7)
        assert np.array_equal(step.bound.apply([array], [np.dtype("float32")])[0], array[0])

    def test_a_square_tensor_of_no_known_kind_is_unsure(self, tmp_path):
        proposal = proposed({"mix": (5, 5)}, Target(specs(mix=(5, 5))), tmp_path)
        assert proposal.unsure == {"mix": 'or layout "i o -> o i"'}
        assert not proposal.settled
        assert '# unsure: or layout "i o -> o i"' in proposal.text
        again = proposed({"mix": (5, 5)}, Target(specs(mix=(5, 5))), tmp_path, decided={"mix": "i o -> o i"})
        assert again.settled
        assert '"i o -> o i"' in again.text

    @pytest.mark.parametrize("inputs", [3, 4])
    def test_a_kernel_of_tensorflow_lite_begins_with_its_outputs(self, inputs, tmp_path):
        # As many inputs as rows and columns: unchanged would fit as well.
        target = Target(specs(**{"conv.weight": (5, inputs, 3, 3)}))
        proposal = proposed({"conv_1/convolution": (5, 3, 3, inputs)}, target, tmp_path)
        [step] = proposal.plan.steps
        array = np.random.default_rng(0).normal(size=(5, 3, 3, inputs)).astype(np.float32)
        found = step.bound.apply([array], [np.dtype("float32")])[0]
        assert np.array_equal(found, array.transpose(0, 3, 1, 2))

    def test_a_kernel_of_equal_axes_that_is_not_called_one_is_unsure(self, tmp_path):
        target = Target(specs(**{"conv.weight": (3, 3, 3, 3)}))
        assert proposed({"conv_1/convolution": (3, 3, 3, 3)}, target, tmp_path).unsure

    def test_a_depthwise_kernel_goes_to_a_grouped_convolution(self, tmp_path):
        model = nn.ModuleDict(
            {"dw": nn.Conv2d(5, 5, 3, groups=5, bias=False), "pw": nn.Conv2d(5, 7, 1, bias=False)}
        )
        proposal = proposed({"dw/depthwise_kernel": (3, 3, 5, 1), "pw/kernel": (1, 1, 5, 7)}, model, tmp_path)
        assert proposal.settled
        assert "keras/depthwise_conv2d" in proposal.text


class TestSeveralTensors:
    def test_query_key_and_value_become_one(self, tmp_path):
        model = nn.ModuleDict({"attention": nn.MultiheadAttention(6, 2)})
        variables = {
            f"attention/{part}/{leaf}": shape
            for part in ("query", "key", "value")
            for leaf, shape in (("kernel", (6, 2, 3)), ("bias", (2, 3)))
        } | {"attention/attention_output/kernel": (2, 3, 6), "attention/attention_output/bias": (6,)}
        proposal = proposed(variables, model, tmp_path)
        assert not proposal.open
        assert not proposal.unused
        assert sources(proposal)["attention.in_proj_weight"] == (
            "attention/query/kernel",
            "attention/key/kernel",
            "attention/value/kernel",
        )

    def test_a_variable_of_all_layers_is_unstacked(self, tmp_path):
        target = Target(specs(**{f"layers.{i}.w": (5, 7) for i in range(3)}))
        proposal = proposed({"encoder/w": (3, 5, 7)}, target, tmp_path)
        assert set(sources(proposal).values()) == {("encoder/w",)}
        assert "layers.{s:int}.w" in proposal.text

    def test_the_variables_of_all_experts_are_stacked(self, tmp_path):
        variables = {f"expert_{i}/w": (5, 7) for i in range(3)}
        proposal = proposed(variables, Target(specs(**{"experts.w": (3, 5, 7)})), tmp_path)
        assert sources(proposal)["experts.w"] == tuple(variables)

    def test_a_packed_variable_is_taken_apart(self, tmp_path):
        target = Target(specs(**{f"{part}_proj.weight": (5, 7) for part in "qkv"}))
        proposal = proposed({"qkv/kernel": (7, 15)}, target, tmp_path)
        assert not proposal.open
        array = np.random.default_rng(0).normal(size=(7, 15)).astype(np.float32)
        step = proposal.plan.steps[0]
        written = dict(
            zip(
                (spec.name for spec in step.writes),
                step.bound.apply([array], [np.dtype("float32")] * 3),
                strict=True,
            )
        )
        for place, part in enumerate("qkv"):
            assert np.array_equal(written[f"{part}_proj.weight"], array[:, 5 * place : 5 * place + 5].T)

    def test_tied_parameters_get_the_same_variable(self, tmp_path):
        model = nn.ModuleDict({"embed": nn.Embedding(11, 5), "head": nn.Linear(5, 11, bias=False)})
        model["head"].weight = model["embed"].weight
        proposal = proposed({"word_embeddings": (11, 5)}, model, tmp_path)
        assert proposal.settled
        assert sources(proposal) == {
            "embed.weight": ("word_embeddings",),
            "head.weight": ("word_embeddings",),
        }


class TestWhatIsLeft:
    def test_a_normalization_without_gamma_gets_ones_and_a_counter_zero(self, tmp_path):
        variables = {f"bn/{name}": (5,) for name in ("beta", "moving_mean", "moving_variance")}
        proposal = proposed(variables, nn.ModuleDict({"bn": nn.BatchNorm2d(5)}), tmp_path)
        assert proposal.settled
        assert "keras/batch_norm_without_scale" in proposal.text

    def test_a_parameter_without_a_variable_is_open(self, tmp_path):
        target = Target(specs(**{"a.weight": (7, 5), "positions": (13, 3)}))
        proposal = proposed({"a/kernel": (5, 7)}, target, tmp_path)
        assert proposal.open == ("positions",)
        assert "#   positions [13, 3]" in proposal.text

    def test_a_variable_without_a_parameter_is_left_out_only_on_demand(self, tmp_path):
        target = Target(specs(**{"a.weight": (7, 5)}))
        variables = {"a/kernel": (5, 7), "teacher/a/kernel": (5, 7)}
        proposal = proposed(variables, target, tmp_path)
        assert sources(proposal) == {"a.weight": ("a/kernel",)}
        assert proposal.unused == ("teacher/a/kernel",)
        assert [finding.kind for finding in proposal.plan.findings] == ["unused"]
        lines = proposal.text.splitlines()
        uncommented = "\n".join(line.replace("# ", "", 1) if "unsure" not in line else line for line in lines)
        (tmp_path / "again.yaml").write_text(uncommented)
        assert tfpt.load_mapping(tmp_path / "again.yaml").alternatives[0].ignore

    def test_the_bias_that_a_normalization_takes_up_is_mentioned(self, tmp_path):
        model = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5))
        variables = {"conv/kernel": (3, 3, 3, 5), "conv/bias": (5,)} | {
            f"bn/{name}": (5,) for name in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        proposal = proposed(variables, model, tmp_path)
        assert "combine: [1, -1]" in proposal.unsure["1.running_mean"]

    def test_equal_layers_that_nothing_tells_apart_are_unsure(self, tmp_path):
        target = Target(specs(**{"left.weight": (7, 5), "right.weight": (7, 5)}))
        proposal = proposed({"a/kernel": (5, 7), "b/kernel": (5, 7)}, target, tmp_path)
        assert set(proposal.unsure) == {"left.weight", "right.weight"}
        option = proposal.questions[0].options[1]
        again = proposed(
            {"a/kernel": (5, 7), "b/kernel": (5, 7)}, target, tmp_path, decided=dict(option.decisions)
        )
        assert sources(again)["left.weight"] != sources(proposal)["left.weight"]

    def test_moving_averages_are_a_decision(self, tmp_path):
        case = of_recorded(read("mobilenet_v1"), tmp_path)
        undecided = propose(case.source, case.target, tmp_path)
        assert undecided.averaged
        assert not undecided.settled
        assert "use: prefer" in undecided.text
        ignored = propose(case.source, case.target, tmp_path, averages="ignore")
        assert not any("average" in reason for reason in ignored.unsure.values())
        written = dict(case.expected())
        score = case.score(tmp_path)
        assert score.right < len(written)
        plan = {spec.name: step for step in ignored.plan.steps for spec in step.writes}
        name = "mobilenet_v1.conv_stem.convolution.weight"
        array = np.asarray(case.source.read(plan[name].reads[0].name))
        assert np.array_equal(plan[name].bound.apply([array], [np.dtype("float32")])[0], written[name])


class TestWriting:
    def test_the_mapping_converts(self, tmp_path):
        tfpt.sample("i3d_rgb", tmp_path / "model.ckpt")
        arguments = {"in_channels": 3, "num_classes": 400}
        proposal = tfpt.propose(
            tmp_path / "model.ckpt", tmp_path / "mine.yaml", model="tfpt.models.i3d:I3D", kwargs=arguments
        )
        assert not proposal.open
        assert not proposal.unused
        ours = tfpt.convert(tmp_path / "mine.yaml", tmp_path / "model.ckpt", tmp_path / "a.safetensors")
        theirs = tfpt.convert("i3d_rgb", tmp_path / "model.ckpt", tmp_path / "b.safetensors")
        assert ours.path.read_bytes()[-1000:] == theirs.path.read_bytes()[-1000:]
        assert tfpt.diff(ours.path, theirs.path).same

    def test_nothing_is_replaced_unless_asked(self, tmp_path):
        tfpt.sample("mtcnn_pnet", tmp_path / "m")
        (tmp_path / "p.yaml").write_text("mine")
        manifest = tfpt.load_mapping("mtcnn_pnet").manifest_path
        with pytest.raises(SinkError, match="exists already"):
            tfpt.propose(tmp_path / "m", tmp_path / "p.yaml", target=manifest)
        assert (tmp_path / "p.yaml").read_text() == "mine"
        tfpt.propose(tmp_path / "m", tmp_path / "p.yaml", target=manifest, overwrite=True)
        assert (tmp_path / "p.manifest.json").exists()

    def test_names_decided_must_exist(self, tmp_path):
        target = Target(specs(**{"dense.weight": (7, 5)}))
        with pytest.raises(TfptError, match=r"no parameter dense\.wieght"):
            proposed({"dense/kernel": (5, 7)}, target, tmp_path, decided={"dense.wieght": ""})
        with pytest.raises(TfptError, match="no variable dense/kernal"):
            proposed({"dense/kernel": (5, 7)}, target, tmp_path, decided={"dense.weight": "dense/kernal"})

    def test_names_that_no_template_can_contain_are_findings(self, tmp_path):
        target = Target(specs(**{"a.weight": (7, 5), "c.weight": (8, 5)}))
        proposal = proposed({"a{b}/kernel": (5, 7), "c/kernel": (5, 8)}, target, tmp_path)
        assert sources(proposal) == {"c.weight": ("c/kernel",)}
        assert [(one.kind, one.name) for one in proposal.plan.findings] == [
            ("missing", "a.weight"),
            ("unused", "a{b}/kernel"),
        ]
        assert not proposal.settled

    def test_names_with_quotes_and_spaces_do_no_harm(self, tmp_path):
        hostile = ["a b/w", 'q"uote/w', "tab\t/w", "colon: x/w", "#hash/w", "-dash/w"]
        variables = {name: (5, 7 + place) for place, name in enumerate(hostile)}
        target = Target(specs(**{f"layers.{place}.weight": (7 + place, 5) for place in range(len(hostile))}))
        proposal = proposed(variables, target, tmp_path)
        assert {names[0] for names in sources(proposal).values()} == set(hostile)


class Net(nn.Module):
    """A model of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(5, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(x)
