"""`tfpt.load`: a model with weights in it, or a reason why not."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from torch import nn

import tfpt
from tests.conftest import DATA
from tfpt.errors import DtypeError, ModelError, SourceError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.planning import PlanError


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A mapping over a model of stock layers, and a checkpoint for it."""
    module = "from torch import nn\n\n\ndef network():\n    return nn.Sequential(nn.Conv2d(3, 5, 7, 2, 3), nn.ReLU())\n"
    (tmp_path / "stock_network.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "net.yaml").write_text(
        """\
version: 1
model: {factory: "stock_network:network"}
layers:
  conv:
    padding: same
    weights:
      - {tf: kernel, pt: weight, layout: "h w i o -> o i h w"}
      - {tf: bias,   pt: bias,   layout: "o -> o"}
scopes:
  - {tf: net, pt: "0", layer: conv}
input: {size: 224}
"""
    )
    random = np.random.default_rng(9)
    values = {
        "net/kernel": random.normal(size=(7, 7, 3, 5)).astype(np.float32),
        "net/bias": random.normal(size=5).astype(np.float32),
    }
    write_bundle(tmp_path / "model.ckpt", values)
    return tmp_path, values


class TestStockLayers:
    def test_that_pad_otherwise_are_refused_with_both_paddings(self, network):
        folder, _ = network
        with pytest.raises(ModelError, match="1 layer that does not compute") as error:
            tfpt.load(folder / "net.yaml", folder / "model.ckpt", trust=True)
        message = str(error.value)
        assert "0 (Conv2d) does not compute what TensorFlow computed" in message
        assert "expected  padding: same, which pads (2, 3) at size 224" in message
        assert "got       the module pads (3, 3)" in message
        assert "net.yaml:" in message
        assert "adapt=True" in message

    def test_that_pad_otherwise_are_taken_where_nobody_is_to_check(self, network):
        folder, values = network
        model = tfpt.load(folder / "net.yaml", folder / "model.ckpt", trust=True, check=False)
        assert model[0].padding == (3, 3)
        np.testing.assert_array_equal(model[0].bias.detach(), values["net/bias"])

    @pytest.mark.parametrize("size", [224, 225])
    def test_are_replaced_on_request_and_then_compute_what_tensorflow_computes(self, network, size):
        tf = pytest.importorskip("tensorflow")
        folder, values = network
        model = tfpt.load(folder / "net.yaml", folder / "model.ckpt", trust=True, adapt=True)
        image = np.random.default_rng(4).normal(size=(1, size, size, 3)).astype(np.float32)
        expected = tf.nn.relu(
            tf.nn.conv2d(image, values["net/kernel"], 2, "SAME") + values["net/bias"]
        ).numpy()
        with torch.no_grad():
            output = model(torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6 * np.abs(expected).max())

    def test_of_a_stranger_need_trust(self, network):
        folder, _ = network
        with pytest.raises(ModelError, match="lies outside the packages"):
            tfpt.load(folder / "net.yaml", folder / "model.ckpt")


@pytest.fixture
def dense(tmp_path):
    """A mapping over a single layer, a checkpoint for it, and its conversion in both formats."""
    mapping = tmp_path / "dense.yaml"
    mapping.write_text(
        """\
version: 1
params: {inputs: 3}
model: {factory: "torch.nn:Linear", kwargs: {in_features: "${inputs}", out_features: 5}}
weights:
  - {tf: kernel, pt: weight, layout: "i o -> o i"}
  - {tf: bias,   pt: bias,   layout: "o -> o"}
"""
    )
    random = np.random.default_rng(6)
    kernel, bias = random.normal(size=(3, 5)).astype(np.float32), random.normal(size=5).astype(np.float32)
    write_bundle(tmp_path / "model.ckpt", {"kernel": kernel, "bias": bias})
    for suffix in ("safetensors", "pth"):
        tfpt.convert(mapping, tmp_path / "model.ckpt", tmp_path / f"w.{suffix}")
    return mapping, torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)


