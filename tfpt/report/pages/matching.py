"""Two trees of tensors and what joins them: everything that a page of them shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfpt.checking.comparison import TensorDiff
from tfpt.planning import Finding
from tfpt.report.pages.states import worse
from tfpt.tensors import TensorSpec, format_shape
from tfpt.visible import visible


@dataclass
class Entry:
    """A tensor in one of the trees.

    Attributes:
        spec: Its name, shape and dtype.
        state: See `tfpt.report.pages.states`.
        reason: Why it is in that state, if that is not in a finding.
        findings: The positions of the findings and notes about it.
    """

    spec: TensorSpec
    state: str
    reason: str = ""
    findings: list[int] = field(default_factory=list)

    def mark(self, finding: int, state: str) -> None:
        """Add a finding; the worst of several decides the state."""
        if finding not in self.findings:
            self.findings.append(finding)
        if state:
            self.state = worse(self.state, state)

    def to_json(self) -> list[Any]:
        """Name, shape, dtype, state, reason, findings; without empty values at the end."""
        shape = format_shape(self.spec.shape)
        values = [
            visible(self.spec.name),
            shape,
            self.spec.dtype,
            self.state,
            visible(self.reason),
            self.findings,
        ]
        while not values[-1]:
            values.pop()
        return values


@dataclass(frozen=True)
class Join:
    """Tensors of both sides that belong together.

    Attributes:
        left, right: Their names.
        work: What happens to the values.
        row: The row of the mapping: file and line, and those of its scopes.
        compared: The comparisons of those on the right.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    work: str = ""
    row: str = ""
    compared: tuple[TensorDiff, ...] = ()


@dataclass(frozen=True)
class Matching:
    """Everything that a page of two trees shows.

    Attributes:
        title: What it is about, in a few words.
        verdict: Whether the two sides fit, in a few words.
        good: Whether they do.
        labels: What the two sides are called.
        files: The files of the two sides; a model instead, or nothing, where there is no file.
        separators: What separates the parts of a name on each side.
        left, right: The tensors by name, in order.
        joins: What joins them.
        findings: What the entries refer to, and all others.
    """

    title: str
    verdict: str
    good: bool
    labels: tuple[str, str]
    files: tuple[str, str]
    separators: tuple[str, str]
    left: Mapping[str, Entry]
    right: Mapping[str, Entry]
    joins: Sequence[Join]
    findings: Sequence[Finding]

    @property
    def loose(self) -> list[Finding]:
        """The findings that are about no tensor of either side."""
        shown = {
            index for side in (self.left, self.right) for entry in side.values() for index in entry.findings
        }
        return [finding for index, finding in enumerate(self.findings) if index not in shown]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; tensors are referred to by position, repeated texts as well."""
        texts: dict[str, int] = {}
        at = {side: {name: index for index, name in enumerate(entries)} for side, entries in self._sides}
        joins = []
        for join in self.joins:
            values = [
                [at["left"][name] for name in join.left if name in at["left"]],
                [at["right"][name] for name in join.right if name in at["right"]],
                texts.setdefault(visible(join.work), len(texts)),
                texts.setdefault(visible(join.row), len(texts)),
            ]
            if join.compared:
                values.append([_figures(tensor, at["right"]) for tensor in join.compared])
            joins.append(values)
        return {
            "title": visible(self.title),
            "verdict": self.verdict,
            "good": self.good,
            "labels": self.labels,
            "files": [visible(file) for file in self.files],
            "separators": self.separators,
            **{side: [entry.to_json() for entry in entries.values()] for side, entries in self._sides},
            "joins": joins,
            "texts": list(texts),
            "findings": [_finding(finding) for finding in self.findings],
        }

    @property
    def _sides(self) -> tuple[tuple[str, Mapping[str, Entry]], ...]:
        return ("left", self.left), ("right", self.right)


def _figures(tensor: TensorDiff, at: Mapping[str, int]) -> list[Any]:
    """The tensor, four figures, and the histogram: its range and the counts of both sides."""
    numbers = (tensor.max_abs, tensor.mean_abs, tensor.relative, tensor.cosine)
    values: list[Any] = [at[tensor.name], *map(_number, numbers), tensor.zero_signs, tensor.nan_bits]
    if tensor.histogram is not None:
        counted = tensor.histogram
        same = counted.left == counted.right
        values += [counted.low, counted.high, counted.left, 0 if same else counted.right]
    return values


def _number(value: float) -> float | str:
    """Five digits; JSON has no infinity."""
    return float(f"{value:.5g}") if math.isfinite(value) else str(value)


def _finding(finding: Finding) -> dict[str, Any]:
    values = {
        "kind": finding.kind,
        "what": finding.what,
        "where": finding.where,
        "row": finding.row,
        "expected": finding.expected,
        "got": finding.got,
        "nearest": ", ".join(finding.nearest),
        "next": finding.hint,
    }
    return {"stops": finding.stops, **{key: visible(text) for key, text in values.items() if text}}
