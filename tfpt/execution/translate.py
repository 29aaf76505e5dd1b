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
from tfpt.errors import DtypeError, ModelError
from tfpt.execution.sinks.sink import Sink
from tfpt.formats.source import Source
from tfpt.io.locations import name_of
from tfpt.io.output_file import Discarding
from tfpt.operations.casting import Loss, cast, constant, loss
from tfpt.operations.transform import CastError
from tfpt.planning import Plan, PlanError, Step
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
    kept: Mapping[str, torch.Tensor] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Carry out a plan. The sink is neither committed nor discarded: that is the caller's.

    Args:
        plan: What to do.
        source: The checkpoint that was planned for.
        sink: Where the parameters go.
        kept: Values of the model's own, for the parameters of `keep` rows.
        workers: Threads; by default one for each core, at most eight.
        progress: Called after each step, from any thread.

    Raises:
        PlanError: The plan has findings.
        DtypeError: A dtype that is written cannot hold a value: it would become infinite, NaN or another number.
        ModelError: A parameter is to be kept from the model, and there is none.
        SourceError: A tensor cannot be read, or fails its checksum.
        SinkError: The output cannot be written.
    """
    if not plan.ok:
        raise PlanError(plan)
    budget = _Budget(MEMORY_BUDGET)
    stop = threading.Event()

    def run(step: Step) -> None:
        with budget.hold(step.memory):
            if stop.is_set():
                return
            try:
                _run(step, source, sink, kept)
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


def values_of(step: Step, source: Source, kept: Mapping[str, torch.Tensor] | None = None) -> list[np.ndarray]:
    """What one step writes, in the order of `step.writes`: C-contiguous arrays of the planned dtypes.

    Raises:
        DtypeError: The dtype that is written cannot hold a value.
        SourceError: A tensor cannot be read, or fails its checksum.
    """
    if step.keep:
        return [_kept(spec, step, kept) for spec in step.writes]
    dtypes = [_held_as(spec.dtype) for spec in step.writes]
    if step.transform is None:
        assert step.fill is not None
        return [
            np.full(spec.shape, constant(step.fill, held))
            for spec, held in zip(step.writes, dtypes, strict=True)
        ]
    arrays = [source.read(spec.name) for spec in step.reads]
    try:
        return step.transform.apply(arrays, dtypes)
    except CastError as error:
        raise _unheld(step, step.writes[error.piece], error.loss) from error


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


def translated(
    plan: Plan, source: Source, kept: Mapping[str, torch.Tensor] | None = None
) -> Mapping[str, np.ndarray]:
    """Everything that a plan writes, in memory, by name."""
    sink = MemorySink()
    translate(plan, source, sink, kept=kept)
    return sink.tensors


def _run(step: Step, source: Source, sink: Sink, kept: Mapping[str, torch.Tensor] | None) -> None:
    for spec, array in zip(step.writes, values_of(step, source, kept), strict=True):
        sink.write(spec.name, array)
    for read in step.reads:
        source.release(read.name)


def _kept(spec: TensorSpec, step: Step, kept: Mapping[str, torch.Tensor] | None) -> np.ndarray:
    if kept is None:
        raise ModelError(
            f"{spec.name} keeps what the model itself generates, and there is no model",
            where=step.where,
            hint="give the mapping a model: factory",
        )
    import torch

    # numpy has no bfloat16 or float8 of torch's: float32 holds their values.
    values = kept[spec.name].detach().cpu()
    narrow = values.is_floating_point() and values.element_size() < 4
    array: np.ndarray = (values.to(torch.float32) if narrow else values).numpy()
    written = cast(array, _held_as(spec.dtype))
    lost = loss(array, written)
    if lost is not None:
        raise _unheld(step, spec, lost)
    return np.ascontiguousarray(written).reshape(spec.shape)


def _unheld(step: Step, spec: TensorSpec, lost: Loss) -> DtypeError:
    reads = ", ".join(read.name for read in step.reads[:3]) + (" …" if len(step.reads) > 3 else "")
    plural = "values" if lost.count != 1 else "value"
    return DtypeError(
        f"{spec.dtype} cannot hold {lost.count:,} {plural} of {spec.name}",
        where=step.where,
        expected=f"values that {spec.dtype} can hold" + (f", from {reads}" if reads else ""),
        got=f"{lost.largest}{' among them' if lost.count != 1 else ''}",
        hint="a wider --dtype, or dtype: on the row",
    )


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
