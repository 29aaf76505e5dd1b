"""Expressions in `${…}`: integer arithmetic, indexing and comparisons of parameters, parsed and never run as code."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.tree import Node

# Python's parser is slow on long texts, and evaluation recurses as deep as the text is long.
_LONGEST = 200
# Entries that all sums, maxima and minima of a mapping read together.
_ENTRIES = 10 * limits.MAPPING_VALUES

_EXPECTED = (
    "integers, parameters, + - * // %, parentheses, x[0], sum(x), len(x), max(x), min(x); "
    "== != < <= of numbers and texts in quotes; not, and, or"
)

_ARITHMETIC: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_OF_LISTS: dict[str, Callable[[list[int]], int]] = {"sum": sum, "len": len, "max": max, "min": min}


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: The expression as written, without `${` and `}`.
        names: The parameters that it uses.
        tree: Its syntax tree, which has only the forms that the language allows.
    """

    text: str
    names: tuple[str, ...]
    tree: ast.expr


class ExpressionError(MappingError):
    """An expression that cannot be read or has no value; its position is added by the caller."""


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Parse the text between `${` and `}`.

    Raises:
        ExpressionError: It is not an expression of the language, or too long.

    Example:
        >>> parse_expression("hidden // len(block_sizes) + 1").names
        ('hidden', 'block_sizes')
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"an expression has more than {_LONGEST} characters", got=f"{text[:60]}…")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "1or x" is deprecated, and so are some backslashes
            tree = ast.parse(text.strip(), mode="eval").body
        names: dict[str, None] = {}
        _check(tree, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(
            "an expression cannot be read", expected=_EXPECTED, got=f"${{{text}}}"
        ) from None
    return Expression(text, tuple(names), tree)


def _check(tree: ast.expr, names: dict[str, None]) -> None:
    """Collect the names in a syntax tree.

    Raises:
        ValueError: It contains something that the language does not have.
    """
    if isinstance(tree, ast.Name):
        names[tree.id] = None
    elif isinstance(tree, ast.Constant):
        if type(tree.value) is not int:
            raise ValueError
    elif isinstance(tree, ast.BinOp) and type(tree.op) in _ARITHMETIC:
        _check(tree.left, names)
        _check(tree.right, names)
    elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.Not):
        _check(tree.operand, names)
    elif isinstance(tree, ast.BoolOp):
        for operand in tree.values:
            _check(operand, names)
    elif isinstance(tree, ast.Compare) and len(tree.ops) == 1:
        if not isinstance(tree.ops[0], ast.Eq | ast.NotEq | ast.Lt | ast.LtE):
            raise ValueError
        for operand in (tree.left, tree.comparators[0]):
            if not _is_text(operand):
                _check(operand, names)
    elif isinstance(tree, ast.Subscript) and not isinstance(tree.slice, ast.Slice | ast.Tuple):
        _check(tree.value, names)
        _check(tree.slice, names)
    elif isinstance(tree, ast.Call):
        known = isinstance(tree.func, ast.Name) and tree.func.id in _OF_LISTS
        if not known or len(tree.args) != 1 or tree.keywords:
            raise ValueError
        _check(tree.args[0], names)
    else:
        raise ValueError


def _is_text(tree: ast.expr) -> bool:
    """Whether it is a text in quotes, which only comparisons may contain."""
    return isinstance(tree, ast.Constant) and isinstance(tree.value, str) and "\\" not in tree.value


