"""Exponential moving averages: whether a variable or its shadow is read; decided before rows are matched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tfpt.language.mapping import Ema, Ignore
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import TF_SEPARATOR, join
from tfpt.planning.findings import Finding
from tfpt.planning.names import left_out
from tfpt.tensors import TensorSpec

# How tf.train.ExponentialMovingAverage names its slots (tensorflow/python/training/moving_averages.py).
_USUAL_SHADOW = re.compile(r"(?P<base>.+)/ExponentialMovingAverage(_[0-9]+)?")


@dataclass(frozen=True)
class Variables:
    """The checkpoint as rows see it, with averages in place of the variables that they shadow.

    Attributes:
        specs: The variables that rows may claim, with the average's shape and dtype where the average is read.
        shadows: Variable → the shadow read in its place.
        ignored: Shadows that are not read, with the reason.
        findings: A choice that the mapping fails to make, or a required average that is missing.
    """

    specs: Mapping[str, TensorSpec]
    shadows: Mapping[str, str]
    ignored: Mapping[str, str]
    findings: tuple[Finding, ...]

    def read_name(self, name: str) -> str:
        """The name of the tensor to read for a variable."""
        return self.shadows.get(name, name)


def resolve_averages(
    specs: Mapping[str, TensorSpec], ema: Ema | None, ignore: tuple[Ignore, ...], where: str
) -> Variables:
    """Determine which shadow variables are read and which are ignored; a finding if the mapping does not say."""
    if ema is None:
        return _undeclared(specs, ignore, where)
    shadow_of = _shadows(specs, ema)
    excepted = _excepted(shadow_of, ema)
    taken: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for base, shadow in shadow_of.items():
        if ema.use == "ignore" or base in excepted:
            ignored[shadow] = "moving average, not used"
        else:
            taken[base] = shadow
    shadows = set(shadow_of.values())
    visible = {name: spec for name, spec in specs.items() if name not in shadows}
    visible.update({base: replace(specs[shadow], name=base) for base, shadow in taken.items()})
    return Variables(visible, taken, ignored, ())


def require_averages(used: list[str], variables: Variables, ema: Ema) -> list[Finding]:
    """For `use: require`: a finding for each variable that is used but has no average."""
    excepted = _excepted(used, ema)
    return [
        Finding(
            "absent",
            f"the moving average of {name}, which the mapping requires",
            name=name,
            where=ema.position.row,
            expected=f"a variable as in {ema.tf}",
            hint="use: prefer takes the variable itself where it has no average; except: [...] names those without one",
        )
        for name in used
        if name not in variables.shadows and name not in excepted
    ]


def _excepted(names: Iterable[str], ema: Ema) -> set[str]:
    index = NameIndex(names, TF_SEPARATOR)
    return {name for template in ema.exclude for name, _ in index.each_match(template)}


def _shadows(specs: Mapping[str, TensorSpec], ema: Ema) -> dict[str, str]:
    matches = NameIndex(specs, TF_SEPARATOR).each_match(ema.tf)
    return {shadowed(ema, name): name for name, _ in matches}


def shadowed(ema: Ema, shadow: str) -> str:
    """The variable that a shadow belongs to."""
    path = next(text for field, text in ema.tf.cut(shadow) or () if field.kind == "path")
    return join(ema.scope, path, TF_SEPARATOR)


def _undeclared(specs: Mapping[str, TensorSpec], ignore: tuple[Ignore, ...], where: str) -> Variables:
    shadows = {}
    for name in specs:
        usual = _USUAL_SHADOW.fullmatch(name)
        if usual and usual["base"] in specs:
            shadows[name] = usual["base"]
    for name in left_out(ignore, NameIndex(shadows, TF_SEPARATOR)):
        shadows.pop(name, None)
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