class TestWeights:
    @pytest.mark.parametrize("name", ["model.ckpt", "w.safetensors", "w.pth"])
    def test_come_from_a_checkpoint_or_either_file(self, dense, name):
        mapping, weight, bias = dense
        model = tfpt.load(mapping, mapping.with_name(name))
        assert isinstance(model, nn.Linear)
        assert not model.training
        assert torch.equal(model.weight, weight)
        assert torch.equal(model.bias, bias)
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_stay_whole_when_the_file_changes(self, dense):
        mapping, weight, _ = dense
        path = mapping.with_name("w.safetensors")
        model = tfpt.load(mapping, path)
        with open(path, "r+b") as file:
            file.seek(-60, 2)
            file.write(bytes(60))
        assert torch.equal(model.weight, weight)

    def test_in_another_precision_become_the_models(self, dense):
        mapping, weight, _ = dense
        path = mapping.with_name("half.safetensors")
        tfpt.convert(mapping, mapping.with_name("model.ckpt"), path, dtype="bfloat16")
        loaded = tfpt.load(mapping, path).weight
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, weight.to(torch.bfloat16).float())

    def test_of_another_shape_are_refused_with_both(self, dense):
        mapping, *_ = dense
        with pytest.raises(
            ModelError, match="does not have the weights of this model: 1 difference\n"
        ) as error:
            tfpt.load(mapping, mapping.with_name("w.pth"), settings={"inputs": 7})
        message = str(error.value)
        assert "weight has another shape in the model" in message
        assert "expected  [5, 7]" in message
        assert "got       [5, 3]" in message
        assert "tfpt diff" in message

    def test_of_other_names_are_refused_with_the_nearest(self, dense):
        mapping, *_ = dense
        weights = load_file(mapping.with_name("w.safetensors"))
        weights["bais"] = weights.pop("bias")
        path = mapping.with_name("w2.safetensors")
        save_file(weights, path)
        with pytest.raises(ModelError, match="2 differences") as error:
            tfpt.load(mapping, path)
        assert "the model's bias is not in the file" in str(error.value)
        assert "the model has no bais" in str(error.value)
        assert "nearest   bais" in str(error.value)

    def test_of_a_checkpoint_that_does_not_fit_are_refused_with_the_plan(self, dense):
        mapping, *_ = dense
        with pytest.raises(PlanError, match="dense does not fit") as error:
            tfpt.load(mapping, mapping.with_name("model.ckpt"), settings={"inputs": 7})
        assert [finding.kind for finding in error.value.plan.findings] == ["shape"]


def test_a_set_parameter_gives_i3d_another_head(tmp_path):
    tfpt.sample("i3d_flow", tmp_path / "m", settings={"num_classes": 7})
    model = tfpt.load("i3d_flow", tmp_path / "m", settings={"num_classes": 7})
    assert model.conv3d_0c_1x1.conv3d.out_channels == 7
    source = tfpt.open_source(tmp_path / "m")
    bias = source.read("Flow/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b")
    np.testing.assert_array_equal(model.conv3d_0c_1x1.conv3d.bias.detach().numpy(), bias)


def test_bert_is_filled_from_its_checkpoint_and_keeps_its_ties():
    pytest.importorskip("transformers")
    config = json.loads((DATA / "bert/config.json").read_text())
    model = tfpt.load("bert", DATA / "bert/tf", config=config)
    table = model.bert.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.weight is table
    assert torch.equal(model.cls.predictions.decoder.bias, model.cls.predictions.bias)
    gold = load_tensors(DATA / "bert/gold.safetensors")
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in gold.items())


