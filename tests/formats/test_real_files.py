"""Every real TensorFlow file at hand, through the one way to open it, against TensorFlow, h5py or numpy.

The files are found, not listed: one that is added to the folder is tested, and one of a kind that no oracle here
knows fails the first test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tfpt
from tests.conftest import SHARED

REAL = SHARED / "real"

# What lies beside weights: texts, pictures, assets, and parts that their index or graph stands for.
BESIDE = re.compile(
    r".*\.(md|txt|json|gif)|checkpoint|.*\.data-\d{5}-of-\d{5}|variables\.index|saved_model\.pbtxt|.*\.meta"
)


def files() -> list[Path]:
    return sorted(path for path in REAL.rglob("*") if path.is_file()) if REAL.is_dir() else []


def kind_of(path: Path) -> str | None:
    head = path.read_bytes()[:16]
    if path.suffix == ".index":
        return "checkpoint"
    if path.name == "saved_model.pb":
        return "saved model"
    if head.startswith(b"\x89HDF"):
        return "hdf5"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if path.suffix == ".pb":
        return "graph"
    if path.read_bytes().endswith(0xDB4775248B80FB57.to_bytes(8, "little")):
        return "v1"
    return None


def found(*kinds: str) -> list:
    chosen = [path for path in files() if not BESIDE.fullmatch(path.name) and kind_of(path) in kinds]
    return [pytest.param(path, id=str(path.relative_to(REAL))) for path in chosen] or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"there is no {REAL}"))
    ]


def same(left: object, right: object) -> bool:
    if isinstance(right, bytes):  # numpy would cut zeros off its end
        return np.asarray(left).tolist() == right
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype.kind == "O" or right.dtype.kind in "OS":
        return left.astype(object).tolist() == right.astype(object).tolist()
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"there is no {REAL}")
def test_every_file_is_of_a_kind_that_is_compared_here() -> None:
    unknown = [str(path) for path in files() if not BESIDE.fullmatch(path.name) and kind_of(path) is None]
    assert unknown == []


@pytest.mark.parametrize("path", found("checkpoint", "v1"))
def test_a_checkpoint_holds_what_tensorflow_reads(path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    reader = tf.train.load_checkpoint(str(path.with_suffix("") if path.suffix == ".index" else path))
    shapes = reader.get_variable_to_shape_map()
    source = tfpt.open_source(path)
    canonical = {source.aliases.get(name, name): name for name in shapes}
    assert set(canonical) == set(source.specs)
    has_data = path.suffix != ".index" or any(path.parent.glob(f"{path.stem}.data-*"))
    for name, raw in canonical.items():
        assert list(source.specs[name].shape) == shapes[raw]
        if has_data:
            assert same(source.read(name), reader.get_tensor(raw)), name
            assert same(source.read(raw), reader.get_tensor(raw)), raw


@pytest.mark.parametrize("path", found("hdf5"))
def test_an_hdf5_file_holds_what_h5py_reads(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    source = tfpt.open_source(path)
    with h5py.File(path) as file:
        expected: dict[str, np.ndarray] = {}
        file.visititems(
            lambda name, item: expected.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    expected = {name.removeprefix("model_weights/"): value for name, value in expected.items()}
    read = {name: source.read(name) for name in source.specs}
    assert set(read) == set(expected)
    assert [name for name in read if not same(read[name], expected[name])] == []


@pytest.mark.parametrize("path", found("npy"))
def test_a_numpy_file_holds_what_numpy_reads(path: Path) -> None:
    content = np.load(path, allow_pickle=True, encoding="latin1")  # these files are known, and trusted

    def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from leaves(inner, f"{name}/{key}" if name else str(key))
        else:
            yield name, value

    expected = dict(leaves(content.item()))
    source = tfpt.open_source(path)
    assert set(source.specs) == set(expected)
    assert [name for name in expected if not same(source.read(name), expected[name])] == []


def constants(graph: object) -> dict[str, np.ndarray]:
    import tensorflow as tf

    found = {}
    functions = [(f"{function.signature.name}/", function.node_def) for function in graph.library.function]  # type: ignore[attr-defined]
    for prefix, nodes in [("", graph.node), *functions]:  # type: ignore[attr-defined]
        for node in nodes:
            if node.op == "Const":
                found[prefix + node.name] = tf.make_ndarray(node.attr["value"].tensor)
    return found


@pytest.mark.parametrize("path", found("graph"))
def test_a_graph_holds_the_constants_that_tensorflow_reads(path: Path) -> None:
    pytest.importorskip("tensorflow")
    from tensorflow.core.framework.graph_pb2 import GraphDef

    expected = constants(GraphDef.FromString(path.read_bytes()))
    source = tfpt.open_source(path)
    assert {source.aliases.get(name, name) for name in expected} == set(source.specs)
    for name, value in expected.items():
        assert same(source.read(name), value), name


@pytest.mark.parametrize("path", found("saved model"))
def test_a_saved_model_holds_its_variables_or_else_its_constants(path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    source = tfpt.open_source(path.parent)
    variables = path.parent / "variables" / "variables"
    if os.path.exists(f"{variables}.index"):
        reader = tf.train.load_checkpoint(str(variables))
        expected = dict.fromkeys(reader.get_variable_to_shape_map())
        if any(path.parent.glob("variables/variables.data-*")):
            expected = {name: reader.get_tensor(name) for name in expected}
    else:
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        expected = {}
        for graph in SavedModel.FromString(path.read_bytes()).meta_graphs:
            expected |= constants(graph.graph_def)
    # Constants beside variables: tests/formats/tensorflow/test_real_files.py compares them.
    beside = {name for name in source.specs if re.fullmatch(r"Const(_\d+)?", name) and name not in expected}
    assert {source.aliases.get(name, name) for name in expected} == set(source.specs) - beside
    for name, value in expected.items():
        assert value is None or same(source.read(name), value), name
    assert tfpt.open_source(path).specs == source.specs
