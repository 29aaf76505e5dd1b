"""Sparse tensors: the same elements as TensorFlow Lite's own operator, and hostile ones refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tflite.models import add_tensor, build
from tfpt.errors import SourceError
from tfpt.formats.tflite.model import TfliteSource

tf = pytest.importorskip("tensorflow")


def levels(schema: Any, *each: Any) -> list[Any]:
    """Levels of the schema: a number for a dense one, ``(kind, segments, indices)`` for a sparse one."""
    made = []
    for one in each:
        level = schema.DimensionMetadataT()
        if isinstance(one, int):
            level.format, level.denseSize = schema.DimensionType.DENSE, one
        else:
            kind, segments, indices = one
            vector = getattr(schema, f"{kind}VectorT")
            level.format = schema.DimensionType.SPARSE_CSR
            level.arraySegmentsType = level.arrayIndicesType = getattr(
                schema.SparseIndexVector, f"{kind}Vector"
            )
            level.arraySegments, level.arrayIndices = vector(), vector()
            level.arraySegments.values, level.arrayIndices.values = segments, indices
        made.append(level)
    return made


def model(
    path: Path,
    shape: list[int],
    stored: np.ndarray,
    order: list[int],
    blocks: list[int],
    *each: Any,
    kind: str = "FLOAT32",
    densify: bool = False,
) -> Path:
    def change(made: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        tensor = add_tensor(made, b"sparse", shape, kind, stored.tobytes())
        tensor.sparsity = schema.SparsityParametersT()
        tensor.sparsity.traversalOrder, tensor.sparsity.blockMap = order, blocks
        tensor.sparsity.dimMetadata = levels(schema, *each)
        if densify:
            graph = made.subgraphs[0]
            out = add_tensor(made, b"dense", shape, kind, b"")
            out.buffer = 0
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = (
                schema.BuiltinOperator.DENSIFY,
                124,
                1,
            )
            made.operatorCodes = [code]
            operator = schema.OperatorT()
            operator.opcodeIndex, operator.inputs, operator.outputs = 0, [1], [2]
            operator.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
            operator.builtinOptions = schema.DensifyOptionsT()
            graph.operators, graph.outputs = [operator], [2]

    return build(path, change)


def by_interpreter(path: Path) -> np.ndarray:
    interpreter = tf.lite.Interpreter(
        str(path), experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def rows(dense: np.ndarray) -> tuple[list[int], list[int]]:
    """Segments and indices of the rows of a matrix of what is there."""
    counts = dense.sum(1)
    return [0, *np.cumsum(counts).tolist()], np.nonzero(dense)[1].tolist()


DENSE = np.random.default_rng(2).integers(1, 9, (7, 5)) * (np.random.default_rng(3).random((7, 5)) < 0.3)


@pytest.mark.parametrize("kind", ["Int32", "Uint16", "Uint8"])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_rows_and_columns_in_every_width(tmp_path: Path, kind: str, order: list[int]) -> None:
    dense = DENSE.astype(np.float32)
    walked = dense.transpose(order)
    path = model(
        tmp_path / "m",
        [7, 5],
        walked[walked != 0],
        order,
        [],
        walked.shape[0],
        (kind, *rows(walked != 0)),
        densify=True,
    )
    found = TfliteSource(str(path)).read("sparse")
    assert np.array_equal(found, dense)
    assert np.array_equal(by_interpreter(path), found)


@pytest.mark.parametrize("kind", ["INT8", "FLOAT16"])
def test_other_dtypes(tmp_path: Path, kind: str) -> None:
    dense = DENSE.astype(np.dtype(kind.lower()))
    path = model(
        tmp_path / "m",
        [7, 5],
        dense[dense != 0],
        [0, 1],
        [],
        7,
        ("Int32", *rows(dense != 0)),
        kind=kind,
        densify=True,
    )
    found = TfliteSource(str(path)).read("sparse")
    assert found.dtype == dense.dtype
    assert np.array_equal(found, dense)
    assert np.array_equal(by_interpreter(path), found)


def test_blocks_of_two_axes(tmp_path: Path) -> None:
    """Blocks of [2, 3] in a matrix of [6, 15], of which a third is there; blocks are walked over last."""
    random = np.random.default_rng(5)
    there = random.random((3, 5)) < 0.4
    blocks = random.normal(size=(3, 5, 2, 3)).astype(np.float32) * there[:, :, None, None]
    dense = blocks.transpose(0, 2, 1, 3).reshape(6, 15)
    path = model(
        tmp_path / "m",
        [6, 15],
        blocks[there],
        [0, 1, 2, 3],
        [0, 1],
        3,
        ("Int32", *rows(there)),
        2,
        3,
        densify=True,
    )
    found = TfliteSource(str(path)).read("sparse")
    assert np.array_equal(found, dense)
    assert np.array_equal(by_interpreter(path), found)


def test_a_level_of_rows_within_rows(tmp_path: Path) -> None:
    """Three axes [3, 5, 7], of which the second and the third are sparse."""
    random = np.random.default_rng(6)
    dense = random.integers(1, 9, (3, 5, 7)).astype(np.float32) * (random.random((3, 5, 7)) < 0.2)
    middle = (dense != 0).any(2)
    inner = dense[middle] != 0
    path = model(
        tmp_path / "m",
        [3, 5, 7],
        dense[dense != 0],
        [0, 1, 2],
        [],
        3,
        ("Int32", *rows(middle)),
        ("Uint8", *rows(inner)),
        densify=True,
    )
    found = TfliteSource(str(path)).read("sparse")
    assert np.array_equal(found, dense)
    assert np.array_equal(by_interpreter(path), found)


def test_a_model_that_the_converter_made_sparse(tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    kernel = random.normal(size=(64, 128)).astype(np.float32)
    blocks = np.repeat(random.random((16, 128)) < 0.1, 4, axis=0)
    kernel *= blocks

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(kernel)

        @tf.function(input_signature=[tf.TensorSpec([1, 64], tf.float32)])
        def __call__(self, x: Any) -> Any:
            return x @ self.w

    net = Net()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.__call__.get_concrete_function()], net)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    (tmp_path / "m").write_bytes(converter.convert())
    source = TfliteSource(str(tmp_path / "m"))
    found = [source.read(name) for name, spec in source.specs.items() if spec.shape == (128, 64)]
    assert any(np.array_equal(values, kernel.T) for values in found)
    assert (tmp_path / "m").stat().st_size < kernel.nbytes / 2  # it is stored sparse


HOSTILE: dict[str, tuple[list[int], int, list[int], list[int], tuple[Any, ...]]] = {
    "more than is stored": ([7, 5], 3, [0, 1], [], (7, ("Int32", [0, 1, 2, 3, 4, 5, 6, 7], [0] * 7))),
    "an index outside": ([7, 5], 1, [0, 1], [], (7, ("Int32", [0, 1, 1, 1, 1, 1, 1, 1], [5]))),
    "an index below zero": ([7, 5], 1, [0, 1], [], (7, ("Int32", [0, 1, 1, 1, 1, 1, 1, 1], [-1]))),
    "rows that go back": ([7, 5], 1, [0, 1], [], (7, ("Int32", [0, 5, 1, 1, 1, 1, 1, 1], [0]))),
    "too few rows": ([7, 5], 1, [0, 1], [], (7, ("Int32", [0, 1], [0]))),
    "a terabyte": ([1 << 20, 1 << 20], 1, [0, 1], [], (1 << 20, ("Int32", [0, 1], [0]))),
    "dense without end": ([1 << 14, 1 << 14], 1, [0, 1], [], (1 << 14, 1 << 14)),
    "too few levels": ([7, 5], 1, [0, 1], [], (7,)),
    "a level twice": ([7, 5], 1, [0, 0], [], (7, 5)),
    "a block of no axis": ([7, 5], 1, [0, 1, 2], [7], (7, 5, 1)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_levels_that_do_not_fit_refuse_the_tensor_alone(tmp_path: Path, what: str) -> None:
    shape, count, order, blocks, each = HOSTILE[what]
    path = model(tmp_path / "m", shape, np.zeros(count, np.float32), order, blocks, *each)
    source = TfliteSource(str(path))
    assert source.read("w").shape == (2, 3)
    with pytest.raises(SourceError):
        source.read("sparse")
