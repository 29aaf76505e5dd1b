"""A network in Keras and in PyTorch, the faults that a port of it may have, and what a diagnosis may call them."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import tfpt
from tfpt.networks.recording.recordings import Recording
from tfpt.verification import Verification


@dataclass(frozen=True)
class Fault:
    """A mistake in a port.

    Attributes:
        apply: Puts it into a copy of the sound port, in place.
        endpoint: The first endpoint that must depart.
        kinds: What the diagnosis may call it: more than one where two causes have the same effect. Empty if no
            change of the model can repair it, so that nothing may be proven.
        paths: Where it may be reported: modules, or modules inside them; an empty path for the model or its input.
    """

    apply: Callable[[Any], object]
    endpoint: str
    kinds: frozenset[str]
    paths: tuple[str, ...]

    def __init__(
        self, apply: Callable[[Any], object], endpoint: str, kinds: str | set[str], *paths: str
    ) -> None:
        object.__setattr__(self, "apply", apply)
        object.__setattr__(self, "endpoint", endpoint)
        object.__setattr__(self, "kinds", frozenset({kinds} if isinstance(kinds, str) else kinds))
        object.__setattr__(self, "paths", paths)

    def accepts(self, kind: str, path: str) -> bool:
        """Whether a place of a diagnosis is this fault's."""
        return kind in self.kinds and any(
            path == one or (one and path.startswith(f"{one}.")) for one in self.paths
        )


@dataclass(frozen=True)
class Network:
    """A network, its port, and faults for it.

    Attributes:
        name: Its name, by which benchmarks select it.
        mapping: The text of the mapping that translates its weights and names its endpoints.
        keras_model: Builds it as Keras has it, with weights from a seed.
        port: The PyTorch network with the Keras model's weights.
        faults: By name.
        recorded: Options of `tfpt.record`.
    """

    name: str
    mapping: str
    keras_model: Callable[[], Any]
    port: Callable[[Any], nn.Module]
    faults: Mapping[str, Fault]
    recorded: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @cached_property
    def folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()

    @cached_property
    def mapping_path(self) -> Path:
        return _written(self.mapping, Path(self.folder.name), self.name)

    @cached_property
    def model(self) -> Any:
        return self.keras_model()

    @cached_property
    def net(self) -> nn.Module:
        """The sound port."""
        return self.port(self.model)

    @cached_property
    def recording(self) -> Recording:
        """What Keras computes, at every endpoint."""
        options = {"seed": 5, "batch": 2, "trust": True, **self.recorded}
        return tfpt.record(self.mapping_path, self.model, whole=True, **options)

    @cached_property
    def other_inputs(self) -> Recording:
        """What Keras computes from inputs of another seed."""
        return replace(self, recorded={**self.recorded, "seed": 11}).recording

    @property
    def output(self) -> str:
        """The last endpoint."""
        return list(self.recording.endpoints)[-1]

    @cached_property
    def output_alone(self) -> Recording:
        """The recording of the output, without the endpoints before it."""
        last = self.output
        return Recording({last: self.recording.endpoints[last]}, self.recording.inputs)

    def broken(self, *names: str) -> nn.Module:
        """A copy of the sound port with these faults in it."""
        net = copy.deepcopy(self.net)
        for name in names:
            self.faults[name].apply(net)
        return net

    def verify(self, net: nn.Module, recording: Recording | None = None, **options: Any) -> Verification:
        recording = self.recording if recording is None else recording
        return tfpt.verify(self.mapping_path, recording=recording, model=net, **options)


