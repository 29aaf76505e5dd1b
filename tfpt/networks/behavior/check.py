"""Does each module pad as its mapping says TensorFlow did, with the same epsilon?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from tfpt.language.mapping import Behavior, Mapping
from tfpt.networks.behavior.kinds import OTHER_WINDOWS, PADDED, eps_name, eps_of, is_stock, rule_of, same_eps
from tfpt.networks.behavior.observed_padding import Call
from tfpt.networks.behavior.rules import Contradiction, own_contradiction
from tfpt.networks.behavior.runs import USUAL_SIZES, Runs, calls_of
from tfpt.planning import Finding

_HINT = (
    "tfpt.load(…, adapt=True) replaces stock layers; or put a layer of tfpt.nn there; "
    "check=False (--no-check) takes the model as it is, and tfpt verify shows what that changes"
)


@dataclass(frozen=True)
class Verdict:
    """What is known of a layer's padding.

    Attributes:
        contradiction: How it differs from the rule; ``None`` where it does not.
        decided: Whether that is so for what the layer sees; else what stands in the way is `why`.
    """

    contradiction: Contradiction | None
    decided: bool = True
    why: str = ""


def check_behavior(model: nn.Module, mapping: Mapping) -> list[Finding]:
    """Look at each module that the mapping says something of, and run the model where its numbers do not tell.

    Returns:
        A `behavior` finding for each module that contradicts the mapping, a note for each row that reaches none, and
        an `unchecked` note for what cannot be decided.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> from tfpt.targets.model import build_model
        >>> mapping = load_mapping("i3d_rgb")
        >>> check_behavior(build_model(mapping), mapping)
        []
    """
    check = Check(model, mapping)
    findings: list[Finding] = []
    for behavior, reached in check.reached:
        found = [(path, module) for each in reached for path, module in layers_in(*each)]
        for path, module in found:
            findings += check.findings(path, module, behavior)
        if not reached:
            what = f"no module stands at {behavior.pt}"
            findings.append(Finding("dead-row", what, str(behavior.pt), behavior.position.row))
        for path, module in reached if not found else ():
            findings += check.strange(path, module, behavior)
    return findings


@dataclass
class Check:
    """One model beside one mapping.

    Attributes:
        size: At which examples are worked out.
        reached: Each row about behavior, and the modules that it names.
        runs: Of the model, where its layers' numbers do not tell.
    """

    model: nn.Module
    mapping: Mapping

    def __post_init__(self) -> None:
        self.size = self.mapping.input.size or USUAL_SIZES[0]
        modules = list(self.model.named_modules())
        self.reached = [
            (each, [one for one in modules if each.pt.match(one[0]) is not None])
            for each in self.mapping.behaviors
        ]
        layers = [path for path, module in modules if isinstance(module, PADDED)]
        named = [path for _, found in self.reached for path, _ in found]
        self.runs = Runs(self.model, self.mapping, tuple(dict.fromkeys((*layers, *named))))

    def findings(self, path: str, module: nn.Module, behavior: Behavior) -> Iterator[Finding]:
        """What is wrong with one layer, or cannot be looked at."""
        if behavior.padding is not None and isinstance(module, OTHER_WINDOWS):
            why = f"how a {type(module).__name__} pads is not looked at"
            yield _unchecked(path, module, behavior, f"padding: {behavior.padding}", why)
        if behavior.padding is not None and isinstance(module, PADDED):
            verdict = self.padding(path, module, behavior.padding)
            if verdict.contradiction is not None:
                yield _of_padding(path, module, behavior, verdict)
        name = eps_name(module)
        if behavior.eps is not None and name:
            has = eps_of(module, name)
            if has is None and getattr(module, name) is not None:
                yield _unchecked(path, module, behavior, f"eps: {behavior.eps:g}", f"{name} has no value")
            elif has is None or not same_eps(has, behavior.eps):
                got = "none, which is the dtype's smallest step" if has is None else f"{has:g}"
                yield _finding(path, module, behavior, f"eps: {behavior.eps:g}", got)

    def strange(self, path: str, module: nn.Module, behavior: Behavior) -> Iterator[Finding]:
        """Of a module without layers that are known: what it does as the model runs."""
        runs = self.runs.whole()
        calls = calls_of(runs, path)
        epsilons = [eps for each in runs for eps in each.eps.get(path, ())]
        if behavior.padding is not None and calls:
            verdict = _of_calls(calls, behavior.padding)
            if verdict.contradiction is not None:
                yield _of_padding(path, module, behavior, verdict)
        if behavior.eps is not None and epsilons:
            others = [eps for eps in epsilons if not same_eps(eps, behavior.eps)]
            if others:
                yield _finding(path, module, behavior, f"eps: {behavior.eps:g}", f"{others[0]:g}")
        if not calls and not epsilons:
            pair = (("padding", behavior.padding), ("eps", behavior.eps))
            stated = [f"{key}: {value}" for key, value in pair if value is not None]
            why = "no layer that pads or normalizes was seen in it"
            yield _unchecked(path, module, behavior, ", ".join(stated), why)

    def padding(self, path: str, module: nn.Module, rule: str) -> Verdict:
        """Whether a layer pads by a rule, at the sizes that it sees where these are known."""
        own = None
        if exact := is_stock(module) or rule_of(module) is not None:
            own = own_contradiction(module, rule, self.size)
            if own is None:
                return Verdict(None)
        whole = self.runs.whole()
        if calls := calls_of(whole, path):
            found = _of_calls(calls, rule)
            around = any(call.origin.pads[call.inside :] for call in calls)
            if found.contradiction is None and exact and not around:
                # Of sizes that the mapping leaves open, two have been seen.
                axes = self._open_axes(len(calls[0].sizes))
                return Verdict(own_contradiction(module, rule, self.size, axes=axes))
            return found
        return self._enclosed(path, module, rule, own if exact else None)

    def _enclosed(self, path: str, module: nn.Module, rule: str, own: Contradiction | None) -> Verdict:
        """By the layer itself and, where pads may be put around its input, by what encloses it."""
        verdict: Verdict | None = None
        blocked = False
        for outer, seen in self.runs.around(path):
            calls = calls_of(seen, path)
            if outer == path and own is not None:
                verdict = self._by_numbers(module, rule, own)
                continue
            if not calls:
                blocked = True
                continue
            verdict = self._at_any_size(_verdicts(calls, rule))
            if verdict.contradiction is None and verdict.decided:
                return verdict
            if not any(call.origin.entry for call in calls):
                return verdict
        if verdict is None or blocked:
            shown = own or (verdict.contradiction if verdict is not None else None) or Contradiction("", "")
            return Verdict(shown, False, "the modules around it cannot be run by themselves")
        return verdict

    def _by_numbers(self, module: nn.Module, rule: str, own: Contradiction) -> Verdict:
        """Of a layer that nothing encloses: at the size that the mapping states, else at all."""
        size = self.mapping.input.size
        if size is None or own_contradiction(module, rule, size, at=(size,)) is not None:
            return Verdict(own)
        return Verdict(own, False, "it depends on the size that the layer sees")

    def _at_any_size(self, verdicts: Sequence[Verdict]) -> Verdict:
        """Of a layer that sees sizes nobody knows, where the mapping states one."""
        worst = _worst(verdicts)
        agree = any(one.contradiction is None for one in verdicts)
        if worst.contradiction is not None and agree and self.mapping.input.size is not None:
            return Verdict(worst.contradiction, False, "it depends on the size that the layer sees")
        return worst

    def _open_axes(self, axes: int) -> tuple[int, ...]:
        """The spatial axes whose size the mapping leaves open: all without a size, else those of time."""
        if self.mapping.input.size is None:
            return tuple(range(axes))
        return () if axes == 2 else (0,)


def layers_in(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that pad or normalize, at a path or inside the container there."""
    for inner, layer in module.named_modules(prefix=path):
        if isinstance(layer, (*PADDED, *OTHER_WINDOWS)) or eps_name(layer):
            yield inner, layer


