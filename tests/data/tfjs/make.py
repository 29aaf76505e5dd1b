"""Made the files beside it: PYTHONPATH=<tensorflowjs 4.22.0, unpacked> python make.py

Of the package are used the writer and the reader of weights alone, with TensorFlow 2.21 and numpy 2; the rest of it
imports converters of other frameworks. Topologies are those that its converters put into model.json.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict

found = importlib.util.find_spec("tensorflowjs")
assert found is not None
package = types.ModuleType("tensorflowjs")
package.__path__ = list(found.submodule_search_locations or ())
sys.modules["tensorflowjs"] = package
from tensorflowjs import read_weights, write_weights  # noqa: E402

HERE = Path(__file__).parent
rng = np.random.default_rng(7)


def entries(**arrays):
    return [{"name": name.replace("__", "/"), "data": array} for name, array in arrays.items()]


def write(folder, groups, rest=None, shard=1 << 22, quantisation=None):
    place = HERE / folder
    place.mkdir(exist_ok=True)
    manifest = write_weights.write_weights(
        groups, str(place), shard, write_manifest=rest is None, quantization_dtype_map=quantisation
    )
    if rest is not None:
        (place / "model.json").write_text(json.dumps({**rest, "weightsManifest": manifest}))
    read = {
        entry["name"]: entry["data"]
        for entry in read_weights.read_weights(manifest, str(place), flatten=True)
    }
    strings = {name: read.pop(name) for name in list(read) if read[name].dtype == object}
    np.savez_compressed(HERE / f"{folder}.npz", **read)
    return strings


# A layers model in several groups, whose weights go over several shards of 100 bytes.
words = np.array([["relu", ""], ["Grüße", "a\0b"]], object)
strings = write(
    "layers",
    [
        entries(
            dense__kernel=rng.normal(size=(7, 11)).astype(np.float32),
            dense__flags=np.array([True, False, True]),
            dense__bias=rng.normal(size=11).astype(np.float32),
            dense__words=words,
            dense__step=np.array(-5, np.int32),
            dense__wave=(rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3))).astype(np.complex64),
        ),
        entries(
            other__small=np.arange(5, dtype=np.uint8),
            other__kernel=rng.normal(size=(3, 2, 5)).astype(np.float64),
            other__middle=np.arange(300, 303, dtype=np.uint16),
            other__none=np.zeros((0, 3), np.float32),
            other__ids=np.arange(-3, 4, dtype=np.int64),
            other__no_words=np.zeros(0, object),
        ),
    ],
    {
        "format": "layers-model",
        "generatedBy": "keras v2.15.0",
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "modelTopology": {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": {}},
    },
    shard=100,
)
assert strings["dense/words"].tolist() == [[b"relu", b""], ["Grüße".encode(), b"a\0b"]]
assert strings["other/no_words"].shape == (0,)

# A manifest alone, quantized; `flat` has one value only, `high` does not reach zero, `whole` is not quantized.
write(
    "quantized",
    [
        entries(
            wide__kernel=rng.normal(size=(5, 13)).astype(np.float32),
            wide__bias=rng.normal(size=13).astype(np.float32),
            narrow__kernel=rng.normal(size=(3, 3, 2, 5)).astype(np.float32),
            narrow__flat=np.full(3, 0.3, np.float32),
            narrow__high=rng.uniform(3, 4, size=7).astype(np.float32),
            half__kernel=rng.normal(size=(7, 3)).astype(np.float32),
            whole__ids=np.arange(3, dtype=np.int32),
            whole__bias=rng.normal(size=5).astype(np.float32),
        )
    ],
    shard=128,
    quantisation={"uint16": "wide/*", "uint8": "narrow/*", "float16": "half/*"},
)

# A graph model: constants that are weights, and others.
graph = tf.Graph()
with graph.as_default():
    x = tf.compat.v1.placeholder(tf.float32, [None, 3], "x")
    w = tf.constant(rng.normal(size=(3, 5)).astype(np.float32), name="net/w")
    shape = tf.constant(np.array([-1, 5], np.int32), name="net/shape")
    factor = tf.constant(np.float32(0.5), name="net/factor")
    tf.multiply(tf.reshape(tf.matmul(x, w), shape), factor, name="out")
constants = []
definition = graph.as_graph_def()
for node in definition.node:
    if node.op == "Const":
        constants.append({"name": node.name, "data": tf.make_ndarray(node.attr["value"].tensor)})
        del node.attr["value"]
tensor = {"name": "x:0", "dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "-1"}, {"size": "3"}]}}
write(
    "graph",
    [constants],
    {
        "format": "graph-model",
        "generatedBy": tf.__version__,
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "signature": {"inputs": {"x": tensor}, "outputs": {"out": {"name": "out:0", "dtype": "DT_FLOAT"}}},
        "modelTopology": MessageToDict(definition),
    },
)