@pytest.mark.parametrize("equal", [True, False])
def test_tied_parameters_stay_tied_if_their_values_are_equal(tmp_path, monkeypatch, equal):
    """Otherwise each gets its own, as in T5 1.1, whose output layer transformers ties until weights are loaded."""
    (tmp_path / "tied_network.py").write_text(
        "from torch import nn\n\n\n"
        "def network():\n"
        "    net = nn.ModuleDict({'table': nn.Embedding(5, 3), 'out': nn.Linear(3, 5, bias=False)})\n"
        "    net['out'].weight = net['table'].weight\n"
        "    return net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "net.yaml").write_text(
        "version: 1\nmodel: {factory: 'tied_network:network'}\n"
        "weights: [{tf: table, pt: table.weight}, {tf: out, pt: out.weight}]\n"
    )
    table = np.arange(15, dtype=np.float32).reshape(5, 3)
    out = table if equal else -table
    np.savez(tmp_path / "w.npz", table=table, out=out)
    model = tfpt.load(tmp_path / "net.yaml", tmp_path / "w.npz", trust=True)
    assert (model["table"].weight is model["out"].weight) == equal
    np.testing.assert_array_equal(model["table"].weight.detach().numpy(), table)
    np.testing.assert_array_equal(model["out"].weight.detach().numpy(), out)


def test_a_module_at_two_places_cannot_have_two_values(tmp_path, monkeypatch):
    (tmp_path / "shared_network.py").write_text(
        "from torch import nn\n\n\n"
        "def network():\n"
        "    table = nn.Embedding(5, 3)\n"
        "    return nn.ModuleDict({'a': table, 'b': table})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "net.yaml").write_text(
        "version: 1\nmodel: {factory: 'shared_network:network'}\n"
        "weights: [{tf: a, pt: a.weight}, {tf: b, pt: b.weight}]\n"
    )
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.savez(tmp_path / "w.npz", a=values, b=-values)
    with pytest.raises(ModelError, match=r"a\.weight and b\.weight are one parameter of the model"):
        tfpt.load(tmp_path / "net.yaml", tmp_path / "w.npz", trust=True)


def test_a_mapping_without_a_model_cannot_be_loaded(sampled_rgb):
    with pytest.raises(ModelError, match="names no model"):
        tfpt.load("i3d_rgb_piergiaj", sampled_rgb)


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(SourceError, match="there is no TensorFlow checkpoint"):
        tfpt.load("i3d_rgb", "/nowhere/model.ckpt")


MODELS = """
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.extra()

    def extra(self):
        pass

    def forward(self, x):
        return self.b(self.a(x))


class Plain(Base):
    pass


class Tied(Base):
    def extra(self):
        self.b.weight = self.a.weight


class Buffered(Base):
    def extra(self):
        self.register_buffer("table", torch.arange(3.0), persistent=False)

    def forward(self, x):
        return super().forward(x) + self.table


class Attribute(Base):
    def extra(self):
        self.tables = [torch.arange(3.0)]

    def forward(self, x):
        return super().forward(x) + self.tables[0]


class Computing(Base):
    def extra(self):
        self.offset = float(torch.arange(3.0).sum())

    def forward(self, x):
        return super().forward(x) + self.offset
"""


