"""Verifications in the terminal: the endpoints in network order, why the first one departs, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tfpt.report.plans import print_findings
from tfpt.report.terminal import count, escape
from tfpt.tensors import format_shape
from tfpt.verification import Verification
from tfpt.verification.agreement import ComparedEndpoint, Measure
from tfpt.verification.diagnosis import Diagnosis, Place

# Above this number of endpoints, only the first and last and those around the first bad one are shown.
SHOWN = 40
_AROUND = 3
# How many places of one cause are listed by name.
_PLACES = 4
_WIDE = 118

_COLORS = {
    "agrees": "green",
    "departs": "bold red",
    "follows": "yellow",
    "shape": "bold red",
    "missing": "magenta",
    "not finite": "bold red",
    "unrecorded": "dim",
}
MARKS = {
    "agrees": "✓",
    "departs": "✗",
    "follows": "↓",
    "shape": "✗",
    "missing": "?",
    "not finite": "✗",
    "unrecorded": "·",
}


def print_verification(out: Console, result: Verification, *, everything: bool = False) -> None:
    """Print what was compared, the endpoints, why one departs, notes, and last the verdict, where readers look."""
    out.print(
        f"[bold]{escape(result.mapping)}[/]: {escape(result.weights)} against {escape(result.recording)}",
        soft_wrap=True,
    )
    for line in facts_in_words(result):
        out.print(f"  {escape(line)}", soft_wrap=True)
    out.print()
    out.print(_table(result, everything, wide=out.width >= _WIDE))
    for diagnosis in result.explanation.diagnoses:
        _print_diagnosis(out, diagnosis, everything, result.explanation.seconds)
    if result.explanation.repaired:
        out.print()
        out.print(repaired_text(result), style="green", soft_wrap=True)
    for note in notes(result):
        out.print()
        out.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    if result.findings and (everything or not proven(result)):
        print_findings(out, result.findings, everything=everything)
    out.print()
    color = "green" if result.agrees else "red"
    verdict, rest = headline(result)
    out.print(f"[bold {color}]{verdict}[/]{escape(rest)}", soft_wrap=True)


def headline(result: Verification) -> tuple[str, str]:
    """The verdict in a word, and the rest of its sentence."""
    compared = [one for one in result.endpoints if one.verdict != "unrecorded"]
    if result.agrees:
        carried = sum(one.carries_rounding for one in result.endpoints)
        more = (
            f", not counting rounding carried over from earlier endpoints in {carried} of them"
            if carried
            else ""
        )
        so_far = f", {limits}" if (limits := reached(result)) else ""
        return "agrees", f": {_all(len(compared), 'endpoint')} within {result.tolerance:g}{more}{so_far}"
    first = result.first
    assert first is not None
    if not first.departs:
        bad = sum(one.bad for one in result.endpoints)
        return "cannot be compared", f": the model did not compute {count(bad, 'recorded endpoint')}"
    place = [one.name for one in compared].index(first.name) + 1
    of = f"{ordinal(place)} of {len(compared):,} endpoints" if len(compared) > 1 else "only endpoint"
    rest = f" at {first.name}, the {of}"
    found = result.explanation.diagnoses
    if found and found[0].proven:
        return "departs", f"{rest}: {proof(found[0])}"
    return "departs", f"{rest}: {by_how_much(first)}"


def reached(result: Verification) -> str:
    """How much of the model's tables the input reaches; empty if all of them."""
    partly = [each for each in result.exercised if each.reached < each.rows]
    if partly:
        # The largest first: a vocabulary matters more than a table of positions.
        partly.sort(key=lambda each: -each.rows)
        more = f" and parts of {count(len(partly) - 2, 'more table')}" if len(partly) > 2 else ""
        return f"with {' and '.join(map(str, partly[:2]))}{more}"
    fed = result.facts.get("input", {}).get("numbers", {})
    if fed and not result.exercised:
        ranges = [_numbers(name, each) for name, each in fed.items()]
        return f"with {', '.join(ranges)}"
    return ""


def _numbers(name: str, fed: Mapping[str, Any]) -> str:
    label = "the input" if name == "input" else name
    if fed["least"] == fed["largest"]:
        return f"{label} {fed['least']} everywhere"
    return f"{fed['distinct']:,} different numbers in {label}, from {fed['least']} to {fed['largest']}"


def proof(diagnosis: Diagnosis) -> str:
    """What a module has, and what makes its endpoint agree."""
    kinds: dict[str, list[Place]] = {}
    for place in diagnosis.places:
        kinds.setdefault(place.kind, []).append(place)
    firsts = [places[0] for places in kinds.values()]
    what = " and ".join(
        describe(places[0]) + (f" (and {count(len(places) - 1, 'more place')})" if len(places) > 1 else "")
        for places in kinds.values()
    )
    instead = ", and ".join(place.expected for place in firsts)
    return f"{what}; with {instead}, {diagnosis.name} agrees to {short(diagnosis.rel_after)}"


