"""The content of a pickle of arrays, read without unpickling: nothing is imported, called or built.

A stack machine executes the opcodes for containers, numbers and text. It knows the callables of a vocabulary, such as
those of numpy and the containers (`tfpt.formats.pickle.calls`), and refuses all others. Every opcode takes constant
time and memory; `tfpt.formats.pickle.opcodes` limits their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tfpt.errors import SourceError
from tfpt.formats.pickle.calls import Appended, Arrays, Vocabulary, dict_of
from tfpt.formats.pickle.opcodes import Opcodes, Payload, PickleDamageError
from tfpt.io.limits import PICKLE_LEVELS, PICKLE_OPCODES, PICKLE_TEXT
from tfpt.io.storage import Bytes

_ARRAYS = Arrays()


@dataclass
class _Machine:
    where: str
    vocabulary: Vocabulary
    stack: list[object] = field(default_factory=list)
    marks: list[list[object]] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    copied: int = 0

    def copy(self, arguments: tuple[object, ...]) -> None:
        """Count the bytes that a call may copy: repeated calls on one large argument would fill the memory."""
        for argument in arguments:
            if isinstance(argument, (str, bytes)):
                self.copied += len(argument)
            elif isinstance(argument, (list, tuple)):
                self.copied += 8 * len(argument)
        # The longest text may be encoded once.
        if self.copied > PICKLE_TEXT:
            raise PickleDamageError(f"its calls copy more than {PICKLE_TEXT:,} bytes")

    def pop_mark(self) -> list[object]:
        items, self.stack = self.stack, self.marks.pop()
        return items


def read_pickle(
    where: str,
    data: Bytes,
    begin: int = 0,
    *,
    vocabulary: Vocabulary = _ARRAYS,
    most: int = PICKLE_OPCODES,
    level: int = 1,
) -> tuple[object, int]:
    """The content of a pickle, and the position of its end.

    Args:
        where: The location, for errors.
        data: The bytes of the file.
        begin: The position of the pickle.
        vocabulary: The objects that it may name.
        most: The maximum number of opcodes.
        level: The nesting level of pickles, from 1.

    Returns:
        dict (keys are str, bytes, int, bool or None), list, tuple, str, bytes, `Payload`, int, float, complex,
        bool, None and `Array`; sets are lists. Objects may be shared or contain themselves.

    Raises:
        SourceError: It is damaged, too large, or names an object that is not known to create arrays or containers.

    Example:
        >>> import os, pickle
        >>> import numpy as np
        >>> array = read_pickle("w", np.frombuffer(pickle.dumps({"w": np.zeros(3, "<f4")}), np.uint8))[0]["w"]
        >>> array.layout.shape, array.layout.descr
        ((3,), '<f4')
    """
    if level > PICKLE_LEVELS:
        raise _damaged(where, f"more than {PICKLE_LEVELS} nested pickles")
    opcodes = Opcodes(data, begin, most)
    machine = _Machine(where, vocabulary)
    try:
        for code, argument in opcodes:
            if code == ".":
                return machine.stack.pop(), opcodes.at
            if code in "ci" and isinstance(argument, tuple):
                machine.stack.append(vocabulary.symbol(where, *argument))
                if code == "i":
                    raise PickleDamageError(f"an instance of {argument[1]} (INST)")
            elif code == "\x93":  # STACK_GLOBAL
                name, module = machine.stack.pop(), machine.stack.pop()
                machine.stack.append(vocabulary.symbol(where, module, name))
            else:
                _carry_out(machine, code, argument)
                if code == "b" and isinstance(machine.stack[-1], Appended):
                    opcodes.at = _take_appended(where, data, opcodes.at, machine.stack[-1], level)
    except (PickleDamageError, UnicodeError) as error:
        raise _damaged(where, str(error)) from None
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        got = f"{type(error).__name__} before byte {opcodes.at}"
        raise _damaged(where, got) from None
    raise _damaged(where, "it has no end")


def _damaged(where: str, got: str) -> SourceError:
    return SourceError("not a valid pickle of arrays", where=where, got=got[:200])


def _take_appended(where: str, data: Bytes, at: int, array: Appended, level: int) -> int:
    """Set the position of joblib's array, from byte `at` on; returns its end."""
    assert array.layout is not None
    if array.layout.is_objects:
        content, end = read_pickle(where, data, at, level=level + 1)
        array.content = getattr(content, "content", b"")
        if not isinstance(array.content, list) or len(array.content) != array.layout.size:
            raise PickleDamageError("an array of objects with another number of objects")
        return end
    if array.is_padded:
        at += 1 + int(data[at : at + 1][0])
    size = array.layout.nbytes or 0
    if size > len(data) - at:
        raise PickleDamageError(f"at byte {at} an array of {size:,} bytes, {len(data) - at:,} are left")
    array.content = Payload(at, size)
    return at + size


