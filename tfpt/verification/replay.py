"""Replay: run the PyTorch model on the recorded input, and compare each endpoint as it is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tfpt.errors import ModelError, TfptError
from tfpt.language.endpoint_steps import OutputSteps
from tfpt.nearest import nearest
from tfpt.networks.endpoints import Endpoint, Inputs, watch
from tfpt.networks.inputs import rearrange
from tfpt.networks.precision import full_precision
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.operations.layout import Layout
from tfpt.tensors import format_shape
from tfpt.verification.agreement import ComparedEndpoint, Measure, measure, with_verdicts


@dataclass(frozen=True)
class Observation:
    """One endpoint in one run: its shape in TensorFlow's order of axes, and its difference from the recorded one.

    If the output does not have the axes of its layout, the shape is PyTorch's, and the note says so.
    """

    shape: tuple[int, ...]
    measure: Measure | None
    note: str = ""


@dataclass(frozen=True)
class Replay:
    """A model, its inputs, and the recording to compare it with.

    Attributes:
        model: In any mode. Runs preserve its buffers and the state of torch's random number generator.
        inputs: The model's inputs, on its device.
        endpoints: The endpoints, with the names of both sides.
        recording: What TensorFlow computed; see `compared_parts`.

    Example:
        >>> from tfpt.language.tree import Position
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
        >>> relu = Endpoint("relu", "relu", "0", None, Position("m.yaml", 1, 1))
        >>> recorded = RecordedEndpoint.of("relu", np.float32([[0, 2]]))
        >>> replay = Replay(model, torch.tensor([[-1.0, 2.0]]), (relu,), Recording({"relu": recorded}))
        >>> [(one.name, one.verdict) for one in replay.results(1e-5)]
        [('relu', 'agrees')]
    """

    model: nn.Module
    inputs: Inputs
    endpoints: tuple[Endpoint, ...]
    recording: Recording

    def results(self, tolerance: float, *, own: bool = True) -> tuple[ComparedEndpoint, ...]:
        """Every endpoint of either side, in the order in which the model runs, with its verdict.

        Args:
            tolerance: The relative difference up to which two activations count as the same.
            own: Also measure what each endpoint contributes by itself, wherever the recording has every value of the
                endpoint before it. Otherwise this is measured only if a verdict depends on it.

        Raises:
            ModelError: The model cannot take the input, or shares no endpoint with the recording.
        """
        by_path = {endpoint.pt: endpoint for endpoint in self._shared()}
        observed, failure = self._run_alone(list(by_path))
        found = [self._compared(by_path[path], one) for path, one in observed.items()]
        if own or any(one.free is not None and not one.free.agrees(tolerance) for one in found):
            contributions = self._run_with_recorded(list(observed))
            found = [replace(one, own=contributions.get(one.path)) for one in found]
        return with_verdicts([*found, *self._missing(observed, failure)], tolerance)

    def at(self, path: str) -> np.ndarray:
        """The activation at one endpoint, whole, in TensorFlow's order of axes."""
        endpoint = next(endpoint for endpoint in self.endpoints if endpoint.pt == path)
        shape = self.recorded(path).shape
        found: list[np.ndarray] = []
        with state_preserved(self.model):
            watch(
                self.model, copied(self.inputs), [path], lambda _, x: found.append(as_tf(x, endpoint, shape))
            )
        return found[0]

    def recorded(self, path: str) -> RecordedEndpoint:
        """The recorded endpoint at a path."""
        return self.recording.endpoints[next(one.tf for one in self.endpoints if one.pt == path)]

    def observe(self, path: str, output: Tensor) -> Observation:
        """Compare one endpoint's output with the recorded one."""
        endpoint = next(endpoint for endpoint in self.endpoints if endpoint.pt == path)
        recorded = self.recording.endpoints[endpoint.tf]
        array = as_tf(output, endpoint, recorded.shape)
        fits = tuple(array.shape) == recorded.shape
        return Observation(tuple(array.shape), measure(recorded, array) if fits else None)

    def _shared(self) -> list[Endpoint]:
        shared = [endpoint for endpoint in self.endpoints if endpoint.tf in self.recording.endpoints]
        if not shared:
            ours = [endpoint.tf for endpoint in self.endpoints]
            theirs = list(self.recording.endpoints)
            raise ModelError(
                "the recording and the mapping have no endpoint in common",
                where=self.recording.location or None,
                expected=_abbreviated(ours),
                got=_abbreviated(theirs),
                nearest=nearest(ours[0], theirs),
                hint="list the activations in the mapping's endpoints: under the names in the recording; "
                "or is it a recording of another network?",
            )
        return shared

    def _run_alone(self, paths: Sequence[str]) -> tuple[dict[str, Observation], str]:
        """Run the model unchanged; also return the error that ended the run, if there was one."""
        observed: dict[str, Observation] = {}

        def visit(path: str, output: Tensor) -> None:
            try:
                observed[path] = self.observe(path, output)
            except ModelError as error:
                if not observed:
                    raise
                note = f"output does not fit the layout {by_path[path].layout}: {error.where}"
                observed[path] = Observation(tuple(output.shape), None, note)

        by_path = {endpoint.pt: endpoint for endpoint in self.endpoints}
        try:
            with state_preserved(self.model):
                watch(self.model, copied(self.inputs), paths, visit)
        except Exception as error:  # the user's forward may raise anything
            if not observed:
                raise self._cannot_run(error) from error
            return observed, f"the model raised an error: {_first_line(error)}"
        return observed, ""

    def _run_with_recorded(self, order: Sequence[str]) -> dict[str, Measure]:
        """What each endpoint contributes by itself, from a run in which each output is replaced by the recorded one."""
        recorded = {path: self.recorded(path) for path in order}
        previous = {path: before for before, path in pairwise(order)}
        layouts = {endpoint.pt: endpoint for endpoint in self.endpoints}
        replaced = {path for path in order if recorded[path].whole and layouts[path].steps is None}
        known = {path for path, before in previous.items() if before in replaced} | set(order[:1])
        if len(known) < 2:
            # Only the first endpoint, whose own difference is the one already measured.
            known = set()
        found: dict[str, Measure] = {}

        def visit(path: str, output: Tensor) -> Tensor | None:
            measured = self.observe(path, output).measure
            if path in known and measured is not None:
                found[path] = measured
            if path not in replaced:
                return None
            return _as_pt(recorded[path].values, layouts[path], output)

        if known:
            last = max(order.index(path) for path in known)
            try:
                with state_preserved(self.model):
                    watch(self.model, copied(self.inputs), order[: last + 1], visit)
            except Exception:
                # The model may fail on values that it never computes itself. What was measured up to that point is
                # kept; for the other endpoints the report leaves this figure out.
                pass
        return found

    def _compared(self, endpoint: Endpoint, observed: Observation) -> ComparedEndpoint:
        recorded = self.recording.endpoints[endpoint.tf]
        return ComparedEndpoint(
            endpoint.tf, endpoint.pt, recorded.shape, observed.shape, observed.measure, note=observed.note
        )

    def _missing(self, observed: Mapping[str, Observation], failure: str) -> Iterator[ComparedEndpoint]:
        """Endpoints that only one side has, and those that the run did not reach."""
        mapped = {endpoint.tf: endpoint for endpoint in self.endpoints}
        for name, recorded in self.recording.endpoints.items():
            if name not in mapped:
                close = nearest(name, mapped, 1)
                note = "not an endpoint of the mapping" + (f"; nearest {close[0]}" if close else "")
                yield ComparedEndpoint(name, "", recorded.shape, note=note)
            elif mapped[name].pt not in observed:
                note = failure or "the model never ran this module"
                yield ComparedEndpoint(name, mapped[name].pt, recorded.shape, note=note)
        for name, endpoint in mapped.items():
            if name not in self.recording.endpoints:
                yield ComparedEndpoint(name, endpoint.pt, note="not in the recording")

    def _cannot_run(self, error: Exception) -> TfptError:
        if isinstance(error, TfptError):
            return error
        fed = self.inputs if isinstance(self.inputs, Mapping) else {"input": self.inputs}
        got = ", ".join(f"{name} {format_shape(tuple(value.shape))}" for name, value in fed.items())
        return ModelError(
            f"the model cannot run on this input: {_first_line(error)}",
            got=f"{got}, in PyTorch's order of axes",
            hint="the mapping's input: {layout: …} must describe the order of the axes",
        )


