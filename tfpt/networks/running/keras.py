"""Models of Keras, run with a look at what each layer gives."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from tfpt.errors import SourceError, TfptError
from tfpt.formats import open_source
from tfpt.io.locations import folder_of
from tfpt.nearest import nearest
from tfpt.networks.running.importing import import_keras, import_tensorflow
from tfpt.networks.running.keras_config import classes, refuse_code
from tfpt.networks.running.network import InputSpec, Recordable, Shape
from tfpt.networks.running.resolution import below, split_output
from tfpt.networks.running.tables import Table, tables_behind

_LISTED = 8


def open_keras(location: str, trust: bool = False) -> KerasNetwork:
    """The model in a ``.keras`` archive or a whole-model HDF5 file.

    Args:
        location: The file.
        trust: Let the model bring code: Lambda layers, and classes from modules beside the file.

    Raises:
        SourceError: It holds weights only, has code of its own, or Keras cannot make the model again.
    """
    keras = import_keras()
    config = _config(location)
    if not trust:
        refuse_code(config, keras.saving.get_custom_objects(), location)
    own = _imported(classes(config), location) if trust else {}
    try:
        with import_tensorflow().device("/CPU:0"):
            model = keras.saving.load_model(location, custom_objects=own, compile=False, safe_mode=not trust)
    except TfptError:
        raise
    except Exception as error:  # whatever Keras, h5py or a layer's constructor raises
        raise SourceError(
            "Keras cannot make the model again",
            where=location,
            expected=f"a model of layers that Keras {keras.__version__} has",
            got=_reason(error),
            hint="make the model in Python, and give it to tfpt.record itself",
        ) from None
    return KerasNetwork(model, location)


class KerasNetwork:
    """A `tfpt.networks.running.network.TensorFlowNetwork` over a model of Keras, of any kind: functional or subclassed.

    The model is called as it is, outside training, and each layer's call is seen on the way; so layers inside of
    others and of subclassed models have their values too, and a layer that is shared has one for each call.

    Args:
        model: A ``keras.Model``; anything else that is a layer will do.
        location: Where it is.
    """

    def __init__(self, model: Any, location: str = "") -> None:
        self._keras = import_keras()
        self._model = model
        self.location = location or f"the model {model.name}"
        self.format = f"Keras {type(model).__name__} model"
        self.facts: dict[str, Any] = {"keras": self._keras.__version__}
        self._layers = dict(_walk(model, ""))
        self._inputs = _inputs(model)

    def names(self) -> list[Recordable]:
        """The layers, those inside of others behind them as ``outer/inner``."""
        return [
            Recordable(path, type(layer).__name__, _shape(layer))
            for path, layer in self._layers.items()
            if type(layer).__name__ != "InputLayer"
        ]

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """The output of a layer: its path, the end of it, with ``:1`` for the second output or the second call."""
        name, number = split_output(op.strip("/"))
        for candidate in below(name, scopes):
            if candidate in self._layers:
                return f"{candidate}:{number}"
        ends = [path for path in self._layers if path.endswith(f"/{name}")]
        if len(ends) == 1:
            return f"{ends[0]}:{number}"
        if ends:
            raise SourceError(
                f"several layers are called {name}", where=self.location, expected="one", got=", ".join(ends)
            )
        raise SourceError(
            f"the model has no layer {name}",
            where=self.location,
            expected=" or ".join(below(name, scopes)),
            nearest=nearest(name, self._layers),
            hint=f"tfpt record --list {self.location}",
        )

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """The model's inputs."""
        strange = [name for name in fed if name not in self._inputs]
        if strange:
            raise SourceError(
                f"the model has no input {strange[0]}",
                where=self.location,
                expected=", ".join(self._inputs),
                hint="only a graph can be fed at any tensor",
            )
        return {name: spec for name, spec in self._inputs.items() if name not in fed}

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """The tables that are looked up with the values of these inputs, as far as a graph of the model shows."""
        tf = import_tensorflow()
        specs = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in self._inputs.items()}

        def call(arrays: Mapping[str, Any]) -> Any:
            return self._model(self._arguments(arrays), training=False)

        try:
            graph = tf.function(call).get_concrete_function(specs).graph
        except Exception:  # a model that cannot be traced may be run all the same
            return {}
        # Structures are laid flat in the order of their names.
        tensors = dict(zip(sorted(specs), graph.inputs, strict=False))
        return tables_behind({name: tensors[name] for name in inputs if name in tensors})

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted`, of one call of the model; without those of layers that this does not call."""
        for name, spec in self._inputs.items():
            if not spec.takes(tuple(np.shape(inputs[name]))):
                raise SourceError(
                    f"the input {name} has another shape than the model's",
                    where=self.location,
                    expected=str(spec),
                    got=str(list(np.shape(inputs[name]))),
                )
        seen: dict[str, list[np.ndarray]] = {}
        paths = dict.fromkeys(split_output(name)[0] for name in wanted)
        with ExitStack() as stack, import_tensorflow().device("/CPU:0"):
            for path in paths:
                stack.enter_context(_watched(self._layers[path], seen.setdefault(path, []), self._keras))
            try:
                self._model(self._arguments(inputs), training=False)
            except Exception as error:  # whatever a layer raises
                raise SourceError(
                    "Keras cannot run the model", where=self.location, got=_reason(error)
                ) from None
        found = {}
        for name in wanted:
            path, number = split_output(name)
            if number < len(seen[path]):
                found[name] = seen[path][number]
        return found

    def close(self) -> None:
        """Does nothing: Keras keeps no session."""

    def _arguments(self, inputs: Mapping[str, np.ndarray]) -> Any:
        """The inputs as the model takes them: in its own structure where it has one."""
        arrays = [
            self._keras.ops.convert_to_tensor(inputs[name], dtype=spec.dtype)
            for name, spec in self._inputs.items()
        ]
        structure = getattr(self._model, "_inputs_struct", None)
        if structure is not None:
            return self._keras.tree.pack_sequence_as(structure, arrays)
        return arrays[0] if len(arrays) == 1 else arrays


@contextmanager
def _watched(layer: Any, seen: list[np.ndarray], keras: Any) -> Iterator[None]:
    """Keep what a layer gives, while it is called as ever."""
    names = [name for name in ("call", "quantized_call") if hasattr(layer, name)]

    def keeping(call: Callable[..., Any]) -> Callable[..., Any]:
        def kept(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            seen.extend(
                np.array(keras.ops.convert_to_numpy(each))
                for each in keras.tree.flatten(output)
                # Not the tensors of a loop that is only being traced.
                if keras.ops.is_tensor(each) and hasattr(each, "numpy")
            )
            return output

        return kept

    for name in names:
        # Not setattr: Keras would track the function as a part of the layer.
        object.__setattr__(layer, name, keeping(getattr(layer, name)))
    try:
        yield
    finally:
        for name in names:
            object.__delattr__(layer, name)


def _walk(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The layers and operations inside a layer, with their paths, in its own order."""
    inside = getattr(layer, "operations", None)
    if inside is None:
        inside = getattr(layer, "layers", None) or layer._flatten_layers(include_self=False, recursive=False)
    for each in inside:
        path = f"{prefix}{each.name}"
        yield path, each
        if hasattr(each, "_flatten_layers"):
            yield from _walk(each, f"{path}/")


def _inputs(model: Any) -> dict[str, InputSpec]:
    """What a model takes; of a subclassed one what it was built with."""
    symbolic = getattr(model, "inputs", None)
    if symbolic:
        return {each.name: InputSpec(each.name, tuple(each.shape), str(each.dtype)) for each in symbolic}
    built = getattr(model, "_build_shapes_dict", None) or {}
    shapes = [tuple(shape) for shape in built.values() if isinstance(shape, list | tuple)]
    if len(shapes) == 1 and all(size is None or isinstance(size, int) for size in shapes[0]):
        return {"input": InputSpec("input", (None, *shapes[0][1:]), model.input_dtype)}
    return {"input": InputSpec("input", None, model.input_dtype)}


def _shape(layer: Any) -> Shape | None:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # never called, or called several times
        return None
    return tuple(shape)


def _config(location: str) -> Mapping[str, Any]:
    source = open_source(location)
    config = source.config
    source.close()
    if not isinstance(config, dict) or not config:
        raise SourceError(
            "the file holds weights only, not the model that they belong to",
            where=location,
            expected="a whole model, as model.save() writes it",
            hint="make the model in Python, load the weights, and save it as MODEL.keras",
        )
    return config


def _imported(named: Collection[tuple[str, str]], location: str) -> dict[str, Any]:
    """The classes from outside Keras, from modules on the path, beside the file or in the working folder."""
    before = list(sys.path)
    sys.path += [os.path.abspath(folder_of(location)), os.getcwd()]
    found = {}
    try:
        for module, name in named:
            if module.partition(".")[0] not in ("keras", "builtins"):
                found[name] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SourceError(
            f"the model needs {module}.{name}, which cannot be imported",
            where=location,
            got=str(error),
            hint=f"put {module.partition('.')[0]}.py beside the file, or its folder on PYTHONPATH",
        ) from None
    finally:
        sys.path[:] = before
    return found


def _reason(error: Exception) -> str:
    text = str(error).partition("Full object config")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__
