"""What is a graph and what is not, and graphs that mean harm: a SourceError, soon, and in little memory."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.growth import cpu_budget
from tfpt.errors import SourceError
from tfpt.formats.tensorflow.graph import GraphSource
from tfpt.formats.tensorflow.messages import kind_of
from tfpt.formats.tensorflow.saved_model import SavedModelSource
from tfpt.formats.tensorflow.tensorflow_pb2 import DT_FLOAT, DT_STRING, GraphDef, MetaGraphDef, SavedModel
from tfpt.formats.tensorflow.wire import write_varint
from tfpt.io.storage import open_storage


def graph(rows: int = 3) -> GraphDef:
    message = GraphDef()
    message.node.add(name="x", op="Placeholder")
    node = message.node.add(name="w", op="Const")
    tensor = node.attr["value"].tensor
    tensor.dtype = DT_FLOAT
    tensor.tensor_shape.dim.add(size=rows)
    tensor.tensor_content = np.arange(3, dtype=np.float32).tobytes()
    return message


def looks(path: Path, content: bytes) -> tuple[bool, bool]:
    path.write_bytes(content)
    kind = kind_of(open_storage(str(path)))
    return kind == "saved model", kind in ("graph", "meta graph")


def meta() -> MetaGraphDef:
    message = MetaGraphDef(graph_def=graph())
    message.meta_info_def.tags.append("serve")
    return message


def test_binary_messages_are_told_apart(tmp_path: Path) -> None:
    model = SavedModel(saved_model_schema_version=1, meta_graphs=[meta()])
    long = meta()
    # The list of operations, which tfpt's own message leaves out: field 2.
    operations = b"\x12" + write_varint(70_000) + b"\x0a\x05\x0a\x03Add" * 10_000
    info = operations + long.meta_info_def.SerializeToString()
    listed = (
        b"\x0a"
        + write_varint(len(info))
        + info
        + b"\x12"
        + write_varint(len(long.graph_def.SerializeToString()))
        + long.graph_def.SerializeToString()
    )
    assert looks(tmp_path / "a", graph().SerializeToString()) == (False, True)
    assert looks(tmp_path / "a", meta().SerializeToString()) == (False, True)
    assert looks(tmp_path / "a", listed) == (False, True)
    assert list(GraphSource(str(tmp_path / "a")).specs) == ["w"]
    assert looks(tmp_path / "a", model.SerializeToString()) == (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('node {\n  name: "x"\n  op: "Placeholder"\n}\n', (False, True)),
        ('# a comment\n\nnode: < op: "Const" name: "x" >', (False, True)),
        ("library { function { } }", (False, True)),
        ("versions {\n producer: 21 }", (False, True)),
        ('meta_info_def {\n  tags: "serve"\n}', (False, True)),
        ("saved_model_schema_version: 1\nmeta_graphs { }", (True, False)),
        ("meta_graphs {\n}", (True, False)),
        ("node: 3\n", (False, False)),
        ("nodes:\n  - name: x\n", (False, False)),
        ("library: tfpt\n", (False, False)),
        ("versions {}\n", (False, False)),
        ("name: x\nversion: 3\n", (False, False)),
    ],
)
def test_text_is_told_by_its_first_field(tmp_path: Path, text: str, expected: tuple[bool, bool]) -> None:
    assert looks(tmp_path / "a", text.encode()) == expected


def _zip() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.txt", "node")
    return held.getvalue()


OTHERS = {
    "empty": b"",
    "yaml": b"\nversion: 1\nsummary: x\n",
    "csv": b"\n1,2,3\n4,5,6\n" * 999,
    "html": b"<!DOCTYPE html><html>\n" * 99,
    "html after a newline": b"\n<html><body>node {</body></html>",
    "json": json.dumps({"node": [{"name": "x", "op": "Const"}]}).encode(),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "gguf": b"GGUF" + (3).to_bytes(4, "little") + bytes(64),
    "onnx": b"\x08\x07\x12\x07pytorch\x1a\x051.9.0" + b"\x3a\x80\x01" + bytes(128),
    "onnx of tf2onnx": b"\x08\x08\x12\x07tf2onnx\x1a\x061.16.1:\x00",
    "zip": _zip(),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00",
    "zeros": bytes(5000),
    "newlines": b"\n" * 5000,
    "protobuf of someone else": b"\x0a\x05hello\x12\x05world\x1a\x01!",
    "half a tag": b"\x0a\xff",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_not_taken_for_graphs(tmp_path: Path, name: str) -> None:
    content = OTHERS[name]
    found = looks(tmp_path / "a", content)
    assert found == (False, False)
    with pytest.raises(SourceError, match="not a TensorFlow graph"):
        GraphSource(str(tmp_path / "a"))


def test_random_bytes_are_no_graph_and_raise_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for start, _ in itertools.product((b"", b"\x0a", b"\x08\x01\x12", b"\x12", b"\x0a\x80"), range(300)):
        content = start + random.integers(0, 256, int(random.integers(0, 99)), np.uint8).tobytes()
        assert looks(tmp_path / "a", content) == (False, False)


def read_all(path: Path) -> None:
    source = GraphSource(str(path))
    for name in source.specs:
        source.read(name)


def refused(path: Path, content: bytes) -> SourceError:
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with cpu_budget(10), pytest.raises(SourceError) as caught:
        read_all(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    return caught.value


def test_every_cut_and_every_flipped_byte_is_refused_or_read(tmp_path: Path) -> None:
    whole = graph().SerializeToString()
    read = 0
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            (tmp_path / "g").write_bytes(content)
            with contextlib.suppress(SourceError):
                read_all(tmp_path / "g")
                read += 1
    assert 0 < read < 2 * len(whole)


@pytest.mark.parametrize("sizes", [(-1,), (1 << 62,), (1 << 40, 1 << 40), (4,), (2,), (1 << 31,), (1,) * 99])
@pytest.mark.parametrize("kind", ["content", "one value", "strings"])
def test_shapes_that_do_not_fit_are_refused(tmp_path: Path, sizes: tuple[int, ...], kind: str) -> None:
    message = graph()
    tensor = message.node[1].attr["value"].tensor
    del tensor.tensor_shape.dim[:]
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    if kind != "content":
        tensor.tensor_content = b""
        tensor.float_val.append(1.0)
    if kind == "strings":
        tensor.dtype = DT_STRING
        tensor.string_val.append(b"x")
    if kind != "content" and sizes in ((4,), (2,)):
        (tmp_path / "g").write_bytes(message.SerializeToString())
        assert GraphSource(str(tmp_path / "g")).read("w").shape == sizes
    else:
        refused(tmp_path / "g", message.SerializeToString())


def nested(depth: int, inner: bytes, number: int) -> bytes:
    for _ in range(depth):
        inner = bytes([number << 3 | 2]) + write_varint(len(inner)) + inner
    return inner


def test_messages_a_thousand_deep_are_refused_or_left_alone(tmp_path: Path) -> None:
    node = b"\x0a\x01w\x12\x05Const"
    for number in range(1, 8):
        deep = nested(1000, b"", number)
        value = b"\x0a\x05value\x12" + write_varint(len(deep)) + deep
        content = node + b"\x2a" + write_varint(len(value)) + value
        refused(tmp_path / "g", b"\x0a" + write_varint(len(content)) + content)
    signature = nested(1000, b"", 2)
    model = SavedModel(saved_model_schema_version=1, meta_graphs=[meta()]).SerializeToString()
    graph_at = model.index(b"\x12") + 1
    body = model[graph_at + 1 :] + b"\x2a" + write_varint(len(signature)) + signature
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12" + write_varint(len(body)) + body)
    with contextlib.suppress(SourceError):
        assert list(SavedModelSource(str(tmp_path)).specs) == ["w"]


@pytest.mark.parametrize("field", ["attr { value { list { func { attr { value ", "unknown "])
def test_text_nested_deep_is_refused(tmp_path: Path, field: str) -> None:
    opened = "node { " + (field.replace(" ", " { ") if field == "unknown " else field + "{ ") * 20_000
    error = refused(tmp_path / "g", ('node { name: "x" } ' + opened).encode())
    assert "text of the graph cannot be read" in error.what


def test_text_with_errors_says_where(tmp_path: Path) -> None:
    error = refused(tmp_path / "g", b'node { name: "x"\n op: 3 }')
    assert str(error.got).startswith("2:")
    assert "text" in refused(tmp_path / "g", b'node { name: "\xff" }').what


def test_two_constants_of_one_name_are_refused(tmp_path: Path) -> None:
    message = graph()
    message.node.add().CopyFrom(message.node[1])
    assert "called 'w'" in refused(tmp_path / "g", message.SerializeToString()).what
