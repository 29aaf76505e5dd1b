"""What TensorFlow Lite's interpreter has in memory is what is read from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.formats.tflite.models import KINDS, add_tensor, build, convert
from tfpt.errors import SourceError
from tfpt.formats.tflite.model import TfliteSource

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tflite")
    return {kind: convert(folder / f"{kind}.tflite", kind) for kind in KINDS}


def interpreted(path: Path) -> tuple[Any, dict[str, dict[str, Any]]]:
    """TensorFlow's interpreter and its constants by name: what it can give before anything is invoked."""
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=resolver)
    computed = {index for op in interpreter._get_ops_details() for index in op["outputs"]}
    inputs = {detail["index"] for detail in interpreter.get_input_details()}
    interpreter.allocate_tensors()
    return interpreter, {
        detail["name"]: detail
        for detail in interpreter.get_tensor_details()
        if detail["index"] not in computed | inputs and detail["name"]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_those_of_the_interpreter(converted: dict[str, Path], kind: str) -> None:
    source = TfliteSource(str(converted[kind]))
    interpreter, details = interpreted(converted[kind])
    assert len(source.specs) >= 4
    assert set(source.specs) <= set(details)
    for name, spec in source.specs.items():
        expected = interpreter.get_tensor(details[name]["index"])
        values = source.read(name)
        assert values.shape == spec.shape == expected.shape
        assert values.dtype == expected.dtype == spec.dtype
        assert values.tobytes() == expected.tobytes()
        assert not values.flags.writeable
        assert values.flags.c_contiguous


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_is_no_constant(converted: dict[str, Path], kind: str) -> None:
    source = TfliteSource(str(converted[kind]))
    _, details = interpreted(converted[kind])
    # Temporary tensors of kernels are the interpreter's own, and are not in the file.
    left = [n for n in details if n not in source.specs and n.encode() in converted[kind].read_bytes()]
    assert not left


@pytest.mark.parametrize("kind", ["dynamic", "int8", "int16"])
def test_scales_and_zero_points_are_those_of_the_interpreter(converted: dict[str, Path], kind: str) -> None:
    source = TfliteSource(str(converted[kind]))
    _, details = interpreted(converted[kind])
    assert source.quantized
    for name in source.specs:
        expected = details[name]["quantization_parameters"]
        found = source.quantized.get(name)
        if found is None:
            assert not len(expected["scales"])
            continue
        assert np.array_equal(found.scales, expected["scales"])
        assert np.array_equal(found.zero_points, expected["zero_points"])
        assert found.axis == (expected["quantized_dimension"] if len(found.scales) > 1 else None)


def test_a_convolution_is_quantized_by_output_channel(converted: dict[str, Path]) -> None:
    source = TfliteSource(str(converted["int8"]))
    axes = {source.specs[name].shape: q.axis for name, q in source.quantized.items()}
    assert axes[(11, 3, 3, 2)] == 0
    assert {source.specs[name].dtype for name in source.quantized} == {"int8", "int32"}


@pytest.mark.parametrize("kind", ["dynamic", "int8", "int16"])
def test_dequantized_weights_are_the_float_models_within_half_a_step(
    converted: dict[str, Path], kind: str
) -> None:
    exact, real = TfliteSource(str(converted["float"])), TfliteSource(str(converted[kind]), dequantize=True)
    by_shape = {spec.shape: exact.read(name) for name, spec in exact.specs.items()}
    assert not real.quantized
    for name, quantized in TfliteSource(str(converted[kind])).quantized.items():
        values, expected = real.read(name), by_shape[real.specs[name].shape]
        assert real.specs[name].dtype == "float32" == values.dtype
        assert np.abs(values - expected).max() <= max(quantized.scales) * 0.501


def test_dequantizing_is_what_the_dequantize_operator_does(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    stored = random.integers(-128, 128, (3, 5, 7)).astype(np.int8)
    scales, zeros = random.uniform(0.001, 3, 5).astype(np.float32), random.integers(-9, 9, 5)

    def change(model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        tensor = add_tensor(model, b"q", [3, 5, 7], "INT8", stored.tobytes())
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = scales, zeros
        tensor.quantization.quantizedDimension = 1
        add_tensor(model, b"real", [3, 5, 7], "FLOAT32", b"").buffer = 0
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 5
        operator.inputs, operator.outputs = [1], [2]
        model.operatorCodes, model.subgraphs[0].operators = [code], [operator]
        model.subgraphs[0].outputs = [2]

    path = str(build(tmp_path / "m", change))
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(path, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert np.array_equal(TfliteSource(path, dequantize=True).read("q"), interpreter.get_tensor(2))
    assert np.array_equal(TfliteSource(path).read("q"), stored)


def test_shapes_and_axes_are_constants_and_weights_are_not(converted: dict[str, Path]) -> None:
    source = TfliteSource(str(converted["int8"]))
    assert source.roles
    for name, role in source.roles.items():
        assert role == "constant"
        assert source.specs[name].dtype == "int32"
        assert name not in source.quantized
    assert all(name in source.roles or name in source.quantized for name in source.specs)


TYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "UINT16": np.uint16,
    "INT32": np.int32,
    "UINT32": np.uint32,
    "INT64": np.int64,
    "UINT64": np.uint64,
    "BOOL": np.bool_,
    "COMPLEX64": np.complex64,
    "COMPLEX128": np.complex128,
    "BFLOAT16": ml_dtypes.bfloat16,
}


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_read(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(3).integers(0, 2, (3, 5)).astype(TYPES[name])
    path = build(tmp_path / "m", lambda m: add_tensor(m, b"t", [3, 5], name, values.tobytes()) and None)
    source = TfliteSource(str(path))
    assert source.specs["t"].dtype == values.dtype.name
    assert source.read("t").dtype == values.dtype
    assert source.read("t").tobytes() == values.tobytes()


@pytest.mark.parametrize(("name", "bits", "low"), [("INT4", 4, -8), ("UINT4", 4, 0), ("INT2", 2, -2)])
def test_small_integers_are_unpacked_lowest_bits_first(
    tmp_path: Path, name: str, bits: int, low: int
) -> None:
    values = np.random.default_rng(3).integers(low, low + (1 << bits), 15)
    packed = bytearray((15 * bits + 7) // 8)
    for index, value in enumerate(values.tolist()):
        packed[index * bits // 8] |= (value & ((1 << bits) - 1)) << (index * bits % 8)
    path = build(tmp_path / "m", lambda m: add_tensor(m, b"t", [3, 5], name, bytes(packed)) and None)
    source = TfliteSource(str(path))
    assert source.specs["t"].dtype == name.lower()
    assert source.read("t").astype(np.int64).tolist() == values.reshape(3, 5).tolist()


def test_strings_are_bytes(tmp_path: Path) -> None:
    words = [b"one", b"", b"three\0"]
    places = np.cumsum([20, *map(len, words)]).astype("<i4")
    data = np.int32(3).tobytes() + places.tobytes() + b"".join(words)
    source = TfliteSource(
        str(build(tmp_path / "m", lambda m: add_tensor(m, b"t", [3], "STRING", data) and None))
    )
    assert source.read("t").tolist() == words
    assert source.roles == {"t": "constant"}
    for place in range(0, 20, 4):
        bad = data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]
        path = build(tmp_path / "bad", lambda m, bad=bad: add_tensor(m, b"t", [3], "STRING", bad) and None)
        with pytest.raises(SourceError, match="string"):
            TfliteSource(str(path)).read("t")


def test_names_of_later_subgraphs_and_names_that_come_twice(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        for subgraph, count in ((0, 2), (1, 2), (2, 1)):
            for number in range(count):
                data = np.full(2, 10 * subgraph + number, "<f4").tobytes()
                add_tensor(model, b"w", [2], "FLOAT32", data, subgraph)
        model.subgraphs[2].name = None

    source = TfliteSource(str(build(tmp_path / "m", change)))
    assert list(source.specs) == ["w", "w#2", "w#3", "body/w", "body/w#2", "subgraph_2/w"]
    assert [source.read(n).flat[0] for n in source.specs] == [0, 0, 1, 10, 11, 20]
    assert source.description == "made by a test"


def test_tensors_without_values_are_left_out(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        add_tensor(model, b"computed", [2], "FLOAT32", b"").buffer = 0
        add_tensor(model, b"computed too", [2], "FLOAT32", b"")

    assert list(TfliteSource(str(build(tmp_path / "m", change))).specs) == ["w"]


def test_bytes_behind_the_values_are_left_alone_as_the_interpreter_does(tmp_path: Path) -> None:
    path = build(tmp_path / "m", lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [5]))
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    assert np.array_equal(TfliteSource(str(path)).read("w"), interpreter.get_tensor(0))


def test_values_behind_the_flatbuffer_are_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype="<f4") * 3

    def change(offset: int) -> Any:
        def act(model: Any) -> None:
            model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, offset, 24

        return act

    path = build(tmp_path / "m", change(1 << 20))
    size = path.stat().st_size
    build(path, change(size))
    path.write_bytes(path.read_bytes() + values.tobytes())
    assert np.array_equal(TfliteSource(str(path)).read("w"), values.reshape(2, 3))
    build(path, change(size + 1))
    with pytest.raises(SourceError, match="buffer 1 is outside the file"):
        TfliteSource(str(path))


def test_sparse_and_distant_tensors_are_listed_and_refused(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        sparse = add_tensor(model, b"sparse", [4, 4], "FLOAT32", bytes(8))
        sparse.sparsity = schema.SparsityParametersT()
        sparse.sparsity.traversalOrder = [0, 1]
        add_tensor(model, b"far", [4, 4], "FLOAT32", b"").externalBuffer = 3

    source = TfliteSource(str(build(tmp_path / "m", change)))
    for name, message in {"sparse": "are sparse", "far": "in another file"}.items():
        assert source.specs[name].shape == (4, 4)
        with pytest.raises(SourceError, match=message):
            source.read(name)
    assert source.read("w").shape == (2, 3)
    assert len(source.fingerprint()) == 32


def test_an_unknown_name_gets_the_nearest_and_a_closed_file_says_so(converted: dict[str, Path]) -> None:
    source = TfliteSource(str(converted["float"]))
    name = next(iter(source.specs))
    values = source.read(name)
    source.release(name)
    with pytest.raises(SourceError, match="no tensor") as caught:
        source.read(name + "x")
    assert name in caught.value.nearest
    source.close()
    assert values.size
    with pytest.raises(SourceError, match="closed"):
        source.read(name)


def test_the_fingerprint_follows_the_content(converted: dict[str, Path]) -> None:
    prints = [TfliteSource(str(converted[kind])).fingerprint() for kind in KINDS]
    assert len(set(prints)) == len(KINDS)
    assert TfliteSource(str(converted["float"])).fingerprint() == prints[0]


def test_tensors_without_a_name_are_numbered(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        add_tensor(model, b"", [3], "FLOAT32", np.arange(3, dtype="<f4").tobytes())
        add_tensor(model, b"", [2], "FLOAT32", np.arange(2, dtype="<f4").tobytes())

    source = TfliteSource(str(build(tmp_path / "m", change)))
    assert list(source.specs) == ["w", "tensor_1", "tensor_2"]
    assert source.read("tensor_1").tolist() == [0, 1, 2]
