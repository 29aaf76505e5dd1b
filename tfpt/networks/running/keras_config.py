"""What the configuration of a model of Keras names: classes and functions of Keras, code of its own, files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfpt.errors import SourceError

# Layers that run code or load files which the model brings along, and functions written out as code.
_BRINGS_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")

# Where Keras keeps what models are made of. Elsewhere in it are functions that fetch files or switch its own checks
# off (keras.utils.get_file, keras.config.enable_unsafe_deserialization), which a configuration could name as well.
_FUNCTIONS = "activations|constraints|initializers|losses|metrics|ops|quantizers|regularizers"
_CLASSES = rf"{_FUNCTIONS}|dtype_policies|engine|layers|models|optimizers|random"
_OF_FUNCTIONS = re.compile(rf"builtins|keras(?:\.src)?\.(?:{_FUNCTIONS})(?:\.\w+)*")
_OF_CLASSES = re.compile(rf"builtins|keras|keras(?:\.src)?\.(?:{_CLASSES})(?:\.\w+)*")

# Under these a layer takes the name of a file: a vocabulary, saved weights.
_FILES = ("vocabulary", "idf_weights", "filepath", "file_path", "filename")


def classes(config: object) -> list[tuple[str, str]]:
    """Module and name of every class in a configuration, each once.

    Example:
        >>> classes({"class_name": "Dense", "config": {"dtype": {"class_name": "DTypePolicy", "module": "keras"}}})
        [('keras', 'Dense'), ('keras', 'DTypePolicy')]
    """
    return list(dict.fromkeys((_module(each), each["class_name"]) for each in _objects(config)))


def refuse_code(config: object, registered: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration that brings code, names what no model is made of, or reads files.

    Args:
        config: The configuration, as JSON has it.
        registered: The classes and functions that the person who runs this made known to Keras, by their names.
        where: The file, for errors.

    Raises:
        SourceError: It does.
    """
    for each in _objects(config):
        name, module = each["class_name"], _module(each)
        if name.rpartition(">")[2] in _BRINGS_CODE:
            raise SourceError(
                f"the model would run code of its own: it has a layer {name}",
                where=where,
                expected="layers of Keras, which are data",
                got="nothing of it was run",
                hint="--trust, if you know where the file comes from",
            )
        known = _OF_FUNCTIONS if name == "function" else _OF_CLASSES
        if not known.fullmatch(module) and str(each.get("registered_name")) not in registered:
            what = each.get("config") if name == "function" else name
            own = module.partition(".")[0] not in ("keras", "tensorflow")
            raise SourceError(
                "Keras cannot make the model again without code from elsewhere",
                where=where,
                expected="layers, and functions of layers, of Keras itself",
                got=f"{module}.{what}",
                hint=f"put the module of {module}.{what} beside the file, and --trust"
                if own
                else "--trust, if you know where the file comes from",
            )
        settings = each.get("config")
        for key in _FILES:
            if isinstance(settings, dict) and isinstance(settings.get(key), str):
                raise SourceError(
                    f"the model would read a file of this machine: {key} of its layer {name}",
                    where=where,
                    expected="what the layer needs inside of the model's file",
                    got=settings[key],
                    hint="--trust, if you know where the file comes from",
                )


def _module(each: Mapping[str, Any]) -> str:
    return str(each.get("module") or "keras")


def _objects(config: object) -> Iterator[Mapping[str, Any]]:
    """Every table of a configuration that names a class or a function, the outer ones first."""
    work = [config]
    while work:
        each = work.pop()
        if isinstance(each, dict):
            if isinstance(each.get("class_name"), str):
                yield each
            work += reversed(list(each.values()))
        elif isinstance(each, list):
            work += reversed(each)
