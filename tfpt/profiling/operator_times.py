"""Time by kind of operator, memory and a trace, from torch's profiler."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._C._autograd import DeviceType

from tfpt.profiling.layer_marks import path_of_call, places
from tfpt.profiling.timing import synchronize

# If kineto was compiled with bpftrace probes, it reports each use of them on standard error.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

# The kinds of torch's operators: the first pattern found in a name counts. Names are those of torch 2.13; `mkldnn` and
# `cudnn` are the libraries that implement an operator.
KINDS = (
    (r"optimizer|_foreach_|_fused_(sgd|adam)", "optimizer"),
    (r"attention", "attention"),
    (r"batch_norm", "batch norm"),
    (r"(layer|group|instance|rms)_norm|var_mean", "other normalization"),
    (r"conv(olution|\d|_|$)|slow_conv|thnn_conv", "convolution"),
    (r"pool|::maximum", "pooling"),  # tfpt.nn pools by taking maxima of shifted views
    (r"softmax", "softmax"),
    (
        r"relu|threshold|clamp|gelu|silu|sigmoid|tanh|hardtanh|hardswish|elu\b|dropout|bernoulli",
        "activation",
    ),
    (r"::(addmm|mm|bmm|matmul|linear|baddbmm|dot|mv)|mkldnn_linear|_linear", "matrix product"),
    (r"embedding|index|gather|scatter", "lookup"),
    (r"pad", "pads"),
    (r"copy|clone|contiguous|::cat|concat|stack|_to$|to_copy|::to$|reorder|to_dense|to_mkldnn|permute_copy", "copies"),
    (r"::(add|sub|mul|div|pow|sqrt|rsqrt|neg|abs|exp|log|square|mean|sum|max|min|where|ge|gt|le|lt|eq)", "arithmetic"),
    (r"Torch-Compiled|CompiledFunction|triton|cpp_fused|inductor", "compiled code"),
    (r"^aten::|^mkldnn::|^quantized::|^prims::", "other operators"),
)  # fmt: skip
POINTWISE = "convolution 1×1"
OUTSIDE = "outside of operators"
_WEIGHT = {"aten::convolution_backward": 2}


@dataclass(frozen=True)
class KindTime:
    """The time of the operators of one kind in a pass.

    Attributes:
        kind: Its name; see `KINDS`.
        seconds: On the device, or on the host if that does the work.
        calls: How often one of them ran, except when called by another of the same kind.
        operators: Their names in torch, slowest first.
    """

    kind: str
    seconds: float
    calls: int
    operators: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "operators": list(self.operators)}


@dataclass(frozen=True)
class OperatorTimes:
    """One pass as measured by torch's profiler.

    Attributes:
        kinds: Slowest first; their times add up to `total`.
        total: Seconds of the pass, including the profiler's own work.
        allocated: The peak of the bytes that the pass allocated on the host.
    """

    kinds: tuple[KindTime, ...]
    total: float
    allocated: int


def kind_of(operator: str, weight: tuple[int, ...] = ()) -> str:
    """The name of an operator's kind; a convolution whose kernel has a single tap has its own.

    Example:
        >>> kind_of("aten::mkldnn_convolution", (64, 3, 7, 7, 7)), kind_of("aten::convolution", (8, 5, 1, 1))
        ('convolution', 'convolution 1×1')
        >>> kind_of("aten::max_pool3d_with_indices"), kind_of("aten::constant_pad_nd"), kind_of("aten::cat")
        ('pooling', 'pads', 'copies')
        >>> kind_of("autograd::engine::evaluate_function: ReluBackward0")
        'outside of operators'
    """
    if operator.startswith(("autograd::", "torch::autograd")) or re.match(r"\w+Backward\d*$", operator):
        return OUTSIDE
    for pattern, kind in KINDS:
        if re.search(pattern, operator, re.IGNORECASE):
            if kind == "convolution" and len(weight) > 2 and all(size == 1 for size in weight[2:]):
                return POINTWISE
            return kind
    return OUTSIDE


def measure_operators(run: Callable[[], Any], device: torch.device) -> OperatorTimes:
    """One pass under torch's profiler.

    Args:
        run: The pass.
        device: Where it is computed.

    Example:
        >>> found = measure_operators(lambda: torch.zeros(1000, 1000), torch.device("cpu"))
        >>> found.allocated, found.kinds[0].seconds <= found.total
        (4000000, True)
    """
    with _profiler(device, memory=True, shapes=True) as profiler:
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        total = time.perf_counter() - start
    kinds = _by_kind(profiler.events(), device.type == "cuda")
    rest = max(total - sum(kind.seconds for kind in kinds), 0.0)
    return OperatorTimes((*kinds, KindTime(OUTSIDE, rest, 0, ())), total, _allocated(profiler))


def _by_kind(events: Iterable[Any], on_device: bool) -> list[KindTime]:
    names: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    calls: dict[str, int] = defaultdict(int)
    for event in events:
        if event.device_type != DeviceType.CPU or event.name == "[memory]":
            continue  # a kernel: its time is included in its operator's
        kind = _kind_of_event(event)
        micros = event.self_device_time_total if on_device else event.self_cpu_time_total
        names[kind][event.name] += micros / 1e6
        # One operator calls another of its kind to do the work: conv3d, convolution, mkldnn_convolution are one call.
        parent = event.cpu_parent
        calls[kind] += parent is None or _kind_of_event(parent) != kind
    names.pop(OUTSIDE, None)
    kinds = [
        KindTime(kind, sum(times.values()), calls[kind], tuple(sorted(times, key=lambda name: -times[name])))
        for kind, times in names.items()
    ]
    return sorted((kind for kind in kinds if kind.seconds > 0), key=lambda kind: -kind.seconds)


def _kind_of_event(event: Any) -> str:
    shapes = event.input_shapes or []
    place = _WEIGHT.get(event.name, 1)
    weight = tuple(shapes[place]) if len(shapes) > place and isinstance(shapes[place], list) else ()
    return kind_of(event.name, weight)


def _allocated(profiler: Any) -> int:
    """The peak of the host's allocations: the profiler records each one, and its release."""
    events = sorted(
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events()
        if event.name() == "[memory]" and event.device_type() == DeviceType.CPU
    )
    held = most = 0
    for _, nbytes in events:
        held += nbytes
        most = max(most, held)
    return most


