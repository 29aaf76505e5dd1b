"""The trace of one run: the modules and functions called between two endpoints; and the context it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from tfpt.language import mapping as rows
from tfpt.networks.endpoints import Inputs, watch
from tfpt.verification.diagnosis.cache import Cache
from tfpt.verification.diagnosis.calls import ACTIVATIONS, CONCATENATIONS, CallKey, intercepting_calls
from tfpt.verification.diagnosis.changes import Change, applied
from tfpt.verification.replay import Replay, state_preserved

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModuleRun:
    """One run of a module.

    Attributes:
        path: The module's path in the model.
        module: The module itself.
        shape: The shape of its first input; empty if that is not a tensor.
        origin: The call whose result is its input, if there is one.
        source: The module that produced its input.
        output: The shape of its result; empty if that is not a tensor.
        leaf: Whether it has no children.
    """

    path: str
    module: nn.Module
    shape: Shape
    origin: FunctionCall | None
    source: str
    output: Shape
    leaf: bool

    @property
    def pad(self) -> FunctionCall | None:
        """The call of `pad` whose result is its input, if there is one."""
        return self.origin if self.origin is not None and self.origin.name == "pad" else None


@dataclass(frozen=True)
class FunctionCall:
    """One call of a torch function.

    Attributes:
        key: The calling module, the function, and how many calls of that name preceded it in the module.
        args, kwargs: Its arguments, with tensors replaced by their shapes.
        shape: The shape of its first tensor.
        pad: The call of `pad` whose result is its input, if there is one.
        sources, shapes: For each of its tensors, the module that produced it, and its shape.
        output: The shape of its result; empty if that is not a tensor.
    """

    key: CallKey
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Shape
    pad: FunctionCall | None
    sources: tuple[str, ...]
    shapes: tuple[Shape, ...]
    output: Shape = ()

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.key[1]

    @property
    def path(self) -> str:
        """The module that made the call."""
        return self.key[0]


@dataclass(frozen=True)
class Trace:
    """What ran after one endpoint, up to and including another.

    Attributes:
        runs: The modules that started and finished in this span, in the order in which they finished.
        calls: The calls of tracked functions.
        activated: The modules to whose result an activation function was applied, including those before the span.
        parameters: The names of the parameters that were read, whichever module read them, in the order of reading.
        earlier: The modules that finished before the span.
        from_start: Whether the span starts at the model's input.
        concatenation: The concatenation whose result is the output, if there is one.
        cache: The results of what ran before the span, which trials reuse.
        output: The output of the last endpoint.
    """

    runs: tuple[ModuleRun, ...]
    calls: tuple[FunctionCall, ...]
    activated: frozenset[str]
    parameters: tuple[str, ...]
    earlier: frozenset[str]
    from_start: bool
    concatenation: FunctionCall | None
    cache: Cache
    output: Tensor

    def leaves(self) -> list[ModuleRun]:
        """The modules without children, each listed once."""
        return list({run.path: run for run in self.runs if run.leaf}.values())

    def outside(self, names: frozenset[str], within: Callable[[nn.Module], bool]) -> list[FunctionCall]:
        """Calls of these functions that no module of a kind makes for itself."""
        owners = {run.path for run in self.runs if within(run.module)}
        return [call for call in self.calls if call.name in names and call.path not in owners]


def trace(model: nn.Module, inputs: Inputs, path: str, previous: str | None) -> Trace:
    """Run a model up to the module at `path`, and record what ran after the module at `previous`.

    Example:
        >>> model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(), nn.Conv1d(3, 5, 1), nn.ReLU())
        >>> found = trace(model, torch.zeros(1, 2, 7), "3", "1")
        >>> [run.path for run in found.runs], [call.key for call in found.calls], sorted(found.activated)
        (['2', '3'], [('2', 'conv1d', 0), ('3', 'relu', 0)], ['0', '2'])
    """
    recorder = _Recorder(model, previous)
    with ExitStack() as stack:
        stack.enter_context(intercepting_calls(model, recorder.call, see=recorder.see))
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(recorder.entering(name)).remove)
            stack.callback(module.register_forward_hook(recorder.leaving(name)).remove)
        watch(model, inputs, [path], lambda _, output: recorder.finish(output))
    return recorder.result()


@dataclass(frozen=True)
class Context:
    """What hypotheses are derived from: a model, its mapping, and the span before the endpoint that departs.

    Attributes:
        model: The model.
        inputs: Its inputs.
        mapping: The mapping that it was loaded with.
        path: The module whose output is the endpoint.
        trace: What ran from the previous endpoint up to this one.
        agreeing: Branches whose part of the endpoint agrees: the cause is not in them.
    """

    model: nn.Module
    inputs: Inputs
    mapping: rows.Mapping
    path: str
    trace: Trace
    agreeing: tuple[str, ...] = ()


def context_at(
    replay: Replay, mapping: rows.Mapping, path: str, previous: str | None, repairs: Sequence[Change] = ()
) -> Context:
    """Trace the model, with the repairs made so far, from the module at `previous` to the one at `path`."""
    with state_preserved(replay.model), applied(replay.model, repairs):
        found = trace(replay.model, replay.inputs, path, previous)
    return Context(replay.model, replay.inputs, mapping, path, found)


@dataclass
class _Frame:
    """A module that is running; `in_span` if it started after the previous endpoint."""

    path: str
    in_span: bool
    shape: Shape = ()
    origin: FunctionCall | None = None
    source: str = ""


@dataclass
class _Recorder:
    """Collects what runs once the previous endpoint has been computed."""

    model: nn.Module
    previous: str | None
    in_span: bool = False
    frames: list[_Frame] = field(default_factory=list)
    runs: list[ModuleRun] = field(default_factory=list)
    calls: list[FunctionCall] = field(default_factory=list)
    activated: set[str] = field(default_factory=set)
    parameters: dict[str, None] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    concatenation: FunctionCall | None = None
    cache: Cache = field(default_factory=Cache)

    def __post_init__(self) -> None:
        self.in_span = self.previous is None
        # Keyed by identity; an entry disappears with its tensor.
        self.source_of: Any = WeakIdKeyDictionary()
        self.call_of: Any = WeakIdKeyDictionary()
        self.names = {id(value): name for name, value in self.model.named_parameters()}
        self.output: Tensor

    def entering(self, path: str) -> Callable[[nn.Module, Any], None]:
        def enter(_module: nn.Module, args: Any) -> None:
            first = next((value for value in args if isinstance(value, Tensor)), None)
            frame = _Frame(path, self.in_span, () if first is None else tuple(first.shape))
            if first is not None:
                frame.origin, frame.source = self.call_of.get(first), self._source(first)
            self.frames.append(frame)
            self.cache.enter(path)

        return enter

    def leaving(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def leave(module: nn.Module, _args: Any, output: Any) -> None:
            frame = self.frames.pop()
            shape = tuple(output.shape) if isinstance(output, Tensor) else ()
            if isinstance(output, Tensor):
                self.source_of[output] = path
            if self.in_span and frame.in_span:
                leaf = next(module.children(), None) is None
                self.runs.append(
                    ModuleRun(path, module, frame.shape, frame.origin, frame.source, shape, leaf)
                )
            elif not self.in_span:
                self.earlier.add(path)
            self.cache.leave(path, output, keep=not self.in_span)
            if path == self.previous:
                self.in_span = True

        return leave

    def see(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the parameters among the arguments of a call."""
        if self.in_span:
            for tensor in _tensors(args, kwargs):
                if (name := self.names.get(id(tensor))) is not None:
                    self.parameters[name] = None

    def call(
        self, key: CallKey, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        tensors = _tensors(args, kwargs)
        first = tensors[0] if tensors else None
        sources = tuple(self._source(tensor) for tensor in tensors)
        called = FunctionCall(
            key,
            tuple(_described(value) for value in args),
            {name: _described(value) for name, value in kwargs.items()},
            tuple(first.shape) if first is not None else (),
            None if first is None else self._pad(first),
            sources,
            tuple(tuple(tensor.shape) for tensor in tensors),
        )
        if called.name in ACTIVATIONS and sources:
            self.activated.add(sources[0])
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            called = replace(called, output=tuple(result.shape))
        if self.in_span:
            self.calls.append(called)
        if isinstance(result, Tensor):
            self.call_of[result] = called
            self.source_of[result] = key[0]
        return result

    def finish(self, output: Tensor) -> None:
        self.output = output
        last = self.call_of.get(output)
        if last is not None and last.name in CONCATENATIONS:
            self.concatenation = last

    def result(self) -> Trace:
        self.cache.close()
        return Trace(
            tuple(self.runs),
            tuple(self.calls),
            frozenset(self.activated),
            tuple(self.parameters),
            frozenset(self.earlier),
            self.previous is None,
            self.concatenation,
            self.cache,
            self.output,
        )

    def _pad(self, tensor: Tensor) -> FunctionCall | None:
        found = self.call_of.get(tensor)
        return found if found is not None and found.name == "pad" else None

    def _source(self, tensor: Tensor) -> str:
        return str(self.source_of.get(tensor, ""))


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [one for one in value if isinstance(one, Tensor)]
    return found


def _described(value: Any) -> Any:
    """An argument with tensors replaced by their shapes, so that a trace does not keep them alive."""
    if isinstance(value, Tensor):
        return torch.Size(value.shape)
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        return [_described(one) for one in value]
    return value