def _of_calls(calls: Sequence[Call], rule: str) -> Verdict:
    return _worst(_verdicts(calls, rule))


def _verdicts(calls: Sequence[Call], rule: str) -> list[Verdict]:
    found = []
    for call in calls:
        contradiction = call.contradiction(rule)
        if contradiction is None:
            why = "what is done to its input cannot be followed"
            found.append(Verdict(Contradiction("", ""), False, why))
        else:
            found.append(Verdict(contradiction if isinstance(contradiction, Contradiction) else None))
    return found


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """A contradiction that is decided, else what is undecided, else agreement."""
    certain = [one for one in verdicts if one.contradiction is not None and one.decided]
    unsure = [one for one in verdicts if not one.decided]
    return next(iter((*certain, *unsure, *verdicts)))


def _of_padding(path: str, module: nn.Module, behavior: Behavior, verdict: Verdict) -> Finding:
    assert verdict.contradiction is not None
    more = verdict.contradiction.expected
    expected = f"padding: {behavior.padding}" + (f", {more}" if more else "")
    if not verdict.decided:
        return _unchecked(path, module, behavior, expected, verdict.why, verdict.contradiction.got)
    return _finding(path, module, behavior, expected, verdict.contradiction.got)


def _finding(path: str, module: nn.Module, behavior: Behavior, expected: str, got: str) -> Finding:
    return Finding(
        "behavior",
        f"{path} ({type(module).__name__}) does not compute what TensorFlow computed",
        name=path,
        where=behavior.position.row,
        row=str(behavior.pt),
        expected=expected,
        got=got,
        hint=_HINT,
    )


def _unchecked(
    path: str, module: nn.Module, behavior: Behavior, expected: str, why: str, got: str = ""
) -> Finding:
    return Finding(
        "unchecked",
        f"whether {path} ({type(module).__name__}) computes what TensorFlow computed: {why}",
        name=path,
        where=behavior.position.row,
        row=str(behavior.pt),
        expected=expected,
        got=got,
        hint="tfpt verify shows whether it does",
    )