def compared_parts(recording: Recording, endpoints: Sequence[Endpoint]) -> Recording:
    """The recording with the parts of activations that endpoints compare in place of the whole activations.

    Raises:
        ModelError: Two endpoints compare different parts of one recorded activation.
        SourceError: An activation does not have the part.
    """
    parts = {endpoint.tf: endpoint for endpoint in endpoints}
    for endpoint in endpoints:
        other = parts[endpoint.tf]
        if other.part != endpoint.part:
            raise ModelError(
                f"two endpoints compare different parts of {endpoint.tf}",
                where=endpoint.position.row,
                expected=f"a name of its own for each, with op: {endpoint.op}",
                got=f"those of {endpoint.pt} and {other.pt}",
            )
    cut = dict(recording.endpoints)
    for name, endpoint in parts.items():
        if name in cut and endpoint.part is not None:
            cut[name] = cut[name].part(endpoint.part)
    return replace(recording, endpoints=cut)


def as_tf(output: Tensor, endpoint: Endpoint, shape: tuple[int, ...]) -> np.ndarray:
    """A module's output as an array, in TensorFlow's order of axes.

    Args:
        output: The module's output.
        endpoint: Gives the layout of its axes.
        shape: The recorded shape, which gives the sizes of axes that PyTorch merges into one.

    Example:
        >>> from tfpt.language.tree import Position
        >>> layout = Layout.parse("b h w c -> b c (h w)")
        >>> endpoint = Endpoint("x", "x", "x", layout, Position("m.yaml", 1, 1))
        >>> as_tf(torch.zeros(2, 7, 15), endpoint, (2, 5, 3, 7)).shape
        (2, 5, 3, 7)
    """
    tensor = output.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    if tensor.dtype.is_complex:
        tensor = tensor.resolve_conj()  # numpy has no lazily conjugated views
    try:
        if endpoint.steps is not None:
            tensor = _carried_out(endpoint.steps, tensor)
        if not endpoint.reshape:
            return rearrange(tensor, _with_sizes(endpoint.layout, shape), back=True).cpu().numpy()
        array = rearrange(tensor, endpoint.layout, back=True).cpu().numpy()
        return array.reshape(shape) if array.size == math.prod(shape) else array
    except TfptError as error:
        raise ModelError(
            f"the output of {endpoint.pt} does not have the axes that the mapping says",
            where=endpoint.position.row,
            expected=error.expected,
            got=error.got,
        ) from error