def pairs(network: Network, number: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of faults of different kinds, of which neither hides the other or cannot be where the other is."""
    candidates = [
        (a, b)
        for a, b in combinations(network.faults, 2)
        if network.faults[a].kinds and network.faults[b].kinds
        if not network.faults[a].kinds & network.faults[b].kinds
    ]
    random = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    for index in random.permutation(len(candidates)):
        if len(found) == number:
            break
        if _independent(network, *candidates[index]):
            found.append(candidates[index])
    return found


def _independent(network: Network, a: str, b: str) -> bool:
    """Whether both faults show when both are there."""
    both, one, other = (_output(network, *names) for names in ((a, b), (a,), (b,)))
    return both is not None and not any(
        each is not None and each.shape == both.shape and np.allclose(each, both, 1e-4, 1e-6)
        for each in (one, other)
    )


def _output(network: Network, *names: str) -> np.ndarray | None:
    try:
        net = network.broken(*names)
        result = network.verify(net, network.output_alone, diagnose=False)
    except (tfpt.TfptError, AttributeError, RuntimeError):
        return None
    (endpoint,) = (one for one in result.endpoints if one.name == network.output)
    if endpoint.free is None or endpoint.shape is None:
        return None
    return np.array([endpoint.free.rel, endpoint.free.max_abs, endpoint.free.cosine])


def loaded(mapping: str, model: Any, name: str = "network") -> Any:
    """The PyTorch network of a mapping, with the weights that it takes from a Keras model."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        np.savez(weights, **{weight.path: np.asarray(weight) for weight in model.weights})
        return tfpt.load(_written(mapping, Path(folder), name), weights, trust=True, check=False)


def filled(model: Any, seed: int, gain: float = 1.0, gains: Mapping[str, float] | None = None) -> Any:
    """The Keras model with random weights, spread so that every fault shows.

    Args:
        gain: The standard deviation that a kernel gives to its output. Behind a norm of such variances, a third keeps
            activations of a deep network in range.
        gains: Others, by the name of the layer.
    """
    gains = gains or {}
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape, layer, leaf = tuple(weight.shape), weight.path.split("/")[0], weight.path.rpartition("/")[2]
        if "int" in str(weight.dtype):
            continue  # the state of a seed generator
        if "variance" in leaf:
            # Small enough that an epsilon shows.
            values = random.uniform(0.02, 0.3, shape)
        elif leaf == "gamma":
            values = random.uniform(0.4, 1.6, shape)
        elif len(shape) == 1 or "bias" in leaf:
            values = random.normal(0.1, 0.4, shape)
        elif "embedding" in leaf:
            values = random.normal(0, gains.get(layer, 1), shape)
        else:
            # The projections of an attention have (inputs, heads, size), its output (heads, size, outputs).
            inputs = (
                shape[0]
                if leaf == "kernel" and "/attention_output/" not in weight.path and len(shape) == 3
                else np.prod(shape[:-1])
            )
            values = random.normal(0, gains.get(layer, gain) / np.sqrt(inputs), shape)
        weight.assign(values.astype(np.float32))
    return model


def change(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], None]:
    """A fault in the values of a parameter or buffer."""

    def fault(net: nn.Module) -> None:
        tensor = net.get_buffer(name) if name in dict(net.named_buffers()) else net.get_parameter(name)
        tensor.data = function(tensor.data).contiguous()

    return fault


def put(name: str, make: Callable[[Any], nn.Module]) -> Callable[[nn.Module], None]:
    """A fault in a module: what is made of it replaces it."""

    def fault(net: nn.Module) -> None:
        parent, _, leaf = name.rpartition(".")
        setattr(net.get_submodule(parent), leaf, make(net.get_submodule(name)).eval())

    return fault


def become(name: str, kind: type[nn.Module]) -> Callable[[nn.Module], None]:
    """A fault in `forward`: the module becomes one of a subclass that computes something else."""

    def fault(net: nn.Module) -> None:
        net.get_submodule(name).__class__ = kind

    return fault


def sets(name: str, **values: Any) -> Callable[[nn.Module], None]:
    """A fault in the attributes of a module."""

    def fault(net: nn.Module) -> None:
        for key, value in values.items():
            setattr(net.get_submodule(name), key, value)

    return fault


def exchange(first: str, second: str) -> Callable[[nn.Module], None]:
    """Parameters or buffers with each other's values."""

    def fault(net: nn.Module) -> None:
        state = net.state_dict(keep_vars=True)
        a, b = state[first], state[second]
        a.data, b.data = b.data.clone(), a.data.clone()

    return fault


def together(*faults: Callable[[nn.Module], object]) -> Callable[[nn.Module], None]:
    """Several faults as one."""

    def fault(net: nn.Module) -> None:
        for one in faults:
            one(net)

    return fault


def perturbed(net: nn.Module) -> None:
    """Every weight a little different, as moving averages are from the weights themselves."""
    random = torch.Generator().manual_seed(11)
    for parameter in net.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        parameter.data = parameter.data * (1 + 0.03 * noise)


def stock(layer: Any, **options: Any) -> Any:
    """The layer with other options, and the same weights."""
    kind = next(
        kind for kind in (nn.Conv2d, nn.Conv3d, nn.Conv1d, nn.ConvTranspose2d) if isinstance(layer, kind)
    )
    settings = {"stride": layer.stride, "padding": layer.padding, "bias": layer.bias is not None, **options}
    plain = kind(layer.in_channels, layer.out_channels, layer.kernel_size, **settings)
    plain.load_state_dict(layer.state_dict())
    return plain


def _written(mapping: str, folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(mapping)
    return path
