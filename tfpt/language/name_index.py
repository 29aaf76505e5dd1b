"""An index of names, so that a template is matched only against plausible ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property

from tfpt.language.templates import Template, Value

# Where a template's prefix or suffix leaves no more names than this, its middle is not looked up.
_FEW = 16


class NameIndex:
    """Names indexed by prefix, suffix and component.

    Example:
        >>> from tfpt.language.templates import single
        >>> NameIndex(["net/a/w", "net/b/w", "net/a/v"], "/").matches(single("net/{x}/w"))
        [('net/a/w', {'x': 'a'}), ('net/b/w', {'x': 'b'})]
    """

    def __init__(self, names: Iterable[str], separator: str) -> None:
        self.separator = separator
        self.names = list(names)
        self._places = {name: place for place, name in enumerate(self.names)}

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def matches(self, template: Template) -> list[tuple[str, dict[str, Value]]]:
        """Every name that `template` matches, with its field values, in the order of the names.

        Of names that differ only in an alternative, only the first alternative counts.
        """
        return template.first_alternatives(self.each_match(template))

    def each_match(self, template: Template) -> Iterator[tuple[str, dict[str, Value]]]:
        """Like `matches`, one at a time, with all alternatives."""
        for name in self.candidates(template):
            values = template.match(name)
            if values is not None:
                yield name, values

    def candidates(self, template: Template) -> list[str]:
        """The names that `template` may match, in the order of the names."""
        if template.is_literal:
            name = "".join(str(part) for part in template.parts)
            return [name] if name in self._places else []
        first, last = template.parts[0], template.parts[-1]
        ranges = []
        if isinstance(first, str):
            ranges.append((_beginning_with(first, self._sorted), self._sorted, 1))
        if isinstance(last, str):
            ranges.append((_beginning_with(last[::-1], self._reversed), self._reversed, -1))
        places, names, step = min(
            ranges, key=lambda found: len(found[0]), default=(range(len(self.names)), self.names, 1)
        )
        if len(places) > _FEW:
            holders = [self._by_component.get(word, []) for word in self._whole_components(template)]
            fewest = min(holders, key=len, default=self.names)
            if len(fewest) < len(places):
                return fewest
        if names is self.names:
            return names
        return sorted((names[place][::step] for place in places), key=self._places.__getitem__)

    def _whole_components(self, template: Template) -> Iterator[str]:
        """The components of the template without fields, except the first and last, which prefix and suffix cover."""
        for part in template.parts[1:-1]:
            if isinstance(part, str):
                yield from part.split(self.separator)[1:-1]

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.names)

    @cached_property
    def _reversed(self) -> list[str]:
        return sorted(name[::-1] for name in self.names)

    @cached_property
    def _by_component(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            for component in dict.fromkeys(name.split(self.separator)):
                found.setdefault(component, []).append(name)
        return found


def _beginning_with(start: str, names: list[str]) -> range:
    """The range of sorted names that start with `start`."""
    low = bisect_left(names, start)
    return range(low, bisect_left(names, True, low, key=lambda name: not name.startswith(start)))
