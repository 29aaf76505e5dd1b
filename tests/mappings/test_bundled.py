"""The mappings that come with tfpt, from their manifests to the values and activations of what they convert."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.commands.running import run
from tests.conftest import DATA
from tests.models.deepmind_i3d import channels_first, seeded_clip, variable_name
from tfpt.language.loader import bundled_mappings, load_mapping
from tfpt.targets.model import build_model

BERT = DATA / "bert"


def manifest(name: str) -> dict[str, tuple[str, ...]]:
    table = json.loads(bundled_mappings()[name].with_name(f"{name}.manifest.json").read_text())
    return {parameter: (entry["dtype"], *entry["shape"]) for parameter, entry in table.items()}


def of_model(name: str) -> dict[str, tuple[str, ...]]:
    state = build_model(load_mapping(name)).state_dict()
    return {key: (str(value.dtype).removeprefix("torch."), *value.shape) for key, value in state.items()}


class TestManifests:
    @pytest.mark.parametrize(
        ("name", "target"),
        [("i3d_rgb", "i3d_rgb_hassony2"), ("i3d_rgb_piergiaj", "i3d_rgb_piergiaj")],
    )
    def test_lists_what_the_port_in_wide_use_has(self, shared, name, target):
        recorded = json.loads((shared / f"gold/targets/{target}.json").read_text())
        expected = {key: (entry["dtype"], *entry["shape"]) for key, entry in recorded.items()}
        assert manifest(name) == expected

    def test_of_i3d_rgb_lists_the_recorded_shapes_in_their_order(self, i3d_shapes):
        assert list(manifest("i3d_rgb").items()) == list(i3d_shapes.items())

    @pytest.mark.parametrize("name", ["i3d_rgb", "i3d_flow", "i3d_rgb_kinetics600", "bert"])
    def test_lists_what_the_model_has(self, name):
        if name == "bert":
            pytest.importorskip("transformers")
        assert list(manifest(name).items()) == list(of_model(name).items())

    def test_of_the_flow_stream_has_two_channels_where_rgb_has_three_and_nothing_else_differs(self):
        for rgb, flow in (("i3d_rgb", "i3d_flow"), ("i3d_rgb_piergiaj", "i3d_flow_piergiaj")):
            first, second = manifest(rgb), manifest(flow)
            different = {key: (first[key], second[key]) for key in first if first[key] != second[key]}
            [shapes] = different.values()
            assert shapes == (("float32", 64, 3, 7, 7, 7), ("float32", 64, 2, 7, 7, 7))

    def test_stands_beside_every_mapping(self):
        assert all(
            path.with_name(f"{name}.manifest.json").is_file() for name, path in bundled_mappings().items()
        )


# The piergiaj port, written down by hand from pytorch_i3d.py: its units, and the leaves of each.
PIERGIAJ_LEAVES = {"bn": "batch3d", "conv3d": "conv3d"}
PIERGIAJ_BRANCHES = {
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
    "b3b": "branch_3.1",
}


def other_port(name: str) -> str:
    """The same parameter's name in the other port.

    Example:
        >>> other_port("Mixed_3b.b1a.bn.weight"), other_port("logits.conv3d.bias")
        ('mixed_3b.branch_1.0.batch3d.weight', 'conv3d_0c_1x1.conv3d.bias')
    """
    unit, *branch, kind, leaf = name.split(".")
    module = "conv3d_0c_1x1" if unit == "logits" else unit.lower()
    return ".".join([module, *(PIERGIAJ_BRANCHES[piece] for piece in branch), PIERGIAJ_LEAVES[kind], leaf])


class TestI3d:
    @pytest.mark.parametrize(
        ("mapping", "scope", "channels", "seed", "rename"),
        [
            ("i3d_rgb", "RGB", 3, 11, str),
            ("i3d_flow", "Flow", 2, 12, str),
            ("i3d_rgb_piergiaj", "RGB", 3, 11, other_port),
            ("i3d_flow_piergiaj", "Flow", 2, 12, other_port),
        ],
    )
    def test_every_tensor_is_tensorflows_with_its_axes_turned(
        self, write_seeded, tmp_path, agree, mapping, scope, channels, seed, rename
    ):
        tf = pytest.importorskip("tensorflow")
        checkpoint = write_seeded(scope, channels, seed)
        out = tmp_path / "w.safetensors"
        assert run("convert", "--mapping", mapping, "--checkpoint", checkpoint, "--out", out).code == 0
        reader = tf.train.load_checkpoint(str(checkpoint))
        unread = set(reader.get_variable_to_shape_map())
        written = load_file(out)
        assert len(written) == 344
        wanted = {}
        for name, value in written.items():
            known = rename(name)
            if known.endswith("num_batches_tracked"):
                expected = np.zeros((), np.int64)
            elif known.endswith("batch3d.weight"):
                expected = np.ones(written[name].shape, np.float32)
            else:
                variable = variable_name(known, scope)
                unread.remove(variable)
                expected = reader.get_tensor(variable)
                if expected.ndim == 5:
                    # TensorFlow: time, height, width, in, out; PyTorch: out, in, time, height, width.
                    expected = expected.transpose(4, 3, 0, 1, 2)
            assert value.dtype == expected.dtype, name
            wanted[name] = expected
        agree(mapping, written, wanted, to="TensorFlow's variables", within=0)
        assert unread == set()

    @pytest.mark.parametrize(
        ("mapping", "scope", "channels", "seed"), [("i3d_rgb", "RGB", 3, 11), ("i3d_flow", "Flow", 2, 12)]
    )
    def test_the_converted_file_computes_what_deepminds_graph_computed(
        self, write_seeded, tmp_path, agree, mapping, scope, channels, seed
    ):
        out = tmp_path / "w.safetensors"
        done = tfpt.convert(mapping, write_seeded(scope, channels, seed), out)
        model = tfpt.load(mapping, done.path)
        with np.load(DATA / f"i3d/{scope.lower()}_f16_seed{seed}.npz") as recorded:
            expected = recorded["Logits"]
        with torch.no_grad():
            logits = model(channels_first(seeded_clip(16, channels, seed))).numpy()
        # The recording is float32 itself: tests/models/test_i3d_fidelity.py says how near one comes.
        agree(mapping, logits, expected, within=2e-6)

    def test_batch_norm_variables_of_five_axes_and_momentum_slots_are_taken_and_ignored(
        self, tmp_path, agree
    ):
        tf = pytest.importorskip("tensorflow")
        random = np.random.default_rng(3)
        source = tmp_path / "rgb.ckpt"
        tfpt.sample("i3d_rgb_kinetics600", source)
        reader = tf.train.load_checkpoint(str(source))
        variables = {}
        for name, shape in reader.get_variable_to_shape_map().items():
            five = [1] * (4 if "batch_norm" in name else 0) + shape
            variables[name] = random.normal(size=five).astype(np.float32)
            if not name.endswith(("moving_mean", "moving_variance")):
                variables[f"{name}/Momentum"] = variables[name]
        checkpoint = tmp_path / "kin600.ckpt"
        tf.raw_ops.SaveV2(
            prefix=str(checkpoint),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=list(variables.values()),
        )
        done = tfpt.convert("i3d_rgb_kinetics600", checkpoint, tmp_path / "w.safetensors")
        assert done.plan.ignored_by_reason == {"optimizer slot": 116}
        written = load_file(done.path)
        assert written["conv3d_0c_1x1.conv3d.weight"].shape == (600, 1024, 1, 1, 1)
        filled = ("num_batches_tracked", "batch3d.weight")
        translated = {name: value for name, value in written.items() if not name.endswith(filled)}
        assert len(translated) == 230
        wanted = {}
        for name in translated:
            variable = variables[variable_name(name, "RGB").removeprefix("RGB/inception_i3d/")]
            if "batch3d" in name:
                wanted[name] = variable[0, 0, 0, 0]
            else:
                wanted[name] = variable.transpose(4, 3, 0, 1, 2) if variable.ndim == 5 else variable
        agree(
            "i3d_rgb_kinetics600",
            translated,
            wanted,
            to="the variables before TensorFlow saved them",
            within=0,
        )


class TestBert:
    def test_the_weights_are_those_of_the_official_converter_bit_for_bit(self, tmp_path):
        done = tfpt.convert("bert", BERT / "tf", tmp_path / "w.safetensors", config=str(BERT / "config.json"))
        written, gold = load_file(done.path), load_file(BERT / "gold.safetensors")
        assert written.keys() == gold.keys()
        assert len(gold) == 48
        for name, expected in gold.items():
            assert written[name].dtype == expected.dtype
            assert written[name].tobytes() == expected.tobytes(), name

    @pytest.mark.parametrize("suffix", ["safetensors", "pth"])
    def test_the_loaded_model_computes_what_was_recorded(self, tmp_path, suffix):
        pytest.importorskip("transformers")
        config = str(BERT / "config.json")
        done = tfpt.convert("bert", BERT / "tf", tmp_path / f"w.{suffix}", config=config)
        model = tfpt.load("bert", done.path, config=config)
        with np.load(BERT / "io.npz") as recorded:
            inputs = {key[3:]: torch.from_numpy(recorded[key]) for key in recorded if key.startswith("in_")}
            expected = {key[4:]: recorded[key] for key in recorded if key.startswith("out_")}
        with torch.no_grad():
            outputs = model(**inputs)
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name].numpy(), value, rtol=0, atol=2e-6 * np.abs(value).max())

    def test_a_scope_in_front_changes_nothing_but_the_scope(self, tmp_path):
        tf = pytest.importorskip("tensorflow")
        reader = tf.train.load_checkpoint(str(BERT / "tf/model.ckpt"))
        names = [name for name in reader.get_variable_to_shape_map() if "/adam_" not in name]
        prefix = tmp_path / "model.ckpt"
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=[f"module/{name}" if name != "global_step" else name for name in names],
            shape_and_slices=[""] * len(names),
            tensors=[reader.get_tensor(name) for name in names],
        )
        done = tfpt.convert("bert", prefix, tmp_path / "w.safetensors", config=str(BERT / "config.json"))
        assert done.plan.scope == "module"
        written = load_file(done.path)
        for name, expected in load_file(BERT / "gold.safetensors").items():
            np.testing.assert_array_equal(written[name], expected, err_msg=name)

    def test_a_small_bert_that_others_trained_loads_into_transformers(self, shared, tmp_path):
        transformers = pytest.importorskip("transformers")
        folder = shared / "real/v2-keras-bert-tiny"
        config = str(folder / "bert_config.json")
        done = tfpt.convert("bert", folder, tmp_path / "w.pth", config=config)
        assert done.plan.findings == ()
        assert done.plan.variables == 139
        assert len(done.plan.used) == 46
        assert done.plan.ignored_by_reason == {"optimizer slot": 92, "training step": 1}
        assert len(done.plan.writes) == 48
        model = transformers.BertForPreTraining(transformers.BertConfig.from_json_file(config))
        state = torch.load(done.path, weights_only=True)
        result = model.load_state_dict(state, strict=True)
        assert not result.missing_keys
        assert not result.unexpected_keys
        tf = pytest.importorskip("tensorflow")
        reader = tf.train.load_checkpoint(str(folder / "bert_model.ckpt"))
        kernel = reader.get_tensor("bert/encoder/layer_1/intermediate/dense/kernel")
        loaded = model.bert.encoder.layer[1].intermediate.dense.weight.detach().numpy()
        np.testing.assert_array_equal(loaded, kernel.T)

    def test_without_its_configuration_the_way_out_is_said(self, shared):
        found = run("convert", "--mapping", "bert", "--checkpoint", shared / "real/v2-keras-bert-tiny")
        assert found.code == 1
        assert "--config config.json, the file that comes with the checkpoint" in found.out

    def test_a_base_bert_of_another_vocabulary_fits_once_its_configuration_is_given(self, shared, tmp_path):
        prefix = shared / "real/idx-bert-base/bert_model.ckpt"
        words = ("convert", "--dry-run", "--mapping", "bert", "--checkpoint", prefix)
        found = run(*words)
        assert found.code == 1
        assert "shape  21128 instead of 30522  (4)" in found.out
        assert "[30522, 768], but [21128, 768] from the checkpoint" in found.out
        (tmp_path / "config.json").write_text('{"vocab_size": 21128}')
        found = run(*words, "--config", tmp_path / "config.json")
        assert found.code == 0, found.out
        assert "206 variables: 206 used, 0 ignored" in found.out
        assert "208 parameters: 208 translated, 0 filled" in found.out


@pytest.mark.parametrize("name", sorted(bundled_mappings()))
def test_copied_elsewhere_a_mapping_says_the_same(name, tmp_path):
    copied = Path(shutil.copy(bundled_mappings()[name], tmp_path))
    assert load_mapping(str(copied)).digest == load_mapping(name).digest
