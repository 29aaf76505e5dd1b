"""Carries out a plan: reads variables, transforms them and hands them to a sink, in parallel, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from tfpt._version import __version__
from tfpt.errors import ModelError
from tfpt.planning import Plan, PlanError, Step
from tfpt.sinks.discarding import Discarding
from tfpt.sinks.sink import Sink
from tfpt.sources.places import name_of
from tfpt.sources.source import Source
from tfpt.tensors import TensorSpec, dtype

if TYPE_CHECKING:
    import torch

# Results under way at a time. One tensor that is larger than this goes through alone.
MEMORY_BUDGET = 256 << 20

# More workers than this wait for memory bandwidth rather than for a core.
MAX_WORKERS = 8

Progress = Callable[[Step], None]


def translate(
    plan: Plan,
    source: Source,
    sink: Sink,
    *,
    model: torch.nn.Module | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Carry out a plan. The sink is neither committed nor discarded: that is the caller's.

    Args:
        plan: What to do.
        source: The checkpoint that was planned for.
        sink: Where the parameters go.
        model: The model with its own values, for the parameters of `keep` rows.
        workers: Threads; by default one for each core, at most eight.
        progress: Called after each step, from any thread.

    Raises:
        PlanError: The plan has findings.
        ModelError: A parameter is to be kept from the model, and there is none.
        SourceError: A tensor cannot be read, or fails its checksum.
        SinkError: The output cannot be written.
    """
    if not plan.ok:
        raise PlanError(plan)
    budget = _Budget(MEMORY_BUDGET)
    stop = threading.Event()

    def run(step: Step) -> None:
        with budget.hold(sum(spec.nbytes for spec in step.writes)):
            if stop.is_set():
                return
            try:
                _run(step, source, sink, model)
            except BaseException:
                stop.set()  # here, not in the thread that waits: no other step begins behind a failure
                raise
        if progress is not None:
            progress(step)

    # The largest first, so that no worker is left alone with it at the end.
    steps = sorted(plan.steps, key=lambda step: -sum(spec.nbytes for spec in step.writes))
    count = workers or min(os.cpu_count() or 1, MAX_WORKERS)
    with ThreadPoolExecutor(count, thread_name_prefix="tfpt") as pool:
        futures = [pool.submit(run, step) for step in steps]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    for future in done:
        future.result()


def values_of(step: Step, source: Source, model: torch.nn.Module | None = None) -> list[np.ndarray]:
    """What one step writes, in the order of `step.writes`: C-contiguous arrays of the planned dtypes."""
    if step.keep:
        return [_kept(spec, step, model) for spec in step.writes]
    if step.transform is None:
        return [np.full(spec.shape, step.fill, _held_as(spec.dtype)) for spec in step.writes]
    arrays = [source.read(spec.name) for spec in step.reads]
    dtypes = [_held_as(spec.dtype) for spec in step.writes]
    if len(set(dtypes)) == 1:
        return step.transform.apply(arrays, dtypes[0])
    # Pieces of several dtypes are cast one by one, each straight from the dtype of the variables.
    pieces = step.transform.apply(arrays, arrays[0].dtype)
    return [piece.astype(held, copy=False) for piece, held in zip(pieces, dtypes, strict=True)]


def metadata_of(plan: Plan, source: Source) -> dict[str, str]:
    """What a written file says of its origin. `format` is what readers of safetensors expect of PyTorch weights."""
    return {
        "format": "pt",
        "tfpt.version": __version__,
        "tfpt.mapping": plan.mapping,
        "tfpt.mapping_digest": plan.digest,
        "tfpt.source": name_of(source.location),
        "tfpt.source_fingerprint": source.fingerprint(),
    }


class MemorySink(Discarding):
    """A sink that keeps the tensors: weights that go straight into a model.

    Example:
        >>> with MemorySink() as sink:
        ...     sink.write("bias", np.zeros(3, np.float32))
        >>> sink.tensors["bias"].shape
        (3,)
    """

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}

    def write(self, name: str, array: np.ndarray) -> None:
        self.tensors[name] = array

    def commit(self) -> None:
        pass

    def discard(self) -> None:
        pass


def translated(plan: Plan, source: Source, model: torch.nn.Module | None = None) -> Mapping[str, np.ndarray]:
    """Everything that a plan writes, in memory, by name."""
    sink = MemorySink()
    translate(plan, source, sink, model=model)
    return sink.tensors


def _run(step: Step, source: Source, sink: Sink, model: torch.nn.Module | None) -> None:
    for spec, array in zip(step.writes, values_of(step, source, model), strict=True):
        sink.write(spec.name, array)
    for read in step.reads:
        source.release(read.name)


def _kept(spec: TensorSpec, step: Step, model: torch.nn.Module | None) -> np.ndarray:
    if model is None:
        raise ModelError(
            f"{spec.name} keeps what the model itself generates, and there is no model",
            where=step.where,
            hint="pass the model, or give the mapping a model: factory",
        )
    import torch

    # numpy has no bfloat16 or float8 of torch's: float32 holds their values.
    values = model.state_dict()[spec.name].detach().cpu()
    narrow = values.is_floating_point() and values.element_size() < 4
    array: np.ndarray = (values.to(torch.float32) if narrow else values).numpy()
    return np.ascontiguousarray(array.astype(_held_as(spec.dtype), copy=False)).reshape(spec.shape)


def _held_as(name: str) -> np.dtype:
    held = dtype(name).numpy
    assert held is not None
    return held


class _Budget:
    """Bytes that may be under way at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + count <= self._limit)
            self._held += count
        try:
            yield
        finally:
            with self._changed:
                self._held -= count
                self._changed.notify_all()
