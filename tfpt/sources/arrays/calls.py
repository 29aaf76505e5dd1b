"""The callables that a pickle of arrays may name, and a note of what calling them would make; none is called."""

from __future__ import annotations

from dataclasses import dataclass

from tfpt.errors import SourceError
from tfpt.sources.arrays.layout import Layout
from tfpt.sources.arrays.opcodes import Payload, PickleDamageError

# The same things under the names of Python 2 and 3, of numpy 1 and 2.
_MODULES = {"__builtin__": "builtins", "numpy.core.multiarray": "numpy._core.multiarray"}
_MODULES["numpy.core.numeric"] = "numpy._core.numeric"
_RECONSTRUCT = "numpy._core.multiarray._reconstruct"
_SCALAR = "numpy._core.multiarray.scalar"
_FROM_BUFFER = "numpy._core.numeric._frombuffer"
_DICTS = ("builtins.dict", "collections.OrderedDict", "collections.defaultdict")
_LISTS = ("builtins.list", "builtins.set", "builtins.frozenset")
_OTHERS = ("numpy.ndarray", "numpy.dtype", "builtins.complex", "builtins.bytearray", "_codecs.encode")
# Factories of a defaultdict, and ml_dtypes' elements inside numpy.dtype.
_NAMES = ("builtins.int", "builtins.float", "builtins.str", "ml_dtypes.bfloat16")
KNOWN = frozenset((_RECONSTRUCT, _SCALAR, _FROM_BUFFER, *_DICTS, *_LISTS, *_OTHERS, *_NAMES))


@dataclass(frozen=True)
class Symbol:
    """A callable that the pickle names."""

    name: str


@dataclass
class Elements:
    """A numpy.dtype: its word without byte order, the order, and whether it has fields."""

    word: str
    order: str = ""
    is_plain: bool = True

    @property
    def descr(self) -> str:
        return f"{self.order}{self.word}" if self.is_plain else ""


@dataclass
class Array:
    """A numpy array: where its bytes are, or the objects that it holds.

    Attributes:
        layout: None until the pickle has said it.
    """

    layout: Layout | None = None
    content: bytes | Payload | list[object] = b""


def symbol(where: str, module: object, name: object) -> Symbol:
    """The callable of that name.

    Raises:
        SourceError: It is not known to make arrays or containers.
    """
    full = f"{_MODULES.get(str(module), module)}.{name}"
    if full not in KNOWN:
        raise SourceError(
            f"the pickle would run code: {str(module)[:100]}.{str(name)[:100]}",
            where=where,
            expected="numpy arrays in dicts and lists",
            got="nothing of it was run",
            hint="where you trust the file: load it yourself, and save its arrays with numpy.savez",
        )
    return Symbol(full)


def made(name: str, arguments: tuple[object, ...]) -> object:
    """What a call of the callable of that name would make.

    Raises:
        PickleDamageError: The arguments are others than numpy and Python write.
        TypeError, ValueError, IndexError: Likewise.
    """
    if name == _RECONSTRUCT and arguments and arguments[0] == Symbol("numpy.ndarray"):
        return Array()
    if name == "numpy.dtype" and arguments:
        word = arguments[0]
        return Elements("V2" if word == Symbol("ml_dtypes.bfloat16") else text_of(word))
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
    if name == "_codecs.encode" and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return text_of(arguments[0]).encode("latin1")
    if name in ("builtins.bytearray", "builtins.bytes") and not arguments:
        return b""
    if name == "builtins.bytearray" and isinstance(arguments[0], (bytes, Payload)):
        return arguments[0]
    raise PickleDamageError(f"a call of {name} as neither numpy nor Python writes it")


def text_of(value: object) -> str:
    """A text; the strings of Python 2 are bytes of it."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise PickleDamageError(f"a {type(value).__name__} in place of a text")
    return value


def array_of(shape: object, elements: object, fortran: bool, content: object) -> Array:
    """The array of these parts, as ndarray.__setstate__ takes them.

    Raises:
        PickleDamageError: They do not fit together.
    """
    if not isinstance(shape, tuple) or not isinstance(elements, Elements):
        raise PickleDamageError("an array without shape or dtype")
    layout = Layout(shape, elements.descr, fortran)
    if not layout.is_possible:
        # Not printed: it may be anything, such as tuples in tuples without end.
        raise PickleDamageError("an array of a shape that cannot be")
    if layout.is_objects:
        if not isinstance(content, list) or len(content) != layout.size:
            raise PickleDamageError("an array of objects without as many objects")
        return Array(layout, content)
    if not isinstance(content, (bytes, Payload)):
        raise PickleDamageError(f"an array of {type(content).__name__}")
    size = content.size if isinstance(content, Payload) else len(content)
    if layout.nbytes is not None and size != layout.nbytes:
        raise PickleDamageError(f"{size:,} bytes for an array of {layout.nbytes:,}")
    return Array(layout, content)


def dict_of(items: list[object]) -> dict[object, object]:
    """The dict of keys and values in turn.

    Raises:
        PickleDamageError: A key has no value, or is neither a text nor a small number.
    """
    if len(items) % 2:
        raise PickleDamageError("a key without a value")
    for key in items[::2]:
        # A tuple of tuples can take for ever to hash, and names nothing.
        if not (key is None or isinstance(key, (str, bytes, int))) or (
            isinstance(key, int) and abs(key) >= 2**60
        ):
            raise PickleDamageError(f"a {type(key).__name__} as the key of a dict")
    return dict(zip(items[::2], items[1::2], strict=True))
