"""What a mapping says to a model of a trusted package fetches nothing, opens nothing and runs nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.commands.running import refused
from tfpt.errors import ModelError, UntrustedError
from tfpt.language.loader import load_mapping
from tfpt.targets.model import build_model

TIMM = """
import torch
from torch import nn
from pathlib import Path

class Net(nn.Linear):
    __module__ = "timm.models.net"
    def __init__(self, num_classes=3, embed_dim=2, act_layer=None):
        super().__init__(embed_dim, num_classes)

def net(pretrained=False, **kwargs):
    return Net(**kwargs)
net.__module__ = "timm.models.net"

def is_model(name):
    return name == "net"

def model_entrypoint(name):
    return net

def create_model(model_name, pretrained=False, checkpoint_path="", cache_dir=None, **kwargs):
    if pretrained or checkpoint_path or ":" in model_name or "/" in model_name:
        torch.load(checkpoint_path, weights_only=False)
    return net(**kwargs)
create_model.__module__ = "timm.models._factory"

class Teacher(nn.Linear):
    __module__ = "timm.task.distillation"
    def __init__(self):
        super().__init__(1, 1)
"""


@pytest.fixture
def timm(tmp_path, monkeypatch):
    """A package that behaves as timm 1.0.20 does, which loads pickles as they come."""
    folder = tmp_path / "packages" / "timm"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text(TIMM)
    (folder / "models/__init__.py").write_text("")
    (folder / "models/net.py").write_text("from timm import Net, net\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder.parent)
    import importlib

    importlib.import_module("timm.models.net")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        del sys.modules[name]


def build(tmp_path: Path, model: dict[str, object], **options: object):
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\nmodel: {json.dumps(model)}\nweights: []\n")
    trust = bool(options.pop("trust", False))
    return build_model(load_mapping(path, **options), trust=trust)


def create(tmp_path: Path, **kwargs: object):
    return build(tmp_path, {"factory": "timm:create_model", "kwargs": {"model_name": "net", **kwargs}})


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"checkpoint_path": "w.pth"},
        {"pretrained": True},
        {"pretrained": 1},
        {"pretrained_cfg": {"file": "w.pth"}},
        {"pretrained_cfg_overlay": {"file": "w.pth"}},
        {"cache_dir": "x"},
        {"model_name": "hf-hub:user/net"},
        {"model_name": "local-dir:folder"},
        {"model_name": "user/net"},
        {"model_name": ["net"]},
        {"head": "x"},
        {"model_cfg": {"checkpoint_path": "w.pth"}},
    ],
)
def test_timm_makes_models_and_loads_nothing(timm, tmp_path, monkeypatch, kwargs):
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save(Evil(tmp_path / "mark"), tmp_path / "w.pth")
    with pytest.raises(UntrustedError, match=next(iter(kwargs))) as caught:
        create(tmp_path, **kwargs)
    assert str(caught.value.where).endswith("m.yaml:2:20")
    assert "--trust" in caught.value.hint
    assert not (tmp_path / "mark").exists()


def test_timm_takes_what_the_models_constructor_takes(timm, tmp_path):
    model = create(
        tmp_path, num_classes=5, embed_dim=7, act_layer="relu", pretrained=False, checkpoint_path=None
    )
    assert tuple(model.weight.shape) == (5, 7)


def test_of_timm_the_layers_are_called_and_not_what_learns_from_other_models(timm, tmp_path):
    assert build(tmp_path, {"factory": "timm.models.net:Net"}).out_features == 3
    with pytest.raises(UntrustedError, match="not a class of layers"):
        build(tmp_path, {"factory": "timm:Teacher"})


def test_with_trust_timm_gets_what_the_mapping_says(timm, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="rejects its arguments"):
        build(
            tmp_path,
            {"factory": "timm:create_model", "kwargs": {"model_name": "net", "checkpoint_path": "none.pth"}},
            trust=True,
        )


TORCHVISION = """
from torch import nn

def resnet(*, weights=None, progress=True, num_classes=3):
    return nn.Linear(num_classes, 1 if weights is None else 2)

def detector(*, weights=None, weights_backbone="IMAGENET1K_V1"):
    return nn.Linear(1, 1 if weights_backbone is None else 2)

MODELS = {"resnet": resnet, "detector": detector}

def list_models():
    return list(MODELS)

def get_model_builder(name):
    return MODELS[name]

def get_model(name, **config):
    return MODELS[name](**config)

def fetched(url):
    raise AssertionError(url)
