"""Replay: the recorded input through the PyTorch model, each endpoint compared while it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tfpt.errors import ModelError, TfptError
from tfpt.nearest import nearest
from tfpt.networks.endpoints import Endpoint, Inputs, watch
from tfpt.networks.inputs import rearrange
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.operations.layout import Layout
from tfpt.tensors import format_shape
from tfpt.verification.agreement import Compared, Measure, judged, measure


@dataclass(frozen=True)
class Seen:
    """One endpoint in one run: its shape in TensorFlow's order of axes, and how far it lies from the recorded one.

    Where it does not have the axes of its layout, the shape is PyTorch's, and the note says so.
    """

    shape: tuple[int, ...]
    measure: Measure | None
    note: str = ""


@dataclass(frozen=True)
class Replay:
    """A model, what it is fed, and the recording to compare it with.

    Attributes:
        model: In any mode. Runs leave its buffers and torch's random numbers as they were.
        inputs: What it is called with, on its device.
        endpoints: The activations under both names.
        recording: What TensorFlow computed.

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

    def results(self, tolerance: float, *, own: bool = True) -> tuple[Compared, ...]:
        """Every endpoint of either side, in the order in which the model runs, with its verdict.

        Args:
            tolerance: Up to which relative difference two activations count as the same.
            own: Also say what each endpoint contributes by itself, wherever the recording holds the one before it
                whole. Without it this is looked at only where a verdict hangs on it.

        Raises:
            ModelError: The model cannot take the input, or shares no endpoint with the recording.
        """
        by_path = {endpoint.pt: endpoint for endpoint in self._shared()}
        seen, failure = self._free(list(by_path))
        found = [self._compared(by_path[path], one) for path, one in seen.items()]
        if own or any(one.free is not None and not one.free.agrees(tolerance) for one in found):
            contributions = self._own(list(seen))
            found = [replace(one, own=contributions.get(one.path)) for one in found]
        return judged([*found, *self._absent(seen, failure)], tolerance)

    def at(self, path: str) -> np.ndarray:
        """The activation at one endpoint, whole, in TensorFlow's order of axes."""
        endpoint = next(endpoint for endpoint in self.endpoints if endpoint.pt == path)
        shape = self.recorded(path).shape
        found: list[np.ndarray] = []
        with undisturbed(self.model):
            watch(
                self.model, _copied(self.inputs), [path], lambda _, x: found.append(as_tf(x, endpoint, shape))
            )
        return found[0]

    def recorded(self, path: str) -> RecordedEndpoint:
        """What was recorded of the endpoint at a path."""
        return self.recording.endpoints[next(one.tf for one in self.endpoints if one.pt == path)]

    def see(self, path: str, output: Tensor) -> Seen:
        """Compare one endpoint's output with what was recorded."""
        endpoint = next(endpoint for endpoint in self.endpoints if endpoint.pt == path)
        recorded = self.recording.endpoints[endpoint.tf]
        array = as_tf(output, endpoint, recorded.shape)
        fits = tuple(array.shape) == recorded.shape
        return Seen(tuple(array.shape), measure(recorded, array) if fits else None)

    def _shared(self) -> list[Endpoint]:
        shared = [endpoint for endpoint in self.endpoints if endpoint.tf in self.recording.endpoints]
        if not shared:
            ours = [endpoint.tf for endpoint in self.endpoints]
            theirs = list(self.recording.endpoints)
            raise ModelError(
                "the recording and the mapping have no endpoint in common: it is of another network",
                where=self.recording.location or None,
                expected=_few(ours),
                got=_few(theirs),
                nearest=nearest(ours[0], theirs),
                hint="endpoints: of the mapping names the activations as the recording does",
            )
        return shared

    def _free(self, paths: Sequence[str]) -> tuple[dict[str, Seen], str]:
        """The run by itself, and why it broke off, if it did."""
        seen: dict[str, Seen] = {}

        def see(path: str, output: Tensor) -> None:
            try:
                seen[path] = self.see(path, output)
            except ModelError as error:
                if not seen:
                    raise
                note = f"not the axes of its layout {by_path[path].layout}: {error.where}"
                seen[path] = Seen(tuple(output.shape), None, note)

        by_path = {endpoint.pt: endpoint for endpoint in self.endpoints}
        try:
            with undisturbed(self.model):
                watch(self.model, _copied(self.inputs), paths, see)
        except Exception as error:  # whatever a stranger's forward raises
            if not seen:
                raise self._cannot_run(error) from error
            return seen, f"the model broke off: {_first_line(error)}"
        return seen, ""

    def _own(self, order: Sequence[str]) -> dict[str, Measure]:
        """What each endpoint contributes by itself: a run in which the recorded ones take the place of all others."""
        held = {path: self.recorded(path) for path in order}
        followers = {path: before for before, path in pairwise(order)}
        known = {path for path, before in followers.items() if held[before].whole} | set(order[:1])
        if len(known) < 2:
            # Only the first endpoint, which nothing comes before: its own difference is the one that was seen.
            known = set()
        found: dict[str, Measure] = {}
        layouts = {endpoint.pt: endpoint for endpoint in self.endpoints}

        def see(path: str, output: Tensor) -> Tensor | None:
            measured = self.see(path, output).measure
            if path in known and measured is not None:
                found[path] = measured
            if not held[path].whole:
                return None
            return _as_pt(held[path].values, layouts[path], output)

        if known:
            last = max(order.index(path) for path in known)
            try:
                with undisturbed(self.model):
                    watch(self.model, _copied(self.inputs), order[: last + 1], see)
            except Exception:
                # Values that this model never sees by itself may be more than it bears. What was measured before
                # stands; of the rest it is not known, and said so, what they contribute by themselves.
                pass
        return found

    def _compared(self, endpoint: Endpoint, seen: Seen) -> Compared:
        recorded = self.recording.endpoints[endpoint.tf]
        return Compared(endpoint.tf, endpoint.pt, recorded.shape, seen.shape, seen.measure, note=seen.note)

    def _absent(self, seen: Mapping[str, Seen], failure: str) -> Iterator[Compared]:
        """Endpoints that only one side has, and those that the run never reached."""
        mapped = {endpoint.tf: endpoint for endpoint in self.endpoints}
        for name, recorded in self.recording.endpoints.items():
            if name not in mapped:
                close = nearest(name, mapped, 1)
                note = "no endpoint of the mapping" + (f"; nearest {close[0]}" if close else "")
                yield Compared(name, "", recorded.shape, note=note)
            elif mapped[name].pt not in seen:
                note = failure or "the model never ran this module"
                yield Compared(name, mapped[name].pt, recorded.shape, note=note)
        for name, endpoint in mapped.items():
            if name not in self.recording.endpoints:
                yield Compared(name, endpoint.pt, note="not in the recording")

    def _cannot_run(self, error: Exception) -> TfptError:
        if isinstance(error, TfptError):
            return error
        fed = self.inputs if isinstance(self.inputs, Mapping) else {"input": self.inputs}
        got = ", ".join(f"{name} {format_shape(tuple(value.shape))}" for name, value in fed.items())
        return ModelError(
            f"the model cannot run on this input: {_first_line(error)}",
            got=f"{got}, in PyTorch's order of axes",
            hint="input: {layout: …} of the mapping says how the axes are laid out",
        )


