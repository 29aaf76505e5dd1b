"""Runs a TensorFlow network once and records what it computes at its endpoints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfpt._version import __version__
from tfpt.errors import SourceError
from tfpt.io.output_file import AtomicFile, refuse_input
from tfpt.language import mapping as rows
from tfpt.language.loader import load_mapping
from tfpt.networks.averages import averages_read
from tfpt.networks.recording.generated import Sizes
from tfpt.networks.recording.inputs import Given, NetworkInputs, given_inputs, match_inputs, seeded_inputs
from tfpt.networks.recording.recordings import INPUT, RecordedEndpoint, Recording, write_recording
from tfpt.networks.recording.selection import select_endpoints
from tfpt.networks.running.network import Recordable, TensorFlowNetwork


def record(
    mapping: str | os.PathLike[str] | None,
    network: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    inputs: Given | Mapping[str, Given] | None = None,
    seed: int = 0,
    frames: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    whole: bool = False,
    store_input: bool = True,
    endpoints: Sequence[str] | None = None,
    all_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
    signature: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    trust: bool = False,
    overwrite: bool = False,
) -> Recording:
    """See `tfpt.api.record`."""
    _refuse_existing(out, overwrite)
    if out is not None:
        files = inputs.values() if isinstance(inputs, Mapping) else [inputs]
        refuse_input(out, network, *files, *(feeds or {}).values())
    compiled = None if mapping is None else load_mapping(os.fspath(mapping), settings, config)
    opened = _opened(network, checkpoint, signature, trust)
    _take_averages(opened, compiled)
    try:
        wanted = select_endpoints(compiled, opened, endpoints, all_layers=all_layers, trust=trust)
        scalars, arrays = _feeds(feeds)
        tensors = list(dict.fromkeys(wanted.values()))
        fed = _network_inputs(
            {**given_inputs(inputs), **arrays},
            scalars,
            opened,
            tensors,
            compiled,
            Sizes(batch, frames, size),
            seed,
        )
        values = opened.run({**fed.arrays, **scalars}, tensors)
    finally:
        opened.close()
    found = _recorded(
        {name: values[tensor] for name, tensor in wanted.items() if tensor in values}, whole, opened
    )
    if not all_layers and len(found) < len(wanted):
        raise SourceError(
            f"{next(name for name in wanted if name not in found)} was not computed",
            where=opened.location,
            hint="layers, and calls of layers, that do not run in inference mode have no output",
        )
    facts = _facts(opened, compiled, fed, scalars, wanted, values)
    names = fed.named()
    kept = {name: _numpy_dtype(fed.arrays[known]) for name, known in names.items()} if store_input else {}
    recording = Recording(found, kept, facts, "" if out is None else os.fspath(out))
    if out is not None:
        write_recording(out, recording, overwrite=overwrite)
    return recording


def recordable(
    network: Any,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    signature: str | None = None,
    trust: bool = False,
) -> list[Recordable]:
    """The activations of a network that can be recorded, in network order.

    Their names are valid for `endpoints` of `record` and in a mapping.

    Raises:
        SourceError: TensorFlow cannot read the network.
    """
    opened = _opened(network, checkpoint, signature, trust)
    try:
        return opened.names()
    finally:
        opened.close()


def _opened(
    network: Any, checkpoint: str | os.PathLike[str] | None, signature: str | None, trust: bool
) -> TensorFlowNetwork:
    if isinstance(network, str | os.PathLike):
        from tfpt.networks.running.open_network import open_network

        return open_network(network, checkpoint=checkpoint, signature=signature, trust=trust)
    for name in ("keras", "tf_keras"):
        keras = sys.modules.get(name)
        if keras is not None and isinstance(network, keras.layers.Layer):
            from tfpt.networks.running.keras import KerasNetwork

            return KerasNetwork(network)
    if not hasattr(network, "resolve"):
        raise SourceError(
            "not a TensorFlow network", expected="a path, or a keras.Model", got=type(network).__name__
        )
    opened: TensorFlowNetwork = network
    return opened


def _take_averages(network: TensorFlowNetwork, mapping: rows.Mapping | None) -> None:
    """Let a network with a checkpoint run with the moving averages that the mapping reads."""
    checkpoint = getattr(network, "checkpoint", None)
    if mapping is None or checkpoint is None or not hasattr(network, "use_averages"):
        return
    averages = averages_read(mapping, checkpoint)
    if averages:
        network.use_averages(averages)


def _refuse_existing(out: str | os.PathLike[str] | None, overwrite: bool) -> None:
    """Raise the errors of an unwritable file now, rather than after the network has run for minutes."""
    if out is not None:
        AtomicFile(out, overwrite).discard()


def _feeds(feeds: Mapping[str, Any] | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Single values, recorded as facts; and arrays, treated as inputs."""
    scalars: dict[str, np.ndarray] = {}
    arrays: dict[str, Any] = {}
    for name, value in (feeds or {}).items():
        if isinstance(value, str | os.PathLike):
            arrays[name] = next(iter(given_inputs({name: value}).values()))
        else:
            try:
                array = np.asarray(value)
            except ValueError as error:  # lists of unequal lengths
                raise SourceError(
                    f"the value for {name} is not an array",
                    expected="a number, or rows of equal length",
                    got=str(value),
                ) from error
            if array.ndim == 0:
                scalars[name] = array
            else:
                arrays[name] = (array, {})
    return scalars, arrays


