"""SavedModels and modules of TensorFlow Hub that TensorFlow writes here and now."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tfpt.errors import SourceError
from tfpt.formats import open_source
from tfpt.formats.tensorflow.meta_graph import Argument, Signature

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

KERNEL = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
PREDICT = "tensorflow/serving/predict"


def graph_of(session: Any, name: str) -> dict[str, Any]:
    x = v1.placeholder(tf.float32, (None, 5), name="x")
    w = v1.get_variable(name, initializer=KERNEL, use_resource=False)
    y = tf.matmul(x, w, name="y")
    session.run(v1.global_variables_initializer())
    return {"x": x, "y": y}


def signature_of(x: Any, y: Any) -> Any:
    return v1.saved_model.predict_signature_def({"x": x}, {"y": y})


EXPECTED = Signature(
    PREDICT,
    {"x": Argument("x:0", (None, 5), "float32")},
    {"y": Argument("y:0", (None, 7), "float32")},
)


@pytest.fixture
def tf1(tmp_path: Path) -> Path:
    """A SavedModel of two graphs that share their variables, as text and as a message."""
    folder = tmp_path / "tf1"
    builder = v1.saved_model.Builder(str(folder))
    with tf.Graph().as_default(), v1.Session() as session:
        ends = graph_of(session, "w")
        builder.add_meta_graph_and_variables(
            session, ["train"], signature_def_map={"serving_default": signature_of(**ends)}
        )
    with tf.Graph().as_default(), v1.Session() as session:
        ends = graph_of(session, "w")
        builder.add_meta_graph(["serve", "gpu"], signature_def_map={"call": signature_of(**ends)})
    builder.save()
    builder.save(as_text=True)
    return folder


@pytest.mark.parametrize("name", ["", "saved_model.pb", "saved_model.pbtxt"])
def test_a_saved_model_of_tensorflow_1_has_variables_tags_and_signatures(tf1: Path, name: str) -> None:
    source = open_source(tf1 / name)
    assert source.format == "TensorFlow SavedModel (TF1)"
    assert source.location == str(tf1 / name).rstrip("/")
    assert_same(source.read("w"), KERNEL)
    assert sorted(map(sorted, source.reader.tags)) == [["gpu", "serve"], ["train"]]
    by_tags = {frozenset(tags): signatures for tags, signatures in source.reader.signatures.items()}
    assert by_tags == {
        frozenset(["train"]): {"serving_default": EXPECTED},
        frozenset(["serve", "gpu"]): {"call": EXPECTED},
    }


def test_as_text_alone_it_is_found_too(tf1: Path) -> None:
    (tf1 / "saved_model.pb").unlink()
    assert (
        open_source(tf1).reader.tags == (("train",), ("serve", "gpu"))
        or len(open_source(tf1).reader.tags) == 2
    )


def test_simple_save_is_read(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        ends = graph_of(session, "net/w")
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": ends["x"]}, {"y": ends["y"]})
    source = open_source(tmp_path / "m")
    assert list(source.specs) == ["net/w"]
    assert source.reader.signatures == {("serve",): {"serving_default": EXPECTED}}


def test_a_module_of_hubs_first_format_is_called_one(tf1: Path) -> None:
    (tf1 / "tfhub_module.pb").write_bytes(b"\x08\x03")
    assert open_source(tf1).format == "TensorFlow Hub module (TF1)"
    assert_same(open_source(tf1).read("w"), KERNEL)


def test_without_its_variables_it_says_what_is_missing(tf1: Path) -> None:
    shutil.rmtree(tf1 / "variables")
    with pytest.raises(SourceError, match="variables of this SavedModel are missing") as caught:
        open_source(tf1)
    assert "variables.index" in str(caught.value.expected)


def test_of_a_frozen_model_the_constants_of_all_graphs_are_read(tmp_path: Path) -> None:
    builder = v1.saved_model.Builder(str(tmp_path / "m"))
    for at, tags in enumerate((["serve"], ["serve", "tpu"])):
        with tf.Graph().as_default(), v1.Session() as session:
            tf.constant(KERNEL, name="same")
            tf.constant(KERNEL + at, name="w")
            if at:
                builder.add_meta_graph(tags)
            else:
                builder.add_meta_graph_and_variables(session, tags)
    builder.save()
    source = open_source(tmp_path / "m")
    scope = ",".join(source.reader.tags[1])
    assert list(source.specs) == ["same", "w", f"{scope}/w"]
    assert_same(source.read("w"), KERNEL)
    assert_same(source.read(f"{scope}/w"), KERNEL + 1)


def test_a_saved_model_of_tensorflow_2_has_readable_names(tmp_path: Path) -> None:
    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [
                tf.Variable(KERNEL, name="dense/kernel"),
                tf.Variable(KERNEL[0], name="dense/bias"),
            ]

        @tf.function(input_signature=[tf.TensorSpec((None, 5), name="x")])
        def call(self, x: Any) -> Any:
            return {"y": x @ self.layers[0] + self.layers[1]}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "m"), signatures={"serving_default": net.call})
    source = open_source(tmp_path / "m")
    assert source.format == "TensorFlow SavedModel (TF2)"
    assert [name for name in source.specs if name not in source.roles] == ["dense/kernel", "dense/bias"]
    assert_same(source.read("dense/kernel"), KERNEL)
    assert_same(source.read("layers/0/.ATTRIBUTES/VARIABLE_VALUE"), KERNEL)
    (signatures,) = source.reader.signatures.values()
    assert list(signatures) == ["serving_default"]
    assert signatures["serving_default"].outputs["y"].shape == (None, 7)


def test_the_fingerprint_changes_with_the_graph_and_with_the_variables(tf1: Path) -> None:
    first = open_source(tf1).fingerprint()
    assert first == open_source(tf1).fingerprint()
    content = (tf1 / "saved_model.pb").read_bytes()
    (tf1 / "saved_model.pb").write_bytes(content.replace(b"serving_default", b"serving_another"))
    assert open_source(tf1).fingerprint() != first