class TestModelsMadeWithoutValues:
    """Where weights make a model whole, nothing is drawn at random first; where not, it is made as usual."""

    @pytest.mark.parametrize("name", ["Plain", "Tied", "Buffered", "Attribute", "Computing"])
    def test_compute_what_the_same_model_computes(self, name, tmp_path, monkeypatch):
        (tmp_path / "made_models.py").write_text(MODELS)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "made_models", raising=False)
        rows = "".join(f"  - {{tf: {n}/{k}, pt: {n}.{k}}}\n" for n in "ab" for k in ("weight", "bias"))
        mapping = tmp_path / "m.yaml"
        mapping.write_text(f'version: 1\nmodel: {{factory: "made_models:{name}"}}\nweights:\n{rows}')
        random = np.random.default_rng(4)
        values = {f"{n}/bias": random.normal(size=3).astype(np.float32) for n in "ab"}
        values |= {f"{n}/weight": random.normal(size=(3, 3)).astype(np.float32) for n in "ab"}
        if name == "Tied":
            values["b/weight"] = values["a/weight"]
        write_bundle(tmp_path / "model.ckpt", values)
        model = tfpt.load(mapping, tmp_path / "model.ckpt", trust=True)

        x = random.normal(size=(2, 3)).astype(np.float32)
        expected = (x @ values["a/weight"].T + values["a/bias"]) @ values["b/weight"].T + values["b/bias"]
        expected = expected + {"Buffered": np.arange(3), "Attribute": np.arange(3), "Computing": 3}.get(
            name, 0
        )
        with torch.no_grad():
            np.testing.assert_allclose(model(torch.from_numpy(x)).numpy(), expected, rtol=1e-5, atol=1e-6)
        assert (model.b.weight is model.a.weight) == (name == "Tied")
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_do_not_share_memory_with_the_file(self, sampled_rgb, tmp_path):
        out = tmp_path / "w.safetensors"
        tfpt.convert("i3d_rgb", sampled_rgb, out)
        before = out.read_bytes()
        model = tfpt.load("i3d_rgb", out)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        assert out.read_bytes() == before

    def test_draw_nothing_at_random(self, sampled_rgb, monkeypatch):
        monkeypatch.setattr(
            nn.init, "trunc_normal_", lambda tensor, **_: tensor.is_meta or pytest.fail("drawn")
        )
        tfpt.load("i3d_rgb", sampled_rgb)


class Small(nn.Module):
    """A parameter of one of the dtypes that numpy has from elsewhere."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 5).to(getattr(torch, dtype)), requires_grad=False)


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz"]
)
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors", "pth"])
def test_dtypes_that_numpy_has_from_elsewhere_are_filled_in(tmp_path, dtype, suffix):
    import ml_dtypes

    values = np.random.default_rng(3).normal(size=(3, 5)).astype(getattr(ml_dtypes, dtype))
    write_bundle(tmp_path / "m.ckpt", {"w": values})
    mapping = tmp_path / "m.yaml"
    text = f'version: 1\nmodel: {{factory: "{__name__}:Small", kwargs: {{dtype: {dtype}}}}}\n'
    mapping.write_text(text + 'weights: [{tf: w, pt: weight, layout: "a b -> a b"}]\n')
    path = tmp_path / f"m.{suffix}"
    if suffix != "ckpt":
        tfpt.convert(mapping, tmp_path / "m.ckpt", path, trust=True)
    weight = tfpt.load(mapping, path, trust=True).weight
    assert weight.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(weight.float().numpy(), values.astype(np.float32))


def test_a_model_in_a_narrower_dtype_takes_what_it_can_hold_and_nothing_else(tmp_path, monkeypatch):
    module = "import torch\n\n\ndef network():\n    return torch.nn.Linear(3, 2).half()\n"
    (tmp_path / "half_network.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "version: 1\nmodel: {factory: 'half_network:network'}\nweights: [{tf: k, pt: weight, dtype: float16}]"
    )
    (tmp_path / "m.yaml").write_text(text + "\n")
    weights = {"weight": np.float32([[0.1, 2, 65504], [1, -3, 7]]), "bias": np.float32([1, 0.3])}
    save_file(weights, tmp_path / "w.safetensors")
    model = tfpt.load(tmp_path / "m.yaml", tmp_path / "w.safetensors", trust=True)
    np.testing.assert_array_equal(model.weight.detach().numpy(), weights["weight"].astype(np.float16))
    weights["weight"][1, 2] = -1e5
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(
        DtypeError, match="float16, the model's dtype of weight, cannot represent 1 value of the file"
    ):
        tfpt.load(tmp_path / "m.yaml", tmp_path / "w.safetensors", trust=True)
