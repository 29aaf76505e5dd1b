"""A small network of TensorFlow 1 with scopes as DeepMind's have them, and what it computes, in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

EPSILON = 1e-3


@dataclass
class Small:
    """A dense layer with batch normalization, two branches that are joined, a dropout, and logits.

    The scope ``net`` holds ``unit`` (which ends in ``Relu``), ``Mixed`` (``concat``), ``dropout`` and ``Mean``; what
    trains it is beside it.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(5)
        for name, shape in {
            "net/unit/w": (3, 5),
            "net/unit/batch_norm/beta": (5,),
            "net/unit/batch_norm/moving_mean": (5,),
            "net/Mixed/Branch_0/w": (5, 2),
            "net/Mixed/Branch_1/w": (5, 7),
        }.items():
            self.values[name] = random.normal(size=shape).astype(np.float32)
        self.values["net/unit/batch_norm/moving_variance"] = random.uniform(0.5, 1.5, 5).astype(np.float32)

    def expected(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every endpoint outside training, in double precision."""
        v = {name: value.astype(np.float64) for name, value in self.values.items()}
        norm = "net/unit/batch_norm"
        unit = (x @ v["net/unit/w"] - v[f"{norm}/moving_mean"]) / np.sqrt(
            v[f"{norm}/moving_variance"] + EPSILON
        )
        unit = np.maximum(unit + v[f"{norm}/beta"], 0)
        mixed = np.concatenate([unit @ v["net/Mixed/Branch_0/w"], unit @ v["net/Mixed/Branch_1/w"]], -1)
        exp = np.exp(mixed - mixed.max(-1, keepdims=True))
        return {
            "unit": unit,
            "Mixed": mixed,
            "Mean": mixed.mean(-1),
            "Softmax": exp / exp.sum(-1, keepdims=True),
        }

    def build(
        self, v1: Any, x: Any, *, resource: bool = False, training: Any = None
    ) -> dict[Any, np.ndarray]:
        """Put the network into the current graph; the variables with their values.

        Args:
            training: A bool tensor; batch statistics and dropout where it is true.
        """
        made: dict[Any, np.ndarray] = {}

        def variable(name: str) -> Any:
            value = self.values[f"{v1.get_variable_scope().name}/{name}"]
            found = v1.get_variable(
                name, value.shape, initializer=v1.zeros_initializer(), use_resource=resource
            )
            made[found] = value
            return found

        with v1.variable_scope("net"):
            with v1.variable_scope("unit"):
                x = v1.matmul(x, variable("w"))
                with v1.variable_scope("batch_norm"):
                    mean, variance, beta = map(variable, ("moving_mean", "moving_variance", "beta"))
                    if training is not None:
                        moments = v1.nn.moments(x, [0])
                        # Statistics that leave the scope, for training alone.
                        v1.assign(mean, mean * 0.9 + moments[0] * 0.1)
                        mean, variance = v1.cond(
                            training, lambda: moments, lambda: (v1.identity(mean), v1.identity(variance))
                        )
                    x = v1.nn.batch_normalization(x, mean, variance, beta, None, EPSILON)
                x = v1.nn.relu(x)
            v1.summary.histogram("unit", x)
            with v1.variable_scope("Mixed"):
                branches = []
                for number in (0, 1):
                    with v1.variable_scope(f"Branch_{number}"):
                        branches.append(v1.matmul(x, variable("w")))
                x = v1.concat(branches, 1)
            if training is not None:
                with v1.variable_scope("dropout"):
                    x = v1.cond(training, lambda: v1.nn.dropout(x, rate=0.5), lambda: v1.identity(x))
            v1.reduce_mean(x, axis=1)
            v1.nn.softmax(x)
        return made

    def save(self, prefix: Path, *, version: int = 2, **options: Any) -> Path:
        """The ``.meta`` file, with its checkpoint and an optimizer beside it."""
        import tensorflow as tf

        v1 = tf.compat.v1
        soft = v1.ConfigProto(allow_soft_placement=True)
        with tf.Graph().as_default() as graph, v1.Session(graph=graph, config=soft) as session:
            training = v1.placeholder(tf.bool, (), "is_training")
            x = v1.placeholder(tf.float32, (None, 3), "clip")
            made = self.build(v1, x, training=training, **options)
            loss = v1.reduce_sum(graph.get_tensor_by_name("net/Mean:0"), name="loss")
            v1.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
            for node in graph.get_operations():
                node._set_device("/device:GPU:0")
            session.run(v1.global_variables_initializer())
            for variable, value in made.items():
                variable.load(value, session)
            saver = v1.train.Saver(write_version=version)
            saver.save(session, str(prefix), write_state=False)
        return Path(f"{prefix}.meta")

    def freeze(self, path: Path) -> Path:
        """A frozen graph, its input an open placeholder called ``clip``."""
        import tensorflow as tf

        v1 = tf.compat.v1
        with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            made = self.build(v1, v1.placeholder(tf.float32, (None, 3), "clip"))
            for variable, value in made.items():
                variable.load(value, session)
            frozen = v1.graph_util.convert_variables_to_constants(
                session, graph.as_graph_def(), ["net/Mean", "net/Softmax"]
            )
        path.write_bytes(frozen.SerializeToString())
        return path
