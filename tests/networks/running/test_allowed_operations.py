"""A stranger's graph computes, and does nothing else: no file is read or written, no code runs, without trust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.commands.running import refused, run
from tfpt.errors import SourceError
from tfpt.networks.running.allowed_operations import ALLOWED
from tfpt.networks.running.open_network import open_network

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1
SECRET = np.array([2, 3], np.int32)


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET.tobytes())
    return path


def graph_of(path: Path, make) -> Path:
    """A frozen graph of what `make` does with the placeholder ``x``; its result is called ``y``."""
    with tf.Graph().as_default() as graph:
        make(v1.placeholder(tf.float32, (6,), "x"))
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def ran(path: Path, trust: bool = False):
    network = open_network(path, trust=trust)
    network.inputs(["y:0"])
    return network.run({"x": np.arange(6, dtype=np.float32)}, ["y:0"])["y:0"]


def reads(secret, mark):
    def make(x):
        text = tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32)
        tf.add(x[0], tf.cast(text[0], tf.float32), name="y")

    return make


def lists(secret, mark):
    def make(x):
        tf.add(x[0], tf.cast(tf.size(tf.io.matching_files(f"{secret.parent}/*")), tf.float32), name="y")

    return make


def writes(secret, mark):
    def make(x):
        with tf.control_dependencies([tf.io.write_file(str(mark), "x")]):
            tf.identity(x, name="y")

    return make


def prints_to_a_file(secret, mark):
    def make(x):
        with tf.control_dependencies([tf.print("x", output_stream=f"file://{mark}")]):
            tf.identity(x, name="y")

    return make


def maps_a_file(secret, mark):
    def make(x):
        tf.raw_ops.ImmutableConst(dtype=tf.int32, shape=(2,), memory_region_name=str(secret), name="m")
        held = tf.compat.v1.get_default_graph().get_tensor_by_name("m:0")
        tf.add(x[0], tf.cast(held[0], tf.float32), name="y")

    return make


def runs_python(secret, mark):
    def make(x):
        v1.py_func(lambda a: (mark.touch(), a)[1], [x], tf.float32, name="y")

    return make


def runs_stateless_python(secret, mark):
    def make(x):
        both = v1.py_func(lambda a: (mark.touch(), a, a)[1:], [x], [tf.float32] * 2, stateful=False)
        tf.add(*both, name="y")

    return make


def reads_a_checkpoint(secret, mark):
    def make(x):
        value = tf.raw_ops.RestoreV2(
            prefix=str(secret), tensor_names=["v"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        tf.add(x, value[0], name="y")

    return make


def saves_a_checkpoint(secret, mark):
    def make(x):
        save = tf.raw_ops.SaveV2(prefix=str(mark), tensor_names=["v"], shape_and_slices=[""], tensors=[x])
        with tf.control_dependencies([save]):
            tf.identity(x, name="y")

    return make


def debugs(secret, mark):
    def make(x):
        tf.raw_ops.DebugIdentityV2(
            input=x, tfdbg_context_id="c", op_name="o", output_slot=0, debug_urls=[f"file://{mark}"], name="y"
        )

    return make


def reads_a_vocabulary(secret, mark):
    def make(x):
        found = tf.raw_ops.FixedUnigramCandidateSampler(
            true_classes=[[0]], num_true=1, num_sampled=1, unique=False, range_max=9, vocab_file=str(secret)
        )
        tf.add(x[0], tf.cast(found[0][0], tf.float32), name="y")

    return make


def reads_in_a_branch(secret, mark):
    def make(x):
        def inside():
            return tf.cast(tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32)[0], tf.float32)

        tf.identity(tf.cond(x[0] > -1, inside, lambda: x[1]), name="y")

    return make


def reads_in_a_loop(secret, mark):
    def make(x):
        def body(i, y):
            return i + 1, y + tf.cast(tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32)[0], tf.float32)

        tf.identity(tf.while_loop(lambda i, y: i < 2, body, [0, x[0]])[1], name="y")

    return make


def reads_in_a_function_of_a_function(secret, mark):
    @tf.function
    def inner(z):
        return z + tf.cast(tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32)[0], tf.float32)

    @tf.function
    def outer(z):
        return tf.cond(z > -1, lambda: inner(z), lambda: z)

    return lambda x: tf.identity(outer(x[0]), name="y")


def reads_lines(secret, mark):
    def make(x):
        value = tf.data.experimental.get_single_element(tf.data.TextLineDataset(str(secret)).take(1))
        tf.add(x[0], tf.cast(tf.strings.length(value), tf.float32), name="y")

    return make


def ends_the_process(secret, mark):
    def make(x):
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="x")]):
            tf.identity(x, name="y")

    return make


EFFECTS = [
    reads, lists, writes, prints_to_a_file, maps_a_file, runs_python, runs_stateless_python, reads_a_checkpoint,
    saves_a_checkpoint, debugs, reads_a_vocabulary, reads_in_a_branch, reads_in_a_loop,
    reads_in_a_function_of_a_function, reads_lines, ends_the_process,
]  # fmt: skip


@pytest.mark.parametrize("control_flow", ["v1", "v2"])
@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
def test_what_does_more_than_compute_is_refused(tmp_path, secret, effect, control_flow):
    before, mark = sorted(tmp_path.rglob("*")), tmp_path / "mark"
    (v1.enable_control_flow_v2 if control_flow == "v2" else v1.disable_control_flow_v2)()
    try:
        path = graph_of(tmp_path / "g.pb", effect(secret, mark))
    finally:
        v1.enable_control_flow_v2()
    with pytest.raises(SourceError, match="would do more than compute") as caught:
        ran(path)
    assert "--trust" in caught.value.hint
    assert str(path) in str(caught.value.where)
    assert sorted(tmp_path.rglob("*")) == [path, *before]


def test_with_trust_it_runs(tmp_path, secret):
    assert ran(graph_of(tmp_path / "g.pb", reads(secret, None)), trust=True) == 2.0
    ran(graph_of(tmp_path / "g.pb", writes(secret, tmp_path / "mark")), trust=True)
    assert (tmp_path / "mark").read_text() == "x"


def test_nothing_is_read_while_the_graph_is_imported(tmp_path, secret):
    """TensorFlow works out shapes by computing what depends on constants alone, such as this file's content."""

    def make(x):
        tf.reshape(x, tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32), name="y")

    path = graph_of(tmp_path / "g.pb", make)
    with tf.Graph().as_default() as graph:
        definition = v1.GraphDef.FromString(path.read_bytes())
        tf.graph_util.import_graph_def(definition, name="")
        assert graph.get_tensor_by_name("y:0").shape == (2, 3)  # so it would
    shapes = {found.name: found.shape for found in open_network(path).names()}
    assert shapes["y"] is None


