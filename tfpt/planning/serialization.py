"""Plain data as JSON values and back, checked field by field: what plans are written as and read from.

Everything goes by the declared types of fields, so a new field or operation needs no code here. Dataclasses and
pydantic models become objects without the fields that have their defaults, tuples become lists.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from tfpt.errors import TfptError
from tfpt.operations.layout import Layout
from tfpt.tensors import TensorSpec, dtype

T = TypeVar("T")

_NOT_FINITE = ("inf", "-inf", "nan")


class PlanFormatError(TfptError):
    """JSON values that are not a plan, or not one that this version of tfpt can read."""


def encode(value: object) -> Any:
    """A value as JSON values.

    Example:
        >>> encode(TensorSpec("w", (2, 3), "float32"))
        {'name': 'w', 'shape': [2, 3], 'dtype': 'float32'}
        >>> encode((Layout.parse("i o -> o i"), math.inf))
        [{'pattern': 'i o -> o i'}, 'inf']
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))  # JSON has no such numbers
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    if isinstance(value, Mapping):
        return {key: encode(each) for key, each in value.items()}
    if isinstance(value, Layout):  # both sides follow from the pattern
        return {"pattern": value.pattern, **({"axes": dict(value.sizes)} if value.sizes else {})}
    kind: Any = type(value)
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(kind):
        fields = {name: (getattr(value, name), default) for name, (_, default) in _fields(kind).items()}
        return {name: encode(each) for name, (each, default) in fields.items() if each != default}
    return value


def decode(kind: type[T] | types.UnionType, value: object, where: str) -> T:
    """The value of type `kind` that was encoded.

    Args:
        kind: A class, a tuple, a mapping, or a union of one of these and None.
        value: JSON values.
        where: Their location in the document, for errors.

    Raises:
        PlanFormatError: They are not such a value.

    Example:
        >>> decode(TensorSpec, {"name": "w", "shape": [2, 3], "dtype": "float32"}, "writes[0]")
        TensorSpec(name='w', shape=(2, 3), dtype='float32')
        >>> decode(TensorSpec, {"name": "w", "shape": [2, -3], "dtype": "float32"}, "writes[0]")
        Traceback (most recent call last):
        tfpt.planning.serialization.PlanFormatError: the plan is damaged: not the shape and dtype of a tensor
          where     writes[0]
          got       [2, -3] float32
    """
    return cast(T, _decoded(kind, value, where))


def damaged(what: str, where: str, *, expected: str | None = None, got: object = None) -> PlanFormatError:
    """The error for a plan that contradicts itself or lacks something."""
    shown = None if got is None else str(got)
    return PlanFormatError(
        f"the plan is damaged: {what}",
        where=where,
        expected=expected,
        got=shown if shown is None or len(shown) <= 80 else f"{shown[:80]}…",
    )


def read_object(value: object, where: str, known: Mapping[str, bool]) -> Mapping[str, Any]:
    """A JSON object that has the keys that are required (True) and no others than those known."""
    if not isinstance(value, Mapping):
        raise damaged("not an object", where, got=type(value).__name__)
    unknown = [str(key) for key in value if key not in known]
    if unknown:
        raise damaged("unknown key", where, expected=f"only {', '.join(known)}", got=", ".join(unknown))
    missing = [key for key, required in known.items() if required and key not in value]
    if missing:
        raise damaged("missing key", where, expected=", ".join(missing))
    return value


def read_kind(value: object, where: str, kinds: Collection[str]) -> str:
    """The `kind` of a JSON object, one of `kinds`."""
    kind = value.get("kind") if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping) or not isinstance(kind, str) or kind not in kinds:
        raise damaged("unknown kind", where, expected=", ".join(kinds), got=kind)
    return kind


def _decoded(kind: Any, value: object, where: str) -> Any:
    if kind in _SCALARS:
        if not _SCALARS[kind](value):
            raise damaged("value of the wrong type", where, expected=kind.__name__, got=repr(value))
        return float(value) if isinstance(value, str) and kind is float else value
    if get_origin(kind) in (Union, types.UnionType):
        return _one_of(get_args(kind), value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise damaged("not a list", where, got=repr(value))
        each, *rest = get_args(kind)
        if rest != [...]:
            return _adapted(kind, value, where)
        return tuple(_decoded(each, one, f"{where}[{index}]") for index, one in enumerate(value))
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        _, each = get_args(kind)
        if not isinstance(value, Mapping):
            raise damaged("not an object", where, got=repr(value))
        return {key: _decoded(each, one, f"{where}.{key}") for key, one in value.items()}
    if kind is Layout:
        entry = read_object(value, where, {"pattern": True, "axes": False})
        pattern = _decoded(str, entry["pattern"], f"{where}.pattern")
        axes = _decoded(Mapping[str, int], entry.get("axes", {}), f"{where}.axes")
        return _made(lambda: Layout.parse(pattern, axes), where)
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where)
    return _adapted(kind, value, where)


def _object(kind: Any, value: object, where: str) -> Any:
    fields = _fields(kind)
    entry = read_object(
        value, where, {name: default is dataclasses.MISSING for name, (_, default) in fields.items()}
    )
    values = {name: _decoded(fields[name][0], each, f"{where}.{name}") for name, each in entry.items()}
    made = _made(lambda: kind(**values), where)
    if isinstance(made, TensorSpec) and (min(made.shape, default=0) < 0 or not _is_dtype(made.dtype)):
        raise damaged("not the shape and dtype of a tensor", where, got=f"{list(made.shape)} {made.dtype}")
    return made


def _one_of(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _decoded(rest[0], value, where)
    scalars = [kind for kind in rest if kind in _SCALARS]
    if len(scalars) == len(rest):
        fitting = next((kind for kind in rest if _SCALARS[kind](value)), None)
        if fitting is None:
            expected = " or ".join(kind.__name__ for kind in rest)
            raise damaged("value of the wrong type", where, expected=expected, got=repr(value))
        return _decoded(fitting, value, where)
    return _adapted(Union[tuple(kinds)], value, where)  # noqa: UP007  of a tuple


def _adapted(kind: Any, value: object, where: str) -> Any:
    """What pydantic makes of it: models, literals, unions that a field of theirs decides."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise damaged(str(first["msg"]), ".".join([where, *map(str, first["loc"])])) from error
    except (TfptError, ValueError, TypeError) as error:
        raise damaged(str(error).splitlines()[0], where) from error


def _made(make: Callable[[], Any], where: str) -> Any:
    try:
        return make()
    except (TfptError, ValueError, TypeError) as error:
        raise damaged(str(error).splitlines()[0], where) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, Any]]:
    """The fields of a class that its constructor takes: type and default."""
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, BaseModel):
        return {
            name: (hints[name], dataclasses.MISSING if field.is_required() else field.get_default())
            for name, field in kind.model_fields.items()
        }
    return {
        field.name: (hints[field.name], field.default) for field in dataclasses.fields(kind) if field.init
    }


def _is_dtype(name: str) -> bool:
    try:
        dtype(name)
    except TfptError:
        return False
    return True


# A number keeps its type: an int beyond 53 bits would lose digits as a float.
_SCALARS: dict[Any, Callable[[Any], bool]] = {
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: lambda value: (
        (isinstance(value, int | float) and not isinstance(value, bool)) or value in _NOT_FINITE
    ),
}