def _network_inputs(
    given: Mapping[str, tuple[np.ndarray, dict[str, Any]]],
    scalars: Mapping[str, np.ndarray],
    network: TensorFlowNetwork,
    tensors: Sequence[str],
    mapping: rows.Mapping | None,
    sizes: Sizes,
    seed: int,
) -> NetworkInputs:
    """The user's inputs or values from the seed, and the user's values for tensors inside the graph."""
    specs = network.inputs(tensors, list(scalars))
    # Names that are not inputs are tensors inside the graph; the inputs behind them may not be needed.
    inside = {name: each for name, each in given.items() if name not in specs and name != INPUT}
    if inside:
        specs = network.inputs(tensors, [*scalars, *inside])
    outside = {name: each for name, each in given.items() if name not in inside}
    if outside:
        fed = match_inputs(outside, specs, network.location)
    else:
        whole = [name for name, spec in specs.items() if spec.dtype.lstrip("u").startswith("int")]
        tables = network.tables(whole) if whole else {}
        fed = seeded_inputs(specs, mapping, sizes, seed, network.location, tables)
    arrays = {name: array for name, (array, _) in inside.items()}
    facts = {name: {**origin, "shape": list(array.shape)} for name, (array, origin) in inside.items()}
    return NetworkInputs({**fed.arrays, **arrays}, {**fed.facts, **facts})


def _recorded(
    values: Mapping[str, np.ndarray], whole: bool, network: TensorFlowNetwork
) -> dict[str, RecordedEndpoint]:
    found = {}
    for name, array in values.items():
        if array.dtype.kind in "OSU":
            raise SourceError(
                f"{name} is text, which cannot be recorded", where=network.location, expected="numbers"
            )
        found[name] = RecordedEndpoint.of(name, _numpy_dtype(array), whole=whole)
    return found


def _numpy_dtype(array: np.ndarray) -> np.ndarray:
    """The array in a dtype of numpy itself: float32 represents all values of the small floats of ml_dtypes."""
    return array.astype(np.float32) if array.dtype.isbuiltin == 2 else array


def _facts(
    network: TensorFlowNetwork,
    mapping: rows.Mapping | None,
    fed: NetworkInputs,
    scalars: Mapping[str, np.ndarray],
    wanted: Mapping[str, str],
    values: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """The facts: how the recording was made."""
    names = fed.named()
    facts: dict[str, Any] = {
        "tfpt": __version__,
        "tensorflow": _tensorflow_version(network.runtime),
        "runtime": network.runtime,
        "network": network.location,
        "format": network.format,
        **network.facts,
        "mapping": None if mapping is None else mapping.named,
        "training": any(value.dtype.kind == "b" and bool(value) for value in scalars.values()),
        "feeds": {name: _json_value(value.item()) for name, value in scalars.items()},
        "inputs": {name: {"tensor": known, **fed.facts[known]} for name, known in names.items()},
        "ops": dict(wanted),
        "largest": {name: _largest(values[tensor]) for name, tensor in wanted.items() if tensor in values},
    }
    if INPUT in names:
        # A single seeded input can be reproduced from these.
        facts.update({key: facts["inputs"][INPUT].get(key) for key in ("seed", "shape", "range")})
    return facts


def _tensorflow_version(runtime: str) -> str | None:
    """The version of TensorFlow, if it ran the network.

    Example:
        >>> _tensorflow_version("TensorFlow 2.21.0"), _tensorflow_version("Keras 3.15.1 on torch 2.13.0")
        ('2.21.0', None)
    """
    name, _, rest = runtime.partition(" ")
    return rest.partition(" ")[0] if name == "TensorFlow" else None


def _json_value(value: Any) -> Any:
    """A value that JSON can represent: NaN and infinity become text."""
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)


def _largest(array: np.ndarray) -> float | None:
    """The largest absolute value; ``None`` if it is not finite, which JSON cannot represent."""
    largest = (
        float(np.abs(_numpy_dtype(array)).max()) if array.size and array.dtype.kind not in "OSU" else 0.0
    )
    return largest if np.isfinite(largest) else None
