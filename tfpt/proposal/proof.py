"""Proving a proposal: both networks run on one input, and what names left open is settled by what they compute."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpt.errors import ModelError
from tfpt.formats.source import Source
from tfpt.networks.inputs import rearrange
from tfpt.networks.recording import record
from tfpt.networks.recording.recordings import Recording, read_recording
from tfpt.nn.adapt import adapt
from tfpt.planning.steps import Copy, Fill
from tfpt.proposal.layouts import candidates
from tfpt.proposal.proposal import Proposal
from tfpt.proposal.proven import Proof
from tfpt.verification.agreement import DEFAULT_TOLERANCE
from tfpt.verification.pairing import CHANNELS_FIRST, Agreement, paired

if TYPE_CHECKING:
    import torch

# Epsilons of normalizations: Keras', torch's, those of Google's BERT and of keras.applications, other powers of ten.
_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-12, 1.001e-5, 1e-4, 1e-2, 1e-1, 1e-7, 1e-8, 1e-9, 1e-10)
# The most trials for one endpoint.
_TRIALS = 64


def prove(
    proposal: Proposal,
    source: Source,
    model: torch.nn.Module,
    network: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Proof:
    """Run both networks on one input, and try what the proposal is unsure about until they agree.

    Args:
        proposal: The proposal.
        source: Its checkpoint.
        model: The PyTorch model, on a real device. It is filled with the weights.
        network: The TensorFlow network, or a recording of it.
        checkpoint: The checkpoint with a graph's variables, if it is not next to the graph.
        trust: Allow a Keras model to run its own code.

    Raises:
        SourceError: The network cannot be run, or the recording not be read.
        ModelError: The model does not take the network's input.
    """
    if Path(network).suffix == ".npz":
        recording = read_recording(network)
    else:
        recording = record(None, network, checkpoint=checkpoint, all_layers=True, trust=trust)
    return _Prover(proposal, source, model, recording).run()


@dataclass(frozen=True)
class _Trial:
    """A change of the model, how to take it back, and what it means for the mapping."""

    change: Callable[[], None]
    undo: Callable[[], None]
    decided: Mapping[str, str] = field(default_factory=dict)
    eps: Mapping[str, float] = field(default_factory=dict)
    padding: Mapping[str, str] = field(default_factory=dict)


class _Prover:
    def __init__(
        self, proposal: Proposal, source: Source, model: torch.nn.Module, recording: Recording
    ) -> None:
        self.proposal = proposal
        self.source = source
        self.model = model.eval()
        self.recording = recording
        self.decided: dict[str, str] = {}
        self.eps: dict[str, float] = {}
        self.padding: dict[str, str] = {}
        self._state = model.state_dict(keep_vars=True)
        self._from: dict[str, tuple[str, str]] = {}
        self._fill()
        self.arguments, self.input = self._arguments()

    def run(self) -> Proof:
        found = self._compare()
        tried: set[str] = set()
        while self._output > DEFAULT_TOLERANCE:
            departs = self._departure(found, tried)
            if departs is None:
                break
            tried.add(departs)
            for trial in itertools.islice(self._trials(departs, found), _TRIALS):
                trial.change()
                again = self._compare()
                # Activations that are no module's output, such as those of functions, show in what follows.
                paired = {agreement.pt for agreement in again.values()}
                closer = departs in again or departs in paired or len(again) > len(found)
                if closer or self._output <= DEFAULT_TOLERANCE:
                    self.decided |= trial.decided
                    self.eps |= trial.eps
                    self.padding |= trial.padding
                    found = again
                    tried.clear()
                    break
                trial.undo()
            else:
                found = self._compare()
        if self.padding and self._output <= DEFAULT_TOLERANCE:
            self._pad_all()
        first = self._departure(found, set())
        order = [name for name in self.recording.endpoints if name in found]
        return Proof(
            tuple(found[name] for name in order),
            len(self.recording.endpoints),
            self._output,
            self.decided,
            self.eps,
            self.padding,
            self.input,
            first or "",
        )

    def _fill(self) -> None:
        for step in self.proposal.plan.steps:
            if isinstance(step, Copy):
                arrays = [np.asarray(self.source.read(read.name)) for read in step.reads]
                written = step.bound.apply(arrays, [np.dtype(spec.dtype) for spec in step.writes])
                for spec, array in zip(step.writes, written, strict=True):
                    self._set(spec.name, np.asarray(array))
                    if len(step.reads) == len(step.writes) == 1:
                        layout = step.transform.layout
                        self._from[spec.name] = (
                            step.reads[0].name,
                            layout.pattern if layout is not None else "",
                        )
            elif isinstance(step, Fill):
                for spec in step.writes:
                    self._set(spec.name, np.full(spec.shape, step.value))

    def _set(self, name: str, array: np.ndarray) -> None:
        import torch

        with torch.no_grad():
            self._state[name].copy_(torch.from_numpy(np.array(array)))

    def _arguments(self) -> tuple[list[Any], str]:
        """The model's inputs, and the layout that takes the network's to them."""
        import torch

        arrays = [np.asarray(array) for array in self.recording.inputs.values()]
        if not arrays:
            raise ModelError(
                "the recording has no input",
                where=self.recording.location,
                hint="tfpt record without --no-store-input",
            )
        options = [""]
        if len(arrays) == 1 and arrays[0].ndim in CHANNELS_FIRST and arrays[0].dtype.kind == "f":
            options = [CHANNELS_FIRST[arrays[0].ndim], ""]
        failure: Exception | None = None
        for layout in options:
            given = [rearrange(array, layout) if layout else array for array in arrays]
            tensors = [torch.from_numpy(np.array(array)) for array in given]
            tensors = [tensor.long() if tensor.dtype == torch.int32 else tensor for tensor in tensors]
            try:
                with torch.no_grad():
                    self.model(*tensors)
            except Exception as error:  # a model raises anything when its input does not fit
                failure = error
                continue
            return tensors, layout
        shapes = ", ".join(str(list(array.shape)) for array in arrays)
        raise ModelError(
            f"the model does not take the network's input: {failure}", got=f"inputs of {shapes}"
        ) from failure

    def _compare(self) -> dict[str, Agreement]:
        """The recorded activations that some module computes."""
        found = paired(self.model, lambda: self.model(*self.arguments), self.recording)
        self._ran = found.ran
        self._output = found.apart
        return found.agreements

    def _departure(self, found: Mapping[str, Agreement], tried: set[str]) -> str | None:
        """Where the networks part: the first activation of a layer with variables that no module computes.

        Names of activations may say nothing of variables, as in a SavedModel of TensorFlow 2: then the first module
        with parameters whose output no activation is like.
        """
        for name in self.recording.endpoints:
            if name not in found and name not in tried and self._parameters_of(name):
                return name
        if not any(map(self._parameters_of, self.recording.endpoints)):
            paired = {agreement.pt for agreement in found.values()}
            for path in self._ran:
                if path not in paired and path not in tried and self._parameters_of(path):
                    return path
        return None

    def _parameters_of(self, endpoint: str) -> list[str]:
        """Parameters whose variables are in the layer of an activation; or those of a module, given its path."""
        return [
            parameter
            for parameter, (variable, _) in self._from.items()
            if variable.startswith(f"{endpoint}/")
            or endpoint.startswith(f"{variable.rpartition('/')[0]}/")
            or parameter.rpartition(".")[0] == endpoint
        ]

    def _trials(self, endpoint: str, found: Mapping[str, Agreement]) -> Iterator[_Trial]:
        parameters = self._parameters_of(endpoint)
        modules = dict(self.model.named_modules())
        for parameter in parameters:
            yield from self._other_layouts(parameter, found)
        yield from self._other_epsilons({parameter.rpartition(".")[0] for parameter in parameters}, modules)
        yield from self._other_padding({parameter.rpartition(".")[0] for parameter in parameters}, modules)
        yield from self._exchanged(parameters)

    def _other_layouts(self, parameter: str, found: Mapping[str, Agreement]) -> Iterator[_Trial]:
        variable, layout = self._from[parameter]
        shape, target = self.source.specs[variable].shape, tuple(self._state[parameter].shape)
        patterns = [
            candidate.pattern
            for candidate in candidates(shape, target, "kernel")
            if candidate.pattern and candidate.pattern != layout
        ]
        for pattern in patterns:
            yield self._trial({parameter: (variable, pattern)})

    def _other_epsilons(self, paths: set[str], modules: Mapping[str, Any]) -> Iterator[_Trial]:
        for path in sorted(paths):
            module = modules.get(path)
            if module is None or not isinstance(getattr(module, "eps", None), float):
                continue
            before = module.eps
            alike = [
                each for each, other in modules.items() if type(other) is type(module) and other.eps == before
            ]
            for value in _EPSILONS:
                if value != before:
                    yield _Trial(
                        partial(_set_eps, modules, alike, value),
                        partial(_set_eps, modules, alike, before),
                        eps=dict.fromkeys(alike, value),
                    )

    def _other_padding(self, paths: set[str], modules: Mapping[str, Any]) -> Iterator[_Trial]:
        """SAME padding of the layer's convolutions, of all pools before it, and of both."""
        convolutions = {path: "same" for path in sorted(paths) if "Conv" in type(modules.get(path)).__name__}
        pools = {path: "same" for path, module in modules.items() if "Pool" in type(module).__name__}
        for rules in (convolutions, pools, {**convolutions, **pools}):
            before = {path: modules[path] for path in rules}
            after = _padded(before, rules)
            if after:
                yield _Trial(
                    partial(self._replace, after),
                    partial(self._replace, {path: before[path] for path in after}),
                    padding={path: rules[path] for path in after},
                )

    def _replace(self, modules: Mapping[str, Any]) -> None:
        for path, module in modules.items():
            parent, _, name = path.rpartition(".")
            setattr(self.model.get_submodule(parent), name, module)

    def _pad_all(self) -> None:
        """Pad all convolutions alike, if the network still computes the same: one rule is easier to state than many."""
        rules = {
            path: "same"
            for path, module in self.model.named_modules()
            if "Conv" in type(module).__name__ and path not in self.padding
        }
        before = {path: self.model.get_submodule(path) for path in rules}
        after = _padded(before, rules)
        self._replace(after)
        self._compare()
        if self._output <= DEFAULT_TOLERANCE:
            self.padding |= {path: rules[path] for path in after}
        else:
            self._replace(before)
            self._compare()

    def _exchanged(self, parameters: list[str]) -> Iterator[_Trial]:
        """The layer's variables exchanged with those of another layer of the same shapes, all at once."""
        scopes = {parameter.rpartition(".")[0] for parameter in parameters}
        others = sorted({name.rpartition(".")[0] for name in self._from} - scopes)
        for scope in sorted(scopes):
            ours = {name.rpartition(".")[2]: name for name in parameters if name.rpartition(".")[0] == scope}
            for other in others:
                theirs = {
                    name.rpartition(".")[2]: name for name in self._from if name.rpartition(".")[0] == other
                }
                if ours.keys() != theirs.keys() or any(
                    self._state[ours[leaf]].shape != self._state[theirs[leaf]].shape for leaf in ours
                ):
                    continue
                changes = {ours[leaf]: self._from[theirs[leaf]] for leaf in ours}
                changes |= {theirs[leaf]: self._from[ours[leaf]] for leaf in ours}
                yield self._trial(changes)

    def _trial(self, changes: Mapping[str, tuple[str, str]]) -> _Trial:
        before = {name: self._from[name] for name in changes}
        decided = {}
        for name, (variable, layout) in changes.items():
            decided[name] = variable if variable != before[name][0] else layout
        return _Trial(lambda: self._apply(changes), lambda: self._apply(before), decided)

    def _apply(self, changes: Mapping[str, tuple[str, str]]) -> None:
        for name, (variable, layout) in changes.items():
            array = np.asarray(self.source.read(variable))
            self._set(name, rearrange(array, layout) if layout else array)
            self._from[name] = (variable, layout)


def _padded(modules: Mapping[str, Any], rules: Mapping[str, str]) -> dict[str, Any]:
    """The layers of tfpt.nn that pad by these rules, in place of those that can be replaced."""
    found = {path: _adapted(module, rules[path]) for path, module in modules.items()}
    return {path: module for path, module in found.items() if module is not None}


def _adapted(module: Any, rule: str) -> Any:
    try:
        return adapt(module, rule)
    except ModelError:  # a layer of another kind, or with its own padding mode
        return None


def _set_eps(modules: Mapping[str, Any], paths: list[str], value: float) -> None:
    for path in paths:
        modules[path].eps = value