@dataclass(frozen=True)
class TracedRun:
    """A pass to trace: its name, the model whose modules get ranges, and what to call."""

    name: str
    model: nn.Module
    run: Callable[[], Any]


def write_trace(runs: Iterable[TracedRun], device: torch.device, path: Path) -> None:
    """Write a trace for Perfetto or chrome://tracing: a range for each pass, containing one for each module's path.

    Args:
        runs: The passes.
        device: Where they are computed.
        path: A JSON file, which is overwritten.
    """
    with _profiler(device, memory=False, shapes=False) as profiler:
        for each in runs:
            with torch.profiler.record_function(each.name), _ranges(each.model):
                each.run()
                synchronize(device)
    profiler.export_chrome_trace(str(path))


@contextmanager
def _ranges(model: nn.Module) -> Iterator[None]:
    open_ranges: list[tuple[str, Any]] = []
    handles = []

    def before(paths: tuple[str, ...], name: str) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            path = path_of_call(paths, open_ranges[-1][0] if open_ranges else "")
            open_ranges.append((path, torch.profiler.record_function(path or name)))
            open_ranges[-1][1].__enter__()

        return enter

    def behind(*_: Any) -> None:
        open_ranges.pop()[1].__exit__(None, None, None)

    for module, paths in places(model).items():
        begin = before(paths, type(module).__name__)
        handles.append(module.register_forward_pre_hook(begin, prepend=True))
        handles.append(module.register_forward_hook(behind, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _profiler(device: torch.device, *, memory: bool, shapes: bool) -> Any:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, profile_memory=memory, record_shapes=shapes)


class ResidentMemory:
    """The peak resident memory of this process while the block runs, sampled every millisecond.

    Attributes:
        most: Bytes; ``None`` if the system does not report it.

    Example:
        >>> with ResidentMemory() as memory:
        ...     block = torch.ones(5_000_000)
        >>> memory.most is None or memory.most > 20_000_000
        True
    """

    _EVERY = 0.001

    def __enter__(self) -> ResidentMemory:
        self.most = _resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(self._EVERY):
            self._look()

    def _look(self) -> None:
        now = _resident()
        if now is not None:
            self.most = max(self.most or 0, now)


def _resident() -> int | None:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
