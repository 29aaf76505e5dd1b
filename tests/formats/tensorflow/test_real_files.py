"""Files that other people published, of every format of TensorFlow's, against what TensorFlow reads in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.formats.tensorflow.saving import REAL, assert_same
from tfpt.formats import open_source
from tfpt.formats.tensorflow.graph import GraphSource
from tfpt.tensors import BY_TENSORFLOW

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL}")


def has_values(path: Path) -> bool:
    return path.suffix != ".index" or any(path.parent.glob(f"{path.stem}.data-*"))


CHECKPOINTS = [p for p in sorted([*REAL.glob("*/*.index"), *REAL.glob("v1-*/*.ckpt")]) if has_values(p)]
MODELS = [path.parent for path in sorted(REAL.glob("*/saved_model.pb"))]
GRAPHS = sorted([*REAL.glob("*/*.pb"), *REAL.glob("*/*.meta")])


def array(value: object) -> np.ndarray:
    if isinstance(value, bytes):
        held = np.empty((), np.object_)
        held[()] = value
        return held
    return np.asarray(value)


def parsed(folder: Path) -> object:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def captured(folder: Path) -> dict[str, np.ndarray]:
    """The constants with an axis that the model's objects hold, as TensorFlow decodes them."""
    found = {}
    for graph in parsed(folder).meta_graphs:
        values = {node.name: node.attr["value"].tensor for node in graph.graph_def.node if node.op == "Const"}
        for node in graph.object_graph_def.nodes:
            if node.WhichOneof("kind") == "constant":
                value = tf.make_ndarray(values[node.constant.operation])
                if value.ndim and value.dtype.kind == "f":
                    found[node.constant.operation] = value
    return found


def assert_holds(source: object, checkpoint: Path) -> None:
    reader = tf.train.load_checkpoint(str(checkpoint).removesuffix(".index"))
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    constants = captured(checkpoint.parent.parent) if checkpoint.name == "variables" else {}
    assert {source.aliases.get(key, key) for key in shapes} == set(source.specs) - set(constants)
    for name, value in constants.items():
        assert_same(source.read(name), value)
    for key, shape in shapes.items():
        spec = source.specs[source.aliases.get(key, key)]
        assert (spec.shape, spec.dtype) == (
            tuple(shape),
            BY_TENSORFLOW[dtypes[key].as_datatype_enum].name,
        )
        assert_same(source.read(key), array(reader.get_tensor(key)))


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda p: p.parent.name)
def test_a_checkpoint_is_read_as_tensorflow_reads_it(path: Path) -> None:
    assert_holds(open_source(path), path)


@pytest.mark.parametrize("folder", MODELS, ids=lambda p: p.name)
@pytest.mark.parametrize("named", ["", "saved_model.pb"])
def test_a_saved_model_is_read_as_tensorflow_reads_it(folder: Path, named: str) -> None:
    source = open_source(folder / named)
    assert source.format in ("TensorFlow SavedModel (TF1)", "TensorFlow SavedModel (TF2)")
    message = parsed(folder)
    assert [set(tags) for tags in source.reader.tags] == [
        set(m.meta_info_def.tags) for m in message.meta_graphs
    ]
    for tags, graph in zip(source.reader.tags, message.meta_graphs, strict=True):
        for name, signature in source.reader.signatures[tags].items():
            theirs = graph.signature_def[name]
            assert {k: a.tensor for k, a in signature.inputs.items()} == {
                k: i.name for k, i in theirs.inputs.items()
            }
            assert all(
                tf.dtypes.as_dtype(theirs.outputs[k].dtype).name == a.dtype
                for k, a in signature.outputs.items()
            )
    if (folder / "variables").is_dir():
        assert_holds(source, folder / "variables" / "variables")
    else:
        assert set(source.roles.values()) == {"constant"}


def graphs_of(path: Path) -> list:
    content = path.read_bytes()
    if path.name == "saved_model.pb":
        return [meta.graph_def for meta in parsed(path.parent).meta_graphs]
    if path.suffix == ".meta":
        return [tf.compat.v1.MetaGraphDef.FromString(content).graph_def]
    return [tf.compat.v1.GraphDef.FromString(content)]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_constants_are_those_tensorflow_parses(path: Path) -> None:
    source = GraphSource(str(path))
    expected = {}
    for graph in graphs_of(path):
        scopes = [("", graph.node)]
        scopes += [(f"{f.signature.name}/", f.node_def) for f in graph.library.function]
        for scope, nodes in scopes:
            expected |= {scope + n.name: n.attr["value"].tensor for n in nodes if n.op == "Const"}
    assert list(source.specs) == list(expected)
    for name, proto in expected.items():
        assert_same(source.read(name), tf.make_ndarray(proto))


def test_a_frozen_graph_names_its_variables_and_their_reads() -> None:
    source = open_source(REAL / "v2-mlnet-cifar" / "frozen_model.pb")
    assert source.format == "TensorFlow graph"
    assert dict(source.aliases) == {f"{name}/read": name for name in source.specs if name not in source.roles}
    assert list(source.roles.values()) == ["constant"]


def test_a_meta_graph_beside_its_checkpoint_means_the_checkpoint() -> None:
    source = open_source(REAL / "v2-mlnet-cifar" / "model.ckpt.meta")
    assert source.format == "TensorFlow V2 checkpoint"
    assert "W1" in source.specs


def test_googles_bert_of_tensorflow_2_has_slots_apart() -> None:
    folder = REAL.parent / "gold" / "converters" / "bert_tf2" / "tf"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    source = open_source(folder)
    assert source.specs["model/layer_with_weights-0/embeddings"].dtype == "float32"
    assert source.roles["model/layer_with_weights-0/embeddings/optimizer/m"] == "slot"
    assert source.roles["save_counter"] == "counter"
    assert_holds(source, folder / "bert_model.ckpt-1.index")
