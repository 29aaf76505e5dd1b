"""The arguments that a model takes by name: those of its `forward`, and those that it reads from `**kwargs`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

_DEEPEST = 16


def accepted_arguments(model: nn.Module) -> list[str] | None:
    """The names of the arguments that a model takes, in order; ``None`` if its code does not tell.

    What `forward` reads from its ``**kwargs`` counts, and so does what the modules take to which it passes them on. If
    it does something else with them, as the models of transformers do, only the arguments in its signature count: it
    would ignore a name that it does not know. If it has none there, its code does not tell.

    Example:
        >>> class Net(nn.Module):
        ...     def forward(self, ids, mask=None):
        ...         return ids
        >>> accepted_arguments(Net())
        ['ids', 'mask']
    """
    found = _accepted(model, type(model), model.forward, 0)
    return (_named(model.forward) or None) if found is None else found


def _accepted(module: nn.Module, owner: type, forward: Callable[..., Any], depth: int) -> list[str] | None:
    function = inspect.unwrap(forward)
    try:
        parameters = inspect.signature(forward).parameters
    except (TypeError, ValueError):
        return None
    names = _named(forward)
    keywords = next(
        (name for name, each in parameters.items() if each.kind is inspect.Parameter.VAR_KEYWORD), None
    )
    if keywords is None:
        return names
    tree = _tree(function)
    if tree is None or depth == _DEEPEST:
        return None
    for used in _uses(tree, keywords):
        if isinstance(used, str):
            names.append(used)
            continue
        further = None if used is None else _of_call(module, owner, used, depth)
        if further is None:
            return None
        names += further
    return list(dict.fromkeys(names))


def _named(forward: Callable[..., Any]) -> list[str]:
    """The arguments in a signature that can be passed by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in inspect.signature(forward).parameters.items() if each.kind in by_name]


def _tree(function: Callable[..., Any]) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # there is no source, or it is not a statement of its own
        return None


def _uses(tree: ast.AST, keywords: str) -> Iterator[str | ast.expr | None]:
    """What is done with the dictionary of keywords: a key is read, it is passed on to a call; ``None`` if unknown."""
    known: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is(node.value, keywords):
            known.add(id(node.value))
            yield _text(node.slice)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and _is(node.comparators[0], keywords):
            if isinstance(node.ops[0], ast.In | ast.NotIn):
                known.add(id(node.comparators[0]))
                yield _text(node.left)
        elif isinstance(node, ast.Call):
            method = node.func
            reads = isinstance(method, ast.Attribute) and method.attr in ("get", "pop", "setdefault")
            if reads and _is(method.value, keywords) and node.args:  # type: ignore[attr-defined]
                known.add(id(method.value))  # type: ignore[attr-defined]
                yield _text(node.args[0])
            for keyword in node.keywords:
                if keyword.arg is None and _is(keyword.value, keywords):
                    known.add(id(keyword.value))
                    yield node.func
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == keywords and id(node) not in known:
            yield None  # it is looped over, or kept


def _of_call(module: nn.Module, owner: type, called: ast.expr, depth: int) -> list[str] | None:
    """What a call takes, if it is one of a submodule, of a method of the module, or of its base class."""
    path: list[str] = []
    while isinstance(called, ast.Attribute):
        path.insert(0, called.attr)
        called = called.value
    if isinstance(called, ast.Call) and _is(called.func, "super") and not called.args and len(path) == 1:
        bases = type(module).__mro__
        for base in bases[bases.index(owner) + 1 :]:
            if path[0] in vars(base):
                return _accepted(module, base, getattr(base, path[0]).__get__(module), depth + 1)
        return None
    if not _is(called, "self") or not path:
        return None
    found: Any = module
    for name in path:
        found = getattr(found, name, None)
    if isinstance(found, nn.Module):
        return _accepted(found, type(found), found.forward, depth + 1)
    return _accepted(module, owner, found, depth + 1) if inspect.ismethod(found) else None


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
