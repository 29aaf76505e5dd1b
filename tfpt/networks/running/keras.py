"""Keras models, run with a hook on each layer: by Keras 3 on TensorFlow or torch, or by Keras 2."""

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
from tfpt.networks.running.importing import import_keras, import_keras_2, import_tensorflow
from tfpt.networks.running.keras_code import classes, refuse_code, refuse_code_of_keras_2
from tfpt.networks.running.keras_runtime import KerasRuntime, runtime_of
from tfpt.networks.running.lookup_tables import Table, lookup_tables
from tfpt.networks.running.network import InputSpec, Recordable, Shape, scoped_names, split_output


def open_keras(location: str, trust: bool = False) -> KerasNetwork:
    """The Keras model in a ``.keras`` archive or in an HDF5 file of a whole model.

    Args:
        location: The file.
        trust: Allow the model to run its own code: Lambda layers, and classes from modules beside the file.

    Raises:
        SourceError: The file has only weights, the model has code of its own, or Keras cannot rebuild it.
    """
    keras = import_keras()
    config = _config(location)
    if not trust:
        refuse_code(config, keras.saving.get_custom_objects(), location)
    own = _custom_classes(classes(config), location) if trust else {}
    runtime = KerasRuntime(keras)
    try:
        with runtime.on_cpu():
            model = keras.saving.load_model(location, custom_objects=own, compile=False, safe_mode=not trust)
    except TfptError:
        raise
    except Exception as error:  # whatever Keras, h5py or a layer's constructor raises
        keras_2 = import_keras_2()
        if keras_2 is not None:
            if not trust:
                refuse_code_of_keras_2(config, keras_2, location)
            return _opened_by_keras_2(keras_2, location, own, trust, error)
        raise _cannot_rebuild(
            location,
            f"Keras {keras.__version__}",
            error,
            "pip install tf_keras, if Keras 2 wrote the file; or build the model in Python and pass it to "
            "tfpt.record",
        ) from None
    return KerasNetwork(model, location)


def _opened_by_keras_2(
    keras: Any, location: str, own: dict[str, Any], trust: bool, refusal: Exception
) -> KerasNetwork:
    """The model as Keras 2 reads it, which Keras 3 refuses to."""
    try:
        with KerasRuntime(keras).on_cpu():
            model = keras.models.load_model(location, custom_objects=own, compile=False, safe_mode=not trust)
    except Exception as error:  # as above
        raise _cannot_rebuild(
            location,
            f"Keras 3 or tf_keras {keras.__version__}",
            refusal,
            "build the model in Python and pass it to tfpt.record",
            also=error,
        ) from None
    return KerasNetwork(model, location)


def _cannot_rebuild(
    location: str, has: str, error: Exception, hint: str, also: Exception | None = None
) -> SourceError:
    more = "" if also is None else f"; tf_keras: {_short_message(also)}"
    return SourceError(
        "Keras cannot rebuild the model",
        where=location,
        expected=f"a model of layers that {has} has",
        got=f"{_short_message(error)}{more}",
        hint=hint,
    )


