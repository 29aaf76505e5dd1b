"""Imports TensorFlow and Keras only when a network has to be run, and suppresses what they print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

from tfpt.errors import SourceError

_HINT = 'pip install "tfpt[tensorflow]"'


def import_tensorflow() -> ModuleType:
    """Import TensorFlow with log messages below errors switched off.

    Raises:
        SourceError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silent():
            import tensorflow as tf
    except ImportError as error:
        raise SourceError(
            "running a TensorFlow network needs TensorFlow, which is not installed",
            got=str(error),
            hint=_HINT,
        ) from None
    tf.get_logger().setLevel("ERROR")
    module: ModuleType = tf
    return module


def has_tensorflow() -> bool:
    """Whether TensorFlow can be imported."""
    try:
        import_tensorflow()
    except SourceError:
        return False
    return True


def import_keras() -> ModuleType:
    """Import Keras 3: on TensorFlow; or on torch, if TensorFlow is not installed or ``KERAS_BACKEND`` says so.

    Raises:
        SourceError: Keras is not installed, is older, or uses another backend.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules and chosen != "torch" and not has_tensorflow():
        # Keras reads it once, when it is imported; its own default is TensorFlow.
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        with _silent():
            import keras
    except ImportError as error:
        raise SourceError(
            "running a Keras model needs Keras, which is not installed",
            expected="Keras 3, on TensorFlow or on torch",
            got=str(error),
            hint=f"pip install keras, which then runs on torch; or {_HINT}",
        ) from None
    finally:
        if chosen is None:
            os.environ.pop("KERAS_BACKEND", None)
        else:
            os.environ["KERAS_BACKEND"] = chosen
    if int(keras.__version__.partition(".")[0]) < 3 or keras.backend.backend() not in ("tensorflow", "torch"):
        raise SourceError(
            "Keras models need Keras 3 on TensorFlow or on torch",
            expected="Keras 3 on TensorFlow or on torch",
            got=f"Keras {keras.__version__} on {keras.backend.backend()}",
            hint="export KERAS_BACKEND=tensorflow, or KERAS_BACKEND=torch",
        )
    if keras.backend.backend() == "tensorflow":
        import_tensorflow()
    module: ModuleType = keras
    return module


def import_keras_2() -> ModuleType | None:
    """Import Keras 2, the package tf_keras; ``None`` if it is not installed."""
    if not has_tensorflow():
        return None
    try:
        with _silent():
            import tf_keras
    except ImportError:
        return None
    module: ModuleType = tf_keras
    return module


def import_interpreter() -> tuple[Any, str]:
    """The interpreter class of TensorFlow Lite, and the package it is from with its version.

    Raises:
        SourceError: Neither ai-edge-litert nor TensorFlow is installed.
    """
    try:
        with _silent():
            from ai_edge_litert import interpreter
    except ImportError:
        try:
            tf = import_tensorflow()
        except SourceError as error:
            raise SourceError(
                "running a TensorFlow Lite model needs its interpreter, which is not installed",
                expected="ai-edge-litert, or TensorFlow",
                got=error.got,
                hint=f"pip install ai-edge-litert; or {_HINT}",
            ) from None
        from tensorflow.lite.python import interpreter

        return interpreter, f"TensorFlow {tf.__version__}"
    return interpreter, f"ai-edge-litert {version('ai-edge-litert')}"


def import_schema() -> ModuleType:
    """Import the classes of the TensorFlow Lite file format, from the same package as the interpreter."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        from tensorflow.lite.python import schema_py_generated as schema
    module: ModuleType = schema
    return module


@contextmanager
def _silent() -> Iterator[None]:
    """Discard the process's standard error: TensorFlow's C++ code writes there before its log level can be set."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    try:
        with open(os.devnull, "w") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