def describe(place: Place) -> str:
    """A module and what it has, as a clause.

    Example:
        >>> describe(Place("epsilon", "block.norm", "has eps 1e-05", "eps 0.001"))
        'block.norm has eps 1e-05'
    """
    return f"{place.path or 'the model'} {place.actual}"


def by_how_much(one: ComparedEndpoint) -> str:
    """How an endpoint differs, in words."""
    if one.verdict == "shape":
        return f"its shape is {_shape(one.shape)}, the recorded one {_shape(one.shape_tf)}"
    if one.verdict == "not finite":
        return "it has values that are not finite"
    assert one.free is not None
    return f"it differs by {short(one.free.rel)} of the recorded norm"


def proven(result: Verification) -> bool:
    """Whether every cause is proven."""
    return bool(result.explanation.diagnoses) and all(one.proven for one in result.explanation.diagnoses)


def facts_in_words(result: Verification) -> Iterator[str]:
    """The input, the versions on both sides, and the tolerance."""
    return sides_in_words(result.facts, result.tolerance)


def sides_in_words(facts: Mapping[str, Any], tolerance: float) -> Iterator[str]:
    """The input, the versions on both sides, and the tolerance."""
    fed, ours = facts["input"], facts["pytorch"]
    shapes = ", ".join(
        f"{name} {format_shape(tuple(shape))}" if name != "input" else format_shape(tuple(shape))
        for name, shape in fed["shapes"].items()
    )
    yield f"input {shapes} from {fed['origin']}"
    theirs = facts["tensorflow"].get("tensorflow")
    form = ", optimized" if ours["optimize"] else ""
    known = f"TensorFlow {theirs}" if theirs else "TensorFlow of unknown version"
    known = str(facts["tensorflow"].get("runtime") or known)
    yield f"{known}; torch {ours['torch']} on {ours['device']} in {ours['dtype']}{form}"
    yield f"tolerance {tolerance:g}"


def notes(result: Verification) -> Iterator[str]:
    """Notes for the reader."""
    if result.averages and not result.agrees:
        yield (
            f"the mapping reads {count(result.averages, 'moving average')}, but TensorFlow ran with the variables "
            "themselves, so the two must differ, and no cause was searched for. Record the network with this "
            "mapping again; tfpt record takes the averages that the mapping reads from the checkpoint"
        )
    explained_already = {diagnosis.name for diagnosis in result.explanation.diagnoses}
    others = [one.name for one in result.others if one.name not in explained_already]
    if others:
        names, more = ", ".join(others), len(others) > 1
        yield f"{names} also {'depart' if more else 'departs'} by {'themselves' if more else 'itself'}"
    unrecorded = sum(one.verdict == "unrecorded" for one in result.endpoints)
    if unrecorded:
        yield f"{count(unrecorded, 'endpoint')} of the mapping not compared: not in the recording"
    if empty := [one.name for one in result.endpoints if one.all_zero]:
        names = ", ".join(empty[:_PLACES]) + (f" and {len(empty) - _PLACES} more" if empty[_PLACES:] else "")
        verb = "has" if len(empty) == 1 else "have"
        yield f"{names} {verb} only zeros on both sides, so agreement proves little; try another input"
    if result.agrees and (limits := reached(result)):
        yield (
            f"the networks were compared {limits}; the other rows were not used. To compare all weights, use "
            "tfpt diff; to reach more rows, run tfpt record with a larger --batch or --frames"
        )
    if result.facts["tensorflow"].get("training"):
        yield "the recording was made in training mode"
    if result.findings and proven(result):
        stops = sum(finding.stops for finding in result.findings)
        verb = "contradicts" if stops == 1 else "contradict"
        yield f"{count(stops, 'layer')} of the model {verb} the mapping, and tfpt.load refuses such a model"


def repaired_text(result: Verification) -> str:
    """The effect of repairing all causes."""
    several = len(result.explanation.diagnoses) > 1
    return f"with {'all of these changes' if several else 'this change'}, every recorded endpoint agrees"


def explained(diagnosis: Diagnosis) -> Iterator[str]:
    """What the difference shows, and what proves the cause, line by line."""
    for sign in diagnosis.signs[:1]:
        yield f"the difference shows: {sign.shows}"
    if diagnosis.rel_after < math.inf:
        before = "another shape" if diagnosis.rel == math.inf else short(diagnosis.rel)
        tried = count(diagnosis.trials, "trial")
        yield f"with this change, {diagnosis.name} agrees: {before} → {short(diagnosis.rel_after)} ({tried})"


def unproven(diagnosis: Diagnosis, seconds: float) -> str:
    """How much was tried in vain, and how to go on if the time was up after so many seconds.

    Example:
        >>> from dataclasses import replace
        >>> one = Diagnosis("x", "x", False, (), "", (), False, 1.0, 1.0, (), (), (), 84, 226)
        >>> unproven(one, 60.2)
        '84 of 310 changes tried when the time was up; --seconds 300 goes on'
        >>> unproven(replace(one, untried=0), 12.0)
        '84 trials, none of which made it agree'
    """
    if diagnosis.untried:
        every = diagnosis.trials + diagnosis.untried
        # Rounded to whole minutes: the last trial ends a little late.
        more = 300 * max(1, round(seconds / 60))
        return (
            f"{diagnosis.trials:,} of {every:,} changes tried when the time was up; --seconds {more} goes on"
        )
    return f"{count(diagnosis.trials, 'trial')}, none of which made it agree"