class KerasNetwork:
    """A `tfpt.networks.running.network.TensorFlowNetwork` for a Keras model of any kind: functional or subclassed.

    The model is called once in inference mode, and each layer's call is recorded. This also covers layers nested inside
    others and layers of subclassed models; a layer that is called several times has one output for each call.

    Args:
        model: A ``keras.Model`` or another ``keras.Layer``; or one of Keras 2, from the package ``tf_keras``.
        location: Path of the file; empty for a model in memory.
    """

    def __init__(self, model: Any, location: str = "") -> None:
        self._runtime = runtime_of(model)
        self._model = model
        self.location = location or f"the model {model.name}"
        self.format = f"Keras {type(model).__name__} model"
        self.runtime = self._runtime.described
        self.facts: dict[str, Any] = {"keras": self._runtime.version}
        self._layers = dict(_nested_layers(model, ""))
        self._inputs = _input_specs(model, self._runtime)

    def names(self) -> list[Recordable]:
        """The layers in order; nested ones follow their parent as ``outer/inner``."""
        return [
            Recordable(path, type(layer).__name__, _shape(layer))
            for path, layer in self._layers.items()
            if type(layer).__name__ != "InputLayer"
        ]

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """A layer's output: the layer's path or its end, with ``:1`` for the second output or the second call."""
        name, number = split_output(op.strip("/"))
        for candidate in scoped_names(name, scopes):
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
            expected=" or ".join(scoped_names(name, scopes)),
            nearest=nearest(name, self._layers),
            hint=f"tfpt record --list {self.location}",
        )

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """The model's inputs."""
        unknown = [name for name in fed if name not in self._inputs]
        if unknown:
            raise SourceError(
                f"the model has no input {unknown[0]}",
                where=self.location,
                expected=", ".join(self._inputs),
                hint="only graphs can be fed at any tensor",
            )
        return {name: spec for name, spec in self._inputs.items() if name not in fed}

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """The tables that these inputs index, as far as tracing the model shows."""
        if not self._runtime.on_tensorflow:
            return _embeddings(self._layers, self._model, inputs)
        tf = import_tensorflow()
        specs = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in self._inputs.items()}

        def call(arrays: Mapping[str, Any]) -> Any:
            return self._model(self._arguments(arrays), training=False)

        try:
            graph = tf.function(call).get_concrete_function(specs).graph
        except Exception:  # a model that cannot be traced can still be run
            return {}
        # tf.function flattens dictionaries in key order.
        tensors = dict(zip(sorted(specs), graph.inputs, strict=False))
        return lookup_tables({name: tensors[name] for name in inputs if name in tensors})

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted` from a single call of the model; layers that it does not call are left out."""
        for name, spec in self._inputs.items():
            if not spec.accepts(tuple(np.shape(inputs[name]))):
                raise SourceError(
                    f"the input {name} has another shape than the model's",
                    where=self.location,
                    expected=str(spec),
                    got=str(list(np.shape(inputs[name]))),
                )
        outputs: dict[str, list[np.ndarray]] = {}
        paths = dict.fromkeys(split_output(name)[0] for name in wanted)
        with ExitStack() as stack, self._runtime.on_cpu():
            for path in paths:
                stack.enter_context(
                    _capture_outputs(self._layers[path], outputs.setdefault(path, []), self._runtime)
                )
            try:
                self._model(self._arguments(inputs), training=False)
            except Exception as error:  # whatever a layer raises
                raise SourceError(
                    "Keras cannot run the model", where=self.location, got=_short_message(error)
                ) from None
        found = {}
        for name in wanted:
            path, number = split_output(name)
            if number < len(outputs[path]):
                found[name] = outputs[path][number]
        return found

    def close(self) -> None:
        """Does nothing: Keras has no session."""

    def _arguments(self, inputs: Mapping[str, np.ndarray]) -> Any:
        """The inputs as the model takes them: in its own structure if it has one."""
        arrays = [self._runtime.tensor(inputs[name], spec.dtype) for name, spec in self._inputs.items()]
        structure = getattr(self._model, "_inputs_struct", None)
        if structure is None:
            structure = getattr(self._model, "_nested_inputs", None)
        if structure is not None:
            return self._runtime.packed(structure, arrays)
        return arrays[0] if len(arrays) == 1 else arrays


@contextmanager
def _capture_outputs(layer: Any, outputs: list[np.ndarray], runtime: KerasRuntime) -> Iterator[None]:
    """Append copies of a layer's outputs to a list, one for each tensor of each call."""
    names = [name for name in ("call", "quantized_call") if hasattr(layer, name)]

    def capturing(call: Callable[..., Any]) -> Callable[..., Any]:
        def captured(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            outputs.extend(
                runtime.array(each) for each in runtime.flattened(output) if runtime.has_values(each)
            )
            return output

        return captured

    for name in names:
        # Not setattr: Keras would track the function as part of the layer.
        object.__setattr__(layer, name, capturing(getattr(layer, name)))
    try:
        yield
    finally:
        for name in names:
            object.__delattr__(layer, name)


def _nested_layers(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The layers and operations inside a layer with their paths, in Keras's order."""
    inside = getattr(layer, "operations", None)
    if inside is None:
        inside = getattr(layer, "layers", None) or layer._flatten_layers(include_self=False, recursive=False)
    for each in inside:
        path = f"{prefix}{each.name}"
        yield path, each
        if hasattr(each, "_flatten_layers"):
            yield from _nested_layers(each, f"{path}/")


def _input_specs(model: Any, runtime: KerasRuntime) -> dict[str, InputSpec]:
    """The inputs of a model; for a subclassed one, the shapes it was built with."""
    symbolic = getattr(model, "inputs", None)
    if symbolic:
        return {
            each.name: InputSpec(each.name, tuple(each.shape), runtime.dtype_name(each.dtype))
            for each in symbolic
        }
    dtype = getattr(model, "input_dtype", None) or model.compute_dtype
    built = getattr(model, "_build_shapes_dict", None) or {}
    shapes = [tuple(shape) for shape in built.values() if isinstance(shape, list | tuple)]
    if len(shapes) == 1 and all(size is None or isinstance(size, int) for size in shapes[0]):
        return {"input": InputSpec("input", (None, *shapes[0][1:]), dtype)}
    return {"input": InputSpec("input", None, dtype)}


def _embeddings(layers: Mapping[str, Any], model: Any, inputs: Collection[str]) -> dict[str, Table]:
    """The tables of the embeddings that take an input of the model, the smallest for each."""
    symbolic = {id(each): each.name for each in getattr(model, "inputs", None) or ()}
    found: dict[str, Table] = {}
    for path, layer in layers.items():
        if type(layer).__name__ != "Embedding":
            continue
        try:
            name = symbolic.get(id(layer.input), "")
        except (AttributeError, ValueError):  # never called, or called several times
            continue
        if name in inputs and (name not in found or layer.input_dim < found[name].rows):
            found[name] = Table(path, int(layer.input_dim))
    return found


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
            "the file has weights only, not the model they belong to",
            where=location,
            expected="a whole model, as saved by model.save()",
            hint="build the model in Python, load the weights, and save it as MODEL.keras",
        )
    return config


def _custom_classes(named: Collection[tuple[str, str]], location: str) -> dict[str, Any]:
    """The classes that are not from Keras, imported from ``sys.path``, the file's folder or the working directory."""
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


def _short_message(error: Exception) -> str:
    text = str(error).partition("Full object config")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__
