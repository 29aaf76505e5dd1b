"""Verification: I3D against recordings of DeepMind's own graph, faults put into it, and input that is refused."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
from tests.models.deepmind_i3d import channels_first, channels_last, seeded_clip, seeded_model
from tfpt.errors import ModelError, SourceError, TfptError
from tfpt.models.i3d import I3D
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording, read_recording, write_recording
from tfpt.nn import adapt

DATA = Path(__file__).parents[1] / "data" / "i3d"
RGB = DATA / "rgb_f16_seed11.npz"


@pytest.fixture(scope="module")
def seeded() -> I3D:
    return seeded_model(3, "RGB", 11)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return seeded_clip(16, 3, 11)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return read_recording(RGB)


def up_to(recording: Recording, last: str) -> Recording:
    """What was recorded up to one endpoint, so that a run need not go on."""
    names = list(recording.endpoints)
    kept = names[: names.index(last) + 1]
    return dataclasses.replace(recording, endpoints={name: recording.endpoints[name] for name in kept})


# -- what agrees ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mapping", "scope", "channels", "frames", "seed"),
    [
        ("rgb_f16_seed11", "i3d_rgb", "RGB", 3, 16, 11),
        ("rgb_f17_seed11", "i3d_rgb", "RGB", 3, 17, 11),
        ("flow_f16_seed12", "i3d_flow", "Flow", 2, 16, 12),
    ],
)
def test_i3d_agrees_with_deepminds_graph(name, mapping, scope, channels, frames, seed):
    result = tfpt.verify(
        mapping,
        recording=DATA / f"{name}.npz",
        model=seeded_model(channels, scope, seed),
        inputs=seeded_clip(frames, channels, seed),
        tolerance=2e-6,
    )
    assert result.agrees
    assert len(result.endpoints) == 18
    # The softmax amplifies what the logits carry; fed the recorded logits it is right to the last digits.
    predictions = result.endpoints[-1]
    assert predictions.name == "Predictions"
    assert predictions.own.rel < 2e-7
    assert all(one.free.rel <= 2e-6 for one in result.endpoints[:-1])


def test_the_figures_are_those_of_numpy(seeded, clip, recording):
    result = tfpt.verify("i3d_rgb", recording=up_to(recording, "MaxPool3d_2a_3x3"), model=seeded, inputs=clip)
    with torch.no_grad():
        found = seeded.endpoints(channels_first(clip), ["maxpool3d_2a_3x3"])["maxpool3d_2a_3x3"]
    whole = channels_last(found).astype(np.float64)
    ours, theirs = (
        whole.reshape(-1)[:: whole.size // 997][:997],
        np.load(RGB)["MaxPool3d_2a_3x3"].astype(np.float64),
    )
    measure = result.endpoints[1].free
    assert measure.max_abs == np.abs(ours - theirs).max()
    assert measure.max_rel == pytest.approx(np.abs(ours - theirs).max() / np.abs(theirs).max(), rel=1e-12)
    assert measure.rel == pytest.approx(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs), rel=1e-12)
    cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
    assert measure.cosine == pytest.approx(cosine, rel=1e-12)
    assert measure.mean_abs == pytest.approx(np.abs(whole).mean(), rel=1e-12)


def test_in_double_precision_only_the_recordings_own_rounding_is_left(seeded, clip, recording):
    result = tfpt.verify(
        "i3d_rgb", recording=up_to(recording, "Conv3d_1a_7x7"), model=seeded, inputs=clip, dtype="float64"
    )
    assert result.agrees
    assert result.facts["pytorch"]["dtype"] == "float64"
    assert next(seeded.parameters()).dtype == torch.float32


def test_the_faster_form_agrees_too(seeded, clip, recording):
    part = up_to(recording, "Mixed_3b")
    result = tfpt.verify("i3d_rgb", recording=part, model=seeded, inputs=clip, optimize=True)
    assert result.agrees
    assert result.facts["pytorch"]["optimize"] is True


# -- what departs --------------------------------------------------------------------------------------


def even_conv(model):
    model.conv3d_1a_7x7.conv3d = adapt(model.conv3d_1a_7x7.conv3d, "symmetric")


def even_pool(model):
    model.maxpool3d_3a_3x3 = adapt(model.maxpool3d_3a_3x3, "symmetric")


def torch_epsilon(model):
    model.mixed_4c.branch_1[1].batch3d.eps = 1e-5


def turned_kernel(model):
    weight = model.mixed_3c.branch_2[1].conv3d.weight
    # (t, h, w) -> (w, t, h), which undone once more is not what it was.
    weight.data = weight.data.permute(0, 1, 4, 2, 3).contiguous()


def blue_first(model):
    weight = model.conv3d_1a_7x7.conv3d.weight
    weight.data = weight.data.flip(1).contiguous()


def other_order(model):
    mixed = model.mixed_4e
    order = (mixed.branch_1, mixed.branch_2, mixed.branch_0, mixed.branch_3)
    mixed.forward = lambda x: torch.cat([branch(x) for branch in order], 1)


def training(model):
    model.train()


@pytest.mark.parametrize(
    ("fault", "endpoint", "kind", "path", "actual", "expected"),
    [
        (even_conv, "Conv3d_1a_7x7", "padding", "conv3d_1a_7x7.conv3d", "pads (3, 3)", "(2, 3)"),
        (even_pool, "MaxPool3d_3a_3x3", "padding", "maxpool3d_3a_3x3", "(1, 1)", "(0, 1)"),
        (torch_epsilon, "Mixed_4c", "epsilon", "mixed_4c.branch_1.1.batch3d", "eps 1e-05", "eps 0.001"),
        (turned_kernel, "Mixed_3c", "kernel axes", "mixed_3c.branch_2.1.conv3d", "t h w", "h w t"),
        (blue_first, "Conv3d_1a_7x7", "input", "", "as given", "channels reversed"),
        (
            other_order,
            "Mixed_4e",
            "branch order",
            "mixed_4e",
            "branch_1, branch_2, branch_0, branch_3",
            "branch_0, branch_1, branch_2, branch_3",
        ),
        (training, "Conv3d_1a_7x7", "training mode", "", "is in training mode", "evaluation mode"),
    ],
)
def test_a_fault_in_i3d_is_named_and_proven(
    seeded, clip, recording, fault, endpoint, kind, path, actual, expected
):
    model = copy.deepcopy(seeded)
    fault(model)
    result = tfpt.verify("i3d_rgb", recording=up_to(recording, endpoint), model=model, inputs=clip)
    assert not result.agrees
    assert result.first.name == endpoint
    (diagnosis,) = result.explanation.diagnoses
    assert diagnosis.proven
    assert diagnosis.kinds == (kind,)
    (place,) = diagnosis.places
    assert place.path == path
    assert actual in place.actual
    assert expected in place.expected
    assert diagnosis.rel_after < 2e-6
    assert diagnosis.rel > 1e-4


def test_a_pool_that_pads_with_zeros_before_a_negative_input_is_found(seeded, clip):
    # DeepMind's pools follow ReLUs; here the norm before one is moved down and its ReLU left out, on both sides.
    class Branch(nn.Module):
        def __init__(self, pool, unit):
            super().__init__()
            self.pool, self.unit = pool, unit

        def forward(self, x):
            return self.unit(self.pool(x - 2))

    class ZeroPads(nn.MaxPool3d):
        def forward(self, x):
            return super().forward(nn.functional.pad(x, (1, 1, 1, 1, 1, 1)))

    right, wrong = copy.deepcopy(seeded), copy.deepcopy(seeded)
    right.mixed_3b.branch_3 = Branch(right.mixed_3b.branch_3[0], right.mixed_3b.branch_3[1])
    wrong.mixed_3b.branch_3 = Branch(ZeroPads(3, 1), wrong.mixed_3b.branch_3[1])
    small = clip[:, :9, :193, :197]
    with torch.no_grad():
        found = right.endpoints(channels_first(small), ["maxpool3d_3a_3x3", "mixed_3b"])
    recorded = Recording(
        {
            name: RecordedEndpoint.of(name, channels_last(found[name.lower()]))
            for name in ("MaxPool3d_3a_3x3", "Mixed_3b")
        },
        {"input": small},
    )
    (diagnosis,) = tfpt.verify("i3d_rgb", recording=recorded, model=wrong).explanation.diagnoses
    assert (diagnosis.name, diagnosis.kinds) == ("Mixed_3b", ("zero pads",))
    assert [place.path for place in diagnosis.places] == ["mixed_3b.branch_3.pool"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["padding", "epsilon"])
def test_what_is_wrong_everywhere_is_said_to_be(clip, seeded, what):
    model = copy.deepcopy(seeded)
    if what == "padding":
        model = seeded_model(3, "RGB", 11, padding="symmetric")
    else:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = 1e-5
    result = tfpt.verify("i3d_rgb", recording=RGB, model=model, inputs=clip)
    assert result.first.name == "Conv3d_1a_7x7"
    (diagnosis,) = result.explanation.diagnoses
    assert diagnosis.kinds == (what,)
    assert diagnosis.everywhere
    assert result.explanation.repaired
    # The five strided layers whose pads are uneven at this size; all 57 norms.
    assert len(diagnosis.places) == (5 if what == "padding" else 57)
    assert len(result.findings) >= len(diagnosis.places)


def test_without_diagnosis_only_the_figures_are_given(seeded, clip, recording):
    model = copy.deepcopy(seeded)
    even_conv(model)
    part = up_to(recording, "Conv3d_1a_7x7")
    result = tfpt.verify("i3d_rgb", recording=part, model=model, inputs=clip, diagnose=False)
    assert result.first.name == "Conv3d_1a_7x7"
    assert result.explanation.diagnoses == ()


def test_padding_that_contradicts_the_mapping_can_be_adapted_away(seeded, clip, recording):
    model = copy.deepcopy(seeded)
    even_pool(model)
    result = tfpt.verify(
        "i3d_rgb", recording=up_to(recording, "MaxPool3d_3a_3x3"), model=model, inputs=clip, adapt=True
    )
    assert result.agrees
    assert model.maxpool3d_3a_3x3.tf_padding == "symmetric"


# -- sides that do not fit -----------------------------------------------------------------------------


class Tiny(nn.Module):
    """Three steps, over which a recording can be written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.ReLU(), nn.Flatten(), nn.Softmax(1)

    def forward(self, x):
        return self.third(self.second(self.first(x)))


