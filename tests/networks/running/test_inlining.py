"""Function calls of a graph replaced by what the functions do."""

from __future__ import annotations

import numpy as np
import pytest

from tfpt.errors import SourceError
from tfpt.networks.running.graph_import import inline_calls

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1


@tf.function
def inner(x, scale):
    first, second, third = tf.split(x, 3, axis=1, name="parts")
    return third * scale, x, tf.concat([second, first], 1, name="swapped")


@tf.function
def outer(x):
    thirds, same, swapped = inner(x, tf.constant(5.0))
    again, _, _ = inner(same + 1, thirds[0, 0])
    return tf.concat([thirds, again], 1), swapped


def graph_def():
    """A call of a function that calls another twice."""
    return outer.get_concrete_function(tf.TensorSpec((None, 3), name="x")).graph.as_graph_def()


def wrapped():
    """The same as a call in a graph."""
    with tf.Graph().as_default() as graph:
        joined, swapped = outer(v1.placeholder(tf.float32, (None, 3), "x"))
        v1.identity(joined, "joined")
        v1.identity(swapped, "swapped")
    return graph.as_graph_def()


def run(definition, x, *names):
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(definition, name="")
        return session.run([f"{name}:0" for name in names], {"x:0": x})


X = np.array([[2, 3, 7], [11, 13, 17]], np.float32)


def test_the_graph_computes_the_same_without_calls():
    definition = wrapped()
    inlined = inline_calls(definition, "g.pb")
    calls = {node.op for node in definition.node} & {"PartitionedCall", "StatefulPartitionedCall"}
    assert calls
    assert not calls & {node.op for node in inlined.node}
    joined, swapped = run(inlined, X, "joined", "swapped")
    # 7 * 5 = 35; (7 + 1) * 35, and so on by hand
    np.testing.assert_array_equal(joined, [[35, 280], [85, 630]])
    np.testing.assert_array_equal(swapped, [[3, 2], [13, 11]])


def test_what_is_inside_has_the_path_of_its_calls():
    names = [node.name for node in inline_calls(wrapped(), "g.pb").node if node.op == "Split"]
    assert len(names) == 2
    assert all(name.endswith("/parts") and name.count("/") == 2 for name in names)
    inlined = inline_calls(wrapped(), "g.pb")
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(inlined, name="")
        first, second = (session.run(f"{name}:1", {"x:0": X}) for name in sorted(names))
    assert {float(first[0, 0]), float(second[0, 0])} == {3.0, 4.0}


def test_a_graph_without_calls_is_left_alone():
    with tf.Graph().as_default() as graph:
        v1.add(v1.placeholder(tf.float32, (3,)), 1.0)
    definition = graph.as_graph_def()
    assert inline_calls(definition, "g.pb") is definition


def test_what_a_function_does_to_variables_is_done():
    """A control output: an assignment whose value nobody reads."""
    with tf.Graph().as_default() as graph:
        count = tf.Variable(3.0, name="count")

        @tf.function
        def step(x):
            count.assign_add(5.0)
            return x * 2

        y = step(v1.placeholder(tf.float32, (), "x"))
        v1.identity(y, "y")
        v1.group(v1.global_variables_initializer(), name="start")
    inlined = inline_calls(graph.as_graph_def(), "g.pb")
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(inlined, name="")
        session.run("start")
        assert session.run("y:0", {"x:0": 7}) == 14
        handle = graph.get_tensor_by_name("count:0")
        assert session.run(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)) == 8


def test_a_branch_stays_a_function():
    @tf.function
    def choose(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x * 3)

    with tf.Graph().as_default() as graph:
        v1.identity(choose(v1.placeholder(tf.float32, (None, 3), "x")), "y")
    inlined = inline_calls(graph.as_graph_def(), "g.pb")
    assert {node.op for node in inlined.node} & {"If", "StatelessIf"}
    np.testing.assert_array_equal(run(inlined, X, "y")[0], X * 2)
    np.testing.assert_array_equal(run(inlined, -X, "y")[0], -X * 3)


def test_a_function_that_is_missing_is_named():
    definition = wrapped()
    (call,) = [node for node in definition.node if "PartitionedCall" in node.op]
    call.attr["f"].func.name = "__inference_gone_7"
    with pytest.raises(SourceError, match="a function that it does not have: __inference_gone_7"):
        inline_calls(definition, "g.pb")


def test_functions_that_call_each_other_without_end_are_refused():
    definition = wrapped()
    names = [function.signature.name for function in definition.library.function]
    for function in definition.library.function:
        for node in function.node_def:
            if "PartitionedCall" in node.op:
                node.attr["f"].func.name = next(name for name in names if "outer" in name)
                node.ClearField("input")
                node.input.append(function.signature.input_arg[0].name)
    with pytest.raises((SourceError, KeyError)) as caught:
        inline_calls(definition, "g.pb")
    assert isinstance(caught.value, SourceError)
