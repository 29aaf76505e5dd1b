"""The callables that a pickle of arrays may name, and descriptions of their results; none is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tfpt.errors import SourceError
from tfpt.formats.numpy.layout import Layout
from tfpt.formats.pickle.opcodes import Payload, PickleDamageError

# Names of the same objects in Python 2 and 3, numpy 1 and 2, and versions of JAX and joblib.
_MODULES = {
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "sklearn.externals.joblib.numpy_pickle": "joblib.numpy_pickle",
}
_RECONSTRUCT = "numpy._core.multiarray._reconstruct"
_SCALAR = "numpy._core.multiarray.scalar"
_FROM_BUFFER = "numpy._core.numeric._frombuffer"
_JAX = ("jax._src.array._reconstruct_array", "jax._src.device_array.reconstruct_device_array")
_JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"
_DICTS = ("builtins.dict", "collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_HAIKU = "haiku._src.data_structures."
# Immutable dicts, each called with the dict of its items.
_FROZEN = ("flax.core.frozen_dict.FrozenDict", f"{_HAIKU}FlatMapping", f"{_HAIKU}frozendict")
_LISTS = ("builtins.list", "builtins.set", "builtins.frozenset", f"{_HAIKU}FrozenList")
_OTHERS = ("numpy.ndarray", "numpy.dtype", "builtins.complex", "builtins.bytearray", "builtins.bytes")
_ENCODE = "_codecs.encode"
# Factories of a defaultdict, subclasses of arrays, and ml_dtypes' elements inside numpy.dtype.
_NAMES = ("builtins.int", "builtins.float", "builtins.str", "numpy.memmap")
_ELEMENTS = "ml_dtypes."
KNOWN = frozenset(
    (
        _RECONSTRUCT,
        _SCALAR,
        _FROM_BUFFER,
        _ENCODE,
        *_JAX,
        _JOBLIB,
        *_FROZEN,
        *_DICTS,
        *_LISTS,
        *_OTHERS,
        *_NAMES,
    )
)


# Tuples are keys of flattened tables of layers and parts.
_LONGEST_KEY = 16


class CodeError(SourceError):
    """A pickle names an object that is not known to create arrays or containers."""


class Vocabulary(Protocol):
    """The objects that a kind of pickle may name, and the results of using them."""

    def symbol(self, where: str, module: object, name: object) -> object:
        """The representation of the callable or class of that name.

        Raises:
            CodeError: It is not known.
        """
        ...

    def made(self, called: object, arguments: tuple[object, ...]) -> object:
        """The result of a call.

        Raises:
            PickleDamageError: The arguments are not those of the known writers.
        """
        ...

    def built(self, target: object, state: object) -> None:
        """Set the state of an object.

        Raises:
            PickleDamageError: It cannot have one.
        """
        ...

    def found(self, name: object) -> object:
        """The object of a persistent ID.

        Raises:
            PickleDamageError: It is unknown.
        """
        ...


@dataclass(frozen=True)
class Symbol:
    """A callable that the pickle names."""

    name: str


@dataclass
class Elements:
    """A numpy.dtype: its type without byte order, the byte order, and whether it has no fields."""

    word: str
    order: str = ""
    is_plain: bool = True

    @property
    def descr(self) -> str:
        return f"{self.order}{self.word}" if self.is_plain else ""


@dataclass
class Array:
    """A numpy array: its bytes, their position, or its objects.

    Attributes:
        layout: None until the pickle sets it.
        content: Its bytes, their position, the positions of their pieces, or its objects.
    """

    layout: Layout | None = None
    content: bytes | Payload | tuple[Payload, ...] | list[object] = b""


class Appended(Array):
    """An array of joblib: its bytes follow the opcode that sets its state.

    Attributes:
        is_padded: Whether they are preceded by a byte with the length of padding, and the padding.
    """

    is_padded: bool = False


class Arrays:
    """The vocabulary of pickles of numpy arrays in dicts and lists."""

    def symbol(self, where: str, module: object, name: object) -> object:
        """The callable of that name."""
        full = full_name(module, name)
        if full in KNOWN or full.startswith(_ELEMENTS):
            return Symbol(full)
        if full.startswith("joblib.numpy_pickle"):
            raise SourceError(
                "the arrays of the pickle are in separate files, as joblib before 0.10 wrote them",
                where=where,
                hint="if you trust it, load it with joblib and save it again",
            )
        raise CodeError(
            f"the pickle would run code: {str(module)[:100]}.{str(name)[:100]}",
            where=where,
            expected="numpy arrays in dicts and lists",
            got="no code was run",
            hint="if you trust the file, load it yourself and save its arrays with numpy.savez",
        )

    def made(self, called: object, arguments: tuple[object, ...]) -> object:
        """The result of a call of the callable."""
        if not isinstance(called, Symbol):
            raise PickleDamageError("a call of an object that is not callable")
        return made(called.name, arguments)

    def built(self, target: object, state: object) -> None:
        """Set the state of a dtype or an array."""
        if isinstance(target, Elements) and isinstance(state, tuple) and 8 <= len(state) <= 9:
            # dtype.__reduce__: version, byte order, subarray, names, fields, itemsize, alignment, flags
            target.order = text_of(state[1])
            target.is_plain = state[2] is None and state[3] is None and state[4] is None
        elif isinstance(target, Appended) and isinstance(state, dict):
            _append(target, state)
        elif isinstance(target, Array) and isinstance(state, tuple) and len(state) == 5:
            # ndarray.__setstate__: version, shape, dtype, whether in Fortran's order, bytes or list of objects
            _, shape, elements, fortran, content = state
            array = array_of(shape, elements, bool(fortran), content)
            target.layout, target.content = array.layout, array.content
        else:
            raise PickleDamageError(f"a state for {type(target).__name__}")

    def found(self, name: object) -> object:
        """These pickles have no persistent IDs."""
        raise PickleDamageError("it contains objects that only running code can make (BINPERSID)")


def full_name(module: object, name: object) -> str:
    """The current name of a callable."""
    return f"{_MODULES.get(str(module), module)}.{name}"


def made(name: str, arguments: tuple[object, ...]) -> object:
    """The result of a call of the callable of that name.

    Raises:
        PickleDamageError: The arguments are not those that numpy and Python write.
        TypeError, ValueError, IndexError: Likewise.
    """
    if name == _RECONSTRUCT and arguments and arguments[0] == Symbol("numpy.ndarray"):
        return Array()
    if name == "numpy.dtype" and arguments:
        word = arguments[0]
        return Elements(word.name.removeprefix(_ELEMENTS) if isinstance(word, Symbol) else text_of(word))
    if name in _JAX:
        # The constructor, its arguments, the state of the ndarray, JAX's additional state.
        _, shape, elements, fortran, content = arguments[2] if isinstance(arguments[2], tuple) else ()
        return array_of(shape, elements, bool(fortran), content)
    if name == _JOBLIB:
        return Appended()
    if name in _FROZEN and arguments and isinstance(arguments[0], dict):
        return arguments[0]
    if name == _SCALAR:
        elements, content = arguments
        return array_of((), elements, False, content)
    if name == _FROM_BUFFER:
        content, elements, shape, order = arguments
        return array_of(shape, elements, order == "F", content)
    if name in _DICTS:
        # A factory, the items as pairs, or nothing.
        pairs = next((a for a in arguments if isinstance(a, list)), [])
        return dict_of([part for pair in pairs if isinstance(pair, (list, tuple)) for part in pair[:2]])
    if name in _LISTS:
        return list(arguments[0]) if arguments and isinstance(arguments[0], (list, tuple)) else []
    if name == "builtins.complex":
        real, imaginary = arguments
        if isinstance(real, (int, float)) and isinstance(imaginary, (int, float)):
            return complex(real, imaginary)
    if name == _ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return text_of(arguments[0]).encode("latin1")
    if name in ("builtins.bytearray", "builtins.bytes") and not arguments:
        return b""
    if name == "builtins.bytearray" and isinstance(arguments[0], (bytes, Payload)):
        return arguments[0]
    raise PickleDamageError(f"a call of {name} that neither numpy nor Python writes")


def text_of(value: object) -> str:
    """A string, decoded if it is from Python 2."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise PickleDamageError(f"a {type(value).__name__} instead of a text")
    return value


