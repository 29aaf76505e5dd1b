"""Parameters and variables that no pair explains: series stacked in one tensor, packed weights, ties, constants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tfpt.proposal.evidence import WordEvidence
from tfpt.proposal.layouts import candidates
from tfpt.proposal.matches import Match, stacked, unstacked
from tfpt.proposal.sides import Part, Shape, Side

# Parts of a packed weight, in the order in which every known implementation packs them.
_PACKED = (("query", "key", "value"), ("q", "k", "v"))
_MOST_PARTS = 8
# Two names need at least this much in common for anything but their shapes to speak for them.
_RELATED = 0.25
# A table may have this many times the rows of the other: padded vocabularies, more positions.
_LONGER = 4


class Leftovers:
    """What is left after an assignment.

    Args:
        variables: The variables.
        parameters: The parameters.
        words: What is known about their words.
        chosen: The variable of each parameter that has one.
        tied: For parameters that are the same tensor as another in the model: which one.
    """

    def __init__(
        self,
        variables: Side,
        parameters: Side,
        words: WordEvidence,
        chosen: dict[int, int],
        tied: dict[int, int],
    ) -> None:
        self.variables = variables
        self.parameters = parameters
        self._words = words
        self._chosen = chosen
        self._tied = tied
        self._open = [index for index in range(len(parameters)) if index not in chosen]
        used = set(chosen.values())
        self._unused = [index for index in range(len(variables)) if index not in used]

    def matches(self) -> list[Match]:
        """How the rest is explained, best explanations first."""
        found: list[Match] = []
        for explain in (
            self._known_ties,
            self._series_in_one,
            self._one_for_a_series,
            self._packed,
            self._unpacked,
            self._shared_by_a_series,
            self._resized,
            self._constants,
            self._ties,
        ):
            for match in explain():
                found.append(match)
                taken, done = set(match.variables), set(match.parameters)
                self._unused = [index for index in self._unused if index not in taken]
                self._open = [index for index in self._open if index not in done]
        return found

    @property
    def open(self) -> list[int]:
        """Parameters that nothing explains."""
        return self._open

    @property
    def unused(self) -> list[int]:
        """Variables that nothing uses."""
        return self._unused

    def _related(self, v: int, p: int) -> float:
        """How much the names have in common: words, and the place in series of equal length."""
        (place_v, count_v), (place_p, count_p) = self.variables.series, self.parameters.series
        alike = self._words.of_one(v, p)
        if count_v[v] > 1 and count_v[v] == count_p[p]:
            alike += 0.25 if place_v[v] == place_p[p] else -0.25
        return alike

    def _known_ties(self) -> Iterator[Match]:
        """Parameters that the model itself shares."""
        for p in tuple(self._open):
            origin = self._tied.get(p)
            if origin in self._chosen:
                v = self._chosen[origin]
                yield Match((v,), (p,), self._layout(v, p), {"tied": True})

    def _layout(self, v: int, p: int) -> str:
        found = candidates(self.variables.shapes[v], self.parameters.shapes[p], self.variables.parts[v])
        return found[0].pattern if found else ""

    def _series(self, side: Side, members: Iterable[int]) -> list[list[int]]:
        """Tensors of one name but for a single number that counts from 0, of equal shapes."""
        found: defaultdict[object, list[tuple[int, int]]] = defaultdict(list)
        for index in members:
            name = side.names[index]
            for place, number in enumerate(name.numbers):
                rest = (
                    name.pattern,
                    place,
                    name.numbers[:place],
                    name.numbers[place + 1 :],
                    side.shapes[index],
                )
                found[rest].append((number, index))
        series = [sorted(group) for group in found.values()]
        whole = [
            [index for _, index in group]
            for group in series
            if len(group) > 1 and [number for number, _ in group] == list(range(len(group)))
        ]
        return sorted(whole, key=len, reverse=True)

    def _best(self, options: Iterable[tuple[float, Match]], least: float = _RELATED) -> Iterator[Match]:
        ranked = sorted(options, key=lambda option: -option[0])
        if ranked and ranked[0][0] >= least:
            match = ranked[0][1]
            if len(ranked) > 1 and ranked[1][0] > ranked[0][0] - 0.05:
                match = match.doubted("another variable fits as well")
            yield match

    def _series_in_one(self) -> Iterator[Match]:
        """A variable that holds a parameter of all layers."""
        for series in self._series(self.parameters, self._open):
            if not set(series) <= set(self._open):
                continue
            shape, count = self.parameters.shapes[series[0]], len(series)
            options = []
            for v in self._unused:
                layout = self._apart(self.variables.shapes[v], shape, count, v)
                if layout is not None:
                    options.append(
                        (
                            self._related(v, series[0]),
                            Match((v,), tuple(series), layout, series=True),
                        )
                    )
            yield from self._best(options)

    def _apart(self, whole: Shape, part: Shape, count: int, v: int) -> str | None:
        """The layout that takes a variable apart along an axis of its own, the first if possible."""
        for axis, size in enumerate(whole):
            if size == count:
                rest = (*whole[:axis], *whole[axis + 1 :])
                pattern = _named_axes(rest, part, self.variables.parts[v])
                if pattern:
                    return unstacked(pattern, axis, within=False)
        return None

    def _one_for_a_series(self) -> Iterator[Match]:
        """A parameter that holds the variables of all layers, or of all experts."""
        for series in self._series(self.variables, self._unused):
            if not set(series) <= set(self._unused):
                continue
            shape, count = self.variables.shapes[series[0]], len(series)
            options = []
            for p in self._open:
                whole = self.parameters.shapes[p]
                if whole[:1] != (count,):
                    continue
                pattern = _named_axes(shape, whole[1:], self.variables.parts[series[0]])
                if pattern:
                    layout = stacked(pattern, None)
                    options.append(
                        (
                            self._related(series[0], p),
                            Match(tuple(series), (p,), layout, series=True),
                        )
                    )
            yield from self._best(options)

    def _siblings(self, side: Side, members: Iterable[int]) -> list[list[int]]:
        """Tensors of equal shape and part that differ in one word: query, key and value."""
        found: defaultdict[object, list[int]] = defaultdict(list)
        for index in members:
            name = side.names[index]
            words = name.words
            for place, word in enumerate(words):
                if not word.isdigit():
                    rest = (place, words[:place], words[place + 1 :], side.shapes[index], side.parts[index])
                    found[rest].append(index)
        return [_in_packing_order(side, group) for group in found.values() if 1 < len(group) <= _MOST_PARTS]

    def _packed(self) -> Iterator[Match]:
        """A parameter made of several variables: query, key and value."""
        for group in self._siblings(self.variables, self._unused):
            if not set(group) <= set(self._unused):
                continue
            options = []
            for p in self._open:
                layout = self._together(group, self.parameters.shapes[p])
                if layout is not None:
                    options.append(
                        (
                            max(self._related(v, p) for v in group),
                            _with_order(Match(tuple(group), (p,), layout), self.variables, group),
                        )
                    )
            yield from self._best(options)

    def _together(self, group: list[int], whole: Shape) -> str | None:
        for axis, size in enumerate(whole):
            if size % len(group) == 0:
                part = (*whole[:axis], size // len(group), *whole[axis + 1 :])
                pattern = _named_axes(self.variables.shapes[group[0]], part, self.variables.parts[group[0]])
                if pattern:
                    return stacked(pattern, axis)
        return None

    def _unpacked(self) -> Iterator[Match]:
        """A variable that becomes several parameters."""
        for group in self._siblings(self.parameters, self._open):
            if not set(group) <= set(self._open):
                continue
            part = self.parameters.shapes[group[0]]
            options = []
            for v in self._unused:
                layout = self._split(self.variables.shapes[v], part, len(group), v)
                if layout is not None:
                    options.append(
                        (
                            max(self._related(v, p) for p in group),
                            _with_order(
                                Match((v,), tuple(group), layout, {"axes": {"s": len(group)}}),
                                self.parameters,
                                group,
                            ),
                        )
                    )
            yield from self._best(options)

    def _split(self, whole: Shape, part: Shape, count: int, v: int) -> str | None:
        for axis in reversed(range(len(whole))):
            if whole[axis] % count == 0:
                piece = (*whole[:axis], whole[axis] // count, *whole[axis + 1 :])
                pattern = _named_axes(piece, part, self.variables.parts[v])
                if pattern:
                    return unstacked(pattern, axis, within=True)
        return None

    def _shared_by_a_series(self) -> Iterator[Match]:
        """A variable that every layer of the model has a copy of."""
        for series in self._series(self.parameters, self._open):
            if not set(series) <= set(self._open):
                continue
            shape = self.parameters.shapes[series[0]]
            options = []
            for v in self._unused:
                found = candidates(self.variables.shapes[v], shape, self.variables.parts[v])
                if found and found[0].pattern:
                    left, _, right = found[0].pattern.partition(" -> ")
                    options.append(
                        (
                            self._related(v, series[0]),
                            Match(
                                (v,),
                                tuple(series),
                                f"{left} -> s {right}",
                                {"axes": {"s": len(series)}},
                                series=True,
                            ),
                        )
                    )
            yield from self._best(options)

    def _ties(self) -> Iterator[Match]:
        """Parameters that have the value of another: an output layer that shares the embeddings."""
        alone: dict[tuple[int, ...], int] = defaultdict(int)
        for shape in self.variables.shapes:
            alone[tuple(sorted(shape))] += 1
        used = sorted(set(self._chosen.values()))
        for p in tuple(self._open):
            if self.parameters.parts[p] not in ("kernel", "bias", "other"):
                continue
            options = []
            for v in used:
                layout = self._layout(v, p)
                if layout and self.variables.parts[v] not in ("scale", "shift", "mean", "variance"):
                    only = alone[tuple(sorted(self.variables.shapes[v]))] == 1
                    options.append(
                        (self._related(v, p) + only, v, Match((v,), (p,), layout, {"tied": True}), only)
                    )
            if not options:
                continue
            best = max(options, key=lambda option: option[0])
            origin = next(q for q, v in self._chosen.items() if v == best[1])
            if (
                best[0] < _RELATED
                or self.parameters.names[origin].pattern == self.parameters.names[p].pattern
            ):
                continue
            yield best[2] if best[3] else best[2].doubted("tied to another variable, or missing")

    def _resized(self) -> Iterator[Match]:
        """A table with more or fewer rows than the model's."""
        for p in tuple(self._open):
            shape = self.parameters.shapes[p]
            options = []
            for v in self._unused:
                rows = self.variables.shapes[v]
                if len(rows) != 2 or len(shape) != 2 or rows[1] != shape[1]:
                    continue
                if not 1 / _LONGER <= rows[0] / shape[0] <= _LONGER:
                    continue
                keys = (
                    {"slice": {"n": f":{shape[0]}"}}
                    if rows[0] > shape[0]
                    else {"pad": {"axis": "n", "to": shape[0]}}
                )
                options.append(
                    (
                        self._related(v, p),
                        Match((v,), (p,), "n d -> n d", keys, unsure=f"{rows[0]} rows for {shape[0]}"),
                    )
                )
            yield from self._best(options)

    def _constants(self) -> Iterator[Match]:
        """Parameters of a layer that TensorFlow's layer does without."""
        by_scope: dict[tuple[str, str], int] = {
            (self.parameters.names[p].scope, self.parameters.parts[p]): v for p, v in self._chosen.items()
        }
        leaves: dict[tuple[str, str], int] = {
            (self.parameters.names[p].scope, self.parameters.parts[p]): p for p in range(len(self.parameters))
        }
        for p in tuple(self._open):
            name, part = self.parameters.names[p], self.parameters.parts[p]
            if part == "counter":
                yield Match((), (p,), keys={"fill": 0, "shape": [], "dtype": "int64"})
                continue
            other = {"scale": "shift", "shift": "scale", "bias": "kernel"}.get(part)
            if other is None or (name.scope, other) not in by_scope:
                continue
            layer = self.variables.names[by_scope[name.scope, other]].scope
            if any(self.variables.names[v].scope == layer for v in self._unused):
                continue
            like = {} if part == "bias" else {"like": self.parameters.names[leaves[name.scope, other]].text}
            value = 1 if part == "scale" else 0
            match = Match((), (p,), keys={"fill": value, **like})
            yield match.doubted("no variable: 0, as in a layer without bias") if part == "bias" else match


def _named_axes(variable: Shape, parameter: Shape, part: Part) -> str:
    """The most usual layout, if it names every axis, as one to which an axis is added must; empty otherwise."""
    found = candidates(variable, parameter, part)
    return found[0].pattern if found and "..." not in found[0].pattern else ""


def _in_packing_order(side: Side, group: list[int]) -> list[int]:
    words = {index: side.names[index].words for index in group}
    for packed in _PACKED:
        places = {index: [packed.index(word) for word in words[index] if word in packed] for index in group}
        if all(places.values()):
            return sorted(group, key=lambda index: places[index])
    return group


def _with_order(match: Match, side: Side, group: list[int]) -> Match:
    words = [set(side.names[index].words) for index in group]
    known = any(
        all(packed[place] in words[place] for place in range(len(group)))
        for packed in _PACKED
        if len(packed) >= len(group)
    )
    return match if known else match.doubted("the order of the parts is that of their names")