class Evaluator:
    """Evaluates expressions, and counts the work of all of them.

    Args:
        lookup: The value of a parameter.

    Example:
        >>> from tfpt.language.tree import parse_document
        >>> values = parse_document("{sizes: [4, 3, 5], n: 7}", "m.yaml").value
        >>> Evaluator(values.__getitem__).evaluate(parse_expression("sum(sizes) // (n - sizes[1])"))
        3
    """

    def __init__(self, lookup: Callable[[str], Node]) -> None:
        self._lookup = lookup
        self._entries = 0

    def evaluate(self, expression: Expression) -> Any:
        """The value: a number, true or false; or what is in a parameter, lists and tables with their nodes.

        Raises:
            ExpressionError: There is no value, such as for a division by zero, or a number is too large.
        """
        try:
            return self._value(expression.tree)
        except _NoValueError as error:
            raise ExpressionError(
                f"${{{expression.text}}} has no value: {error.what}", expected=error.expected, got=error.got
            ) from None
        except RecursionError:
            raise ExpressionError(
                "an expression is too deeply nested", got=f"${{{expression.text}}}"
            ) from None

    def _value(self, tree: ast.expr) -> Any:
        if isinstance(tree, ast.Name):
            return self._lookup(tree.id).value
        if isinstance(tree, ast.Constant):
            return _bounded(tree.value, tree) if isinstance(tree.value, int) else tree.value
        if isinstance(tree, ast.BinOp):
            return self._arithmetic(tree)
        if isinstance(tree, ast.UnaryOp):
            if isinstance(tree.op, ast.Not):
                return not self._truth(tree.operand)
            return -self._integer(tree.operand)
        if isinstance(tree, ast.BoolOp):
            every = isinstance(tree.op, ast.And)
            return all(map(self._truth, tree.values)) if every else any(map(self._truth, tree.values))
        if isinstance(tree, ast.Compare):
            return self._comparison(tree)
        if isinstance(tree, ast.Subscript):
            return self._entry(tree)
        assert isinstance(tree, ast.Call)
        assert isinstance(tree.func, ast.Name)
        return self._of_list(tree.func.id, tree)

    def _arithmetic(self, tree: ast.BinOp) -> int:
        left, right = self._integer(tree.left), self._integer(tree.right)
        if isinstance(tree.op, ast.FloorDiv | ast.Mod) and right == 0:
            raise _NoValueError("a division by zero", "a divisor other than 0", f"{_spelled(tree.right)} = 0")
        return _bounded(_ARITHMETIC[type(tree.op)](left, right), tree)

    def _comparison(self, tree: ast.Compare) -> bool:
        operands = (tree.left, tree.comparators[0])
        left, right = map(self._value, operands)
        for value, part in zip((left, right), operands, strict=True):
            if isinstance(value, list | dict):
                raise _NoValueError(
                    f"{_spelled(part)} is {_kind(value)}", "numbers, texts, true or false to compare"
                )
        if isinstance(tree.ops[0], ast.Eq | ast.NotEq):
            # In Python, 1 == True; in YAML, a number is neither true nor false.
            same = left == right and isinstance(left, bool) == isinstance(right, bool)
            return same == isinstance(tree.ops[0], ast.Eq)
        for value, part in zip((left, right), operands, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _NoValueError(
                    f"{_spelled(part)} is not a number", "numbers on both sides of < and <=", _shown(value)
                )
        return bool(left < right if isinstance(tree.ops[0], ast.Lt) else left <= right)

    def _entry(self, tree: ast.Subscript) -> Any:
        values, index = self._list(tree.value), self._integer(tree.slice)
        if not -len(values) <= index < len(values):
            raise _NoValueError(
                f"{_spelled(tree.value)} has no entry {index}",
                f"an index from 0 to {len(values) - 1}" if values else "a list that is not empty",
                f"{len(values)} {'entry' if len(values) == 1 else 'entries'}",
            )
        return values[index].value

    def _of_list(self, function: str, tree: ast.Call) -> int:
        (argument,) = tree.args
        values = self._list(argument)
        if function == "len":
            return len(values)
        self._entries += len(values)
        if self._entries > _ENTRIES:
            raise _NoValueError(f"the expressions read more than {_ENTRIES:,} entries of lists")
        for place, node in enumerate(values):
            if type(node.value) is not int:
                raise _NoValueError(
                    f"entry {place} of {_spelled(argument)} is not an integer",
                    f"a list of integers for {function}",
                    _shown(node.value),
                )
        if not values and function != "sum":
            raise _NoValueError(f"{_spelled(argument)} is empty", f"a list with entries for {function}")
        return _bounded(_OF_LISTS[function]([node.value for node in values]), tree)

    def _list(self, tree: ast.expr) -> list[Node]:
        value = self._value(tree)
        if not isinstance(value, list):
            raise _NoValueError(f"{_spelled(tree)} is not a list", "a list", _shown(value))
        return value

    def _integer(self, tree: ast.expr) -> int:
        value = self._value(tree)
        if type(value) is not int:
            raise _NoValueError(
                f"{_spelled(tree)} is not an integer", "integers to compute with", _shown(value)
            )
        return value

    def _truth(self, tree: ast.expr) -> bool:
        value = self._value(tree)
        if not isinstance(value, bool):
            raise _NoValueError(
                f"{_spelled(tree)} is neither true nor false",
                "true or false beside not, and, or",
                _shown(value),
            )
        return value


class _NoValueError(Exception):
    def __init__(self, what: str, expected: str | None = None, got: str | None = None) -> None:
        super().__init__(what)
        self.what, self.expected, self.got = what, expected, got


def _bounded(value: int, tree: ast.expr) -> int:
    if value.bit_length() > limits.NUMBER_BITS:
        raise _NoValueError(f"{_spelled(tree)} is a number of more than {limits.NUMBER_BITS} bits")
    return value


def _spelled(tree: ast.expr) -> str:
    return ast.unparse(tree)


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a table"


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return _kind(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)[:60]
