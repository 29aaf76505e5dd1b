"""What a Keras model is run by: Keras 3 on TensorFlow or on torch, or Keras 2, which is the package tf_keras."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tfpt.networks.running.importing import import_keras, import_tensorflow


def runtime_of(model: Any) -> KerasRuntime:
    """The Keras that a model belongs to.

    Raises:
        SourceError: It is not installed, or uses another backend.
    """
    keras_2 = sys.modules.get("tf_keras")
    if keras_2 is not None and isinstance(model, keras_2.layers.Layer):
        return KerasRuntime(keras_2)
    return KerasRuntime(import_keras())


class KerasRuntime:
    """Tensors and nested structures of one Keras.

    Args:
        keras: The package: ``keras`` of version 3, or ``tf_keras``.

    Attributes:
        version: The version of the package.
        on_tensorflow: Whether TensorFlow computes.
        described: What computes, with its version, for recordings.
    """

    def __init__(self, keras: Any) -> None:
        self._keras = keras
        self._is_2 = keras.__name__ == "tf_keras"
        self.version = str(keras.__version__)
        self.on_tensorflow = self._is_2 or keras.backend.backend() == "tensorflow"

    @property
    def described(self) -> str:
        if self._is_2:
            return f"TensorFlow {import_tensorflow().__version__} (tf_keras {self.version})"
        if self.on_tensorflow:
            return f"TensorFlow {import_tensorflow().__version__}"
        import torch

        return f"Keras {self.version} on torch {torch.__version__}"

    @contextmanager
    def on_cpu(self) -> Iterator[None]:
        """Compute on the CPU, and without gradients."""
        if self.on_tensorflow:
            with import_tensorflow().device("/CPU:0"):
                yield
            return
        import torch

        with self._keras.device("cpu"), torch.no_grad():
            yield

    def tensor(self, array: np.ndarray, dtype: str) -> Any:
        """An array as a tensor."""
        if self._is_2:
            return import_tensorflow().convert_to_tensor(np.asarray(array), dtype=dtype)
        return self._keras.ops.convert_to_tensor(array, dtype=dtype)

    def array(self, tensor: Any) -> np.ndarray:
        """A copy of a tensor's values."""
        return np.array(tensor if self._is_2 else self._keras.ops.convert_to_numpy(tensor))

    def has_values(self, tensor: Any) -> bool:
        """Whether something is a tensor with values; symbolic tensors, from tracing a loop, have none."""
        is_tensor = import_tensorflow().is_tensor if self._is_2 else self._keras.ops.is_tensor
        return bool(is_tensor(tensor)) and hasattr(tensor, "numpy")

    def flattened(self, structure: Any) -> list[Any]:
        """The leaves of a nested structure, in Keras's order."""
        tree = import_tensorflow().nest if self._is_2 else self._keras.tree
        return list(tree.flatten(structure))

    def packed(self, structure: Any, leaves: list[Any]) -> Any:
        """A nested structure with other leaves."""
        tree = import_tensorflow().nest if self._is_2 else self._keras.tree
        return tree.pack_sequence_as(structure, leaves)

    def dtype_name(self, dtype: Any) -> str:
        """The name of a dtype, such as ``float32``."""
        return str(getattr(dtype, "name", dtype))
