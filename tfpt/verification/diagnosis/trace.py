"""The trace of one run: which modules and functions worked between two endpoints, and on what."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from tfpt.networks.endpoints import Inputs, watch
from tfpt.verification.diagnosis.cache import Memory
from tfpt.verification.diagnosis.calls import ACTIVATIONS, CONCATENATIONS, CallKey, watching_calls

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ran:
    """One run of a module.

    Attributes:
        path: Where it stands.
        module: It.
        shape: Of its first input; empty where that is no tensor.
        pad: The call of `pad` whose result it was given, if it was.
        source: The module that made what it was given.
        output: The shape of its result; empty where that is no tensor.
        leaf: Whether it has no children.
    """

    path: str
    module: nn.Module
    shape: Shape
    pad: Called | None
    source: str
    output: Shape
    leaf: bool


@dataclass(frozen=True)
class Called:
    """One call of a torch function.

    Attributes:
        key: The module that made it, the function, and how many of that name before it.
        args, kwargs: Its arguments; for tensors their shapes stand in.
        shape: Of its first tensor.
        pad: The call of `pad` whose result it was given, if it was.
        sources, shapes: For each of its tensors the module that made it, and its shape.
    """

    key: CallKey
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Shape
    pad: Called | None
    sources: tuple[str, ...]
    shapes: tuple[Shape, ...]

    @property
    def name(self) -> str:
        """The function."""
        return self.key[1]

    @property
    def path(self) -> str:
        """The module that made the call."""
        return self.key[0]


@dataclass(frozen=True)
class Trace:
    """What ran after one endpoint up to another.

    Attributes:
        runs: The modules that began and ended there, in the order in which they ended.
        calls: The followed functions.
        activated: The modules on whose result an activation function was called, those before the span included.
        from_start: Whether nothing ran before.
        pieces: The concatenation whose result left the span, if one did.
        memory: What ran before, to be taken from memory by trials.
        output: What the run ended with.
    """

    runs: tuple[Ran, ...]
    calls: tuple[Called, ...]
    activated: frozenset[str]
    from_start: bool
    pieces: Called | None
    memory: Memory
    output: Tensor

    def leaves(self) -> list[Ran]:
        """The modules without children, each once."""
        return list({run.path: run for run in self.runs if run.leaf}.values())

    def outside(self, names: frozenset[str], within: Callable[[nn.Module], bool]) -> list[Called]:
        """Calls of these functions that no module of a kind makes for itself."""
        owners = {run.path for run in self.runs if within(run.module)}
        return [call for call in self.calls if call.name in names and call.path not in owners]


def trace(model: nn.Module, inputs: Inputs, path: str, previous: str | None) -> Trace:
    """Run a model up to the module at `path` and tell what ran after the one at `previous`.

    Example:
        >>> model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(), nn.Conv1d(3, 5, 1), nn.ReLU())
        >>> found = trace(model, torch.zeros(1, 2, 7), "3", "1")
        >>> [run.path for run in found.runs], [call.key for call in found.calls], sorted(found.activated)
        (['2', '3'], [('2', 'conv1d', 0), ('3', 'relu', 0)], ['0', '2'])
    """
    recorder = _Recorder(model, previous)
    with ExitStack() as stack:
        stack.enter_context(watching_calls(model, recorder.call))
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(recorder.entering(name)).remove)
            stack.callback(module.register_forward_hook(recorder.leaving(name)).remove)
        watch(model, inputs, [path], lambda _, output: recorder.finish(output))
    return recorder.result()


@dataclass
class _Frame:
    path: str
    started: bool
    first: Any = None
    pad: Called | None = None
    source: str = ""


@dataclass
class _Recorder:
    """Collects what runs, from the moment on when the previous endpoint is there."""

    model: nn.Module
    previous: str | None
    begun: bool = False
    frames: list[_Frame] = field(default_factory=list)
    runs: list[Ran] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    activated: set[str] = field(default_factory=set)
    pieces: Called | None = None
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.begun = self.previous is None
        # By the object and not by its values; an entry goes when the tensor does.
        self.made_by: Any = WeakIdKeyDictionary()
        self.call_of: Any = WeakIdKeyDictionary()
        self.output: Tensor

    def entering(self, path: str) -> Callable[[nn.Module, Any], None]:
        def enter(_module: nn.Module, args: Any) -> None:
            first = next((value for value in args if isinstance(value, Tensor)), None)
            frame = _Frame(path, self.begun, None if first is None else tuple(first.shape))
            if first is not None:
                frame.pad, frame.source = self._pad(first), self._source(first)
            self.frames.append(frame)
            self.memory.enter(path)

        return enter

    def leaving(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def leave(module: nn.Module, _args: Any, output: Any) -> None:
            frame = self.frames.pop()
            shape = tuple(output.shape) if isinstance(output, Tensor) else ()
            if isinstance(output, Tensor):
                self.made_by[output] = path
            if self.begun and frame.started:
                leaf = next(module.children(), None) is None
                self.runs.append(Ran(path, module, frame.first or (), frame.pad, frame.source, shape, leaf))
            self.memory.leave(path, output, keep=not self.begun)
            if path == self.previous:
                self.begun = True

        return leave

    def call(
        self, key: CallKey, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        tensors = _tensors(args, kwargs)
        first = tensors[0] if tensors else None
        sources = tuple(self._source(tensor) for tensor in tensors)
        called = Called(
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
        if self.begun:
            self.calls.append(called)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self.call_of[result] = called
            self.made_by[result] = key[0]
        return result

    def finish(self, output: Tensor) -> None:
        self.output = output
        last = self.call_of.get(output)
        if last is not None and last.name in CONCATENATIONS:
            self.pieces = last

    def result(self) -> Trace:
        self.memory.close()
        return Trace(
            tuple(self.runs),
            tuple(self.calls),
            frozenset(self.activated),
            self.previous is None,
            self.pieces,
            self.memory,
            self.output,
        )

    def _pad(self, tensor: Tensor) -> Called | None:
        found = self.call_of.get(tensor)
        return found if found is not None and found.name == "pad" else None

    def _source(self, tensor: Tensor) -> str:
        return str(self.made_by.get(tensor, ""))


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [one for one in value if isinstance(one, Tensor)]
    return found


def _described(value: Any) -> Any:
    """An argument without the values of tensors, which a trace must not keep alive."""
    if isinstance(value, Tensor):
        return torch.Size(value.shape)
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        return [_described(one) for one in value]
    return value