def test_what_is_not_needed_may_stand_there(tmp_path, secret):
    """A graph for training holds its pipeline, its saver and its summaries."""

    def make(x):
        tf.io.write_file(str(tmp_path / "mark"), "x")
        picture = tf.cast(tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32), tf.float32)
        queue = v1.FIFOQueue(2, [tf.float32], [(6,)])
        queue.enqueue(x)
        v1.summary.scalar("s", x[0])
        y = tf.multiply(x, 2.0, name="y")
        tf.add(y[0], picture[0], name="z")

    path = graph_of(tmp_path / "g.pb", make)
    np.testing.assert_array_equal(ran(path), 2.0 * np.arange(6))
    network = open_network(path)
    with pytest.raises(SourceError, match="would do more than compute") as caught:
        network.inputs(["z:0"])
    assert "ReadFile" in caught.value.got


def test_what_a_file_would_give_can_be_fed(tmp_path, secret):
    path = graph_of(tmp_path / "g.pb", reads(secret, None))
    network = open_network(path)
    file = "ReadFile:0"
    network.inputs(["y:0"], [file])
    feeds = {"x": np.zeros(6, np.float32), file: np.array(np.array([7], np.int32).tobytes(), object)}
    assert network.run(feeds, ["y:0"])["y:0"] == 7.0


