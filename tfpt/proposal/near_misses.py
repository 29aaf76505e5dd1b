"""What may belong to the leftovers of a plan: the best candidates for each parameter and variable, with the reasons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tfpt.nearest import Names, distance
from tfpt.planning.plan import Plan
from tfpt.proposal.layouts import candidates
from tfpt.proposal.names import Name, parsed
from tfpt.proposal.sides import Part, Shape, Side
from tfpt.proposal.words import likeness
from tfpt.tensors import TensorSpec, format_shape

# How many candidates are shown for one name, and how many are compared word by word.
_SHOWN = 3
_COMPARED = 32
# Names with less in common are not candidates; those that something else uses must have more in common.
_LEAST, _LEAST_USED = 0.3, 0.8
# What a candidate loses if its shape does not fit, if something else uses it, and if its numbers are others.
_MISFIT, _USED, _NUMBERS = 0.4, 0.15, 0.2
# Those that are worse than the best by more than this are not shown.
_BEHIND = 0.15
# How much of the likeness of names is that of their words; the rest is that of their numbers.
_WORDS = 0.75
_ALIKE = 0.5


@dataclass(frozen=True)
class NearMiss:
    """A candidate.

    Attributes:
        spec: The variable or the parameter.
        layout: The layout from the variable to the parameter; empty if it stays as it is, or does not fit.
        fits: Whether the shapes fit.
        taken: Whether something else uses it.
        reasons: What speaks for it and against it, in a few words each.
    """

    spec: TensorSpec
    layout: str = ""
    fits: bool = True
    taken: bool = False
    reasons: tuple[str, ...] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """The candidate as plain JSON values."""
        return {
            "name": self.spec.name,
            "shape": list(self.spec.shape),
            "fits": self.fits,
            **({"layout": self.layout} if self.layout else {}),
            "reasons": list(self.reasons),
        }


class NearMisses:
    """Finds candidates for the leftovers of a plan.

    Args:
        plan: The plan. Nothing else is read: it names every tensor on both sides.

    Example:
        >>> plan = Plan("m", "m.yaml", "", "c", "", 1, (), (), (), {}, {}, {})
        >>> NearMisses(plan).of_variable(TensorSpec("a/kernel", (2, 3), "float32"))
        ()
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.open = _distinct(
            spec
            for finding in plan.findings
            if finding.kind in ("absent", "missing")
            for spec in finding.parameters
        )
        self.loose = _distinct(
            spec for finding in plan.findings if finding.kind == "unused" for spec in finding.variables
        )
        # Variables whose rows write what the model does not have.
        self._stray = {
            spec.name: (spec, finding.name)
            for finding in plan.findings
            if finding.kind == "extra"
            for spec in finding.variables
        }

    def of_parameter(self, spec: TensorSpec, wanted: Sequence[str] = ()) -> tuple[NearMiss, ...]:
        """The best variables for a parameter, the best first.

        Args:
            spec: The parameter.
            wanted: The variable that its row names, which the checkpoint does not have.
        """
        return self._best(spec, ".", wanted[0] if len(wanted) == 1 else "", self._loose, self._read)

    def of_variable(self, spec: TensorSpec, wanted: str = "") -> tuple[NearMiss, ...]:
        """The best parameters for a variable, the best first.

        Args:
            spec: The variable.
            wanted: The parameter that its row names, which the model does not have.
        """
        return self._best(spec, "/", wanted, self._open, self._written)

    def _best(
        self, spec: TensorSpec, separator: str, wanted: str, free: _Pool, taken: _Pool
    ) -> tuple[NearMiss, ...]:
        found = self._rated(spec, separator, wanted, free, {})
        used = self._rated(spec, separator, wanted, taken, self._users)
        found += sorted(used, key=lambda rated: -rated[0])[:1]
        found.sort(key=lambda rated: (-rated[0], rated[1].spec.name))
        return tuple(miss for score, miss in found[:_SHOWN] if score >= found[0][0] - _BEHIND)

    def _rated(
        self, spec: TensorSpec, separator: str, wanted: str, pool: _Pool, users: dict[str, str]
    ) -> list[tuple[float, NearMiss]]:
        found: list[tuple[float, NearMiss]] = []
        name = parsed(spec.name, separator)
        for (shape, part), members in pool.groups.items():
            mine, theirs = (shape, spec.shape) if separator == "." else (spec.shape, shape)
            layouts = candidates(mine, theirs, part if separator == "." else "other")
            if separator == "/" and layouts:
                layouts = candidates(mine, theirs, _part(spec))
            if users and not layouts:
                continue
            for other in _close(wanted or spec.name, members):
                named = parsed(other.name, pool.separator)
                alike = _likeness(name, named, wanted)
                renumbered = Counter((parsed(wanted, pool.separator) if wanted else name).numbers) != Counter(
                    named.numbers
                )
                # What belongs to layer 4 is not a candidate for layer 5; a table of unique size may be tied.
                alone = len(members.specs) == 1 and sum(size > 1 for size in shape) > 1
                least = (0.0 if alone else _LEAST_USED) if users else _LEAST
                if alike < least or (users and renumbered):
                    continue
                score = alike - _MISFIT * (not layouts) - _USED * bool(users) - _NUMBERS * renumbered
                pattern = layouts[0].pattern if layouts else ""
                unchanged = _unchanged(pattern)
                reasons = [_fit(other, bool(layouts), "" if unchanged else pattern)]
                reasons.append(_names(name, named, wanted))
                if users:
                    reasons.append(users[other.name])
                    reasons += ["the only one of this shape"] if alone else []
                elif other.name in self._stray:
                    reasons.append(f"its row writes {self._stray[other.name][1]}, not in the model")
                elif separator == ".":
                    reasons.append("unused")
                else:
                    reasons.append("nothing writes it")
                layout = "" if unchanged else pattern
                said = tuple(filter(None, reasons))
                miss = NearMiss(other, layout, bool(layouts), bool(users), said)
                found.append((score, miss))
        return found

    @cached_property
    def _partner(self) -> dict[str, str]:
        """What each variable becomes, and what each parameter is made from."""
        found: dict[str, str] = {}
        for step in self._plan.steps:
            for read in step.reads:
                found.setdefault(read.name, step.writes[0].name)
            for write in step.writes:
                if step.reads:
                    found.setdefault(write.name, step.reads[0].name)
        return found

    @cached_property
    def _users(self) -> dict[str, str]:
        read = {spec.name for step in self._plan.steps for spec in step.reads}
        return {
            name: f"{'becomes' if name in read else 'made from'} {other}"
            for name, other in self._partner.items()
        }

    @cached_property
    def _loose(self) -> _Pool:
        return _Pool([*self.loose, *(spec for spec, _ in self._stray.values())], "/")

    @cached_property
    def _open(self) -> _Pool:
        return _Pool(self.open, ".")

    @cached_property
    def _read(self) -> _Pool:
        return _Pool(_distinct(spec for step in self._plan.steps for spec in step.reads), "/")

    @cached_property
    def _written(self) -> _Pool:
        return _Pool([spec for step in self._plan.steps if step.reads for spec in step.writes], ".")


