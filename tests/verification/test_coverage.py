"""Networks that are fed ids: what is drawn reaches the table, and what it does not reach is said."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tfpt
from tests.commands.running import run
from tfpt.networks.recording.recordings import read_recording, write_recording
from tfpt.report.pages.verification import page
from tfpt.report.verifications import headline

ROWS = 101
TABLE = np.random.default_rng(5).normal(size=(ROWS, 7)).astype(np.float32)
KERNEL = np.random.default_rng(6).normal(size=(7, 3)).astype(np.float32)


class Words(nn.Module):
    """A table, the mean over all positions, and a dense layer; a module named `words` of the package of tests."""

    def __init__(self, rows: int = ROWS) -> None:
        super().__init__()
        self.embed = nn.Embedding(rows, 7)
        self.head = nn.Linear(7, 3, bias=False)

    def forward(self, input):  # noqa: A002
        return self.head(self.embed(input).mean(1))


MAPPING = f"""\
version: 1
model: {{factory: "{__name__}:Words"}}
weights:
  - {{tf: "{{_}}/embed/embeddings", pt: embed.weight, layout: "v c -> v c"}}
  - {{tf: "{{_}}/head/kernel", pt: head.weight, layout: "i o -> o i"}}
endpoints:
  - {{tf: embed, pt: embed}}
  - {{tf: head,  pt: head}}
