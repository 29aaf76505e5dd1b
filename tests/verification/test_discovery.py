"""Discovery: endpoints found by what both networks compute, against Keras, a graph, a SavedModel and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import tfpt
from tests.commands.running import refused, run
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording, write_recording
from tfpt.verification.data_flow import data_flow
from tfpt.verification.pairing import Computed, agreement_of, paired

ROWS = """\
  - {tf: stem/kernel, pt: stem.weight, layout: "h w i o -> o i h w"}
  - {tf: left/kernel, pt: left.weight, layout: "h w i o -> o i h w"}
  - {tf: right/kernel, pt: right.weight, layout: "h w i o -> o i h w"}
  - {tf: head/kernel, pt: head.weight, layout: "i o -> o i"}
  - {tf: "{layer}/bias", pt: "{layer}.bias"}
"""


class Net(nn.Module):
    """A stem, two branches that are concatenated, and a head."""

    padding = 2

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.left = nn.Conv2d(5, 7, 3, padding=1)
        self.right = nn.Conv2d(5, 2, 5, padding=self.padding)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stem(x))
        x = torch.cat([torch.relu(self.left(x)), torch.tanh(self.right(x))], 1)
        return self.head(self.pool(x).flatten(1))


class Reflected(Net):
    """The same, but the right branch pads with copies of the border instead of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.right.padding_mode = "replicate"


