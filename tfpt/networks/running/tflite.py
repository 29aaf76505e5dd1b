"""TensorFlow Lite models, run by the interpreter of ai-edge-litert or of TensorFlow, with every tensor kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.storage import open_storage
from tfpt.nearest import nearest
from tfpt.networks.running.importing import import_interpreter, import_schema
from tfpt.networks.running.lookup_tables import Table
from tfpt.networks.running.network import InputSpec, Recordable, Shape, scoped_names


class TfliteNetwork:
    """A `tfpt.networks.running.network.TensorFlowNetwork` for a TensorFlow Lite model.

    Only built-in operations run, none of which access files: the delegate for operations of TensorFlow is left out, as
    are those that fuse operations, whose intermediate tensors would be missing. Quantized activations are recorded as
    the numbers that they represent; so are quantized inputs, of which the interpreter gets the nearest integers.

    Args:
        location: The file.
        trust: Let the interpreter read the file itself. Otherwise it is parsed and written again in memory, since the
            interpreter does not check offsets: a damaged file could crash the process, or a malicious one run code.

    Raises:
        SourceError: No interpreter is installed, or it cannot read the file.
    """

    def __init__(self, location: str, trust: bool = False) -> None:
        module, self.runtime = import_interpreter()
        self.location = location
        self.format = "TensorFlow Lite model"
        self.facts: dict[str, Any] = {}
        try:
            self._interpreter = module.Interpreter(
                **({"model_path": location} if trust else {"model_content": _rewritten(location)}),
                experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise SourceError(
                "the interpreter cannot read the TensorFlow Lite model",
                where=location,
                expected="built-in operations of TensorFlow Lite",
                got=str(error)[:300],
            ) from None
        details = {each["index"]: each for each in self._interpreter.get_tensor_details()}
        self._input_details = {
            _unprefixed(each["name"]): each for each in self._interpreter.get_input_details()
        }
        self._activations: dict[str, tuple[Any, str]] = {}
        fed = {each["index"] for each in self._input_details.values()}
        for operation in self._interpreter._get_ops_details():
            if fed & {*operation["inputs"]}:
                # A weight that is only dequantized does not depend on the input.
                fed |= {*operation["outputs"]}
                for index in operation["outputs"]:
                    if index in details:
                        self._note(details[index], str(operation["op_name"]))

    def names(self) -> list[Recordable]:
        """The tensors that depend on the input, in the order in which they are computed."""
        return [Recordable(name, kind, _shape(each)) for name, (each, kind) in self._activations.items()]

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """The tensor: its name, one of the names that the converter joined with semicolons, or the end of one."""
        for candidate in scoped_names(op.strip("/"), scopes):
            if candidate in self._activations:
                return candidate
            for matches in (self._joined(candidate), self._ending(candidate)):
                if len(matches) == 1:
                    return matches[0]
                if matches:
                    raise SourceError(
                        f"several tensors are called {candidate}",
                        where=self.location,
                        expected="one",
                        got=", ".join(matches[:8]),
                    )
        raise SourceError(
            f"the model has no tensor {op}",
            where=self.location,
            nearest=nearest(op, self._activations),
            hint=f"tfpt record --list {self.location}",
        )

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """The model's inputs; quantized ones take the numbers that they represent."""
        unknown = [name for name in fed if name not in self._input_details]
        if unknown:
            raise SourceError(
                f"the model has no input {unknown[0]}",
                where=self.location,
                expected=", ".join(self._input_details),
            )
        return {
            name: InputSpec(
                name, _shape(each), "float32" if _scale(each) is not None else np.dtype(each["dtype"]).name
            )
            for name, each in self._input_details.items()
            if name not in fed
        }

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """The tables that these inputs index: those of the gathers and lookups that read them."""
        details = {each["index"]: each for each in self._interpreter.get_tensor_details()}
        found: dict[str, Table] = {}
        for name in inputs:
            index = self._input_details[name]["index"]
            for operation in self._interpreter._get_ops_details():
                place = {"GATHER": 0, "EMBEDDING_LOOKUP": 1}.get(str(operation["op_name"]))
                if place is None or operation["inputs"][1 - place] != index:
                    continue
                table = details[operation["inputs"][place]]
                rows = int(table["shape"][0])
                if name not in found or rows < found[name].rows:
                    found[name] = Table(str(table["name"]), rows)
        return found

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted` from a single run."""
        for name, spec in self.inputs(wanted).items():
            shape = tuple(np.shape(inputs[name]))
            if not spec.accepts(shape):
                raise SourceError(
                    f"the input {name} has another shape than the model's",
                    where=self.location,
                    expected=str(spec),
                    got=str(list(shape)),
                )
        try:
            for name, each in self._input_details.items():
                self._interpreter.resize_tensor_input(each["index"], np.shape(inputs[name]))
            self._interpreter.allocate_tensors()
            for name, each in self._input_details.items():
                self._interpreter.set_tensor(each["index"], _quantized(np.asarray(inputs[name]), each))
            self._interpreter.invoke()
            return {name: self._value(name) for name in wanted}
        except (ValueError, RuntimeError) as error:
            raise SourceError(
                "the interpreter cannot run the TensorFlow Lite model",
                where=self.location,
                got=str(error)[:300],
            ) from None

    def close(self) -> None:
        """Release the interpreter."""
        self._interpreter = None

    def _note(self, detail: Mapping[str, Any], kind: str) -> None:
        name = str(detail["name"]) or f"tensor {detail['index']}"
        if name in self._activations:
            name = f"{name} #{detail['index']}"
        self._activations[name] = (detail, kind)

    def _joined(self, name: str) -> list[str]:
        return [each for each in self._activations if name in each.split(";")]

    def _ending(self, name: str) -> list[str]:
        return [
            each for each in self._activations if any(part.endswith(f"/{name}") for part in each.split(";"))
        ]

    def _value(self, name: str) -> np.ndarray:
        detail, _ = self._activations[name]
        values = np.array(self._interpreter.get_tensor(detail["index"]))
        scale = _scale(detail)
        if scale is None:
            return values
        by_axis, zeros, axis = scale
        shape = [1] * values.ndim
        if by_axis.size > 1:
            shape[axis] = by_axis.size
        real: np.ndarray = (values.astype(np.float32) - zeros.reshape(shape)) * by_axis.reshape(shape)
        return real


def _rewritten(location: str) -> bytes:
    """The model, parsed and written again, so that every offset in it is right.

    Raises:
        SourceError: The file is damaged, or has buffers outside the flatbuffer, as files beyond 2 GB do.
    """
    import flatbuffers

    schema = import_schema()
    data = open_storage(location).data[:].tobytes()
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        outside = any(getattr(buffer, "offset", 0) > 1 for buffer in model.buffers or ())
        builder = flatbuffers.Builder(len(data) + 1024)
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception as error:  # struct.error, IndexError, MemoryError and others, depending on the damage
        raise SourceError(
            "the TensorFlow Lite model is damaged", where=location, got=str(error)[:300], hint=DOWNLOAD_AGAIN
        ) from None
    if outside:
        raise SourceError(
            "the model has weights outside of its flatbuffer, which are not checked",
            where=location,
            hint="--trust, if you trust the source of the file",
        )
    return bytes(builder.Output())


def _unprefixed(name: str) -> str:
    """The name of an input without what signatures put around it.

    Example:
        >>> _unprefixed("serving_default_image:0"), _unprefixed("x")
        ('image', 'x')
    """
    return name.removeprefix("serving_default_").removesuffix(":0") or name


def _scale(detail: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, int] | None:
    """The scales and zero points of a quantized tensor, and their axis; ``None`` if it is not quantized."""
    quantization = detail["quantization_parameters"]
    scales = np.asarray(quantization["scales"], np.float32)
    if not scales.size or np.dtype(detail["dtype"]).kind not in "iu":
        return None
    zeros = np.asarray(quantization["zero_points"], np.float32)
    return scales, zeros, int(quantization["quantized_dimension"])


def _quantized(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """An input in the model's own dtype."""
    dtype = np.dtype(detail["dtype"])
    scale = _scale(detail)
    if scale is None or array.dtype.kind not in "f":
        return array.astype(dtype)
    scales, zeros, _ = scale
    limits = np.iinfo(dtype)
    numbers = np.round(array.astype(np.float64) / scales[0] + zeros[0])
    clipped: np.ndarray = np.clip(numbers, limits.min, limits.max).astype(dtype)
    return clipped


def _shape(detail: Mapping[str, Any]) -> Shape:
    """The shape of a tensor, with ``None`` for sizes that the model leaves open."""
    signature = detail.get("shape_signature")
    sizes = detail["shape"] if signature is None or not len(signature) else signature
    return tuple(None if size < 0 else int(size) for size in sizes)