TINY = """\
version: 1
weights:
  - {tf: w, pt: w, layout: "i o -> o i"}
endpoints:
  - {tf: first,  pt: first,  layout: "b h w c -> b c h w"}
  - {tf: second, pt: second}
  - {tf: third,  pt: third}
input: {layout: "b h w c -> b c h w"}
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    x = np.random.default_rng(3).normal(size=(2, 5, 3, 7)).astype(np.float32)
    first = np.maximum(x, 0)
    second = first.transpose(0, 3, 1, 2).reshape(2, -1)
    third = np.exp(second) / np.exp(second).sum(1, keepdims=True)
    return {"input": x, "first": first, "second": second, "third": third}


def made(values: dict[str, np.ndarray], *names: str, **changed: np.ndarray) -> Recording:
    held = {**values, **changed}
    names = names or tuple(name for name in held if name != "input")
    return Recording(
        {name: RecordedEndpoint.of(name, held[name]) for name in names}, {"input": held["input"]}
    )


def verdicts(mapping: Path, recording: Recording, **options: object) -> list[str]:
    result = tfpt.verify(mapping, recording=recording, model=Tiny(), **options)
    return [f"{one.name} {one.verdict}" for one in result.endpoints]


def test_a_hand_made_recording_is_enough(mapping, values):
    assert verdicts(mapping, made(values)) == ["first agrees", "second agrees", "third agrees"]


def test_endpoints_come_in_the_order_in_which_the_model_runs(mapping, values):
    found = verdicts(mapping, made(values, "third", "first", "second"))
    assert found == ["first agrees", "second agrees", "third agrees"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["recorded", "computed"])
def test_what_is_not_finite_never_agrees(mapping, values, bad, side):
    if side == "recorded":
        values["second"] = values["second"].copy()
        values["second"][1, 4] = bad
        found = verdicts(mapping, made(values))
        assert found == ["first agrees", "second not finite", "third agrees"]
    else:
        values["input"][1, 2, 2, 5] = bad
        found = verdicts(mapping, made(values))
        assert found[0] == "first not finite"
    assert not tfpt.verify(mapping, recording=made(values), model=Tiny()).agrees


def test_a_recorded_endpoint_that_the_mapping_does_not_know_is_missing(mapping, values):
    result = tfpt.verify(mapping, recording=made(values, sceond=values["second"]), model=Tiny())
    missing = result.endpoints[-1]
    assert (missing.name, missing.verdict) == ("sceond", "missing")
    assert missing.note == "not an endpoint of the mapping; nearest second"
    assert not result.agrees


def test_an_endpoint_that_was_not_recorded_is_told_and_does_no_harm(mapping, values):
    result = tfpt.verify(mapping, recording=made(values, "first", "third"), model=Tiny())
    assert {one.name: one.verdict for one in result.endpoints} == {
        "first": "agrees",
        "second": "unrecorded",
        "third": "agrees",
    }
    assert result.agrees


def test_another_shape_is_a_verdict_of_its_own(mapping, values):
    second = values["second"][:, :-1]
    result = tfpt.verify(mapping, recording=made(values, second=second), model=Tiny())
    assert result.endpoints[1].verdict == "shape"
    assert (result.endpoints[1].shape, result.endpoints[1].shape_tf) == ((2, 105), (2, 104))
    assert result.first.name == "second"


def test_what_an_endpoint_does_by_itself_is_told_from_what_it_is_given(mapping, values):
    wrong = {**values, "second": values["second"] * np.float32(1.1)}
    third = np.exp(wrong["second"]) / np.exp(wrong["second"]).sum(1, keepdims=True)
    result = tfpt.verify(mapping, recording=made(wrong, third=third), model=Tiny())
    assert [one.verdict for one in result.endpoints] == ["agrees", "departs", "follows"]
    # Fed the recorded second, the third's own layer gives the recorded third.
    assert result.endpoints[2].own.rel < 1e-6 < result.endpoints[2].free.rel


def test_two_endpoints_that_depart_by_themselves_are_both_named(mapping, values):
    second = values["second"] * np.float32(1.1)
    result = tfpt.verify(
        mapping, recording=made(values, second=second, third=values["third"] ** 2), model=Tiny()
    )
    assert [one.verdict for one in result.endpoints] == ["agrees", "departs", "departs"]
    assert [one.name for one in result.others] == ["third"]


def test_a_model_that_breaks_off_is_compared_as_far_as_it_came(mapping, values):
    class Breaks(Tiny):
        def forward(self, x):
            x = self.first(x)
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    result = tfpt.verify(mapping, recording=made(values), model=Breaks())
    assert [one.verdict for one in result.endpoints] == ["agrees", "missing", "missing"]
    assert "mat1 and mat2 shapes cannot be multiplied" in result.endpoints[1].note


def test_samples_that_agree_do_not_hide_what_lies_between_them(mapping):
    x = np.random.default_rng(4).normal(size=(1, 53, 59, 3)).astype(np.float32)
    first = np.maximum(x, 0)
    recorded = RecordedEndpoint.of("first", first)
    assert not recorded.whole
    hidden = first.copy()
    hidden.reshape(-1)[1::9] += 1  # every 9th value is a sample; these lie beside them
    other = dataclasses.replace(recorded, mean_abs=float(np.abs(hidden).mean()))
    found = verdicts(mapping, Recording({"first": other}, {"input": x}), diagnose=False)
    assert found[0] == "first departs"


# -- the input -----------------------------------------------------------------------------------------


def test_a_recording_without_its_input_asks_for_it(mapping, values):
    recording = dataclasses.replace(made(values), inputs={}, location="r.npz")
    with pytest.raises(SourceError, match="does not contain its input") as error:
        tfpt.verify(mapping, recording=recording, model=Tiny())
    assert error.value.where == "r.npz"
    assert error.value.hint.startswith("pass --input F.npy")
    assert verdicts(mapping, recording, inputs=values["input"])[0] == "first agrees"


def test_an_input_from_a_seed_is_made_again(mapping, values):
    x = np.random.default_rng(29).uniform(-2.0, 3.0, (2, 5, 3, 7)).astype(np.float32)
    facts = {
        "inputs": {"input": {"seed": 29, "shape": [2, 5, 3, 7], "range": [-2.0, 3.0], "dtype": "float32"}}
    }
    recording = Recording({"first": RecordedEndpoint.of("first", np.maximum(x, 0))}, {}, facts)
    result = tfpt.verify(mapping, recording=recording, model=Tiny())
    assert result.agrees
    assert result.facts["input"]["origin"] == "seed 29, from the recording"


def test_another_input_than_the_recorded_is_refused(mapping, values):
    with pytest.raises(SourceError, match="differs from the one in the recording") as error:
        tfpt.verify(mapping, recording=made(values), model=Tiny(), inputs=values["input"] + 1)
    assert "omit --input" in error.value.hint


def test_an_input_of_other_axes_names_the_mappings_layout(mapping, values):
    recording = dataclasses.replace(made(values), inputs={})
    with pytest.raises(ModelError, match="does not fit the layout") as error:
        tfpt.verify(mapping, recording=recording, model=Tiny(), inputs=values["input"][0])
    assert "b h w c -> b c h w" in error.value.expected
    assert error.value.got == "[5, 3, 7]"


def test_an_input_that_the_model_refuses_is_its_own_error(recording, seeded):
    with pytest.raises(ModelError, match="number of channels"):
        tfpt.verify("i3d_rgb", recording=recording, model=seeded, inputs=np.zeros((1, 9, 193, 193, 2), "f4"))


def test_several_inputs_go_to_the_arguments_of_their_names(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(11, 5), nn.Identity()

        def forward(self, ids, mask):
            return self.out(self.table(ids) * mask[..., None])

    path = tmp_path / "two.yaml"
    path.write_text("version: 1\nweights: [{tf: t, pt: t}]\nendpoints: [{tf: out, pt: out}]\n")
    model = Two()
    ids, mask = np.array([[3, 1, 7]], np.int64), np.array([[1, 0, 1]], np.float32)
    out = model.table.weight.detach().numpy()[ids] * mask[..., None]
    recorded = {"out": RecordedEndpoint.of("out", out)}
    recording = Recording(recorded, {"ids": ids, "mask": mask})
    assert tfpt.verify(path, recording=recording, model=model).agrees
    with pytest.raises(ModelError, match="has no argument masks") as error:
        tfpt.verify(path, recording=Recording(recorded, {"ids": ids, "masks": mask}), model=model)
    assert error.value.nearest == ("mask",)
    assert "input: {names: {masks: ARGUMENT}}" in error.value.hint


def test_a_recording_of_several_inputs_without_them_asks_for_each_by_its_name(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(11, 5), nn.Identity()

        def forward(self, ids, **kwargs):
            return self.out(self.table(ids) * kwargs["mask"][..., None])

    path = tmp_path / "two.yaml"
    path.write_text("version: 1\nweights: [{tf: t, pt: t}]\nendpoints: [{tf: out, pt: out}]\n")
    model = Two()
    ids, mask = np.array([[3, 1, 7]], np.int64), np.array([[1, 0, 1]], np.float32)
    out = RecordedEndpoint.of("out", model.table.weight.detach().numpy()[ids] * mask[..., None])
    facts = {"inputs": {"ids": {"file": "ids.npy"}, "mask": {"file": "mask.npy"}}}
    recording = Recording({"out": out}, facts=facts)
    with pytest.raises(SourceError) as error:
        tfpt.verify(path, recording=recording, model=model)
    assert "--input ids=F.npy --input mask=F.npy" in error.value.hint
    with pytest.raises(SourceError, match="the network has several inputs") as error:
        tfpt.verify(path, recording=recording, model=model, inputs=ids)
    assert error.value.hint == "--input ids=FILE --input mask=FILE"
    with pytest.raises(SourceError, match="several inputs") as error:
        tfpt.verify(path, recording=recording, model=model, inputs={"ids": ids})
    assert error.value.hint == "--input mask=FILE"
    assert tfpt.verify(path, recording=recording, model=model, inputs={"ids": ids, "mask": mask}).agrees
    # A name that the model would not read from its keywords is refused, not dropped.
    other = Recording({"out": out}, {"ids": ids, "masks": mask})
    with pytest.raises(ModelError, match="has no argument masks"):
        tfpt.verify(path, recording=other, model=model)


# -- what is refused -----------------------------------------------------------------------------------


def test_the_recording_of_another_network_is_refused(mapping, recording):
    with pytest.raises(ModelError, match="no endpoint in common") as error:
        tfpt.verify(mapping, recording=recording, model=Tiny(), inputs=np.zeros((1, 5, 3, 7), "f4"))
    assert "first" in error.value.expected
    assert "Conv3d_1a_7x7" in error.value.got


def test_weights_of_another_mapping_are_refused(sampled_rgb, recording):
    with pytest.raises(TfptError) as error:
        tfpt.verify("i3d_flow", sampled_rgb, recording)
    assert "RGB/inception_i3d" in str(error.value)


def test_a_file_that_is_no_recording_is_refused(mapping, tmp_path):
    path = tmp_path / "r.npz"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(SourceError) as error:
        tfpt.verify(mapping, recording=path, model=Tiny())
    assert str(path) in error.value.where


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "w.pth"}, "TensorFlow's side is missing"),
        ({"weights": "w.pth", "recording": "r.npz", "network": "n.pb"}, "TensorFlow's side is given twice"),
        ({"recording": "r.npz"}, "the PyTorch side is missing"),
        (
            {"weights": "w.pth", "recording": "r.npz", "model": Tiny()},
            "the PyTorch side is given twice",
        ),
        ({"model": Tiny(), "recording": "r.npz", "frames": 9}, "frames applies to a network that is run"),
        ({"model": Tiny(), "recording": "r.npz", "tolerance": 0.0}, "invalid tolerance"),
        ({"model": Tiny(), "recording": "r.npz", "dtype": "float8"}, "unsupported dtype"),
        ({"model": Tiny(), "recording": "r.npz", "seconds": float("nan")}, "invalid time limit"),
    ],
)
def test_sides_that_make_no_sense_are_refused(mapping, arguments, message):
    with pytest.raises(TfptError, match=message):
        tfpt.verify(mapping, **arguments)


def test_a_device_that_is_not_there_is_refused(mapping, values):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(TfptError, match="does not find this CUDA device"):
        tfpt.verify(mapping, recording=made(values), model=nn.Sequential(nn.Linear(2, 3)), device="cuda")


def test_a_written_recording_is_the_same_as_one_in_memory(mapping, values, tmp_path):
    path = tmp_path / "r.npz"
    write_recording(path, made(values))
    assert tfpt.verify(mapping, recording=path, model=Tiny()).recording == str(path)


def test_a_network_is_run_on_the_spot(tmp_path):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    x = keras.Input((5,))
    model = keras.Model(x, keras.layers.Dense(3, activation="relu", name="head")(x))
    model.save(tmp_path / "net.keras")
    path = tmp_path / "dense.yaml"
    path.write_text(
        "version: 1\nsource: {names: path}\n"
        "weights: [{tf: w, pt: w}]\nendpoints: [{tf: head, pt: '1', layout: 'b k -> b k'}]\n"
    )
    port = nn.Sequential(nn.Linear(5, 3), nn.ReLU())
    kernel, bias = (np.asarray(weight) for weight in model.weights)
    port[0].weight.data, port[0].bias.data = torch.tensor(kernel.T.copy()), torch.tensor(bias)
    result = tfpt.verify(path, network=tmp_path / "net.keras", model=port, seed=3)
    assert result.agrees
    assert result.facts["tensorflow"]["seed"] == 3


# -- what is easily overlooked -------------------------------------------------------------------------


class One(nn.Module):
    """One step, which computes what it is given."""

    def __init__(self, function) -> None:
        super().__init__()
        self.step, self.after = Step(function), nn.Identity()

    def forward(self, x):
        return self.after(self.step(x))


class Step(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


ONE = "version: 1\nweights: [{tf: w, pt: w}]\nendpoints:\n  - {tf: step, pt: step}\n"


def one_step(tmp_path, function, truth, x, mapping=ONE, **options):
    path = tmp_path / "one.yaml"
    path.write_text(mapping)
    recorded = {"step": RecordedEndpoint.of("step", np.asarray(truth))}
    return tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=One(function), **options)


def test_agreement_of_zeros_alone_is_said_to_say_little(tmp_path):
    from tfpt.report.verifications import notes

    x = np.random.default_rng(8).normal(size=(2, 5)).astype(np.float32)
    dead = one_step(tmp_path, lambda x: torch.relu(x - 1e3), np.zeros((2, 5), np.float32), x)
    assert dead.agrees
    assert any("step has only zeros" in note for note in notes(dead))
    nothing = one_step(tmp_path, lambda x: x[:0], x[:0], x)
    assert any("step has only zeros" in note for note in notes(nothing))
    alive = one_step(tmp_path, torch.relu, np.maximum(x, 0), x)
    assert not any("zeros" in note for note in notes(alive))


def test_a_number_alone_is_an_endpoint_too(tmp_path):
    from tfpt.report.pages.verification import page

    x = np.random.default_rng(8).normal(size=(2, 5)).astype(np.float32)
    assert one_step(tmp_path, torch.mean, x.mean(), x).agrees
    result = one_step(tmp_path, torch.mean, 3 * x.mean(), x)
    (diagnosis,) = result.explanation.diagnoses
    assert diagnosis.trials > 0
    assert "0.33333 times the recorded one" in diagnosis.signs[0].shows
    assert "step in detail" in page(result)


def test_complex_values_are_compared_whole(tmp_path):
    from tfpt.report.pages.verification import page

    x = np.random.default_rng(8).normal(size=(2, 3, 5)).astype(np.float32)
    truth = np.fft.fft(x).astype(np.complex64)
    assert one_step(tmp_path, torch.fft.fft, truth, x).agrees
    assert one_step(tmp_path, lambda x: torch.fft.fft(x).conj(), truth.conj(), x).agrees
    other = one_step(tmp_path, torch.fft.fft, truth.conj(), x)
    assert not other.agrees
    assert "step in detail" in page(other)


def test_axes_that_pytorch_has_as_one_take_their_sizes_from_the_recording(tmp_path):
    layout = ONE.replace("pt: step}", 'pt: step, layout: "b h w c -> b c (h w)"}')
    x = np.random.default_rng(8).normal(size=(2, 3, 5, 7)).astype(np.float32)

    def flat(x):
        return x.permute(0, 3, 1, 2).flatten(2)

    assert one_step(tmp_path, flat, x, x, layout).agrees
    exchanged = one_step(tmp_path, flat, np.swapaxes(x, 1, 2), x, layout)
    assert [one.verdict for one in exchanged.endpoints] == ["departs"]


def test_an_endpoint_without_the_axes_of_its_layout_does_not_end_the_comparison(tmp_path):
    mapping = ONE.replace("- {tf", "- {tf: first, pt: first}\n  - {tf", 1).replace(
        "pt: step}", 'pt: step, layout: "b h w c -> b c h w"}\n  - {tf: after, pt: after}'
    )
    path = tmp_path / "one.yaml"
    path.write_text(mapping)
    model = One(torch.relu)
    model.first = nn.Identity()
    model.forward = lambda x: model.after(model.step(model.first(x)))
    x = np.random.default_rng(8).normal(size=(2, 5)).astype(np.float32)
    held = {"first": x, "step": np.maximum(x, 0), "after": np.maximum(x, 0)}
    recorded = {name: RecordedEndpoint.of(name, array) for name, array in held.items()}
    result = tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=model)
    assert [one.verdict for one in result.endpoints] == ["agrees", "shape", "agrees"]
    assert "b h w c -> b c h w" in result.endpoints[1].note
    assert "one.yaml:5" in result.endpoints[1].note


@pytest.mark.parametrize("in_place", [True, False])
def test_a_state_of_the_models_own_is_as_before_each_run(tmp_path, in_place):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("times", torch.ones(()))
            self.step, self.after = nn.ReLU(), nn.Identity()

        def forward(self, x):
            x = self.step(x)
            if in_place:
                self.times += 1
            else:
                self.times = self.times + 1
            return self.after(x * self.times)

    path = tmp_path / "one.yaml"
    path.write_text(ONE + "  - {tf: after, pt: after}\n")
    x = np.random.default_rng(8).normal(size=(2, 5)).astype(np.float32)
    held = {"step": np.maximum(x, 0), "after": 2 * np.maximum(x, 0)}
    recorded = {name: RecordedEndpoint.of(name, array) for name, array in held.items()}
    model = Counting().eval()
    times = model.times
    result = tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=model)
    assert [(one.free.rel, one.own.rel) for one in result.endpoints] == [(0, 0), (0, 0)]
    assert model.times is times
    assert float(times) == 1


def test_low_precision_is_the_first_suspect(tmp_path):
    layer = nn.Linear(5, 7)
    x = np.random.default_rng(8).normal(size=(2, 5)).astype(np.float32)
    with torch.no_grad():
        truth = layer(torch.tensor(x)).numpy()
    assert one_step(tmp_path, layer, truth, x).agrees
    model = One(layer)
    model.layer = layer
    path = tmp_path / "one.yaml"
    recorded = Recording({"step": RecordedEndpoint.of("step", truth)}, {"input": x})
    result = tfpt.verify(path, recording=recorded, model=model, dtype="bfloat16", tolerance=1e-5)
    (diagnosis,) = result.explanation.diagnoses
    assert not diagnosis.proven
    assert diagnosis.suspects[0].startswith("rounding: the model runs in bfloat16")


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [10**7, 10**7]},
        {"range": [-1, float("inf")]},
        {"dtype": "object"},
        {"dtype": "datetime64"},
        {"seed": float("inf")},
        {"seed": -1},
    ],
)
def test_facts_from_which_no_input_can_be_made_ask_for_it(mapping, values, wrong):
    fact = {"seed": 29, "shape": [2, 5, 3, 7], "range": [-2.0, 3.0], "dtype": "float32", **wrong}
    recording = dataclasses.replace(made(values), inputs={}, facts={"inputs": {"input": fact}})
    with pytest.raises(SourceError, match="does not contain its input"):
        tfpt.verify(mapping, recording=recording, model=Tiny())


def test_nothing_is_proven_by_a_recording_of_zeros(tmp_path):
    # Whatever keeps the input small would agree, such as "values from -1 to 1" in place of up to 200.
    x = np.random.default_rng(8).uniform(-200, 200, size=(2, 5)).astype(np.float32)
    result = one_step(tmp_path, lambda x: torch.relu(x - 50), np.zeros((2, 5), np.float32), x)
    assert [one.verdict for one in result.endpoints] == ["departs"]
    (diagnosis,) = result.explanation.diagnoses
    assert not diagnosis.proven
    assert diagnosis.signs[0].shows == "every recorded value is 0"


class TestInputsThatDiffer:
    """TensorFlow's input has another scale, other names, or both."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "scaled_net.py").write_text(
            "import torch\n"
            "class One(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.conv = torch.nn.Conv2d(3, 5, 1)\n"
            "    def forward(self, x): return self.conv(x)\n"
            "class Two(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.table = torch.nn.Embedding(11, 5)\n"
            "        self.out = torch.nn.Identity()\n"
            "    def forward(self, input_ids, scale): return self.out(self.table(input_ids) * scale[..., None])\n"
        )
        return tmp_path

    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_an_input_is_scaled_to_the_range_of_the_model(self, folder: Path, dtype: str) -> None:
        random = np.random.default_rng(3)
        kernel = random.normal(size=(1, 1, 3, 5)).astype(np.float32)
        bias = random.normal(size=5).astype(np.float32)
        np.savez(folder / "w.npz", **{"conv/kernel": kernel, "conv/bias": bias})
        image = random.integers(0, 256, (1, 7, 11, 3)).astype(dtype)
        # The TensorFlow network scales the image itself.
        truth = (image.astype(np.float64) / 127.5 - 1) @ kernel[0, 0].astype(np.float64) + bias
        text = (
            "version: 1\nmodel: {factory: 'scaled_net:One'}\nscopes: [{tf: conv, pt: conv, use: keras/conv2d}]\n"
            "endpoints: [{tf: out, pt: conv, layout: 'b h w c -> b c h w'}]\n"
            "input: {layout: 'b h w c -> b c h w', range: [-1, 1]%s}\n"
        )
        recording = Recording({"out": RecordedEndpoint.of("out", truth.astype(np.float32))}, {"input": image})
        (folder / "m.yaml").write_text(text % ", tf_range: [0, 255]")
        assert tfpt.verify("m.yaml", folder / "w.npz", recording, trust=True, diagnose=False).agrees
        if dtype == "float32":
            (folder / "m.yaml").write_text(text % "")
            assert not tfpt.verify("m.yaml", folder / "w.npz", recording, trust=True, diagnose=False).agrees
        (folder / "m.yaml").write_text(text.replace("range: [-1, 1]%s", "tf_range: [0, 255]"))
        with pytest.raises(TfptError, match="tf_range: needs range:"):
            tfpt.load_mapping("m.yaml")

    def test_inputs_go_to_the_arguments_that_the_mapping_names(self, folder: Path) -> None:
        random = np.random.default_rng(5)
        table = random.normal(size=(11, 5)).astype(np.float32)
        np.savez(folder / "w.npz", table=table)
        ids, scale = (
            random.integers(0, 11, (2, 7)).astype(np.int32),
            random.normal(size=(2, 7)).astype(np.float32),
        )
        truth = table[ids] * scale[..., None]
        text = (
            "version: 1\nmodel: {factory: 'scaled_net:Two'}\nweights: [{tf: table, pt: table.weight}]\n"
            "endpoints: [{tf: out, pt: out}]\ninput: {names: {token_ids: input_ids}}\n"
        )
        (folder / "m.yaml").write_text(text)
        inputs = {"token_ids": ids, "scale": scale}
        recording = Recording({"out": RecordedEndpoint.of("out", truth)}, inputs)
        found = tfpt.verify("m.yaml", folder / "w.npz", recording, trust=True, diagnose=False)
        assert found.agrees
        (folder / "m.yaml").write_text(text.replace("input: {names: {token_ids: input_ids}}\n", ""))
        with pytest.raises(ModelError, match="token_ids"):
            tfpt.verify("m.yaml", folder / "w.npz", recording, trust=True, diagnose=False)


