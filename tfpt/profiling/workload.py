"""A mapping's model with an input to run it on: device, dtype, and one pass over it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError, TfptError
from tfpt.language import mapping as rows
from tfpt.language.loader import load_mapping
from tfpt.networks.devices import device_of, enough_memory
from tfpt.networks.endpoints import first_tensor
from tfpt.networks.loading import load
from tfpt.networks.model_inputs import Sample, random_input, sample_of
from tfpt.targets.model import build_model
from tfpt.tensors import format_shape

DTYPES = ("float32", "bfloat16", "float16", "autocast")
_LOWER = "lower --batch, --frames or --size, or measure --forward-only"
# Too small to change the weights: the cost of a step does not depend on it.
_LEARNING_RATE = 1e-9
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Workload:
    """A model and a prepared input.

    Attributes:
        mapping: The mapping that the model was built for.
        model: In evaluation mode.
        inputs: On the model's device and in PyTorch's axis order, in the model's dtype or, for ids, int64.
        device: Where both are.
        dtype: One of `DTYPES`; ``autocast`` keeps float32 weights and lets torch choose bfloat16 for each operator.
        sample: What one element of the batch is: ``picture``, ``clip`` or ``sequence`` (of token ids).
        frames: The frames of a clip or the length of a sequence; ``None`` for a network that takes single images.
    """

    mapping: rows.Mapping
    model: nn.Module
    inputs: Tensor
    device: torch.device
    dtype: str
    sample: Sample
    frames: int | None

    @property
    def batch(self) -> int:
        """The number of pictures, clips or sequences in one pass."""
        return int(self.inputs.shape[0])

    @property
    def nbytes(self) -> int:
        """The size of parameters, buffers and input, in bytes."""
        return sum(t.nbytes for t in (*self.model.parameters(), *self.model.buffers(), self.inputs))

    def run(self) -> Tensor:
        """The model's output, in its current mode."""
        casting = (
            torch.autocast(self.device.type, torch.bfloat16) if self.dtype == "autocast" else nullcontext()
        )
        with casting:
            return first_tensor(self.model(self.inputs), type(self.model).__name__)

    def infer(self) -> None:
        """One forward pass, without recording gradients."""
        with torch.inference_mode():
            self.run()


@dataclass(frozen=True)
class Training:
    """Forward, backward and a step of SGD with momentum over a workload.

    The loss is the mean of the squared outputs, whose cost is negligible.

    Attributes:
        workload: The workload; its model is in training mode.
        optimizer: The optimizer of the model's parameters.
    """

    workload: Workload
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, workload: Workload) -> Training:
        """Train a copy of the workload's model.

        Raises:
            ModelError: The model has no parameters to train, or the model cannot be copied.
        """
        with enough_memory(hint=_LOWER):
            model = _copied(workload.model).train()
        trained = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
        if not trained:
            raise ModelError(
                f"{type(model).__name__} has no parameters to train",
                hint="--forward-only measures the forward pass alone",
            )
        for parameter in trained:
            parameter.requires_grad_()
        optimizer = torch.optim.SGD(trained, _LEARNING_RATE, _MOMENTUM)
        return cls(replace(workload, model=model), optimizer)

    def loss(self) -> Tensor:
        """The loss, after a forward pass."""
        return self.workload.run().float().square().mean()

    def clear(self) -> None:
        """Free the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def __call__(self) -> None:
        self.clear()
        self.loss().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    @property
    def nbytes(self) -> int:
        """The size of parameters, buffers, input and momentum, in bytes."""
        states = (value for state in self.optimizer.state.values() for value in state.values())
        return self.workload.nbytes + sum(t.nbytes for t in states if isinstance(t, Tensor))


def make_workload(
    mapping: str,
    weights: str | None = None,
    *,
    model: nn.Module | None = None,
    frames: int = 16,
    batch: int = 2,
    size: int | None = None,
    channels: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    channels_last: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
) -> Workload:
    """Build a mapping's model and an input for it; arguments as for `tfpt.profile`.

    Raises:
        TfptError: An unknown device or dtype, a size below 1, or not enough memory.
        MappingError: The mapping does not describe the network's input, which is not a sequence of ids.
        ModelError: A size or channels were given for a sequence of ids.

    Example:
        >>> workload = make_workload("i3d_flow", frames=9, batch=1, size=193)
        >>> workload.inputs.shape, workload.frames, workload.batch
        (torch.Size([1, 2, 9, 193, 193]), 9, 1)
    """
    for name, value in (("batch", batch), ("frames", frames), ("size", size), ("channels", channels)):
        if value is not None and value < 1:
            raise TfptError(f"{name} must be positive", expected="1 or more", got=str(value))
    if dtype not in DTYPES:
        raise TfptError("unknown dtype for a model", expected=", ".join(DTYPES), got=str(dtype))
    place = device_of(device)
    compiled = load_mapping(mapping, settings, config)
    with enough_memory(hint=_LOWER):
        if model is not None:
            made = _copied(model).eval()
        elif weights is not None:
            # The cost does not depend on whether the outputs match TensorFlow's.
            made = load(
                mapping,
                weights,
                settings=settings,
                config=config,
                dequantize=dequantize,
                trust=trust,
                check=False,
            )
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made = build_model(compiled, device="cpu", trust=trust)
        sample = sample_of(made, compiled)
        values = random_input(made, compiled, batch=batch, frames=frames, size=size, channels=channels)
        numbers = torch.float32 if dtype == "autocast" else getattr(torch, dtype)
        made, values = made.to(place, numbers), values.contiguous().to(place)
        if values.is_floating_point():
            values = values.to(numbers)
    if channels_last:
        values = _last(values)
        for parameter in made.parameters():
            parameter.data = _last(parameter.data)
    return Workload(compiled, made, values, place, dtype, sample, None if sample == "picture" else frames)


@contextmanager
def running(workload: Workload, doing: str = "run") -> Iterator[None]:
    """Errors of the model or of torch's compiler, reported with the input."""
    shape = tuple(workload.inputs.shape)
    try:
        with enough_memory(shape, _LOWER):
            yield
    except TfptError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        given = f"{_dtype(workload)} of {format_shape(shape)} on {workload.device}"
        hint = None
        if "not implemented for" in lines[0]:
            hint = "--dtype autocast, or another dtype"
        elif workload.sample == "sequence":
            hint = "lower --frames, the length of the sequences, if the model only takes shorter ones"
        raise ModelError(
            f"the model cannot be {doing} on this input: {lines[0]}",
            got=given,
            hint=hint,
        ) from error


def _dtype(workload: Workload) -> str:
    ids = not workload.inputs.is_floating_point()
    return "int64" if ids else workload.dtype


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except (TypeError, AttributeError, RuntimeError, ValueError, pickle.PickleError) as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):
            raise
        raise ModelError(
            f"{type(model).__name__} cannot be copied, and the given model must not be modified",
            got=str(error).split("\n")[0],
            hint="keep locks, open files and computed tensors out of the module's attributes",
        ) from error


def _last(tensor: Tensor) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.contiguous(memory_format=formats.get(tensor.ndim, torch.contiguous_format))