def as_tf(output: Tensor, endpoint: Endpoint, shape: tuple[int, ...]) -> np.ndarray:
    """A module's output as an array, in TensorFlow's order of axes.

    Args:
        output: What the module gave.
        endpoint: Says how its axes lie.
        shape: What was recorded, which says how large the axes are that PyTorch has as one.

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
        tensor = tensor.resolve_conj()  # numpy has no views that are conjugated when they are read
    try:
        return rearrange(tensor, _with_sizes(endpoint.layout, shape), back=True).cpu().numpy()
    except TfptError as error:
        raise ModelError(
            f"the output of {endpoint.pt} does not have the axes that the mapping says",
            where=endpoint.position.row,
            expected=error.expected,
            got=error.got,
        ) from error


def _with_sizes(layout: Layout | None, shape: tuple[int, ...]) -> Layout | None:
    """The layout with the sizes of axes that its right side holds together, from the shape of its left side."""
    if layout is None or len(layout.left) != len(shape):
        return layout
    together = {name for group in layout.right if len(group) > 1 for name in group}
    sizes = {
        group[0]: size
        for group, size in zip(layout.left, shape, strict=True)
        if len(group) == 1 and group[0] in together
    }
    return layout.model_copy(update={"sizes": tuple({**dict(layout.sizes), **sizes}.items())})


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Runs inside are alike, and leave buffers, random numbers and torch's switches as they were.

    A model in training mode draws random numbers and moves its running statistics, and one with a state of its own
    moves that in any mode, in place or by putting another buffer there; a GPU would round to 10 bits.
    """
    before = [(module, dict(module._buffers)) for module in model.modules()]
    held = {id(buffer): buffer for _, buffers in before for buffer in buffers.values() if buffer is not None}
    values = [(buffer, buffer.data, buffer.data.clone()) for buffer in held.values()]
    with (
        torch.random.fork_rng(),
        torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False),
    ):
        torch.manual_seed(0)
        try:
            yield
        finally:
            with torch.no_grad():
                for module, buffers in before:
                    module._buffers.clear()
                    module._buffers.update(buffers)
                for buffer, storage, value in values:
                    # Compared first: a buffer that is expanded from fewer values cannot be written to.
                    buffer.data = storage if torch.equal(storage, value) else storage.copy_(value)


def _as_pt(values: np.ndarray, endpoint: Endpoint, like: Tensor) -> Tensor:
    recorded = torch.tensor(rearrange(values, endpoint.layout))
    return recorded.to(device=like.device, dtype=like.dtype)


def _copied(inputs: Inputs) -> Inputs:
    # A model may write into what it is given (an in-place ReLU first, say).
    if isinstance(inputs, Mapping):
        return {name: value.clone() for name, value in inputs.items()}
    return inputs.clone()


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