@pytest.fixture
def vocabulary(tmp_path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("red\ngreen\nblue\n")
    return path


class Words(tf.Module):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(file),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            1,
        )
        self.w = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32, name="x")])
    def serve(self, x):
        found = tf.cast(self.table.lookup(tf.constant("blue")), tf.float32)
        return {"y": tf.add(x * self.w, found, name="y")}


def saved(folder: Path, vocabulary: Path) -> Path:
    module = Words(vocabulary)
    tf.saved_model.save(module, str(folder), module.serve)
    vocabulary.unlink()
    return folder


def test_a_saved_model_restores_its_variables_and_fills_its_tables(tmp_path, vocabulary):
    network = open_network(saved(tmp_path / "m", vocabulary))
    y = network.resolve("y")
    network.inputs([y])
    assert network.run({"x": np.float32(3)}, [y])[y] == 2 * 3 + 2


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/passwd"])
def test_a_table_is_filled_from_the_models_own_files_alone(tmp_path, vocabulary, name):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    (tmp_path / "secret.txt").write_text("black\nwhite\nblue\n")
    folder = saved(tmp_path / "m", vocabulary)
    message = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    message.meta_graphs[0].asset_file_def[0].filename = name
    (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    network = open_network(folder)
    y = network.resolve("y")
    with pytest.raises(SourceError, match="cannot run"):
        network.run({"x": np.float32(3)}, [y])


def test_what_is_called_a_restore_must_be_one(small, tmp_path):
    meta = small.save(tmp_path / "m.ckpt")
    message = v1.MetaGraphDef.FromString(meta.read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.io.write_file(str(tmp_path / "mark"), "x", name="evil")
    message.graph_def.node.extend(graph.as_graph_def().node)
    message.saver_def.restore_op_name = "evil"
    message.collection_def["table_initializer"].node_list.value.append("evil")
    meta.write_bytes(message.SerializeToString())
    x = np.ones((2, 3), np.float32)
    network = open_network(meta)
    found = network.run({"clip": x}, ["net/Mean:0"])["net/Mean:0"]
    # Restored by name instead.
    np.testing.assert_allclose(found, small.expected(x)["Mean"], rtol=1e-5)
    assert not (tmp_path / "mark").exists()


def test_the_commands_refuse_it_too(tmp_path, secret):
    path = graph_of(tmp_path / "g.pb", reads(secret, None))
    words = ("record", path, "--endpoint", "y", "--out", tmp_path / "r.npz")
    assert "would do more than compute" in refused(*words)
    assert run(*words, "--trust").code == 0


def test_the_list_holds_what_tensorflow_registers_and_nothing_that_does_more():
    from tensorflow.core.framework.op_def_pb2 import OpList
    from tensorflow.python.client import pywrap_tf_session

    everything = OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    known = {op.name: op for op in everything.op}
    assert len(ALLOWED) > 900
    # The list was made with one version: others may lack some, or have dropped some.
    assert len(ALLOWED - known.keys()) < 50
    words = (
        "File",
        "Reader",
        "PyFunc",
        "Dataset",
        "Iterator",
        "Save",
        "Restore",
        "Queue",
        "Rpc",
        "Send",
        "Recv",
    )
    assert not [name for name in ALLOWED if any(word in name for word in words)]
    names = [
        f"{name}.{arg.name}"
        for name in ALLOWED & known.keys()
        for arg in [*known[name].input_arg, *known[name].attr]
        if any(word in arg.name for word in ("file", "path", "dir_", "url", "address"))
    ]
    assert sorted(names) == ["CTCBeamSearchDecoder.top_paths", "FixedUnigramCandidateSampler.vocab_file"]
