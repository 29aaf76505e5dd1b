"""Proposing a mapping: from the names and shapes of a checkpoint and a model to its text, and a plan of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tfpt.errors import TfptError
from tfpt.formats.roles import REASONS, roles_of
from tfpt.formats.source import Source
from tfpt.language.loader import load_mapping
from tfpt.nearest import nearest
from tfpt.planning.plan import Plan
from tfpt.planning.planner import make_plan
from tfpt.planning.steps import Copy
from tfpt.proposal.document import Facts, written
from tfpt.proposal.evidence import Weights
from tfpt.proposal.names import Name
from tfpt.proposal.proposal import Proposal, Shown
from tfpt.proposal.rows import items, number
from tfpt.proposal.search import Found, search
from tfpt.proposal.sides import Side
from tfpt.proposal.target import Target
from tfpt.proposal.templates import Item, generalized
from tfpt.tensors import Role, TensorSpec

_AVERAGE = "/ExponentialMovingAverage"


def propose(
    source: Source,
    target: Target,
    folder: Path,
    *,
    name: str = "proposal",
    summary: str = "",
    weights: Weights | None = None,
    decided: Mapping[str, str] | None = None,
    averages: Literal["prefer", "ignore"] | None = None,
    shown: Shown | None = None,
) -> Proposal:
    """Propose a mapping for a checkpoint and a model.

    Args:
        source: The checkpoint.
        target: The model's parameters.
        folder: Where the mapping is written, to be compiled and planned: `NAME.yaml`.
        name: The name of the file, without its ending.
        summary: Its first line.
        weights: How much each kind of evidence counts.
        decided: What is known already, by parameter: the name of its variable, an empty text for none, or its layout.
        averages: Whether to read moving averages where the checkpoint has them. By default they are read, but that is
            unsure.
        shown: What running both networks has shown.

    Raises:
        TfptError: A name in `decided` is not in the checkpoint or the model.
    """
    roles = roles_of(source)
    weighed, averaged = _weights(source.specs, roles)
    if source.order is not None:
        created = {name: place for place, name in enumerate(source.order)}
        weighed.sort(key=lambda spec: created[spec.name])
    # A template cannot contain a brace: the plan's findings name what is left out here.
    variables = Side([spec for spec in weighed if _can_be_written(spec)], "/", ordered=_is_ordered(source))
    named = [spec for spec in target.specs.values() if _can_be_written(spec)]
    parameters = Side(named, ".", ordered=True, kinds=target.kinds)
    places = {spec.name: place for place, spec in enumerate(parameters.specs)}
    tied = {
        places[one]: places[other] for one, other in target.tied.items() if one in places and other in places
    }
    settled = _decided(decided or {}, variables, places)
    found = search(variables, parameters, tied=tied, weights=weights, decided=settled)
    known = shown or Shown()
    single = items(found.matches, variables, parameters, _behaviors(known))
    every = {spec.name for spec in variables.specs}
    every |= {above for name in every for above in _scopes(name)}
    ema = f"{averages or 'prefer'}" if averaged else ""
    facts = _facts(source, summary, target, found, variables, parameters, roles, ema)
    placed = {target for item in single if item.content.startswith("use: ") for target in item.pt}
    facts = replace(
        facts,
        endpoints=known.endpoints,
        input=known.input,
        proof=known.lines,
        modules={path: keys for path, keys in _behaviors(known).items() if path not in placed},
    )
    targets = list(target.specs)
    rows: Sequence[Item] = generalized(single, every, targets)
    path = folder / f"{name}.yaml"
    text, plan = _planned(facts, rows, path, source, target)
    differs = _differences(found, variables, parameters, plan)
    if differs:
        # A template that says something else gives way to the names it was made from.
        rows = _apart(single, differs, every, targets)
        text, plan = _planned(facts, rows, path, source, target)
        differs = _differences(found, variables, parameters, plan)
    return Proposal(
        text,
        plan,
        found,
        variables,
        parameters,
        len(rows),
        tuple(differs),
        frozenset() if averages else averaged,
    )


def _behaviors(shown: Shown) -> dict[str, str]:
    """How modules must behave, as the keys of a scope, by path."""
    found = {path: f"eps: {number(value)}" for path, value in shown.eps.items()}
    found |= {path: f"padding: {rule}" for path, rule in shown.padding.items()}
    return found


def _decided(decided: Mapping[str, str], variables: Side, places: Mapping[str, int]) -> dict[int, int | str]:
    known = {spec.name: index for index, spec in enumerate(variables.specs)}
    found: dict[int, int | str] = {}
    for parameter, choice in decided.items():
        if parameter not in places:
            raise TfptError(f"the model has no parameter {parameter}", nearest=nearest(parameter, places))
        if choice and "->" not in choice and choice not in known:
            raise TfptError(f"the checkpoint has no variable {choice}", nearest=nearest(choice, known))
        found[places[parameter]] = choice if "->" in choice else known.get(choice, -1)
    return found


def _weights(
    specs: Mapping[str, TensorSpec], roles: Mapping[str, Role]
) -> tuple[list[TensorSpec], frozenset[str]]:
    """The variables that are weights, each once, and those that have a moving average."""
    averaged = {
        name.removesuffix(_AVERAGE)
        for name, role in roles.items()
        if role == "average" and name.endswith(_AVERAGE) and name.removesuffix(_AVERAGE) in specs
    }
    return [spec for name, spec in specs.items() if name not in roles], frozenset(averaged)


def _can_be_written(spec: TensorSpec) -> bool:
    return not {"{", "}"} & set(spec.name)


def _is_ordered(source: Source) -> bool:
    """Whether the file keeps the order in which variables were created; names alone are sorted."""
    names = list(source.specs)
    return source.order is not None or names != sorted(names)


def _scopes(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def _facts(
    source: Source,
    summary: str,
    target: Target,
    found: Found,
    variables: Side,
    parameters: Side,
    roles: Mapping[str, Role],
    ema: str,
) -> Facts:
    used = [variables.specs[v].name for match in found.matches for v in match.variables]
    kinds = Counter(role for role in roles.values() if not (ema and role == "average"))
    unused = generalized(
        [
            Item((variables.specs[v].name,), (variables.specs[v].name.replace(".", "_"),), "", v)
            for v in found.unused
        ],
        [],
    )
    matched = {
        item.tf[0]: _count(item.tf[0], [variables.specs[v].name for v in found.unused]) for item in unused
    }
    return Facts(
        summary=summary or "proposed by tfpt init",
        scope=_common_scope(used),
        ignore={role: REASONS[role] for role in kinds},
        ema=_averages(variables, ema) if ema else "",
        model=target.model,
        open=[f"{parameters.specs[p].name} {list(parameters.specs[p].shape)}" for p in found.open],
        unused=matched,
    )


def _averages(variables: Side, use: str) -> str:
    """The section `ema`: moving statistics of normalizations are averages already."""
    statistics = sorted(
        {
            name.text.rpartition("/")[2]
            for name, part in zip(variables.names, variables.parts, strict=True)
            if part in ("mean", "variance")
        }
    )
    excepted = ", ".join(f'"{{path...}}/{name}"' for name in statistics)
    text = f'{{tf: "{{path...}}/ExponentialMovingAverage", use: {use}'
    return f"{text}, except: [{excepted}]}}" if excepted and use == "prefer" else f"{text}}}"


def _count(template: str, names: Sequence[str]) -> int:

    if "{" not in template:
        return 1
    skeleton = re.sub(r"\{[^}]*\}", "#", template)
    return max(
        1, sum(Name(name, "/").pattern == Name(skeleton.replace("#", "0"), "/").pattern for name in names)
    )


def _common_scope(names: Sequence[str]) -> str:
    """The scope that all these names are in, if it has no numbers."""
    if len(names) < 2:
        return ""
    first = names[0].split("/")[:-1]
    length = len(first)
    for name in names[1:]:
        parts = name.split("/")[:-1]
        length = min(
            length,
            next(
                (i for i in range(min(length, len(parts))) if parts[i] != first[i]), min(length, len(parts))
            ),
        )
    scope = first[:length]
    return "/".join(scope)


def _planned(
    facts: Facts,
    rows: Sequence[Item],
    path: Path,
    source: Source,
    target: Target,
) -> tuple[str, Plan]:
    text = written(facts, rows)
    path.write_text(text, encoding="utf-8")
    return text, plan_of(path, source, target)


def plan_of(path: Path, source: Source, target: Target) -> Plan:
    """What a mapping does with a checkpoint, for the parameters of the target."""
    return make_plan(
        load_mapping(path),
        source.specs,
        target.specs,
        source=source.location,
        roles=roles_of(source),
        quantized=source.quantized,
    )


def _differences(found: Found, variables: Side, parameters: Side, plan: Plan) -> list[str]:
    """Parameters that the plan makes from other variables than was found."""
    planned = {
        spec.name: {read.name.removesuffix(_AVERAGE) for read in step.reads}
        for step in plan.steps
        for spec in step.writes
        if isinstance(step, Copy) or not step.reads
    }
    differs = []
    for match in found.matches:
        wanted = {variables.specs[v].name for v in match.variables}
        for p in match.parameters:
            name = parameters.specs[p].name
            if planned.get(name) != wanted:
                differs.append(name)
    return differs


def _apart(
    single: Sequence[Item], differs: Sequence[str], every: set[str], targets: Sequence[str]
) -> list[Item]:
    """The rows, with those that concern these parameters written out one by one."""
    prefixes = set(differs)
    apart = [
        item
        for item in single
        if any(name == pt or name.startswith(f"{pt}.") for pt in item.pt for name in prefixes)
    ]
    named = {id(item) for item in apart}
    kept = generalized([item for item in single if id(item) not in named], every, targets)
    return sorted([*kept, *apart], key=lambda item: item.place)
