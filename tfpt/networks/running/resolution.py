"""From the name that a person or a mapping gives an activation to the one that the network has for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.networks.running.operations import Operations, is_aside

_OUTPUT = re.compile(r"(?P<name>.+):(?P<number>[0-9]{1,9})")
_LISTED = 8


def split_output(name: str) -> tuple[str, int]:
    """A name and the number of the output that is meant.

    Example:
        >>> split_output("net/split:2"), split_output("net/relu")
        (('net/split', 2), ('net/relu', 0))
    """
    found = _OUTPUT.fullmatch(name)
    return (found["name"], int(found["number"])) if found else (name, 0)


def below(name: str, scopes: Sequence[str]) -> list[str]:
    """Where a name may stand: below each scope, then as it is.

    Below a scope first: a graph of several networks may have an operation of the bare name that joins them.

    Example:
        >>> below("Mean", ["RGB/net", ""])
        ['RGB/net/Mean', 'Mean']
    """
    return list(dict.fromkeys([*(f"{scope}/{name}" for scope in scopes if scope), name]))


def resolve(operations: Operations, op: str, scopes: Sequence[str], where: str) -> str:
    """The tensor that `op` means; see `tfpt.networks.running.network.TensorFlowNetwork.resolve`.

    An operation goes before a name scope, a whole name before the end of one, and what the chosen signature computes
    before anything else.
    """
    name, number = split_output(op.strip("/"))
    for candidate in below(name, scopes):
        if candidate in operations.by_name:
            return _output(operations.by_name[candidate], number, where)
        if operations.leaving(candidate):
            return _through(operations, candidate, where)
    ends = [known for known in operations.by_name if _ends(known, name) and not is_aside(known)]
    ends = [known for known in ends if known in operations.near] or ends
    if len(ends) > 1:
        raise _several(f"several operations end in {name}", where, ends)
    if ends:
        return _output(operations.by_name[ends[0]], number, where)
    outer = _outermost([scope for scope in operations.scopes if _ends(scope, name)])
    if len(outer) > 1:
        raise _several(f"several name scopes end in {name}", where, outer)
    if outer:
        return _through(operations, outer[0], where)
    raise SourceError(
        f"the network has no operation and no name scope {name}",
        where=where,
        expected=" or ".join(below(name, scopes)) + ", or a name that ends so",
        nearest=_nearest(name, [*operations.activations, *operations.scopes]),
        hint=f"tfpt record --list {where}",
    )


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """The ends of names that come nearest, of as many components as `name` has."""
    length = name.count("/") + 1
    ends = dict.fromkeys("/".join(each.split("/")[-length:]) for each in known)
    return nearest(name, ends)


def _ends(known: str, name: str) -> bool:
    return known.endswith(f"/{name}")


def _outermost(scopes: Iterable[str]) -> list[str]:
    """Without those that stand inside another of them."""
    found: list[str] = []
    for scope in sorted(scopes, key=len):
        if not any(scope.startswith(f"{outer}/") for outer in found):
            found.append(scope)
    return found


def _output(op: Any, number: int, where: str) -> str:
    if number >= len(op.outputs):
        raise SourceError(
            f"the operation {op.name} has no output {number}",
            where=where,
            expected=f"{op.name}:0 to :{len(op.outputs) - 1}"
            if op.outputs
            else "an operation with an output",
            got=f"{op.type} with {len(op.outputs)} outputs",
        )
    return str(op.outputs[number].name)


def _through(operations: Operations, scope: str, where: str) -> str:
    """The one tensor that leaves a scope."""
    leaving = [tensor.name for tensor in operations.leaving(scope)]
    if len(leaving) != 1:
        raise _several(f"several tensors leave the name scope {scope}", where, leaving)
    return str(leaving[0])


def _several(what: str, where: str, names: Sequence[str]) -> SourceError:
    shown = list(names[:_LISTED])
    more = f", and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return SourceError(
        what,
        where=where,
        expected="one",
        got=", ".join(shown) + more,
        hint="name one of them: op: in the mapping, or --endpoint",
    )
