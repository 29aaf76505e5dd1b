"""Exponential moving averages: which of a variable and its shadow is read, before rows are matched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tfpt.mapping.rows import Ema, Ignore
from tfpt.mapping.template import TF_SEPARATOR, join
from tfpt.planning.findings import Finding
from tfpt.tensors import TensorSpec

# tf.train.ExponentialMovingAverage names its slots so (tensorflow/python/training/moving_averages.py).
_USUAL_SHADOW = re.compile(r"(?P<base>.+)/ExponentialMovingAverage(_[0-9]+)?")


@dataclass(frozen=True)
class Variables:
    """The checkpoint as rows see it, once averages are taken for what they shadow.

    Attributes:
        specs: The variables that rows may claim; one whose average is read has that average's shape and dtype.
        shadows: Variable → the shadow that is read in its place.
        ignored: Shadows that are left out, with the reason.
        findings: A choice that the mapping does not make, or an average that it requires and that is not there.
    """

    specs: Mapping[str, TensorSpec]
    shadows: Mapping[str, str]
    ignored: Mapping[str, str]
    findings: tuple[Finding, ...]

    def read_name(self, name: str) -> str:
        """The tensor to read for a variable."""
        return self.shadows.get(name, name)


def resolve_averages(
    specs: Mapping[str, TensorSpec], ema: Ema | None, ignore: tuple[Ignore, ...], where: str
) -> Variables:
    """Work out which shadow variables are read, which are left out, and whether the mapping says so."""
    if ema is None:
        return _undeclared(specs, ignore, where)
    shadow_of = _shadows(specs, ema)
    taken: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for base, shadow in shadow_of.items():
        if ema.use == "ignore" or _is_excepted(base, ema):
            ignored[shadow] = "moving average, not used"
        else:
            taken[base] = shadow
    visible = {name: spec for name, spec in specs.items() if name not in set(shadow_of.values())}
    visible.update({base: replace(specs[shadow], name=base) for base, shadow in taken.items()})
    return Variables(visible, taken, ignored, ())


def require_averages(used: list[str], variables: Variables, ema: Ema) -> list[Finding]:
    """Under `use: require`: a finding for each variable that is used and has no average."""
    return [
        Finding(
            "absent",
            f"the moving average of {name}, which the mapping requires",
            name=name,
            where=ema.position.row,
            expected=f"a variable as in {ema.tf.text}",
            hint="use: prefer takes the variable itself where it has no average; except: [...] names those without one",
        )
        for name in used
        if name not in variables.shadows and not _is_excepted(name, ema)
    ]


def _is_excepted(name: str, ema: Ema) -> bool:
    return any(template.match(name) is not None for template in ema.exclude)


def _shadows(specs: Mapping[str, TensorSpec], ema: Ema) -> dict[str, str]:
    found = {}
    for name in specs:
        values = ema.tf.match(name)
        if values is not None:
            path = next(value for value in values.values() if isinstance(value, tuple))
            found[join(ema.scope, TF_SEPARATOR.join(path), TF_SEPARATOR)] = name
    return found


def _undeclared(specs: Mapping[str, TensorSpec], ignore: tuple[Ignore, ...], where: str) -> Variables:
    shadows = {}
    for name in specs:
        usual = _USUAL_SHADOW.fullmatch(name)
        if usual and usual["base"] in specs and not any(entry.covers(name) for entry in ignore):
            shadows[name] = usual["base"]
    if not shadows:
        return Variables(specs, {}, {}, ())
    example = next(iter(shadows))
    finding = Finding(
        "ambiguous-ema",
        f"{len(shadows)} variables have a moving average beside them, and the mapping does not say which to take",
        name=example,
        where=where,
        got=f"{shadows[example]} and {example}",
        expected='source.ema: {tf: "{path...}/ExponentialMovingAverage", use: prefer | ignore | require}',
    )
    return Variables({name: spec for name, spec in specs.items() if name not in shadows}, {}, {}, (finding,))