def _carry_out(machine: _Machine, code: str, argument: object) -> None:
    stack = machine.stack
    if argument is not None and code not in "\x80hjgqrp":
        stack.append(argument)
    elif code in "hjg":  # GET
        stack.append(machine.memo[_index(argument)])
    elif code in "qrp":  # PUT
        machine.memo[_index(argument)] = stack[-1]
    elif code != "\x80":
        _ACTIONS[code](machine)


def _index(argument: object) -> int:
    assert isinstance(argument, int)
    return argument


def _push(make: Callable[[], object]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make())


def _tuple(count: int) -> Callable[[_Machine], None]:
    def act(machine: _Machine) -> None:
        if len(machine.stack) < count:
            raise PickleDamageError("a tuple of more items than the stack has")
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return act


def _gather(make: Callable[[list[object]], object]) -> Callable[[_Machine], None]:
    def act(machine: _Machine) -> None:
        items = machine.pop_mark()
        machine.stack.append(make(items))

    return act


def _mark(machine: _Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _append(machine: _Machine) -> None:
    _extend_list(machine, [machine.stack.pop()])


def _extend_list(machine: _Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise PickleDamageError("items for an object that is not a list")
    target.extend(items)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _extend_dict(machine, [key, value])


def _extend_dict(machine: _Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict):
        raise PickleDamageError("items for an object that is not a dict")
    target.update(dict_of(items))


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    machine.vocabulary.built(machine.stack[-1], state)


def _reduce(machine: _Machine) -> None:
    arguments, called = machine.stack.pop(), machine.stack.pop()
    if not isinstance(arguments, tuple):
        raise PickleDamageError("a call of an object that is not callable")
    machine.copy(arguments)
    machine.stack.append(machine.vocabulary.made(called, arguments))


def _find(machine: _Machine) -> None:
    machine.stack.append(machine.vocabulary.found(machine.stack.pop()))


_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "N": _push(lambda: None),
    "\x88": _push(lambda: True),
    "\x89": _push(lambda: False),
    "]": _push(list),
    ")": _push(tuple),
    "}": _push(dict),
    "\x8f": _push(list),  # EMPTY_SET
    "\x85": _tuple(1),
    "\x86": _tuple(2),
    "\x87": _tuple(3),
    "t": _gather(tuple),
    "l": _gather(list),
    "\x91": _gather(list),  # FROZENSET
    "d": _gather(dict_of),
    "(": _mark,
    "1": lambda machine: (machine.pop_mark(), None)[1],
    "0": lambda machine: (machine.stack.pop(), None)[1],
    "2": lambda machine: machine.stack.append(machine.stack[-1]),
    "a": _append,
    "e": lambda machine: _extend_list(machine, machine.pop_mark()),
    "\x90": lambda machine: _extend_list(machine, machine.pop_mark()),  # ADDITEMS
    "s": _set_item,
    "u": lambda machine: _extend_dict(machine, machine.pop_mark()),
    "\x94": lambda machine: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
    "R": _reduce,
    "\x81": _reduce,  # NEWOBJ
    "b": _build,
    "Q": _find,  # BINPERSID
}
