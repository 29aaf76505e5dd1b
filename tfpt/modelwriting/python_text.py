"""The text of the Python file: imports, helpers, and a class for each model.

A value that only the next line uses is called `x`; others have the names of their layers. Activation functions and
normalizations are joined with the line before them: ``x = F.relu(self.norm(self.conv(x)))``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tfpt.modelwriting.block import Block, Statement, Value, Written
from tfpt.modelwriting.names import identifier
from tfpt.modelwriting.translate import comment_text, shape_text

WIDTH = 88
_FIELD = re.compile(r"\{(\d+)\}")
_AUTOMATIC = re.compile(r"(input(_layer|s)?|keras_tensor)?(_?\d+)?")


def python_text(written: Written, source: str) -> str:
    """The whole file.

    Args:
        written: The classes.
        source: The name of the file that they were written from.
    """
    parts = [*written.helpers.values(), *(_class(block) for block in written.classes)]
    body = "\n".join(f"\n{text.strip()}\n" for text in parts)
    name = comment_text(source)
    title = f'"""Written by tfpt init --write-model from the Keras model {name}.'
    notes = [f"{comment_text(note)}." for note in dict.fromkeys(written.notes)]
    if written.missing:
        notes.insert(0, f"TODO: {len(written.missing)} of its layers could not be written; search for TODO.")
    head = f"{title}\n\n" + "\n".join(notes) + '\n"""' if notes else f'{title}"""'
    return f"{head}\n\n{_imports(body)}\n{body}"


def _imports(body: str) -> str:
    standard = ["from __future__ import annotations"]
    lines = []
    if "OrderedDict(" in body:
        standard.append("\nfrom collections import OrderedDict")
    if "torch." in body:
        lines.append("import torch")
    if "F." in body:
        lines.append("import torch.nn.functional as F")
    lines.append("from torch import Tensor, nn")
    if "tfnn." in body:
        lines.append("\nimport tfpt.nn as tfnn")
    return "\n".join([*standard, "", *lines]) + "\n"


def _class(block: Block) -> str:
    lines = [
        f"class {block.name}(nn.Module):",
        "    def __init__(self) -> None:",
        "        super().__init__()",
    ]
    for name, expression in block.modules.items():
        lines += _wrapped(f"self.{name} = ", expression, 8)
    for line in block.buffers:
        lines += _wrapped("", line, 8)
    arguments = argument_names(block)
    listed = ", ".join(f"{name}: Tensor" for name in arguments)
    result = "Tensor" if len(block.outputs) == 1 else f"tuple[{', '.join(['Tensor'] * len(block.outputs))}]"
    lines += ["", f"    def forward(self, {listed}) -> {result}:"]
    shapes = [shape_text(value.written_shape) for value in block.inputs.values()]
    if len(shapes) > 1:
        shapes = [f"{name} {shape}" for name, shape in zip(arguments, shapes, strict=True)]
    ends = [shape_text(value.written_shape) for value in block.outputs]
    lines.append(f'        """{", ".join(shapes)} -> {", ".join(ends)}"""')
    lines += [f"        {line}" for line in _forward(block, arguments)]
    return "\n".join(lines) + "\n"


def argument_names(block: Block) -> list[str]:
    """The names of the arguments of `forward`: those of the inputs, and `x` for a single one."""
    if len(block.inputs) == 1:
        ((name, value),) = block.inputs.items()
        users = [each for each in block.statements if value in each.operands]
        if len(users) == 1 and users[0] is block.statements[0] and value not in block.outputs:
            return ["x"]
        return ["inputs" if _AUTOMATIC.fullmatch(name) else identifier(name)]
    names: list[str] = []
    for name in block.inputs:
        names.append(identifier(name, names))
    return names