def _carried_out(steps: OutputSteps, tensor: Tensor) -> Tensor:
    """The steps of an endpoint, carried out.

    Raises:
        ModelError: The output does not have the axes, or the index.
    """
    axes = [axis for axis, _ in (*steps.select, *steps.slices)]
    outside = [
        (axis, index)
        for axis, index in steps.select
        if axis >= tensor.dim() or not -tensor.shape[axis] <= index < tensor.shape[axis]
    ]
    if outside or any(axis >= tensor.dim() for axis in axes):
        raise ModelError(
            "an output does not have the axes of its endpoint",
            expected=f"index {outside[0][1]} of axis {outside[0][0]}" if outside else f"axis {max(axes)}",
            got=format_shape(tuple(tensor.shape)),
        )
    parts: dict[int, int | slice] = {**dict(steps.slices), **dict(steps.select)}
    tensor = tensor[tuple(parts.get(axis, slice(None)) for axis in range(tensor.dim()))]
    if steps.function == "softmax":
        return tensor.softmax(steps.axis)
    return tensor if steps.function is None else getattr(torch, steps.function)(tensor)


def _with_sizes(layout: Layout | None, shape: tuple[int, ...]) -> Layout | None:
    """The layout, with the sizes of axes that its right side merges taken from the shape of its left side."""
    if layout is None or len(layout.left) != len(shape):
        return layout
    merged = {name for group in layout.right if len(group) > 1 for name in group}
    sizes = {
        group[0]: size
        for group, size in zip(layout.left, shape, strict=True)
        if len(group) == 1 and group[0] in merged
    }
    return layout.model_copy(update={"sizes": tuple({**dict(layout.sizes), **sizes}.items())})


@contextmanager
def state_preserved(model: nn.Module) -> Iterator[None]:
    """Make runs reproducible, and restore buffers, the random number generator and torch's settings afterwards.

    A model in training mode draws random numbers and updates its running statistics, and a stateful model changes its
    buffers in any mode, in place or by replacing them. Products are computed in full precision, outside any autocast.
    """
    before = [(module, dict(module._buffers)) for module in model.modules()]
    distinct = {
        id(buffer): buffer for _, buffers in before for buffer in buffers.values() if buffer is not None
    }
    values = [(buffer, buffer.data, buffer.data.clone()) for buffer in distinct.values()]
    with torch.random.fork_rng(), full_precision():
        torch.manual_seed(0)
        try:
            yield
        finally:
            with torch.no_grad():
                for module, buffers in before:
                    module._buffers.clear()
                    module._buffers.update(buffers)
                for buffer, storage, value in values:
                    # Compared first, since an expanded buffer cannot be written to.
                    buffer.data = storage if torch.equal(storage, value) else storage.copy_(value)


def _as_pt(values: np.ndarray, endpoint: Endpoint, like: Tensor) -> Tensor:
    if endpoint.reshape:
        values = values.reshape(tuple(rearrange(like, endpoint.layout, back=True).shape))
    recorded = torch.tensor(rearrange(values, endpoint.layout))
    return recorded.to(device=like.device, dtype=like.dtype)


def copied(inputs: Inputs) -> Inputs:
    """A copy of the inputs, since a model may write into them (an in-place ReLU first, say)."""
    if isinstance(inputs, Mapping):
        return {name: value.clone() for name, value in inputs.items()}
    return inputs.clone()


def _abbreviated(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