def array_of(shape: object, elements: object, fortran: bool, content: object) -> Array:
    """The array with the state that ndarray.__setstate__ accepts.

    Raises:
        PickleDamageError: They are inconsistent.
    """
    if not isinstance(shape, tuple) or not isinstance(elements, Elements):
        raise PickleDamageError("an array without shape or dtype")
    layout = Layout(shape, elements.descr, fortran)
    if not layout.is_possible:
        # Not printed: it may be anything, such as endlessly nested tuples.
        raise PickleDamageError("an array of an impossible shape")
    if layout.is_objects:
        if not isinstance(content, list) or len(content) != layout.size:
            raise PickleDamageError("an array of objects with another number of objects")
        return Array(layout, content)
    if not isinstance(content, (bytes, Payload)):
        raise PickleDamageError(f"an array of {type(content).__name__}")
    size = content.size if isinstance(content, Payload) else len(content)
    if layout.nbytes is not None and size != layout.nbytes:
        raise PickleDamageError(f"{size:,} bytes for an array of {layout.nbytes:,}")
    return Array(layout, content)


def _is_name(key: object) -> bool:
    if isinstance(key, int):
        return abs(key) < 2**60
    return key is None or isinstance(key, (str, bytes, float, Symbol))


def _append(target: Appended, state: dict[object, object]) -> None:
    """Set the state of a NumpyArrayWrapper of joblib/numpy_pickle.py."""
    shape, elements = state.get("shape"), state.get("dtype")
    if not isinstance(shape, tuple) or not isinstance(elements, Elements):
        raise PickleDamageError("an array without shape or dtype")
    layout = Layout(shape, elements.descr, state.get("order") == "F")
    if not layout.is_possible or not (layout.is_objects or layout.nbytes is not None):
        raise PickleDamageError("an array of an impossible shape or element type")
    target.layout, target.is_padded = layout, state.get("numpy_array_alignment_bytes") is not None


def dict_of(items: list[object]) -> dict[object, object]:
    """The dict of alternating keys and values.

    Raises:
        PickleDamageError: A key has no value, or is of another type than text and small numbers.
    """
    if len(items) % 2:
        raise PickleDamageError("a key without a value")
    for key in items[::2]:
        # Nested tuples can take for ever to hash, and are not names.
        if not _is_name(key) and not (
            isinstance(key, tuple) and 0 < len(key) <= _LONGEST_KEY and all(map(_is_name, key))
        ):
            raise PickleDamageError(f"a {type(key).__name__} as the key of a dict")
    return dict(zip(items[::2], items[1::2], strict=True))
