"""What reading costs: memory for one tensor, time that grows as the file does, requests that are as few as can be."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tests.formats.tensorflow.test_v1 import save
from tests.growth import assert_linear
from tests.opened import open_files
from tests.serving import Web, serving
from tfpt.checking.inspection import inspect
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats import open_source
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.formats.tensorflow.checkpoint import ObjectSource
from tfpt.formats.tensorflow.object_graph import GRAPH_KEY
from tfpt.formats.tensorflow.slices import covers_once
from tfpt.formats.tensorflow.tensorflow_pb2 import DT_FLOAT, GraphDef, TensorProto, TrackableObjectGraph
from tfpt.formats.tensorflow.v1 import V1Source
from tfpt.formats.tensorflow.wire import unpack_varints, walk
from tfpt.io import stores
from tfpt.io.cached_blocks import BLOCK


def peak(run: Any) -> int:
    """The most memory that a call takes, in bytes."""
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "float16"])
def test_a_tensor_of_a_v1_checkpoint_takes_its_size_once(tmp_path: Path, dtype: str) -> None:
    random = np.random.default_rng(1)
    value = (random.normal(size=(503, 2003)) * 1000).astype(dtype)
    held = save(tmp_path / "m", {"w": value})
    source = V1Source(tmp_path / "m")
    assert_same(source.read("w"), held["w"])
    # A copy where the values do not lie aligned, and, of integers, what a part of them takes.
    assert peak(lambda: source.read("w")) < 1.1 * value.nbytes + (24 << 20 if dtype != "float32" else 1 << 20)


def test_closing_a_v1_checkpoint_lets_go_of_it(tmp_path: Path) -> None:
    save(tmp_path / "v1-to-close", {"w": np.arange(35, dtype=np.float32)})
    source = open_source(tmp_path / "v1-to-close")
    source.read("w")
    source.release("w")
    assert str(tmp_path / "v1-to-close") in open_files()
    source.close()
    assert str(tmp_path / "v1-to-close") not in open_files()


@pytest.mark.parametrize(
    ("field", "held"), [("int_val", np.int32), ("int64_val", np.int64), ("uint64_val", np.uint64)]
)
def test_packed_integers_are_protobufs(field: str, held: type) -> None:
    limits = np.iinfo(held)
    random = np.random.default_rng(2)
    values = [0, 1, 127, 128, 300, limits.min, limits.max, *(1 << np.arange(limits.bits - 1)).tolist()]
    values += random.integers(limits.min, limits.max, 1009, held, endpoint=True).tolist()
    message = TensorProto()
    getattr(message, field).extend(values)
    content = message.SerializeToString()
    (packed,) = walk(memoryview(content), 0, len(content))
    raw = np.frombuffer(content[packed.begin : packed.end], np.uint8)
    wide = np.uint64 if held is np.uint64 else np.int64
    assert unpack_varints(raw, held, wide, "w").tolist() == values


@pytest.mark.parametrize("raw", [[0x80], [1, 0xFF], [0xFF] * 10 + [1], [0x80] * 999_999 + [1]], ids=range(4))
def test_integers_without_end_are_refused(raw: list[int]) -> None:
    with pytest.raises(ValueError, match=r"in the middle of a value|more than 64 bits"):
        unpack_varints(np.array(raw, np.uint8), np.int64, np.int64, "w")


def test_pieces_that_lie_on_each_other_cost_as_many_as_they_are() -> None:
    def boxes(count: int) -> list[tuple[slice, slice]]:
        # The sum of their sizes is that of the whole; all of them overlap.
        return [(slice(at, at + count), slice(at, at + count)) for at in range(count)]

    assert not covers_once(boxes(400), (800, 800))
    assert_linear(
        lambda: covers_once(boxes(500), (1000, 1000)), lambda: covers_once(boxes(2000), (4000, 4000)), 20.0
    )


def exported(prefix: Path, count: int) -> Path:
    """An object checkpoint in which Keras tracks each variable a second time."""
    graph = TrackableObjectGraph()
    root = graph.nodes.add()
    values: dict[str, Any] = {}
    for at in range(count):
        value = np.float32([at, at + 0.5])
        for place in (f"layers/{at}/w", f"_all_variables/{at}"):
            key = f"{place}/.ATTRIBUTES/VARIABLE_VALUE"
            root.children.add(node_id=len(graph.nodes), local_name=place)
            graph.nodes.add().attributes.add(name="VARIABLE_VALUE", full_name="", checkpoint_key=key)
            values[key] = value
    values[GRAPH_KEY] = np.array(graph.SerializeToString(), object)
    write_bundle(prefix, values)
    return prefix


def test_an_object_checkpoint_costs_as_many_variables_as_it_has(tmp_path: Path) -> None:
    few, many = (BundleSource(exported(tmp_path / str(count) / "m", count)) for count in (750, 3000))
    assert len(ObjectSource(few).specs) == 751
    assert_linear(lambda: ObjectSource(few), lambda: ObjectSource(many))


def sharing_lists(count: int) -> bytes:
    """Many optimizers, all with the same long list of variables."""
    graph = TrackableObjectGraph()
    graph.nodes.add()
    members = graph.nodes.add()
    for at in range(count):
        members.children.add(node_id=0, local_name=str(at))
        optimizer = graph.nodes.add()
        optimizer.children.add(node_id=1, local_name="_variables")
        optimizer.children.add(node_id=0, local_name="iterations")
    return graph.SerializeToString()


def test_optimizers_that_share_a_list_cost_as_many_as_they_are() -> None:
    from tfpt.formats.tensorflow.object_graph import name_by_graph

    few, many = sharing_lists(1500), sharing_lists(6000)
    assert_linear(lambda: name_by_graph(few, []), lambda: name_by_graph(many, []))


@pytest.fixture
def web() -> Any:
    pytest.importorskip("aiohttp")
    stores.forget()
    with serving() as server:
        yield server


def asked(web: Web, place: Path, name: str) -> tuple[int, int]:
    """Requests and bytes of an inspection, which gives the fingerprint that the local file has."""
    web.log.clear()
    stores.forget()
    assert inspect(f"{web.url}/m/{name}").fingerprint == inspect(place).fingerprint
    return len(web.gets()), sum(one.sent for one in web.gets())


def test_the_index_of_a_remote_checkpoint_is_fetched_once(web: Web, tmp_path: Path) -> None:
    names = np.random.default_rng(1).integers(0, 1 << 60, 9001)
    write_bundle(tmp_path / "m", {f"layer/{name:x}/w": np.zeros(3, np.float32) for name in names})
    index = tmp_path / "m.index"
    assert index.stat().st_size > BLOCK
    web.add(index)
    _, sent = asked(web, tmp_path / "m", "m")
    assert sent == index.stat().st_size
    assert len(web.gets(".index")) == 1


LARGE = 300_007  # float32s: more than a block, so that values are passed over


def write_graph(path: Path, count: int, size: int) -> Path:
    message = GraphDef()
    for at in range(count):
        tensor = message.node.add(name=f"w{at}", op="Const").attr["value"].tensor
        tensor.dtype = DT_FLOAT
        tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = np.full(size, at, np.float32).tobytes()
        message.node.add(name=f"w{at}/read", op="Identity", input=[f"w{at}"])
    path.write_bytes(message.SerializeToString())
    return path


def write_tflite(path: Path, count: int, size: int) -> Path:
    pytest.importorskip("tensorflow")
    from tests.formats.tflite.models import add_tensor, build

    def change(model: Any) -> None:
        for at in range(count):
            add_tensor(model, f"w{at}".encode(), [size], "FLOAT32", np.full(size, at, "<f4").tobytes())

    return build(path, change)


@pytest.mark.parametrize("make", [write_graph, write_tflite])
def test_inspecting_a_remote_file_passes_over_large_values(web: Web, tmp_path: Path, make: Any) -> None:
    path = make(tmp_path / "m", 24, LARGE)
    web.add(path)
    requests, sent = asked(web, path, "m")
    # One or two blocks at each border of two tensors, and the first of them once more to tell the format.
    assert requests <= 2 * 24 + 16
    assert sent < 0.5 * path.stat().st_size
    source = open_source(f"{web.url}/m/m")
    assert source.read("w7")[0] == 7


@pytest.mark.parametrize("make", [write_graph, write_tflite])
def test_inspecting_a_remote_file_of_small_values_fetches_no_block_twice(
    web: Web, tmp_path: Path, make: Any
) -> None:
    path = make(tmp_path / "m", 700, 5003)
    web.add(path)
    requests, sent = asked(web, path, "m")
    blocks = -(-path.stat().st_size // BLOCK)
    assert blocks > 40  # more than the HTTP layer keeps
    assert requests <= blocks + 4
    assert sent <= path.stat().st_size + 4 * BLOCK


def test_a_fingerprint_follows_structure_and_the_ends_of_values(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g", 2, LARGE)
    before = open_source(path).fingerprint()
    content = bytearray(path.read_bytes())
    for place in (
        content.index(b"w1"),
        content.index(np.full(9, 1, np.float32).tobytes()),
        len(content) // 2 - 99,
    ):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "h").write_bytes(changed)
        assert open_source(tmp_path / "h").fingerprint() != before
