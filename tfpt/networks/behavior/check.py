"""Checks that each module computes what its mapping says TensorFlow computed: padding, epsilons, operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from tfpt.language.mapping import Behavior, Mapping
from tfpt.networks.behavior.findings import Verdict, finding, padding_finding, unchecked
from tfpt.networks.behavior.layers import (
    OTHER_WINDOWS,
    PADDED,
    TRANSPOSED,
    Contradiction,
    eps_name,
    eps_of,
    is_stock,
    own_contradiction,
    rule_of,
    same_eps,
)
from tfpt.networks.behavior.observed_padding import Call
from tfpt.networks.behavior.operations import operation_findings
from tfpt.networks.behavior.runs import USUAL_SIZES, Runs, calls_of
from tfpt.networks.behavior.transposed import crop_contradiction, is_transposed
from tfpt.planning import Finding


def check_behavior(model: nn.Module, mapping: Mapping) -> list[Finding]:
    """Check each module that the mapping describes, and run the model where a layer's settings do not decide it.

    Returns:
        A `behavior` finding for each module that contradicts the mapping, a note for each row that matches no module,
        and an `unchecked` note for what cannot be decided.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> from tfpt.targets.model import build_model
        >>> mapping = load_mapping("i3d_rgb")
        >>> check_behavior(build_model(mapping), mapping)
        []
    """
    check = Check(model, mapping)
    findings: list[Finding] = []
    stated: set[tuple[str, str | None, float | None]] = set()
    for behavior, reached in check.reached:
        found = [(path, module) for each in reached for path, module in layers_in(*each)]
        for path, module in found:
            # A layer inside a layer states what the scope around it states.
            if (path, behavior.padding, behavior.eps) not in stated:
                findings += check.findings(path, module, behavior)
            stated.add((path, behavior.padding, behavior.eps))
        for path, module in reached:
            findings += operation_findings(path, module, behavior)
        if not reached and not behavior.inherited:
            what = f"no module matches {behavior.pt}"
            findings.append(Finding("dead-row", what, str(behavior.pt), behavior.position.row))
        stated_any = behavior.padding is not None or behavior.eps is not None
        for path, module in reached if stated_any and not found else ():
            # A Linear in a scope that states an epsilon for the norms inside.
            if not (behavior.inherited and type(module).__module__.startswith("torch.nn.modules.")):
                findings += check.unknown_module(path, module, behavior)
    return findings


@dataclass
class Check:
    """One model checked against one mapping.

    Attributes:
        size: The input size for examples in messages.
        reached: Each behavior row of the mapping, with the modules it matches.
        runs: Runs of the model, for layers whose settings do not decide it.
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
        layers = [path for path, module in modules if isinstance(module, (*PADDED, *TRANSPOSED))]
        named = [path for _, found in self.reached for path, _ in found]
        self.runs = Runs(self.model, self.mapping, tuple(dict.fromkeys((*layers, *named))))

    def findings(self, path: str, module: nn.Module, behavior: Behavior) -> Iterator[Finding]:
        """The problems of one layer, and what cannot be checked."""
        if behavior.padding is not None and isinstance(module, TRANSPOSED):
            verdict = self.crop(path, module, behavior.padding)
            if verdict.contradiction is not None:
                yield padding_finding(path, module, behavior, verdict)
        elif behavior.padding is not None and isinstance(module, OTHER_WINDOWS):
            why = f"the padding of a {type(module).__name__} is not checked"
            yield unchecked(path, module, behavior, f"padding: {behavior.padding}", why)
        if behavior.padding is not None and isinstance(module, PADDED):
            verdict = self.padding(path, module, behavior.padding)
            if verdict.contradiction is not None:
                yield padding_finding(path, module, behavior, verdict)
        name = eps_name(module)
        if behavior.eps is not None and name:
            eps = eps_of(module, name)
            if eps is None and getattr(module, name) is not None:
                yield unchecked(path, module, behavior, f"eps: {behavior.eps:g}", f"{name} has no value")
            elif eps is None or not same_eps(eps, behavior.eps):
                got = "None, which means the machine epsilon of the dtype" if eps is None else f"{eps:g}"
                yield finding(path, module, behavior, f"eps: {behavior.eps:g}", got)

    def unknown_module(self, path: str, module: nn.Module, behavior: Behavior) -> Iterator[Finding]:
        """The problems of a module without known layers, judged by what it does while the model runs."""
        runs = self.runs.whole_model()
        calls = calls_of(runs, path)
        epsilons = [eps for each in runs for eps in each.eps.get(path, ())]
        if behavior.padding is not None and calls:
            verdict = _worst(_verdicts(calls, behavior.padding))
            if verdict.contradiction is not None:
                yield padding_finding(path, module, behavior, verdict)
        if behavior.eps is not None and epsilons:
            others = [eps for eps in epsilons if not same_eps(eps, behavior.eps)]
            if others:
                yield finding(path, module, behavior, f"eps: {behavior.eps:g}", f"{others[0]:g}")
        if not calls and not epsilons and not behavior.inherited:
            pair = (("padding", behavior.padding), ("eps", behavior.eps))
            stated = [f"{key}: {value}" for key, value in pair if value is not None]
            why = "no layer that pads or normalizes was observed in it"
            yield unchecked(path, module, behavior, ", ".join(stated), why)

    def padding(self, path: str, module: nn.Module, rule: str) -> Verdict:
        """Whether a layer pads by a rule, at the input sizes it gets if these are known."""
        own = None
        if exact := is_stock(module) or rule_of(module) is not None:
            own = own_contradiction(module, rule, self.size)
            if own is None:
                return Verdict(None)
        whole = self.runs.whole_model()
        if calls := calls_of(whole, path):
            found = _worst(_verdicts(calls, rule))
            around = any(call.origin.pads[call.own_pads :] for call in calls)
            if found.contradiction is None and exact and not around:
                # The mapping leaves some sizes open, and the runs cover only some of them.
                axes = self._open_axes(len(calls[0].sizes))
                return Verdict(own_contradiction(module, rule, self.size, axes=axes))
            return found
        return self._in_isolation(path, module, rule, own if exact else None)

    def crop(self, path: str, module: nn.Module, rule: str) -> Verdict:
        """Whether a transposed convolution crops by a rule, perhaps together with the code after it."""
        if not is_transposed(module):
            return Verdict(
                Contradiction("", ""), False, f"a {type(module).__name__} is not one of torch's layers"
            )
        found = crop_contradiction(module, rule)
        if found is None or not found.recoverable:
            return Verdict(found)
        whole = self.runs.whole_model()
        if whole:
            cropped = any(path in seen.sliced for seen in whole) or not calls_of(whole, path)
        else:
            # Containers that cannot be called do not crop either.
            cropped = any(
                not seen or any(path in one.sliced for one in seen)
                for outer, seen in self.runs.around(path)
                if outer != path
            )
        return Verdict(found, not cropped, "the code after it may cut off the rest")

    def _in_isolation(self, path: str, module: nn.Module, rule: str, own: Contradiction | None) -> Verdict:
        """Judge the layer by itself and, if its input may be padded elsewhere, by runs of the modules around it."""
        verdict: Verdict | None = None
        blocked = False
        for outer, seen in self.runs.around(path):
            calls = calls_of(seen, path)
            if outer == path and own is not None:
                verdict = self._by_settings(module, rule, own)
                continue
            if not calls:
                blocked = True
                continue
            verdict = self._at_any_size(_verdicts(calls, rule))
            if verdict.contradiction is None and verdict.decided:
                return verdict
            if not any(call.origin.is_input for call in calls):
                return verdict
        if verdict is None or blocked:
            shown = own or (verdict.contradiction if verdict is not None else None) or Contradiction("", "")
            return Verdict(shown, False, "the modules around it cannot be run in isolation")
        return verdict

    def _by_settings(self, module: nn.Module, rule: str, own: Contradiction) -> Verdict:
        """Judge a layer without enclosing modules: at the mapping's size if it states one, else at every size."""
        size = self.mapping.input.size
        if size is None or own_contradiction(module, rule, size, at=(size,)) is not None:
            return Verdict(own)
        return Verdict(own, False, "it depends on the layer's input size")

    def _at_any_size(self, verdicts: Sequence[Verdict]) -> Verdict:
        """Judge a layer whose input sizes are unknown, although the mapping states the network's input size."""
        worst = _worst(verdicts)
        agree = any(one.contradiction is None for one in verdicts)
        if worst.contradiction is not None and agree and self.mapping.input.size is not None:
            return Verdict(worst.contradiction, False, "it depends on the layer's input size")
        return worst

    def _open_axes(self, axes: int) -> tuple[int, ...]:
        """The spatial axes whose size the mapping leaves open: all if it states no size, else the time axis."""
        if self.mapping.input.size is None:
            return tuple(range(axes))
        return () if axes == 2 else (0,)


def layers_in(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that pad or normalize, at a path or inside the container at that path."""
    for inner, layer in module.named_modules(prefix=path):
        if isinstance(layer, (*PADDED, *OTHER_WINDOWS)) or eps_name(layer):
            yield inner, layer


def _verdicts(calls: Sequence[Call], rule: str) -> list[Verdict]:
    found = []
    for call in calls:
        contradiction = call.contradiction(rule)
        if contradiction is None:
            why = "the operations on its input cannot be followed"
            found.append(Verdict(Contradiction("", ""), False, why))
        else:
            found.append(Verdict(contradiction if isinstance(contradiction, Contradiction) else None))
    return found


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """A definite contradiction if there is one, else an undecided verdict, else agreement."""
    certain = [one for one in verdicts if one.contradiction is not None and one.decided]
    unsure = [one for one in verdicts if not one.decided]
    return next(iter((*certain, *unsure, *verdicts)))