"""


@pytest.fixture(scope="module")
def network():
    keras = pytest.importorskip("keras")
    x = inputs = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(ROWS, 7, name="embed")(x)
    x = keras.layers.GlobalAveragePooling1D(name="mean")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, use_bias=False, name="head")(x))
    model.get_layer("embed").set_weights([TABLE])
    model.get_layer("head").set_weights([KERNEL])
    return model


def port(table=TABLE):
    net = Words().eval()
    net.embed.weight.data = torch.tensor(table)
    net.head.weight.data = torch.tensor(KERNEL.T.copy())
    return net


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text(MAPPING)
    return path


def with_range(mapping, text):
    mapping.write_text(MAPPING + f"input: {{{text}}}\n")
    return mapping


@pytest.mark.parametrize("described", ["", "range: [0, 100]", 'range: [0, 100], layout: "b t -> b t"'])
def test_a_table_that_is_wrong_beyond_its_first_rows_departs(network, mapping, described):
    if described:
        with_range(mapping, described)
    recording = tfpt.record(mapping, network, whole=True)
    ids = recording.inputs["input"]
    assert ids.size == len(np.unique(ids)) == 16
    assert {0, 100} <= set(ids.flat)
    assert tfpt.verify(mapping, recording=recording, model=port()).agrees
    wrong = TABLE.copy()
    wrong[2:] = wrong[:1:-1]
    result = tfpt.verify(mapping, recording=recording, model=port(wrong))
    assert not result.agrees
    assert result.first.name == "embed"


def test_a_range_narrower_than_the_table_is_kept_to(network, mapping):
    recording = tfpt.record(with_range(mapping, "range: [20, 29]"), network, frames=23)
    assert set(np.unique(recording.inputs["input"])) == set(range(20, 30))
    # Beyond the table no network could go.
    recording = tfpt.record(with_range(mapping, "range: [90, 1000]"), network, frames=23)
    assert set(np.unique(recording.inputs["input"])) == set(range(90, 101))


def test_with_room_enough_every_row_is_reached(network, mapping):
    recording = tfpt.record(mapping, network, frames=53, batch=2)
    result = tfpt.verify(mapping, recording=recording, model=port())
    assert [str(each) for each in result.exercised] == ["101 of 101 rows of embed"]
    assert headline(result) == ("agrees", ": all 2 endpoints within 1e-05")


def test_the_report_says_what_was_reached(network, mapping, tmp_path):
    tfpt.record(mapping, network, tmp_path / "r.npz")
    np.savez(tmp_path / "w.npz", **{"n/embed/embeddings": TABLE, "n/head/kernel": KERNEL})
    done = run(
        "verify", "--mapping", mapping, "--trust", tmp_path / "w.npz", "--recording", tmp_path / "r.npz",
        "--html", tmp_path / "r.html",
    )  # fmt: skip
    assert done.code == 0
    assert "agrees: all 2 endpoints within 1e-05, with 16 of 101 rows of embed" in done.out
    assert "tfpt diff" in done.out
    assert "16 of 101 rows of embed" in (tmp_path / "r.html").read_text()
    told = run(
        "verify", "--mapping", mapping, "--trust", tmp_path / "w.npz", "--recording", tmp_path / "r.npz", "--json"
    )  # fmt: skip
    assert json.loads(told.out)["exercised"] == [{"table": "embed", "reached": 16, "rows": 101}]


def test_an_old_recording_of_zeros_and_ones_is_said_to_be_one(network, mapping):
    ids = np.random.default_rng(0).integers(0, 2, (1, 16)).astype(np.int32)
    recording = tfpt.record(mapping, network, inputs=ids)
    result = tfpt.verify(mapping, recording=recording, model=port())
    assert headline(result)[1].endswith("with 2 of 101 rows of embed")
    assert "2 of 101 rows of embed" in page(result)


def test_tables_that_no_parameter_is_are_told_by_the_numbers(network, mapping):
    class OneHot(Words):
        def forward(self, input):  # noqa: A002
            return self.head((functional.one_hot(input.long(), ROWS).float() @ self.embed.weight).mean(1))

    net = OneHot().eval()
    net.load_state_dict(port().state_dict())
    recording = tfpt.record(mapping, network)
    endpoints = {"head": recording.endpoints["head"]}
    result = tfpt.verify(mapping, recording=dataclasses.replace(recording, endpoints=endpoints), model=net)
    assert result.agrees
    assert headline(result)[1].endswith("with 16 different numbers in the input, from 0 to 100")


def test_an_input_that_the_recording_leaves_out_is_made_again(network, mapping, tmp_path):
    whole = tfpt.record(mapping, network, tmp_path / "r.npz")
    tfpt.record(mapping, network, tmp_path / "bare.npz", store_input=False)
    bare = read_recording(tmp_path / "bare.npz")
    assert not bare.inputs
    assert tfpt.verify(mapping, recording=bare, model=port()).exercised[0].reached == 16
    # As older ones say it: a range and no kind.
    old = np.random.default_rng(0).integers(0, 2, (1, 16)).astype(np.int32)
    made = tfpt.record(mapping, network, inputs=old)
    fact = {"tensor": "ids", "seed": 0, "range": [0, 1], "shape": [1, 16], "dtype": "int32"}
    write_recording(
        tmp_path / "old.npz",
        dataclasses.replace(made, inputs={}, facts={**whole.facts, "inputs": {"input": fact}}),
    )
    result = tfpt.verify(mapping, recording=tmp_path / "old.npz", model=port())
    assert result.agrees
    assert result.exercised[0].reached == 2


def test_rows_behind_a_mask_do_not_count(tmp_path):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 3)

        def forward(self, ids, attention_mask):
            return self.embed(ids) * attention_mask[..., None]

    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nweights: [{tf: w, pt: w}]\nendpoints: [{tf: embed, pt: embed}]\n")
    net = Masked()
    ids = np.array([[5, 3, 9, 0]])
    recorded = tfpt.networks.recording.recordings.RecordedEndpoint.of(
        "embed", net.embed.weight.detach().numpy()[ids]
    )
    recording = tfpt.networks.recording.recordings.Recording(
        {"embed": recorded}, {"ids": ids, "attention_mask": np.array([[1, 1, 0, 0]])}
    )
    result = tfpt.verify(path, recording=recording, model=net)
    assert [str(each) for each in result.exercised] == ["2 of 11 rows of embed"]


def text_network():
    """Ids, a mask and segments, as BERT has them, in a graph of TensorFlow 1."""
    tf = pytest.importorskip("tensorflow").compat.v1
    graph = tf.Graph()
    with graph.as_default():
        ids = tf.placeholder(tf.int32, [None, 13], "input_ids")
        mask = tf.placeholder(tf.int32, [None, 13], "input_mask")
        segments = tf.placeholder(tf.int32, [None, 13], "segment_ids")
        lengths = tf.placeholder(tf.int32, [None], "lengths")
        flat = tf.reshape(tf.expand_dims(ids, -1), [-1])
        words = tf.reshape(tf.gather(tf.constant(TABLE, name="words"), flat), [-1, 13, 7])
        kinds = tf.one_hot(segments, 2) @ tf.constant(TABLE[:2])
        kept = tf.cast(mask, tf.float32)[..., None]
        short = tf.sequence_mask(lengths, 13, tf.float32)[..., None]
        tf.identity((words + kinds) * kept * short, "sum")
    return graph.as_graph_def()


def test_masks_are_lengths_and_segments_follow_each_other(tmp_path):
    path = tmp_path / "net.pb"
    path.write_bytes(text_network().SerializeToString())
    recording = tfpt.record(None, path, endpoints=["sum"], batch=3, seed=11)
    found = recording.inputs
    assert len(np.unique(found["input_ids"])) == 39
    assert {0, 100} <= set(found["input_ids"].flat)
    for row in found["input_mask"]:
        assert re.fullmatch("1{7,12}0+", "".join(map(str, row)))
    for row in found["segment_ids"]:
        assert re.fullmatch("0{7,12}1+", "".join(map(str, row)))
    assert found["lengths"].min() >= 1
    assert found["lengths"].max() <= 13
    facts = recording.facts["inputs"]["input_ids"]
    assert (facts["table"], facts["rows"], facts["distinct"]) == ("words", 101, 39)


def test_a_mask_without_a_name_is_one_beside_ids(tmp_path):
    tf = pytest.importorskip("tensorflow").compat.v1
    graph = tf.Graph()
    with graph.as_default():
        a, b = (tf.placeholder(tf.int32, [None, 13], name) for name in "ab")
        tf.multiply(tf.gather(tf.constant(TABLE), a), tf.cast(b, tf.float32)[..., None], "out")
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    found = tfpt.record(None, tmp_path / "net.pb", endpoints=["out"], batch=2).inputs
    assert len(np.unique(found["a"])) == 26
    assert all(re.fullmatch("1+0+", "".join(map(str, row))) for row in found["b"])


def test_variables_of_a_saved_model_are_tables_too(tmp_path):
    tf = pytest.importorskip("tensorflow")

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.Variable(TABLE, name="table")

        @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.int64, name="ids")])
        def __call__(self, ids):
            return {"out": tf.nn.embedding_lookup(self.table, ids)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__)
    names = [each.name for each in tfpt.networks.recording.recordable(tmp_path / "m")]
    found = tfpt.record(None, tmp_path / "m", endpoints=names[-1:], batch=4)
    ids = found.inputs["input"]
    assert ids.size == len(np.unique(ids)) == 20
    assert ids.max() == 100


def test_pictures_of_bytes_are_bytes_of_all_values(tmp_path):
    tf = pytest.importorskip("tensorflow").compat.v1
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.uint8, [1, 17, 19, 3], "image")
        tf.identity(tf.cast(x, tf.float32) / 255, "out")
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    found = tfpt.record(None, tmp_path / "net.pb", endpoints=["out"]).inputs["input"]
    assert len(np.unique(found)) == 256
