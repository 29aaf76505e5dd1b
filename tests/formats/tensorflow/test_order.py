"""Messages whose fields come in another order, or are left out: legal, and what TF-Hub's first writer made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tfpt.errors import SourceError
from tfpt.formats import open_source
from tfpt.formats.tensorflow.messages import kind_of
from tfpt.formats.tensorflow.wire import LENGTH, VARINT, walk, write_varint
from tfpt.io.storage import open_storage

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

KERNEL = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)

# The messages inside each: number of the field, and what the message is.
INSIDE: dict[str, dict[int, str]] = {
    "saved model": {2: "meta graph"},
    "meta graph": {1: "info", 2: "graph"},
    "graph": {1: "node", 2: "library"},
    "library": {1: "function"},
    "function": {1: "signature", 3: "node"},
}


def turned(content: bytes, kind: str, keep: tuple[int, ...] = ()) -> bytes:
    """The same message with the fields of every message in it in the opposite order; repeated ones keep theirs."""
    view = memoryview(content)
    by_number: dict[int, list[bytes]] = {}
    for field in walk(view, 0, len(view)):
        body = bytes(view[field.begin : field.end])
        if field.kind == LENGTH:
            body = turned(body, INSIDE[kind][field.number]) if field.number in INSIDE.get(kind, {}) else body
            body = write_varint(len(body)) + body
        elif field.kind == VARINT:
            body = write_varint(field.value)
        by_number.setdefault(field.number, []).append(write_varint(field.number << 3 | field.kind) + body)
    return b"".join(b"".join(by_number[number]) for number in sorted(by_number, reverse=True))


def graph() -> Any:
    with tf.Graph().as_default() as made:
        x = v1.placeholder(tf.float32, (None, 5), name="x")
        tf.matmul(x, tf.constant(KERNEL, name="w"), name="y")
    return made


def test_a_graph_is_known_in_any_order(tmp_path: Path) -> None:
    content = turned(graph().as_graph_def().SerializeToString(), "graph")
    assert v1.GraphDef.FromString(content) == graph().as_graph_def()
    (tmp_path / "g").write_bytes(content)
    assert kind_of(open_storage(str(tmp_path / "g"))) == "graph"
    assert_same(open_source(tmp_path / "g").read("w"), KERNEL)


def test_a_meta_graph_is_known_in_any_order(tmp_path: Path) -> None:
    made = graph()
    with made.as_default():
        message = v1.train.export_meta_graph()
    for number, content in enumerate(
        (message.SerializeToString(), turned(message.SerializeToString(), "meta graph"))
    ):
        path = tmp_path / str(number)
        path.write_bytes(content)
        assert kind_of(open_storage(str(path))) == "meta graph"
        assert_same(open_source(path).read("w"), KERNEL)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(KERNEL, name="w")

        @tf.function(input_signature=[tf.TensorSpec((None, 5), name="x")])
        def call(self, x: Any) -> Any:
            return {"y": x @ self.w}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "m"), signatures={"serving_default": net.call})
    return tmp_path / "m"


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("order", ["as written", "turned"])
def test_a_saved_model_is_known_in_any_order_and_without_a_version(
    saved: Path, versioned: bool, order: str
) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    message = SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    if not versioned:
        message.ClearField("saved_model_schema_version")
    content = message.SerializeToString()
    if order == "turned":
        content = turned(content, "saved model")
        assert SavedModel.FromString(content) == message
    (saved / "saved_model.pb").write_bytes(content)
    (saved / "other.name").write_bytes(content)
    assert kind_of(open_storage(str(saved / "other.name"))) == "saved model"
    for place in (saved, saved / "saved_model.pb"):
        source = open_source(place)
        assert_same(source.read("w"), KERNEL)
        assert next(iter(source.reader.signatures.values())).keys() == {"serving_default"}


def test_what_has_the_name_of_a_saved_model_is_parsed_whatever_it_looks_like(tmp_path: Path) -> None:
    # A model of one graph without a node, without tags: nothing to know it by.
    (tmp_path / "saved_model.pb").write_bytes(b"\x12\x02\x12\x00")
    assert kind_of(open_storage(str(tmp_path / "saved_model.pb"))) is None
    assert len(open_source(tmp_path).specs) == 0
    (tmp_path / "saved_model.pb").write_bytes(b"<html>not found</html>")
    with pytest.raises(SourceError):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["fingerprint.pb", "keras_metadata.pb"])
def test_what_lies_beside_a_saved_model_leads_to_it(saved: Path, name: str) -> None:
    if not (saved / name).exists():
        (saved / name).write_bytes(b"\x0a\x03abc")
    source = open_source(saved / name)
    assert source.format == "TensorFlow SavedModel (TF2)"
    assert_same(source.read("w"), KERNEL)
    assert source.fingerprint() == open_source(saved).fingerprint()
    (saved / "saved_model.pb").unlink()
    with pytest.raises(SourceError, match="does not know the format"):
        open_source(saved / name)
