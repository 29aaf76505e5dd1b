"""Profiles a mapping's model: time in total, by layer and by kind of operation; arithmetic; memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from tfpt.errors import TfptError
from tfpt.io.output_file import AtomicFile, refuse_input
from tfpt.io.temporary import TemporaryFolder
from tfpt.networks.model_inputs import Sample
from tfpt.profiling.operator_times import TracedRun, write_trace
from tfpt.profiling.passes import FORWARD, TRAINING, Options, Pass, measure_inference, measure_step
from tfpt.profiling.workload import make_workload

if TYPE_CHECKING:
    from torch import nn


_MOST_THREADS = 256


@dataclass(frozen=True)
class Profile:
    """The measurements of a model on this machine.

    Attributes:
        mapping: The mapping's name.
        model: The model's class.
        parameters: The number of its parameters.
        parameter_bytes: Their size.
        shape: The shape of the input, in PyTorch's layout.
        sample: What one element of the batch is: ``picture``, ``clip`` or ``sequence`` (of token ids).
        dtype: See `tfpt.profiling.workload.DTYPES`.
        device: The device that the model ran on.
        machine: The name of the CPU, or of the GPU if the model ran there.
        threads: The number of torch threads on the host.
        facts: Versions and other options.
        passes: The measured passes.
    """

    mapping: str
    model: str
    parameters: int
    parameter_bytes: int
    shape: tuple[int, ...]
    sample: Sample
    dtype: str
    device: str
    machine: str
    threads: int
    facts: dict[str, Any]
    passes: tuple[Pass, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "shape": list(self.shape),
            "passes": [each.to_json() for each in self.passes],
        }


def profile(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    frames: int = 16,
    batch: int = 2,
    size: int | None = None,
    channels: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    compile: bool = False,  # noqa: A002
    compile_backend: str = "inductor",
    channels_last: bool = False,
    optimize: bool = False,
    train: bool | Literal["both"] | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    warmup: int = 2,
    trace: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    model: nn.Module | None = None,
) -> Profile:
    """See `tfpt.api.profile`."""
    chosen = _passes(train, optimize)
    for name, number, least in (("repeats", repeats, 1), ("warmup", warmup, 0), ("threads", threads, 1)):
        if number is not None and number < least:
            raise TfptError(f"too few {name}", expected=f"{least} or more", got=str(number))
    if threads is not None and threads > _most_threads():
        raise TfptError("too many threads", expected=f"at most {_most_threads()}", got=str(threads))
    if trace is not None:
        refuse_input(trace, weights, mapping, config)
    with _trace_file(trace, overwrite) as write, _threads(threads):
        workload = make_workload(
            os.fspath(mapping),
            None if weights is None else os.fspath(weights),
            model=model,
            frames=frames,
            batch=batch,
            size=size,
            channels=channels,
            device=device,
            dtype=dtype,
            channels_last=channels_last,
            settings=settings,
            config=config,
            dequantize=dequantize,
            trust=trust,
        )
        options = Options(repeats, warmup, compile_backend if compile else None, optimize)
        passes: list[Pass] = []
        runs: list[TracedRun] = []
        if FORWARD in chosen:
            measured, found = measure_inference(workload, options)
            passes.append(found)
            runs.append(TracedRun(FORWARD, measured.model, measured.infer))
        if TRAINING in chosen:
            training, found = measure_step(workload, options)
            passes.append(found)
            runs.append(TracedRun(TRAINING, training.workload.model, training))
        if write is not None:
            write(runs, workload.device)
        return Profile(
            mapping=workload.mapping.name,
            model=type(workload.model).__name__,
            parameters=sum(p.numel() for p in workload.model.parameters()),
            parameter_bytes=sum(p.nbytes for p in workload.model.parameters()),
            shape=tuple(workload.inputs.shape),
            sample=workload.sample,
            dtype=dtype,
            device=str(workload.device),
            machine=machine(workload.device),
            threads=torch.get_num_threads(),
            facts={
                "torch": torch.__version__,
                "weights": None if weights is None else str(weights),
                "channels_last": channels_last,
                "compile": compile_backend if compile else None,
                "optimize": optimize,
                "warmup": warmup,
            },
            passes=tuple(passes),
        )


def machine(device: torch.device) -> str:
    """The name of the processor of a device.

    Example:
        >>> machine(torch.device("cpu")) != ""
        True
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, [*names, platform.processor(), platform.machine()]), "unknown processor")


def _passes(train: bool | str | None, optimize: bool) -> tuple[str, ...]:
    if train not in (None, True, False, "both"):
        raise TfptError("unknown choice of passes", expected='train=True, False or "both"', got=repr(train))
    if optimize and train:
        raise TfptError(
            "an optimized model is for inference only: it has no backward pass",
            got="optimize with training",
            hint="--optimize --forward-only",
        )
    if train is None:
        return (FORWARD,) if optimize else (FORWARD, TRAINING)
    return {True: (TRAINING,), False: (FORWARD,), "both": (FORWARD, TRAINING)}[train]


def _most_threads() -> int:
    """Far more than useful; torch aborts the process if the system cannot create another thread."""
    return max(_MOST_THREADS, os.cpu_count() or 1)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _trace_file(
    path: str | os.PathLike[str] | None, overwrite: bool
) -> Iterator[Callable[[list[TracedRun], torch.device], None] | None]:
    """The trace file, opened before anything is measured, so that an unwritable path fails immediately."""
    if path is None:
        yield None
        return
    with AtomicFile(path, overwrite) as file:

        def write(runs: list[TracedRun], device: torch.device) -> None:
            with TemporaryFolder() as folder:
                whole = Path(folder, "trace.json")
                write_trace(runs, device, whole)
                file.write_at(0, np.fromfile(whole, np.uint8))

        yield write
        file.commit()
