"""The tensors that a pickle of `torch.save` builds from storages, described without creating them.

The calls are those of torch/_utils.py that `torch.load(weights_only=True)` allows; their results are described, and
none is called. Tensors are views of storages: a tensor that reaches beyond its storage is damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tfpt.formats.pickle import calls
from tfpt.formats.pickle.calls import Arrays, CodeError, Symbol, full_name, text_of
from tfpt.formats.pickle.opcodes import PickleDamageError
from tfpt.formats.pytorch.tensors import (
    AXES,
    DTYPES,
    STORAGES,
    Nameless,
    Quantizer,
    Sparse,
    StorageRef,
    Tensor,
)

_LARGEST = 2**63 - 1

# Names of constants.
_SCHEMES = frozenset(
    f"torch.{scheme}"
    for scheme in (
        "per_tensor_affine",
        "per_tensor_symmetric",
        "per_channel_affine",
        "per_channel_symmetric",
        "per_channel_affine_float_qparams",
    )
)
_PARAMETERS = (
    "torch.nn.parameter.Parameter",
    "torch.nn.Parameter",
    "torch.nn.parameter.Buffer",
    "torch.Tensor",
)


class Wrapped:
    """A parameter whose tensor the pickle sets later: torch before 0.4.1."""

    tensor: Tensor | None = None


@dataclass
class Torch(Arrays):
    """The vocabulary of pickles of `torch.save`.

    Args:
        storage: Returns the storage of a persistent ID: key, element type, number of elements, and first element and
            number of elements of a view.
    """

    storage: Callable[[str, str, int, tuple[int, int] | None], StorageRef]

    def symbol(self, where: str, module: object, name: object) -> object:
        """The callable, the class or the constant of that name."""
        full = full_name(module, name)
        if full in calls.KNOWN or full in _CALLS or full in _SCHEMES:
            return Symbol(full)
        if full.startswith("torch.") and full.removeprefix("torch.") in DTYPES:
            return Symbol(full)
        if full.startswith("torch.") and full.rpartition(".")[2] in STORAGES:
            return Symbol(f"torch.{full.rpartition('.')[2]}")
        # Types of tensors, which old files contain beside the tensors.
        if full.startswith("torch.") and full.endswith("Tensor") and full.count(".") <= 3:
            return Symbol(full)
        raise CodeError(
            "the file would run code when loaded, and was not loaded",
            where=where,
            expected="tensors and plain containers",
            got=full.removeprefix("builtins.")[:200],
            hint="if you trust it, save only its state_dict()",
        )

    def made(self, called: object, arguments: tuple[object, ...]) -> object:
        """The result of a call."""
        if isinstance(called, Symbol) and called.name in _CALLS:
            return _CALLS[called.name](*arguments)
        return super().made(called, arguments)

    def built(self, target: object, state: object) -> None:
        """Set the state of an object; attributes of containers and parameters are ignored."""
        if isinstance(target, Wrapped) and isinstance(state, tuple) and state:
            target.tensor = _tensor(state[0])
        elif not (isinstance(target, (dict, Tensor, Sparse, Wrapped)) and isinstance(state, (dict, tuple))):
            super().built(target, state)

    def found(self, name: object) -> object:
        """The storage of a persistent ID."""
        if not isinstance(name, tuple) or len(name) not in (5, 6) or text_of(name[0]) != "storage":
            raise PickleDamageError("a persistent ID that is not a storage")
        kind, key, size, view = name[1], name[2], name[4], name[5] if len(name) == 6 else None
        if not isinstance(kind, Symbol) or kind.name.removeprefix("torch.") not in STORAGES:
            raise PickleDamageError("a storage of unknown type")
        part = None
        if view is not None:
            if not isinstance(view, tuple) or len(view) != 3:
                raise PickleDamageError("an invalid view of a storage")
            part = _count(view[1]), _count(view[2])
        word = STORAGES[kind.name.removeprefix("torch.")]
        return self.storage(str(key) if isinstance(key, int) else text_of(key), word, _count(size), part)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise PickleDamageError("an invalid number of elements")
    return value


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > AXES:
        raise PickleDamageError(f"a shape or strides that are not a tuple of at most {AXES} axes")
    return tuple(map(_count, values))


def _tensor(value: object) -> Tensor:
    if isinstance(value, Wrapped) and value.tensor is not None:
        return value.tensor
    if not isinstance(value, Tensor):
        raise PickleDamageError(f"a {type(value).__name__} instead of a tensor")
    return value


def _plain(storage: object, offset: object, shape: object, strides: object) -> Tensor:
    """`torch._utils._rebuild_tensor`."""
    if not isinstance(storage, StorageRef):
        raise PickleDamageError(f"a tensor of a {type(storage).__name__}")
    return _view(storage, storage.dtype, _count(offset), _counts(shape), _counts(strides))


def _view(
    storage: StorageRef, word: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    if len(shape) != len(strides):
        raise PickleDamageError(f"{len(shape)} axes with {len(strides)} strides")
    found = Tensor(word, shape, storage, offset, strides)
    # Of elements of less than a byte nothing is read.
    if DTYPES[word][0] is not None and found.end * found.itemsize > storage.nbytes:
        raise PickleDamageError(f"a tensor that reaches beyond its storage of {storage.nbytes:,} bytes")
    return found


def _v2(storage: object, offset: object, shape: object, strides: object, *rest: object) -> Tensor:
    """`torch._utils._rebuild_tensor_v2`: then requires_grad, hooks and the metadata of its values."""
    return _seen(_plain(storage, offset, shape, strides), rest[2] if len(rest) > 2 else None)


def _v3(
    storage: object, offset: object, shape: object, strides: object, learns: object, hooks: object, word: object,
    metadata: object = None,
) -> Tensor:  # fmt: skip
    """`torch._utils._rebuild_tensor_v3`: element types without a storage type."""
    if not isinstance(storage, StorageRef) or not isinstance(word, Symbol):
        raise PickleDamageError("a tensor without storage or dtype")
    word = word.name.removeprefix("torch.")
    return _seen(_view(storage, word, _count(offset), _counts(shape), _counts(strides)), metadata)


def _seen(tensor: Tensor, metadata: object) -> Tensor:
    if not isinstance(metadata, dict):
        return tensor
    return replace(tensor, conjugate=bool(metadata.get("conj")), negative=bool(metadata.get("neg")))


def _parameter(data: object, *_: object) -> object:
    return data if isinstance(data, (Sparse, Nameless)) else _tensor(data)


def _wrapped(*arguments: object) -> object:
    return _parameter(*arguments) if arguments else Wrapped()


def _quantized(
    storage: object, offset: object, shape: object, strides: object, how: object, *_: object
) -> Tensor:
    """`torch._utils._rebuild_qtensor`."""
    tensor = _plain(storage, offset, shape, strides)
    if not isinstance(how, tuple) or not how or not isinstance(how[0], Symbol):
        raise PickleDamageError("a quantized tensor without a scheme")
    scheme = how[0].name.removeprefix("torch.")
    if scheme == "per_tensor_affine" and len(how) == 3:
        scale, zero = how[1:]
        if not isinstance(scale, (int, float)) or not isinstance(zero, int):
            raise PickleDamageError("a quantized tensor without scale")
        return replace(tensor, quantizer=Quantizer(scheme, float(scale), zero))
    if scheme.startswith("per_channel_affine") and len(how) == 4:
        scales, zeros, axis = _tensor(how[1]), _tensor(how[2]), _count(how[3])
        if axis >= len(tensor.shape) or not scales.shape == zeros.shape == tensor.shape[axis : axis + 1]:
            raise PickleDamageError("scales of a quantized tensor that do not fit its axis")
        return replace(tensor, quantizer=Quantizer(scheme, scales, zeros, axis))
    raise PickleDamageError(f"a quantized tensor of scheme {scheme}")


def _sparse(layout: object, data: object) -> Sparse:
    """`torch._utils._rebuild_sparse_tensor`: two or three tensors and a shape."""
    if not isinstance(data, tuple) or not isinstance(layout, str):
        raise PickleDamageError("a sparse tensor without a layout")
    count = 2 if layout == "torch.sparse_coo" else 3
    if len(data) <= count:
        raise PickleDamageError("a sparse tensor of too few parts")
    return Sparse(layout, tuple(map(_tensor, data[:count])), _counts(data[count]))


def _layout(name: object) -> str:
    return text_of(name)


def _meta(word: object, shape: object, *_: object) -> Nameless:
    _counts(shape)
    return Nameless("a tensor without values")


def _nested(*_: object) -> Nameless:
    return Nameless("a nested tensor")


def _foreign(*_: object) -> Nameless:
    return Nameless("a tensor of a subclass, or of another device")


def _typed(rebuild: object, kind: object, arguments: object, *_: object) -> object:
    """`torch._tensor._rebuild_from_type_v2`: a tensor with additional attributes."""
    if not isinstance(rebuild, Symbol) or rebuild.name not in _CALLS or not isinstance(arguments, tuple):
        raise PickleDamageError("a tensor made by an unknown function")
    if rebuild.name == _TYPED:
        raise PickleDamageError("nested tensors with attributes")
    return _CALLS[rebuild.name](*arguments)


def _size(values: object = ()) -> tuple[int, ...]:
    return _counts(values)


def _device(*parts: object) -> str:
    return ":".join(part if isinstance(part, str) else str(_count(part)) for part in parts[:2])


_TYPED = "torch._tensor._rebuild_from_type_v2"
_CALLS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _plain,
    "torch._utils._rebuild_tensor_v2": _v2,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_device_tensor_from_numpy": _foreign,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _foreign,
    "torch._utils._rebuild_wrapper_subclass": _foreign,
    "torch.serialization._get_layout": _layout,
    "torch.Size": _size,
    "torch.device": _device,
    _TYPED: _typed,
    **dict.fromkeys(_PARAMETERS, _wrapped),
}
