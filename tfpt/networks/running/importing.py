"""Imports TensorFlow and Keras only when a network has to be run, and suppresses what they print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

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


def import_keras() -> ModuleType:
    """Import Keras 3 with the TensorFlow backend.

    Raises:
        SourceError: Keras is not installed, is older, or uses another backend.
    """
    tf = import_tensorflow()
    try:
        with _silent():
            import keras
    except ImportError as error:
        raise SourceError(
            "running a Keras model needs Keras, which is not installed", got=str(error), hint=_HINT
        ) from None
    if int(keras.__version__.partition(".")[0]) < 3 or keras.backend.backend() != "tensorflow":
        raise SourceError(
            "Keras models need Keras 3 with the TensorFlow backend",
            expected=f"Keras 3 on TensorFlow {tf.__version__}",
            got=f"Keras {keras.__version__} on {keras.backend.backend()}",
            hint="export KERAS_BACKEND=tensorflow",
        )
    module: ModuleType = keras
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