class _Pool:
    """Tensors by shape and part of a layer."""

    def __init__(self, specs: Sequence[TensorSpec], separator: str) -> None:
        self.separator = separator
        self.groups: dict[tuple[Shape, Part], _Members] = {}
        side = Side(specs, "/" if separator == "/" else ".", ordered=False)
        grouped: dict[tuple[Shape, Part], list[TensorSpec]] = defaultdict(list)
        for spec, part in zip(side.specs, side.parts, strict=True):
            grouped[spec.shape, part if separator == "/" else "other"].append(spec)
        self.groups = {key: _Members(members) for key, members in grouped.items()}


class _Members:
    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}

    @cached_property
    def names(self) -> Names:
        return Names(self.specs)


def _close(name: str, members: _Members) -> Iterable[TensorSpec]:
    """Those worth a closer look."""
    if len(members.specs) <= _COMPARED:
        return members.specs.values()
    return [members.specs[other] for other in members.names.nearest(name, _COMPARED)]


def _distinct(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    return list({spec.name: spec for spec in specs}.values())


def _part(spec: TensorSpec) -> Part:
    return Side([spec], "/", ordered=False).parts[0]


def _unchanged(pattern: str) -> bool:
    left, _, right = pattern.partition(" -> ")
    return left == right


def _likeness(one: Name, other: Name, wanted: str) -> float:
    """How alike two names are, from 0 to 1; to the name that was wanted, if there is one."""
    if wanted:
        return 1 - distance(wanted, other.text) / max(_depth(wanted), _depth(other.text))
    ours, theirs = _words(one), _words(other)
    if not ours or not theirs:
        return 0.0
    forth = sum(max(likeness(word, other) for other in theirs) for word in ours) / len(ours)
    back = sum(max(likeness(word, other) for other in ours) for word in theirs) / len(theirs)
    numbers, others = Counter(one.numbers), Counter(other.numbers)
    every = max(numbers.total(), others.total())
    same = (numbers & others).total() / every if every else 1.0
    return _WORDS * (forth + back) / 2 + (1 - _WORDS) * same


def _depth(name: str) -> int:
    return max(name.count("/"), name.count("."), 1)


def _words(name: Name) -> list[str]:
    return [word for word in name.pattern if word != "#"]


def _fit(other: TensorSpec, fits: bool, pattern: str) -> str:
    if not fits:
        return f"another shape, {format_shape(other.shape)}"
    return f"same shape after {pattern}" if pattern else "same shape"


def _names(one: Name, other: Name, wanted: str) -> str:
    """How the names differ, in a few words."""
    if wanted:
        left, right = wanted.split(other.separator), other.text.split(other.separator)
        if len(left) == len(right):
            changed = [f"{b} for {a}" for a, b in zip(left, right, strict=True) if a != b]
            return f"named {', '.join(changed[:2])}" if len(changed) <= 2 else ""
        more = [word for word in right if word not in left]
        less = [word for word in left if word not in right]
        said = [f"with {other.separator.join(more)}"] if more else []
        said += [f"without {other.separator.join(less)}"] if less else []
        return f"named {' and '.join(said)}" if said and len(more) + len(less) <= 3 else ""
    if one.numbers != other.numbers and Counter(one.numbers) != Counter(other.numbers):
        if max(len(one.numbers), len(other.numbers)) > 2:
            return "other numbers"
        ours, theirs = (", ".join(map(str, name.numbers)) for name in (one, other))
        return f"numbered {theirs or 'not at all'}, not {ours}" if ours else f"numbered {theirs}"
    words, others = _words(one), _words(other)
    alone = [word for word in words if max((likeness(word, each) for each in others), default=0) < _ALIKE]
    if not alone:
        return "named alike"
    return f"nothing like {', '.join(dict.fromkeys(alone[:3]))} in its name"