class TestEndpointsThatDiffer:
    """TensorFlow's endpoint is part of the module's output, or a function of it."""

    @pytest.fixture
    def verified(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "sequence_net.py").write_text(
            "import torch\n"
            "class Net(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.first, self.last = torch.nn.Linear(3, 5), torch.nn.Linear(5, 7)\n"
            "    def forward(self, x): return self.last(self.first(x).relu())\n"
        )
        random = np.random.default_rng(7)
        kernels = {"first": (3, 5), "last": (5, 7)}
        values = {
            f"{name}/kernel": random.normal(size=shape).astype(np.float32) for name, shape in kernels.items()
        }
        values |= {
            f"{name}/bias": random.normal(size=shape[1]).astype(np.float32) for name, shape in kernels.items()
        }
        np.savez(tmp_path / "w.npz", **values)
        x = random.normal(size=(2, 11, 3)).astype(np.float32)
        first = np.maximum(x @ values["first/kernel"] + values["first/bias"], 0)
        logits = first @ values["last/kernel"] + values["last/bias"]

        def run(first_row: str, last_row: str, truths: dict[str, np.ndarray]):
            (tmp_path / "m.yaml").write_text(
                "version: 1\nmodel: {factory: 'sequence_net:Net'}\n"
                "scopes: [{tf: '{n:first|last}', pt: '{n}', use: keras/dense}]\n"
                f"endpoints: [{first_row}, {last_row}]\ninput: {{layout: 'b t c -> b t c'}}\n"
            )
            endpoints = {
                name: RecordedEndpoint.of(name, np.ascontiguousarray(value)) for name, value in truths.items()
            }
            return tfpt.verify(
                "m.yaml", "w.npz", Recording(endpoints, {"input": x}), trust=True, diagnose=False
            )

        return run, first, logits

    def test_the_last_step_a_part_and_a_softmax_are_compared(self, verified) -> None:
        run, first, logits = verified
        step = np.exp(logits[:, -1]) / np.exp(logits[:, -1]).sum(1, keepdims=True)
        row = "{tf: p, pt: last, layout: 'b c -> b t c', select: {t: -1}, apply: {softmax: c}}"
        part = "{tf: f, pt: first, layout: 't b c -> b t c', slice: {t: '1:-2'}, apply: relu}"
        found = run(part, row, {"f": first[:, 1:-2].transpose(1, 0, 2), "p": step})
        assert found.agrees
        assert [endpoint.shape for endpoint in found.endpoints] == [(8, 2, 5), (2, 7)]
        wrong = run(part, row.replace("-1", "-2"), {"f": first[:, 1:-2].transpose(1, 0, 2), "p": step})
        assert [not endpoint.bad for endpoint in wrong.endpoints] == [True, False]

    def test_an_output_with_steps_is_not_replaced(self, verified) -> None:
        """What TensorFlow computed after the ReLU cannot be put in place of what comes before it."""
        run, first, logits = verified
        found = run("{tf: f, pt: first, apply: relu}", "{tf: l, pt: last}", {"f": 2 * first, "l": logits})
        assert [not endpoint.bad for endpoint in found.endpoints] == [False, True]

    @pytest.mark.parametrize(
        ("row", "what"),
        [
            ("{tf: p, pt: last, select: {t: 0}}", "so the endpoint needs a layout:"),
            ("{tf: p, pt: last, layout: 'b c -> b t c', select: {s: 0}}", "s is not an axis"),
            (
                "{tf: p, pt: last, layout: 'b t c -> b t c', select: {t: 0}}",
                "the axis t is dropped by select:",
            ),
            ("{tf: p, pt: last, layout: 'b t c -> b (t c)', slice: {b: '1:'}}", "consists of letters"),
            ("{tf: p, pt: last, layout: 'b t c -> b t c', slice: {b: '1'}}", "a slice cannot be read"),
            ("{tf: p, pt: last, layout: 'b t c -> b t c', apply: softmax}", "softmax needs its axis"),
            ("{tf: p, pt: last, layout: 'b t c -> b t c', apply: gelu}", "apply"),
        ],
    )
    def test_what_cannot_be_done_is_refused(self, verified, row: str, what: str) -> None:
        run, _, logits = verified
        with pytest.raises(TfptError) as error:
            run("{tf: f, pt: first}", row, {"p": logits})
        assert what in str(error.value)

    def test_an_output_without_such_an_index_is_reported(self, verified) -> None:
        run, first, logits = verified
        row = "{tf: p, pt: last, layout: 'b c -> b t c', select: {t: 11}}"
        found = run("{tf: f, pt: first, apply: relu}", row, {"f": first, "p": logits[:, 0]})
        assert not found.agrees
        assert "does not fit the layout" in found.endpoints[1].note
