"""Names of operations and of name scopes, and what a scope stands for."""

from __future__ import annotations

import pytest

from tfpt.errors import SourceError
from tfpt.networks.running.operations import Operations, resolve

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1


def graph_of(build):
    """The operations of a graph that `build` makes of one placeholder of [?, 3]."""
    with tf.Graph().as_default() as graph:
        build(v1.placeholder(tf.float32, (None, 3), "x"))
    return Operations(graph)


def meant(operations, op, scopes=()):
    return resolve(operations, op, list(scopes), "net.pb")


def layers(x):
    """Two layers below ``net``, and the name of an operation both inside and outside of it."""
    with v1.name_scope("net"):
        with v1.name_scope("first"):
            x = v1.nn.relu(v1.negative(x), name="Relu")
        with v1.name_scope("second"):
            with v1.name_scope("first_part"):
                x = v1.exp(x)
            x = v1.tanh(x)
        x = v1.nn.softmax(x, name="Softmax")
    v1.nn.softmax(x, name="Softmax")
    v1.split(x, 3, axis=1, name="thirds")


@pytest.mark.parametrize(
    ("op", "scopes", "tensor"),
    [
        ("net/first/Relu", [], "net/first/Relu:0"),  # as written
        ("first/Relu", ["net"], "net/first/Relu:0"),  # below the scope
        ("first/Relu", ["other", "net"], "net/first/Relu:0"),  # below an alternative
        ("Relu", [], "net/first/Relu:0"),  # the end of it
        ("net/second", [], "net/second/Tanh:0"),  # a scope
        ("second", ["net"], "net/second/Tanh:0"),  # below the scope
        ("second", [], "net/second/Tanh:0"),  # the end of a scope
        ("second/", [], "net/second/Tanh:0"),  # as TensorFlow writes scopes
        ("second/first_part", [], "net/second/first_part/Exp:0"),
        ("Softmax", ["net"], "net/Softmax:0"),  # below the scope before as written
        ("Softmax", [], "Softmax:0"),  # as written before the end
        ("thirds:2", [], "thirds:2"),  # an output
    ],
)
def test_a_name_means(op, scopes, tensor):
    assert meant(graph_of(layers), op, scopes) == tensor


def test_a_name_that_is_none_comes_with_those_near_it():
    with pytest.raises(SourceError, match="no operation and no name scope net/frist") as caught:
        meant(graph_of(layers), "net/frist")
    assert "net/first" in caught.value.nearest
    assert caught.value.hint == "tfpt record --list net.pb"
    with pytest.raises(SourceError, match="has no output 3") as caught:
        meant(graph_of(layers), "thirds:3")
    assert caught.value.expected == "thirds:0 to :2"


def test_a_part_of_a_component_is_no_end_of_a_name():
    with pytest.raises(SourceError, match="no operation"):
        meant(graph_of(layers), "elu")


def test_an_end_that_several_have_is_refused_with_all_of_them():
    def build(x):
        for side in ("left", "right"):
            with v1.name_scope(side), v1.name_scope("unit"):
                v1.nn.relu(v1.negative(x))

    operations = graph_of(build)
    with pytest.raises(SourceError, match="several operations end in Relu") as caught:
        meant(operations, "Relu")
    assert caught.value.got == "left/unit/Relu, right/unit/Relu"
    with pytest.raises(SourceError, match="several name scopes end in unit") as caught:
        meant(operations, "unit")
    assert caught.value.got == "left/unit, right/unit"


def test_several_tensors_that_leave_a_scope_are_listed():
    def build(x):
        with v1.name_scope("two"):
            a, b = v1.nn.relu(x), v1.tanh(x)
        v1.add(a, b)

    with pytest.raises(SourceError, match="several tensors leave the name scope two") as caught:
        meant(graph_of(build), "two")
    assert caught.value.got == "two/Relu:0, two/Tanh:0"


def unit(x, after=lambda y: None):
    """A scope ``unit`` that ends in Relu; `after` looks at what leaves it."""
    with v1.variable_scope("unit"):
        w = v1.get_variable("w", (3, 5), use_resource=False)
        hidden = v1.matmul(x, w)
        moving = v1.get_variable("moving", (5,), use_resource=False)
        v1.assign(moving, v1.reduce_mean(hidden, 0), name="update")
        y = v1.nn.relu(hidden)
        v1.summary.scalar("largest", v1.reduce_max(y))
    after(y)
    v1.tanh(y, name="next")
    return y


@pytest.mark.parametrize(
    "after",
    [
        lambda y: v1.summary.histogram("y", y),
        lambda y: v1.shape(y),
        lambda y: v1.gradients(y, y.op.inputs[0]),
        lambda y: v1.nn.l2_loss(v1.trainable_variables()[0]),  # a weight that goes into a loss
        lambda y: v1.train.Saver(),
        lambda y: v1.train.GradientDescentOptimizer(0.1).minimize(v1.reduce_sum(y)),
    ],
    ids=["summary", "shape", "gradients", "regularization", "saver", "optimizer"],
)
def test_what_serves_training_does_not_leave_a_scope(after):
    assert meant(graph_of(lambda x: unit(x, after)), "unit") == "unit/Relu:0"


def test_a_scope_that_nobody_reads_gives_its_last_tensor():
    def build(x):
        with v1.name_scope("head"):
            v1.nn.softmax(v1.tanh(x))

    assert meant(graph_of(build), "head") == "head/Softmax:0"


def test_of_a_fused_normalization_only_the_first_output_counts():
    def build(x):
        with v1.name_scope("norm"):
            images = v1.reshape(x, (-1, 1, 1, 3))
            y, _, _ = v1.nn.fused_batch_norm(images, [1.0] * 3, [0.0] * 3)
        v1.tanh(y)

    assert meant(graph_of(build), "norm") == "norm/FusedBatchNormV3:0"


def test_a_branch_on_is_training_stays_inside_its_scope():
    def build(x):
        training = v1.placeholder(tf.bool, (), "is_training")
        with v1.name_scope("dropout"):
            y = v1.cond(training, lambda: v1.nn.dropout(x, rate=0.5), lambda: v1.identity(x))
        v1.tanh(y)

    assert meant(graph_of(build), "dropout").startswith("dropout/cond/")


def test_a_loop_is_followed_and_leaves_its_scope():
    def build(x):
        with v1.name_scope("loop"):
            _, y = v1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, v1.tanh(y)), [0, x])
        v1.nn.relu(y)

    with v1.Graph().as_default():
        pass
    operations = graph_of(build)
    order = [op.name for op in operations.in_order()]
    assert len(order) == len(operations.by_name)
    assert order.index("x") < order.index("Relu")


def test_the_list_is_in_network_order_with_the_scopes_that_stand_for_each():
    def build(x):
        y = unit(x)
        with v1.name_scope("head"):
            v1.nn.softmax(y)

    found = graph_of(build).recordable()
    names = [each.name for each in found]
    assert names.index("unit/MatMul") < names.index("unit/Relu") < names.index("head/Softmax")
    assert not any("moving" in name or "Initializer" in name or name == "unit/w" for name in names)
    relu = next(each for each in found if each.name == "unit/Relu")
    assert (relu.kind, relu.shape, relu.scopes) == ("Relu", (None, 5), ("unit",))
