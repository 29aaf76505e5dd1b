"""Carry out a plan: read variables, transform them and pass them to a sink, in parallel and in bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from tfpt._version import __version__
from tfpt.errors import DtypeError, ModelError, SourceError
from tfpt.execution.sinks.sink import Sink
from tfpt.formats.source import Source
from tfpt.io.locations import name_of
from tfpt.io.output_file import Discarding
from tfpt.operations.cast import CastError
from tfpt.operations.casting import Loss, cast, constant, loss
from tfpt.operations.domain import DomainError
from tfpt.planning import Copy, Fill, Keep, Plan, PlanError, Step
from tfpt.tensors import TensorSpec, dtype

if TYPE_CHECKING:
    import torch

# Bytes of results in progress at a time. A larger tensor is processed alone.
MEMORY_BUDGET = 256 << 20

# With more workers than this, memory bandwidth is the bottleneck.
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
    """Carry out a plan. The caller commits or discards the sink.

    Args:
        plan: The plan.
        source: The checkpoint that the plan was made for.
        sink: Receives the parameters.
        kept: The model's own values, for the parameters of `keep` rows.
        workers: The number of threads; by default one per core, at most eight.
        progress: Called after each step, from any thread.

    Raises:
        PlanError: The plan has findings.
        DtypeError: An output dtype cannot represent a value: it would become infinite, NaN or another number. Or a
            function of a row, such as log, is not defined for a value.
        ModelError: A parameter keeps the model's value, and there is no model.
        SourceError: It is not the checkpoint of the plan, or a tensor cannot be read or fails its checksum.
        SinkError: The output cannot be written.
    """
    if not plan.ok:
        raise PlanError(plan)
    _check_source(plan, source)
    budget = _Budget(MEMORY_BUDGET)
    stop = threading.Event()

    def run(step: Step) -> None:
        with budget.hold(step.memory):
            if stop.is_set():
                return
            try:
                _run(step, source, sink, kept)
            except BaseException:
                stop.set()  # here rather than in the waiting thread: no step starts after a failure
                raise
        if progress is not None:
            progress(step)

    # Largest first, so that no worker is left with a large tensor at the end.
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
    """The values that one step writes, in the order of `step.writes`: C-contiguous arrays of the planned dtypes.

    Raises:
        DtypeError: The output dtype cannot represent a value, or a function of the row is not defined for one.
        SourceError: A tensor cannot be read, or fails its checksum.
    """
    if isinstance(step, Keep):
        return [_kept(spec, step, kept) for spec in step.writes]
    dtypes = [_numpy_dtype(spec.dtype) for spec in step.writes]
    if isinstance(step, Fill):
        return [
            np.full(spec.shape, constant(step.value, dtype))
            for spec, dtype in zip(step.writes, dtypes, strict=True)
        ]
    assert isinstance(step, Copy)
    arrays = [source.read(spec.name) for spec in step.reads]
    try:
        return step.bound.apply(arrays, dtypes)
    except CastError as error:
        raise _lossy(step, step.writes[error.piece], error.loss) from error
    except DomainError as error:
        raise _undefined(step, error) from error


def metadata_of(plan: Plan, source: Source) -> dict[str, str]:
    """The metadata of an output file. `format` is what readers of safetensors expect of PyTorch weights."""
    return {
        "format": "pt",
        "tfpt.version": __version__,
        "tfpt.mapping": plan.mapping,
        "tfpt.mapping_digest": plan.digest,
        "tfpt.source": name_of(source.location),
        "tfpt.source_fingerprint": source.fingerprint(),
    }


class MemorySink(Discarding):
    """A sink that keeps the tensors in memory, to load them into a model.

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
    """Everything that a plan writes, as arrays in memory, by name."""
    sink = MemorySink()
    translate(plan, source, sink, kept=kept)
    return sink.tensors


def _check_source(plan: Plan, source: Source) -> None:
    """A plan may come from a file: the checkpoint must be the one it was made for."""
    for step in plan.steps:
        for spec in step.reads:
            found = source.specs.get(spec.name)
            if found != spec:
                raise SourceError(
                    "this is not the checkpoint that the plan was made for",
                    where=source.location,
                    expected=str(spec),
                    got="no such tensor" if found is None else str(found),
                    hint="plan the conversion again",
                )


def _run(step: Step, source: Source, sink: Sink, kept: Mapping[str, torch.Tensor] | None) -> None:
    for spec, array in zip(step.writes, values_of(step, source, kept), strict=True):
        sink.write(spec.name, array)
    for read in step.reads:
        source.release(read.name)


def _kept(spec: TensorSpec, step: Step, kept: Mapping[str, torch.Tensor] | None) -> np.ndarray:
    if kept is None:
        raise ModelError(
            f"{spec.name} keeps the model's own value, and there is no model",
            where=step.where,
            hint="give the mapping a model: factory",
        )
    import torch

    # numpy cannot view torch's bfloat16 or float8; float32 represents their values exactly.
    values = kept[spec.name].detach().cpu()
    narrow = values.is_floating_point() and values.element_size() < 4
    array: np.ndarray = (values.to(torch.float32) if narrow else values).numpy()
    written = cast(array, _numpy_dtype(spec.dtype))
    lost = loss(array, written)
    if lost is not None:
        raise _lossy(step, spec, lost)
    return np.ascontiguousarray(written).reshape(spec.shape)


def _lossy(step: Step, spec: TensorSpec, lost: Loss) -> DtypeError:
    reads = ", ".join(read.name for read in step.reads[:3]) + (" …" if len(step.reads) > 3 else "")
    plural = "values" if lost.count != 1 else "value"
    return DtypeError(
        f"{spec.dtype} cannot represent {lost.count:,} {plural} of {spec.name}",
        where=step.where,
        expected=f"values that {spec.dtype} can represent" + (f", from {reads}" if reads else ""),
        got=f"{lost.largest}{' among them' if lost.count != 1 else ''}",
        hint="a wider --dtype, or dtype: on the row",
    )


def _undefined(step: Step, error: DomainError) -> DtypeError:
    """The error for values for which a function of the row is not defined."""
    reads = ", ".join(read.name for read in step.reads[:3]) + (" …" if len(step.reads) > 3 else "")
    plural = "values" if error.count != 1 else "value"
    return DtypeError(
        f"{error.function} has no finite result for {error.count:,} {plural} of {step.writes[0].name}",
        where=step.where,
        expected=f"{error.domain}, from {reads}",
        got=f"{error.largest}{' among them' if error.count != 1 else ''}",
        hint="compare these variables (tfpt inspect --stats) with what the row applies",
    )


def _numpy_dtype(name: str) -> np.dtype:
    held = dtype(name).numpy
    assert held is not None
    return held


class _Budget:
    """Limits the bytes in progress at once."""

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
