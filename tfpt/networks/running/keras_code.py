"""Checks the configuration of a Keras model for code of its own and for access to files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfpt.errors import SourceError

# Layers that run code or load files supplied with the model, and functions serialized as code.
_BRINGS_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")

# The modules of Keras that models are built from. Other modules have functions that download files or disable Keras's
# own checks (keras.utils.get_file, keras.config.enable_unsafe_deserialization), which a configuration could name too.
_FUNCTION_MODULES = "activations|constraints|initializers|losses|metrics|ops|quantizers|regularizers"
_CLASS_MODULES = rf"{_FUNCTION_MODULES}|dtype_policies|engine|layers|models|optimizers|random"
_FUNCTIONS = re.compile(rf"builtins|keras(?:\.src)?\.(?:{_FUNCTION_MODULES})(?:\.\w+)*")
_CLASSES = re.compile(rf"builtins|keras|keras(?:\.src)?\.(?:{_CLASS_MODULES})(?:\.\w+)*")

# Where Keras 2 has what models are built from. Its TFOpLambda, which is in none of them, calls functions by name.
_PUBLIC_MODULES = ("layers", "models", "initializers", "regularizers", "constraints", "activations", "losses")
_PRIVATE_CLASSES = ("Functional", "Policy", "DTypePolicy", "__tuple__", "TensorShape")

# Layer settings that may be the name of a file: a vocabulary, saved weights.
_FILES = ("vocabulary", "idf_weights", "filepath", "file_path", "filename")


def classes(config: object) -> list[tuple[str, str]]:
    """Module and name of every class in a configuration, without duplicates.

    Example:
        >>> classes({"class_name": "Dense", "config": {"dtype": {"class_name": "DTypePolicy", "module": "keras"}}})
        [('keras', 'Dense'), ('keras', 'DTypePolicy')]
    """
    return list(dict.fromkeys((_module(each), each["class_name"]) for each in _objects(config)))


def refuse_code(config: object, registered: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration that contains code, names objects that no model needs, or reads files.

    Args:
        config: The configuration as parsed JSON.
        registered: The classes and functions that the calling program has registered with Keras, by name.
        where: The file, for error messages.

    Raises:
        SourceError: The configuration does one of these.
    """
    for each in _objects(config):
        name, module = each["class_name"], _module(each)
        if name.rpartition(">")[2] in _BRINGS_CODE:
            raise SourceError(
                f"the model would run code of its own: it has a layer {name}",
                where=where,
                expected="layers of Keras, which are data",
                got="none of it was run",
                hint="--trust, if you trust the source of the file",
            )
        known = _FUNCTIONS if name == "function" else _CLASSES
        if not known.fullmatch(module) and str(each.get("registered_name")) not in registered:
            what = each.get("config") if name == "function" else name
            own = module.partition(".")[0] not in ("keras", "tensorflow")
            raise SourceError(
                "Keras cannot rebuild the model without code from elsewhere",
                where=where,
                expected="layers, and functions of layers, of Keras itself",
                got=f"{module}.{what}",
                hint=f"put the module of {module}.{what} beside the file, and --trust"
                if own
                else "--trust, if you trust the source of the file",
            )
        settings = each.get("config")
        for key in _FILES:
            if isinstance(settings, dict) and isinstance(settings.get(key), str):
                raise SourceError(
                    f"the model would read a file of this machine: {key} of its layer {name}",
                    where=where,
                    expected="everything the layer needs in the model's file",
                    got=settings[key],
                    hint="--trust, if you trust the source of the file",
                )


def _module(each: Mapping[str, Any]) -> str:
    return str(each.get("module") or "keras")


def _objects(config: object) -> Iterator[Mapping[str, Any]]:
    """Every dictionary in a configuration that names a class or a function, outer ones first."""
    work = [config]
    while work:
        each = work.pop()
        if isinstance(each, dict):
            if isinstance(each.get("class_name"), str):
                yield each
            work += reversed(list(each.values()))
        elif isinstance(each, list):
            work += reversed(each)


def refuse_code_of_keras_2(config: object, keras: Any, where: str) -> None:
    """Refuse classes of Keras 2 that are not in its public modules: some call any function of TensorFlow by its name.

    Args:
        config: The configuration as parsed JSON, after `refuse_code`.
        keras: The package ``tf_keras``.
        where: The file, for error messages.

    Raises:
        SourceError: The configuration names such a class.
    """
    modules = [getattr(keras, name) for name in _PUBLIC_MODULES]
    for each in _objects(config):
        name = each["class_name"].rpartition(">")[2]
        if name not in _PRIVATE_CLASSES and not any(hasattr(module, name) for module in modules):
            raise SourceError(
                f"the model would run code of its own: it has a layer {name}",
                where=where,
                expected="layers of Keras, which are data",
                got="none of it was run",
                hint="--trust, if you trust the source of the file",
            )