def _print_diagnosis(out: Console, diagnosis: Diagnosis, everything: bool, seconds: float) -> None:
    out.print()
    if not diagnosis.proven:
        out.print(
            f"[bold red]why {escape(diagnosis.name)} departs is not proven[/]: {unproven(diagnosis, seconds)}",
            soft_wrap=True,
        )
        for sign in diagnosis.signs:
            out.print(f"  [bold]seen[/]      {escape(sign.shows)}", soft_wrap=True)
        for number, suspect in enumerate(diagnosis.suspects, 1):
            out.print(
                f"  {'[bold]suspects[/]  ' if number == 1 else ' ' * 10}{escape(suspect)}", soft_wrap=True
            )
        return
    where = " everywhere" if diagnosis.everywhere else ""
    out.print(
        f"[bold]why {escape(diagnosis.name)} departs[/] (proven by trial): {escape(diagnosis.cause)}{where}",
        soft_wrap=True,
    )
    shown = diagnosis.places if everything else diagnosis.places[:_PLACES]
    for place in shown:
        row = f"  [dim]{escape(place.row)}[/]" if place.row else ""
        out.print(f"  {escape(describe(place))}; TensorFlow: {escape(place.expected)}{row}", soft_wrap=True)
    if len(shown) < len(diagnosis.places):
        out.print(f"  … and {len(diagnosis.places) - len(shown)} more places (--all shows them)")
    for line in explained(diagnosis):
        out.print(f"  [green]{escape(line)}[/]", soft_wrap=True)
    for advice in diagnosis.advice:
        out.print(f"  next      {escape(advice)}", soft_wrap=True)


def _table(result: Verification, everything: bool, *, wide: bool) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("endpoint", overflow="fold")
    table.add_column("shape", no_wrap=wide)
    extra = ("max abs", "cosine", "mean |x|", "TensorFlow's") if wide else ()
    for column in ("rel", "own", "max rel", *extra):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    shown = shown_endpoints(result, everything)
    left_out = 0
    for index, one in enumerate(result.endpoints):
        if index not in shown:
            left_out += 1
            continue
        if left_out:
            table.add_row("", f"[dim]… {left_out} that agree or follow[/]")
            left_out = 0
        table.add_row(*_row(one, wide), style="red" if one.departs else None)
    return table


def shown_endpoints(result: Verification, everything: bool) -> set[int]:
    """The endpoints that a table shows: all, or the ends and those around the first bad one."""
    number = len(result.endpoints)
    if everything or number <= SHOWN:
        return set(range(number))
    first = result.first
    center = result.endpoints.index(first) if first is not None else 0
    near = set(range(max(0, center - _AROUND), min(number, center + _AROUND + 1)))
    own = {index for index, one in enumerate(result.endpoints) if one.departs}
    return near | own | set(range(_AROUND)) | set(range(number - _AROUND, number))


def _row(one: ComparedEndpoint, wide: bool) -> Sequence[str]:
    color = _COLORS[one.verdict]
    verdict = f"[{color}]{one.verdict}[/]" + (f" ({escape(one.note)})" if one.note else "")
    shape = _shape(one.shape if one.shape is not None else one.shape_tf)
    if one.verdict == "shape":
        shape = f"{shape}, recorded {_shape(one.shape_tf)}"
    figures = [_figure(one.free, "rel"), _figure(one.own, "rel"), _figure(one.free, "max_rel")]
    if wide:
        figures += [_figure(one.free, "max_abs"), f"{one.free.cosine:.6f}" if one.free else ""]
        figures += [_value(one.free, "mean_abs"), _value(one.free, "mean_abs_tf")]
    return (f"[{color}]{MARKS[one.verdict]}[/]", escape(one.name), escape(shape), *figures, verdict)


def short(value: float) -> str:
    """A difference in two digits.

    Example:
        >>> short(0.0), short(1.23e-6), short(0.25), short(float("inf"))
        ('0', '1.2e-06', '2.5e-01', 'inf')
    """
    return "0" if value == 0 else f"{value:.1e}"


def ordinal(number: int) -> str:
    """An ordinal number.

    Example:
        >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22, 113)]
        ['first', '2nd', '3rd', '4th', '11th', '22nd', '113th']
    """
    if number == 1:
        return "first"
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _all(number: int, noun: str) -> str:
    return f"the only {noun}" if number == 1 else f"all {number} {noun}s"


def _figure(measure: Measure | None, name: str) -> str:
    return "" if measure is None else short(float(getattr(measure, name)))


def _value(measure: Measure | None, name: str) -> str:
    value = None if measure is None else getattr(measure, name)
    return "" if value is None else f"{value:.5g}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else format_shape(shape)