class Other(Net):
    """The same with another output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The network as Keras has it, with the activations inside the layers of the branches."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8, 6, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="stem")(x)
    left = layers.Conv2D(7, 3, padding="same", activation="relu", name="left")(x)
    right = layers.Conv2D(2, 5, padding="same", activation="tanh", name="right")(x)
    x = layers.Concatenate(name="both")([left, right])
    x = layers.GlobalAveragePooling2D(name="mean", keepdims=False)(x)
    x = layers.Dropout(0.5, name="drop")(x)
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    for weight in model.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(0, 0.3, weight.shape))
    folder = tmp_path_factory.mktemp("net")
    model.save(folder / "net.keras")
    model.export(folder / "saved", verbose=False)
    return folder


def mapping(folder, kind, more=""):
    path = folder / f"{kind.__name__}.yaml"
    head = f'version: 1\nsummary: a network\nmodel: {{factory: "{__name__}:{kind.__name__}"}}\nweights:\n'
    path.write_text(head + ROWS + more)
    return path


EXPECTED = [
    ("stem", "relu", "b h w c -> b c h w", ""),
    ("left", "left", "b h w c -> b c h w", "relu"),
    ("right", "right", "b h w c -> b c h w", "tanh"),
    ("mean", "pool", "b c -> b c 1 1", ""),
    ("head", "head", "", ""),
]


def found(result):
    return [(each.tf, each.pt, each.layout, each.apply) for each in result.endpoints]


def test_a_keras_model_is_paired_layer_by_layer(network, tmp_path):
    path, file = mapping(tmp_path, Net), network / "net.keras"
    result = tfpt.discover(path, file, network=file, trust=True)
    # In order of execution: the stem agrees after its ReLU, which is a module, and after the function of its own.
    assert found(result) == EXPECTED
    assert result.agrees
    assert result.output.tf == "head"
    assert all(each.difference < 1e-6 for each in result.endpoints)


def test_the_rows_can_be_pasted_and_verified(network, tmp_path):
    path, file = mapping(tmp_path, Net), network / "net.keras"
    result = tfpt.discover(path, file, network=file, trust=True)
    pasted = mapping(tmp_path, Net, f"\n{result.rows}\n")
    assert yaml.safe_load(result.rows)["input"] == {"layout": "b h w c -> b c h w"}
    verified = tfpt.verify(pasted, file, network=file, trust=True)
    assert verified.agrees
    assert [one.name for one in verified.endpoints] == [each.tf for each in result.endpoints]


def test_a_saved_model_and_a_recording_of_all_layers_are_paired_too(network, tmp_path):
    path = mapping(tmp_path, Net)
    graph = tfpt.discover(path, network / "net.keras", network=network / "saved", trust=True)
    assert graph.agrees
    assert [each.pt for each in graph.endpoints] == ["stem", "relu", "left", "right", "pool", "head"]
    tfpt.record(None, network / "net.keras", tmp_path / "r.npz", all_layers=True)
    recorded = tfpt.discover(path, network / "net.keras", tmp_path / "r.npz", trust=True)
    assert found(recorded) == EXPECTED


def test_one_branch_that_departs_is_the_place_and_what_follows_is_counted(network, tmp_path):
    path, file = mapping(tmp_path, Reflected), network / "net.keras"
    result = tfpt.discover(path, file, network=file, trust=True)
    assert not result.agrees
    assert [(place.path, place.kind, place.shape) for place in result.places] == [
        ("right", "Conv2d", (1, 2, 8, 6))
    ]
    assert result.after == 2
    # What agrees in the other branch is still found, though it ends in the same concatenation.
    assert [each.pt for each in result.endpoints] == ["relu", "left"]
    nearest = result.places[0].nearest
    assert (nearest.name, nearest.shape) == ("right", (1, 8, 6, 2))
    keras = pytest.importorskip("keras")
    model = keras.models.load_model(file)
    x = tfpt.record(None, file, all_layers=True).inputs["input"]
    right = keras.Model(model.inputs, model.get_layer("right").output)(x).numpy()
    assert nearest.figures.quantiles == pytest.approx(np.quantile(right, [0, 0.1, 0.5, 0.9, 1]), rel=1e-5)
    assert nearest.figures.mean_abs == pytest.approx(np.abs(right).mean(), rel=1e-5)
    built = tfpt.load(path, file, trust=True)
    values = []
    built.right.register_forward_hook(lambda _, __, output: values.append(output.detach()))
    built(torch.from_numpy(x).movedim(-1, 1))
    ours = values[0].movedim(1, -1).numpy().astype(np.float64)
    assert nearest.difference.rel == pytest.approx(np.linalg.norm(ours - right) / np.linalg.norm(right))


def test_an_output_that_is_scaled_is_no_pair(network, tmp_path):
    file = network / "net.keras"
    result = tfpt.discover(mapping(tmp_path, Other), file, network=file, trust=True)
    assert [each.pt for each in result.endpoints] == ["relu", "left", "right", "pool", "head"]
    assert result.output is None
    assert not result.agrees
    assert result.places == ()


def test_the_command_prints_the_rows_and_ends_as_it_found(network, tmp_path):
    file = network / "net.keras"
    words = ("verify", file, "--network", file, "--trust", "--discover")
    good = run(*words, "--mapping", mapping(tmp_path, Net))
    assert good.code == 0
    assert '  - {tf: mean, pt: pool, layout: "b c -> b c 1 1"}' in good.out
    assert good.out.splitlines()[-1].startswith("agrees: the model's output is that of head; 5 endpoints")
    bad = run(*words, "--mapping", mapping(tmp_path, Reflected))
    assert bad.code == 1
    assert "nothing agrees with right (Conv2d)" in bad.out
    assert bad.out.splitlines()[-1].startswith(
        "departs at right: nothing that TensorFlow computed is like it"
    )
    facts = run(*words, "--mapping", mapping(tmp_path, Reflected), "--json").json
    assert (facts["agrees"], facts["places"][0]["path"], facts["after"]) == (False, "right", 2)
    assert yaml.safe_load(facts["rows"])["endpoints"][0] == {
        "tf": "stem", "pt": "relu", "layout": "b h w c -> b c h w",
    }  # fmt: skip


def test_a_page_cannot_be_written_of_a_discovery(network, tmp_path):
    file = network / "net.keras"
    words = ("verify", file, "--network", file, "--discover", "--html", tmp_path / "r.html")
    found = run(*words, "--mapping", mapping(tmp_path, Net))
    assert found.code == 2
    assert "--discover cannot be combined with --html" in found.err


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ((2, 3, 5, 7), "b h w c -> b c h w", (2, 5, 7, 3)),
        ((2, 3), "b 1 1 c -> b c", (2, 1, 1, 3)),
        ((2, 3, 1, 1), "b c -> b c 1 1", (2, 3)),
        ((7,), "1 c -> c", (1, 7)),
        ((1, 3, 5), "b h w 1 -> b w h", (1, 5, 3, 1)),
    ],
)
def test_layouts_with_axes_of_size_1_are_those_of_einops(ours, theirs, expected):
    from tfpt.networks.inputs import rearrange

    values = np.random.default_rng(7).normal(size=ours).astype(np.float32)
    squeezed = values.squeeze() if values.ndim != len(expected) else values
    by_size = [next(axis for axis, size in enumerate(squeezed.shape) if size == each) for each in expected
               if each > 1 or values.ndim == len(expected)]  # fmt: skip
    recorded = RecordedEndpoint.of("x", squeezed.transpose(by_size).reshape(expected))
    found = agreement_of(recorded, "p", Computed(values))
    assert found is not None
    assert np.array_equal(rearrange(values, found.layout, back=True), recorded.values)
    assert found.layout == theirs


def test_constants_agree_with_nothing():
    ones = RecordedEndpoint.of("mask", np.ones((2, 3), np.float32))
    assert agreement_of(ones, "p", Computed(np.ones((2, 3), np.float32))) is None


def test_only_the_first_call_of_a_module_counts():
    model = nn.Sequential(relu := nn.ReLU(), nn.Flatten(), relu)
    x = torch.randn(2, 3)
    recording = Recording({"x": RecordedEndpoint.of("x", x.relu().numpy())})
    assert paired(model, lambda: model(x), recording).ran == ("0", "1")


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        out = torch.zeros(2, 6)
        out[:, :3] = self.a(x)
        self.b(x)
        return self.c(out[:, :3]) + out[:, 3:]


def test_data_flow_goes_through_writes_into_a_tensor():
    model = Joined()
    with torch.no_grad(), data_flow(model) as flow:
        model(torch.randn(2, 3))
    assert flow.reaches("a", "c")
    assert not flow.reaches("b", "c")
    assert flow.output == 0b101


def test_a_recording_without_input_is_refused(network, tmp_path):
    write_recording(tmp_path / "r.npz", Recording({"x": RecordedEndpoint.of("x", np.ones(3, np.float32))}))
    words = ("verify", network / "net.keras", "--recording", tmp_path / "r.npz", "--discover", "--trust")
    assert "the recording does not contain its input" in refused(*words, "--mapping", mapping(tmp_path, Net))