def _forward(block: Block, arguments: Sequence[str]) -> Iterator[str]:
    uses = Counter(value for each in block.statements for value in set(each.operands))
    uses.update(block.outputs)
    joined = _joined(block.statements, uses)
    names = dict(zip(block.inputs.values(), arguments, strict=True))
    taken = {*arguments, *block.written.class_names}
    # A name for each value: x if only the next line uses it.
    for number, (outputs, _, _, hint, _) in enumerate(joined):
        for output in outputs:
            later = [n for n, each in enumerate(joined) if output in each[1]]
            if later == [number + 1] and output not in block.outputs and len(outputs) == 1:
                names[output] = "x"
            else:
                names[output] = identifier(hint, taken)
                taken.add(names[output])
    single = len(block.outputs) == 1
    for number, (outputs, operands, text, _, comment) in enumerate(joined):
        if comment:
            yield f"# {comment}"
        filled = text.format(*(names[value] for value in operands))
        last = number == len(joined) - 1
        if last and single and block.outputs[0] in outputs and len(outputs) == 1:
            yield from (line[8:] for line in _wrapped("return ", filled, 8))
            return
        left = ", ".join(names[value] for value in outputs)
        yield from (line[8:] for line in _wrapped(f"{left} = ", filled, 8))
    yield f"return {', '.join(names[value] for value in block.outputs)}"


_Line = tuple[tuple[Value, ...], tuple[Value, ...], str, str, str]


def _joined(statements: Sequence[Statement], uses: Counter[Value]) -> list[_Line]:
    """Lines of one or more statements: outputs, operands, text with their numbers, a name and a comment."""
    lengths = {
        value: len(each.hint) if uses[value] > 1 else 1 for each in statements for value in each.outputs
    }
    done: list[Statement] = []
    for each in statements:
        before = done[-1] if done else None
        if (
            before is not None
            and len(before.outputs) == 1
            and before.outputs[0] in each.operands
            and uses[before.outputs[0]] == 1
            and not before.comment
            and (each.kind == "wrap" or before.kind == "change")
        ):
            merged = _with_operand(each, before, lengths)
            if merged is not None:
                done[-1] = merged
                continue
        done.append(each)
    return [(each.outputs, each.operands, each.text, each.hint, each.comment) for each in done]


def _with_operand(statement: Statement, before: Statement, lengths: Mapping[Value, int]) -> Statement | None:
    """A statement with the one before it in place of its operand; `None` if that is used twice or gets too long.

    Args:
        lengths: The length of the name of each value.
    """
    place = statement.operands.index(before.outputs[0])
    marker = f"{{{place}}}"
    if statement.text.count(marker) != 1:
        return None
    more = len(before.operands) - 1

    def shifted(found: re.Match[str]) -> str:
        number = int(found[1])
        return marker if number == place else f"{{{number + more * (number > place)}}}"

    def moved(found: re.Match[str]) -> str:
        return f"{{{int(found[1]) + place}}}"

    whole = re.search(rf"[(\[ ]{re.escape(marker)}[),]", statement.text) is not None
    outer, _, end = _FIELD.sub(shifted, statement.text).partition(marker)
    inner = _FIELD.sub(moved, before.text)
    text = f"{outer}{inner if whole or not before.operator else f'({inner})'}{end}"
    operands = (*statement.operands[:place], *before.operands, *statement.operands[place + 1 :])
    names = sum(lengths.get(value, 6) for value in (*operands, *statement.outputs))
    if 8 + len(" = ") + len(_FIELD.sub("", text)) + names > WIDTH:
        return None
    return replace(statement, text=text, operands=operands)


def _wrapped(left: str, expression: str, indent: int) -> list[str]:
    """An assignment; one that is too long has its arguments on lines of their own."""
    space = " " * indent
    line = f"{space}{left}{expression}"
    opening = expression.find("(")
    if len(line) <= WIDTH or opening < 0:
        return [line]
    parts, depth, start, end = [], 0, opening + 1, len(expression)
    for position in range(opening, len(expression)):
        depth += (expression[position] in "([{") - (expression[position] in ")]}")
        if (expression[position] == "," and depth == 1) or depth == 0:
            parts.append(expression[start:position].strip())
            start = position + 1
        if depth == 0:
            end = position
            break
    tail = f"{space}){expression[end + 1 :]}"
    first = f"{space}{left}{expression[: opening + 1]}"
    together = ", ".join(parts)
    if len(parts) == 1 or len(f"{space}    {together}") <= WIDTH:
        return [first, *_wrapped("", together, indent + 4), tail]
    lines: list[str] = []
    for part in parts:
        lines += _wrapped("", part, indent + 4)
        lines[-1] += ","
    return [first, *lines, tail]
