"""Measures a pass over a workload: its time, arithmetic and memory, and its time by layer and operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    conv_flop_count,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from tfpt.profiling.layer_times import LayerTimes, measure_forward, measure_training
from tfpt.profiling.operator_times import KindTime, OperatorTimes, ResidentMemory, measure_operators
from tfpt.profiling.timing import Spread, repeated, synchronize, timed
from tfpt.profiling.workload import Training, Workload, running

FORWARD = "forward"
TRAINING = "forward, backward and step"
# The number of passes measured layer by layer and averaged.
_LAYER_REPEATS = 3


@dataclass(frozen=True)
class Pass:
    """The cost of one kind of pass.

    Attributes:
        name: `FORWARD`, in evaluation mode without gradients; or `TRAINING`, with a backward pass and a step of SGD.
        seconds: The durations, measured without hooks on the model.
        batch: Clips, pictures or sequences in a pass.
        frames: Frames in a clip, or tokens in a sequence; ``None`` for single images.
        flops: Floating-point operations of one pass; a multiply-add counts as two.
        memory: The peak size of all tensors in bytes, weights and input included; ``None`` if unknown. The weights are
            counted; what the pass allocates is measured, by torch's profiler on the host and by torch's allocator on a
            CUDA device.
        resident: The peak resident memory of the process, in bytes; ``None`` if the system does not report it.
        compile_seconds: How much longer the first pass of a compiled model takes than the others.
        kinds: Time by kind of operator, slowest first.
        layers: Time by layer; ``None`` for a compiled model, which has no layers.
    """

    name: str
    seconds: Spread
    batch: int
    frames: int | None
    flops: int
    memory: int | None
    resident: int | None
    compile_seconds: float | None
    kinds: tuple[KindTime, ...]
    layers: LayerTimes | None

    @property
    def clips_per_second(self) -> float:
        """Clips, pictures or sequences per second."""
        return self.batch / self.seconds.median

    @property
    def frames_per_second(self) -> float | None:
        """Frames or tokens per second; ``None`` for single images."""
        return None if self.frames is None else self.clips_per_second * self.frames

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds.median

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds": self.seconds.to_json(),
            "clips_per_second": self.clips_per_second,
            "frames_per_second": self.frames_per_second,
            "flops": self.flops,
            "flops_per_clip": self.flops / self.batch,
            "flops_per_second": self.flops_per_second,
            "memory": self.memory,
            "resident": self.resident,
            "compile_seconds": self.compile_seconds,
            "kinds": [kind.to_json() for kind in self.kinds],
            "layers": None if self.layers is None else self.layers.to_json(),
        }


@dataclass(frozen=True)
class Options:
    """Options of a measurement.

    Attributes:
        repeats: Measured passes; ``None`` for as many as `tfpt.profiling.timing.repeated` chooses.
        warmup: Passes before them.
        backend: The compiler backend; ``None`` to run the model uncompiled.
        optimize: Whether to run the optimized model.
    """

    repeats: int | None = None
    warmup: int = 2
    backend: str | None = None
    optimize: bool = False


def measure_inference(workload: Workload, options: Options) -> tuple[Workload, Pass]:
    """Measure the forward pass; also returns the workload that was measured, possibly optimized."""
    with running(workload):
        flops = _flops(workload.infer)
    plain = workload
    if options.optimize:
        from tfpt.networks.optimization import optimize

        with running(workload, "optimized"):
            workload = replace(workload, model=optimize(workload.model))
    if options.backend is not None:
        workload = replace(workload, model=_compiled(workload, options.backend))
    found = _measure(
        FORWARD,
        workload,
        workload.infer,
        options,
        flops,
        held=lambda: workload.nbytes,
        layers=lambda repeats: measure_forward(workload.model, workload.infer, workload.device, repeats),
    )
    return (plain if options.backend else workload), found


def measure_step(workload: Workload, options: Options) -> tuple[Training, Pass]:
    """Measure the forward pass, backward pass and a step of SGD; also returns the training that was measured."""
    training = Training.of(workload)
    with running(workload, "trained"):
        flops = _flops(training)
    run = training
    if options.backend is not None:
        run = replace(
            training, workload=replace(training.workload, model=_compiled(training.workload, options.backend))
        )

    def layers(repeats: int) -> LayerTimes:
        return measure_training(
            training.workload.model,
            training.loss,
            training.clear,
            training.optimizer.step,
            workload.device,
            repeats,
        )

    found = _measure(
        TRAINING,
        workload,
        run,
        options,
        flops,
        held=lambda: training.nbytes,
        layers=layers,
        before=training.clear,
    )
    return training, found


def _measure(
    name: str,
    workload: Workload,
    run: Callable[[], Any],
    options: Options,
    flops: int,
    *,
    held: Callable[[], int],
    layers: Callable[[int], LayerTimes],
    before: Callable[[], None] = lambda: None,
) -> Pass:
    device = workload.device
    with running(workload, "compiled and run" if options.backend else "run"):
        # Even without a warm-up, compilation must not count as part of the pass.
        first = timed(run, device) if options.warmup or options.backend else math.nan
        for _ in range(options.warmup - 1):
            timed(run, device)
        with ResidentMemory() as resident:
            timed(run, device)
        seconds = repeated(run, device, options.repeats)
        before()  # so that the gradients of the last pass are not counted twice
        there = held()
        operators, allocated = _operators(run, device)
        compiled = options.backend is not None
        by_layer = None if compiled else layers(min(options.repeats or _LAYER_REPEATS, _LAYER_REPEATS))
    return Pass(
        name=name,
        seconds=seconds,
        batch=workload.batch,
        frames=workload.frames,
        flops=flops,
        memory=None if allocated is None else there + allocated,
        resident=resident.most,
        compile_seconds=max(first - seconds.median, 0.0) if compiled else None,
        kinds=operators.kinds,
        layers=by_layer,
    )


def _operators(run: Callable[[], Any], device: torch.device) -> tuple[OperatorTimes, int | None]:
    """A pass under the profiler, and the peak of the bytes that it allocated."""
    if device.type == "cpu":
        found = measure_operators(run, device)
        return found, found.allocated
    if device.type != "cuda":
        return measure_operators(run, device), None
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    found = measure_operators(run, device)
    return found, torch.cuda.max_memory_allocated(device) - before


def _compiled(workload: Workload, backend: str) -> Any:
    with running(workload, "compiled"):
        return torch.compile(workload.model, backend=backend)


def _flops(run: Callable[[], Any]) -> int:
    """Counted on the original model: a compiler or a fused transformer layer does the same arithmetic."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


def _flops_of_gradients(
    gradient: torch.Size,
    inputs: torch.Size,
    weight: torch.Size,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: tuple[bool, bool, bool],
    **_: Any,
) -> int:
    """For a convolution's gradients: those of the input and of the weight each cost as much as the convolution.

    torch 2.13 itself ignores groups when it counts the gradient of a weight.
    """
    return conv_flop_count(list(inputs), list(weight), list(gradient), transposed) * sum(wanted[:2])


def _flops_of_attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _flops_of_attention_gradients(
    gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


# Operators that torch 2.13 counts incorrectly, or not at all.
_UNCOUNTED: dict[Any, Any] = {
    torch.ops.aten.convolution_backward: _flops_of_gradients,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _flops_of_attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _flops_of_attention_gradients,
}