"""


@pytest.fixture
def torchvision(tmp_path, monkeypatch):
    folder = tmp_path / "packages" / "torchvision"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "models/__init__.py").write_text(TORCHVISION)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("factory", "kwargs", "says"),
    [
        ("resnet", {"weights": "DEFAULT"}, "weights"),
        ("get_model", {"name": "resnet", "weights": "DEFAULT"}, "weights"),
        ("detector", {"weights_backbone": "DEFAULT"}, "weights_backbone"),
        ("fetched", {"url": "x"}, "not a class of layers"),
        ("list_models", {}, "not a class of layers"),
    ],
)
def test_torchvision_downloads_nothing(torchvision, tmp_path, factory, kwargs, says):
    with pytest.raises(UntrustedError, match=says):
        build(tmp_path, {"factory": f"torchvision.models:{factory}", "kwargs": kwargs})


def test_torchvisions_backbones_come_without_their_weights(torchvision, tmp_path):
    assert build(tmp_path, {"factory": "torchvision.models:detector"}).out_features == 1
    model = {"factory": "torchvision.models:get_model", "kwargs": {"name": "detector"}}
    assert build(tmp_path, model).out_features == 1
    model = {"factory": "torchvision.models:resnet", "kwargs": {"weights": None, "num_classes": 7}}
    assert build(tmp_path, model).in_features == 7


SMALL = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 11}
BERT = {"factory": "transformers:BertModel", "config": "transformers:BertConfig"}

REFUSED = [
    {"attn_implementation": "user/kernel"},
    {"attn_implementation": "user/kernel@main:forward"},
    {"attn_implementation": "flash_attention_2"},
    {"attn_implementation": {"": "user/kernel"}},
    {"_attn_implementation": "user/kernel"},
    {"_attn_implementation_internal": "user/kernel"},
    {"experts_implementation": "deepgemm"},
    {"vision_config": {"attn_implementation": "user/kernel"}},
    {"sub": [{"deeper": {"_attn_implementation": "user/kernel"}}]},
    {"auto_map": {"AutoModel": "user/repo--modeling.Net"}},
    {"text_config": {"auto_map": {"AutoConfig": "modeling.Net"}}},
    {"trust_remote_code": True},
    {"use_pretrained_backbone": True},
    {"backbone": "folder"},
    {"backbone_kwargs": {"checkpoint_path": "w.pth"}},
    {"model_args": {"checkpoint_path": "w.pth"}},
    {"model_args": {"pretrained_cfg": "x"}},
    {"backbone": "hf-hub:user/net", "use_timm_backbone": True},
    {"architecture": "local-dir:folder"},
    {"some_file": "/etc/passwd"},
    {"some_file": "~/.ssh/id_rsa"},
    {"some_file": "../x"},
    {"some_list": ["a", "user/repo"]},
]


@pytest.mark.parametrize("way", ["kwargs", "config"])
@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_a_configuration_fetches_nothing(tmp_path, values, way):
    pytest.importorskip("transformers")
    if way == "kwargs":
        with pytest.raises(UntrustedError, match="may fetch code or read files") as caught:
            build(tmp_path, {**BERT, "kwargs": {**SMALL, **values}})
    else:
        file = tmp_path / "config.json"
        file.write_text(json.dumps({**SMALL, **values}))
        with pytest.raises(UntrustedError, match="may fetch code or read files") as caught:
            build(tmp_path, BERT, config=file)
    assert "m.yaml:2" in str(caught.value.where)


def test_the_configurations_that_models_are_published_with_are_taken(tmp_path):
    pytest.importorskip("transformers")
    config = {
        **SMALL,
        "_name_or_path": "google/bert_uncased",
        "architectures": ["BertModel"],
        "attn_implementation": "eager",
        "_attn_implementation_autoset": True,
        "hidden_act": "gelu_new",
        "id2label": {"0": "red/blue", "1": "a: b"},
        "label2id": {"red/blue": 0, "a: b": 1},
        "layer_norm_eps": 1e-12,
        "model_type": "bert",
        "sep_token": "</s>",
        "task_specific_params": {"translation": {"prefix": "translate English to German: "}},
        "torch_dtype": "float32",
        "transformers_version": "4.46.0.dev0",
        "gradient_checkpointing": True,
        "use_pretrained_backbone": False,
        "auto_map": None,
    }
    assert build(tmp_path, BERT, config=config).config.hidden_size == 8


def test_a_backbone_of_timms_by_default_comes_without_weights(tmp_path):
    """Older versions of transformers make a DetrConfig that asks for pretrained weights, unless told otherwise."""
    transformers = pytest.importorskip("transformers")
    from tfpt.targets.model_arguments import check_made_configuration

    made = transformers.BertConfig()
    made.inner = transformers.BertConfig()
    check_made_configuration(made, "a:B", "m.yaml:2")
    made.inner.use_pretrained_backbone = True
    with pytest.raises(UntrustedError, match=r"inner\.use_pretrained_backbone"):
        check_made_configuration(made, "a:B", "m.yaml:2")
    made.inner.use_pretrained_backbone = False
    made.inner._attn_implementation = "user/kernel"
    with pytest.raises(UntrustedError, match=r"inner\.attn_implementation"):
        check_made_configuration(made, "a:B", "m.yaml:2")


def test_a_configuration_is_one_of_transformers(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(UntrustedError, match="not a configuration class"):
        build(tmp_path, {**BERT, "config": "transformers:BertTokenizer"})


def test_the_commands_refuse_it_with_the_place(tiny, tmp_path):
    pytest.importorskip("transformers")
    (tiny.folder / "tiny.manifest.json").unlink()
    model = {**BERT, "kwargs": {**SMALL, "attn_implementation": "user/kernel"}}
    tiny.mapping.write_text(f"{tiny.mapping.read_text()}model: {json.dumps(model)}\n")
    for command in (
        ("check", tiny.mapping),
        ("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", tmp_path / "o.pth"),
        ("sample", "--mapping", tiny.mapping, "--out", tmp_path / "s.ckpt"),
    ):
        message = refused(*command)
        assert "attn_implementation" in message
        assert "--trust" in message
