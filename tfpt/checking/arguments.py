"""The arguments of the model's factory against its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tfpt.checking.places import Places
from tfpt.language.mapping import Mapping
from tfpt.nearest import nearest
from tfpt.planning import Finding
from tfpt.targets.model import import_factory


def check_arguments(mapping: Mapping, places: Places, *, trust: bool = False) -> list[Finding]:
    """A finding for each argument that the factory does not accept, and for each that it lacks.

    Empty for a factory that gets a configuration, and for one that does not say what it accepts.

    Raises:
        ModelError: The factory cannot be imported.
    """
    if mapping.model.factory is None or mapping.model.config is not None:
        return []
    parameters = _parameters(import_factory(mapping, trust=trust))
    if parameters is None:
        return []
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    accepted = [each.name for each in named if each.kind is not each.POSITIONAL_ONLY]
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters)
    factory, given = mapping.model.factory, mapping.model.kwargs
    found = []
    for name in () if anything else given:
        if name not in accepted:
            close = nearest(name, [each for each in accepted if each not in given])
            finding = Finding(
                "arguments",
                f"{factory} has no argument {name}",
                name=name,
                expected=f"one of {', '.join(accepted)}" if accepted else "no arguments",
                nearest=tuple(close),
                hint="correct or remove it under model.kwargs",
            )
            found.append(places.at_argument(finding, name))
    for each in named:
        if each.default is each.empty and each.name not in given:
            finding = Finding(
                "arguments",
                f"{factory} needs the argument {each.name}",
                name=each.name,
                got=f"kwargs: {{{', '.join(given)}}}" if given else "no kwargs",
                hint=f"model: {{kwargs: {{{each.name}: …}}}}",
            )
            found.append(places.at_argument(finding, ""))
    return found


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # some callables have none
        return None
