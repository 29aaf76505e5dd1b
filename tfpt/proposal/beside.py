"""Both sides next to each other: what a checkpoint contains, what a model expects, and which belong together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpt.errors import TfptError
from tfpt.formats import open_source
from tfpt.formats.renamed import Names
from tfpt.formats.roles import roles_by_name, roles_of
from tfpt.language.loader import load_mapping
from tfpt.language.mapping_files import is_named
from tfpt.proposal.matches import Match
from tfpt.proposal.search import search
from tfpt.proposal.sides import Side
from tfpt.proposal.target import Target, target_of_file, target_of_model
from tfpt.targets.manifest import target_specs
from tfpt.tensors import TensorSpec

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Line:
    """What belongs together.

    Attributes:
        variables: Variables and their places in the checkpoint, from 1; none for a parameter that none becomes.
        parameters: Parameters and their places in the model, from 1; none for a variable that becomes none.
        layout: The layout that takes one to the other; empty if it stays as it is.
        unsure: What else it could be; empty if it is clear.
        constant: The value of a parameter that is no variable but a constant; empty for others.
    """

    variables: tuple[tuple[int, TensorSpec], ...]
    parameters: tuple[tuple[int, TensorSpec], ...]
    layout: str = ""
    unsure: str = ""
    constant: str = ""

    def to_json(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return {
            **{
                key: [
                    {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "place": place}
                    for place, spec in specs
                ]
                for key, specs in (("variables", self.variables), ("parameters", self.parameters))
            },
            **({"layout": self.layout} if self.layout else {}),
            **({"unsure": self.unsure} if self.unsure else {}),
            **({"constant": self.constant} if self.constant else {}),
        }


@dataclass(frozen=True)
class Beside:
    """Both sides, aligned.

    Attributes:
        path: The checkpoint, as the user named it.
        target: The other side, as the user named it.
        ordered: Whether the places of variables are those of their creation, rather than of their names.
        lines: In the order of the model; a variable that becomes no parameter follows the one before it.
        aside: How many tensors of the checkpoint are left out since they are no weights, by role.
    """

    path: str
    target: str
    ordered: bool
    lines: tuple[Line, ...]
    aside: Mapping[str, int]

    @property
    def matched(self) -> int:
        """How many parameters have a variable."""
        return sum(len(line.parameters) for line in self.lines if line.variables)

    @property
    def open(self) -> int:
        """How many parameters have none, and are no constants."""
        return sum(len(line.parameters) for line in self.lines if not (line.variables or line.constant))

    @property
    def unused(self) -> int:
        """How many variables become no parameter."""
        return sum(len(line.variables) for line in self.lines if not line.parameters)

    def to_json(self) -> dict[str, Any]:
        """Both sides as plain JSON values."""
        return {
            "path": self.path,
            "beside": self.target,
            "ordered": self.ordered,
            "matched": self.matched,
            "open": self.open,
            "unused": self.unused,
            "left_out": dict(self.aside),
            "lines": [line.to_json() for line in self.lines],
        }


def beside(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    grep: str | None = None,
    names: Names = "readable",
    trust: bool = False,
) -> Beside:
    """Align the tensors of a checkpoint with those of a model. No weight is read.

    Args:
        path: The checkpoint.
        target: A model (``package.module:Class``), a mapping, a manifest, or any file of weights.
        kwargs: Arguments of the model.
        config: The configuration of a model of transformers, or of the mapping's model.
        grep: Only lines with a name that matches this regular expression.
        names: What tensors of the checkpoint are called, as in `tfpt.open_source`.
        trust: Also import the model from outside the packages that tfpt trusts.

    Raises:
        TfptError: A side cannot be read, the model cannot be built, or `grep` is not a regular expression.
    """
    try:
        wanted = re.compile(grep or "")
    except re.error as error:
        raise TfptError("--grep is not a regular expression", got=f"{grep}: {error}") from error
    with closing(open_source(path, names=names)) as source:
        roles = roles_of(source)
        order, specs = source.order, dict(source.specs)
    listed = [name for name in order or sorted(specs) if name not in roles]
    variables = Side([specs[name] for name in listed], "/", ordered=order is not None)
    other, separator = _target(os.fspath(target), kwargs, config, trust)
    parameters = Side(
        list(other.specs.values()), "/" if separator == "/" else ".", ordered=True, kinds=other.kinds
    )
    places = {spec.name: place for place, spec in enumerate(parameters.specs)}
    tied = {places[one]: places[first] for one, first in other.tied.items()}
    found = search(variables, parameters, tied=tied)
    lines = _aligned(variables, parameters, found.matches, found.open, found.unused)
    aside: dict[str, int] = {}
    for role in roles.values():
        aside[role] = aside.get(role, 0) + 1
    return Beside(
        os.fspath(path),
        os.fspath(target),
        order is not None,
        tuple(line for line in lines if _matches(line, wanted)),
        aside,
    )


def _target(
    target: str,
    kwargs: Mapping[str, Any] | None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None,
    trust: bool,
) -> tuple[Target, str]:
    """The other side, and what separates the components of its names."""
    is_mapping = target.endswith((".yaml", ".yml")) or is_named(target)
    if not is_mapping and _FACTORY.fullmatch(target) and not Path(target).exists():
        return target_of_model(target, kwargs, config, trust=trust), "."
    if kwargs or (config is not None and not is_mapping):
        raise TfptError(
            "only a model takes arguments", where="--beside", expected="package.module:Class", got=target
        )
    if is_mapping:
        given = os.fspath(config) if isinstance(config, os.PathLike) else config
        return Target(target_specs(load_mapping(target, None, given), trust=trust)), "."
    other = target_of_file(target)
    if sum(name.count(".") - name.count("/") for name in other.specs) >= 0:
        return other, "."
    roles = roles_by_name(other.specs)
    return Target({name: spec for name, spec in other.specs.items() if name not in roles}), "/"


def _aligned(
    variables: Side,
    parameters: Side,
    matches: tuple[Match, ...],
    open_parameters: tuple[int, ...],
    unused: tuple[int, ...],
) -> list[Line]:
    order = {int(v): int(place) for v, place in enumerate(variables.order)}

    def line(match: Match) -> Line:
        left, _, right = match.layout.partition(" -> ")
        return Line(
            tuple((order[v] + 1, variables.specs[v]) for v in match.variables),
            tuple((p + 1, parameters.specs[p]) for p in match.parameters),
            "" if left == right else match.layout,
            match.unsure,
            "" if match.variables or "fill" not in match.keys else str(match.keys["fill"]),
        )

    every = [*matches, *(Match((), (p,)) for p in open_parameters)]
    every.sort(key=lambda match: match.parameters[0])
    # Where each variable is printed: a variable that becomes nothing follows the one before it.
    follows = {order[v]: index for index, match in enumerate(every) for v in match.variables}
    after: dict[int, list[int]] = {}
    for v in sorted(unused, key=order.__getitem__):
        place = order[v]
        while place >= 0 and place not in follows:
            place -= 1
        index = follows.get(place, -1)
        # Not between the tensors of one module.
        while 0 <= index < len(every) - 1 and _module(parameters, every[index]) == _module(
            parameters, every[index + 1]
        ):
            index += 1
        after.setdefault(index, []).append(v)
    lines = [line(Match((v,), ())) for v in after.get(-1, ())]
    for index, match in enumerate(every):
        lines.append(line(match))
        lines += [line(Match((v,), ())) for v in after.get(index, ())]
    return lines


def _module(parameters: Side, match: Match) -> str:
    return parameters.names[match.parameters[-1]].scope


def _matches(line: Line, wanted: re.Pattern[str]) -> bool:
    return any(wanted.search(spec.name) for _, spec in (*line.variables, *line.parameters))
