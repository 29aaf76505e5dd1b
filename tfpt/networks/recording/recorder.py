"""Runs a TensorFlow network once and keeps what it computes at its endpoints."""

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
from tfpt.networks.recording.files import write_recording
from tfpt.networks.recording.input_shapes import Sizes
from tfpt.networks.recording.input_values import Fed, Given, given_inputs, matched, seeded
from tfpt.networks.recording.recordings import INPUT, RecordedEndpoint, Recording
from tfpt.networks.recording.selection import wanted_of
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
    try:
        wanted = wanted_of(compiled, opened, endpoints, all_layers=all_layers, trust=trust)
        scalars, arrays = _feeds(feeds)
        tensors = list(dict.fromkeys(wanted.values()))
        fed = _fed(
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
            hint="a layer, or a call of it, that does not run outside training gives nothing",
        )
    facts = _facts(opened, compiled, fed, scalars, wanted, values)
    names = fed.named()
    kept = {name: _plain(fed.arrays[known]) for name, known in names.items()} if store_input else {}
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
    """What of a network can be recorded, in network order: what `endpoints` of `record` and of a mapping can say.

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
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(network, keras.Layer):
        from tfpt.networks.running.keras import KerasNetwork

        return KerasNetwork(network)
    if not hasattr(network, "resolve"):
        raise SourceError(
            "this is no TensorFlow network", expected="a path, or a keras.Model", got=type(network).__name__
        )
    opened: TensorFlowNetwork = network
    return opened


def _refuse_existing(out: str | os.PathLike[str] | None, overwrite: bool) -> None:
    """Before a network runs for minutes: the errors of a file that cannot be written."""
    if out is not None:
        AtomicFile(out, overwrite).discard()


def _feeds(feeds: Mapping[str, Any] | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Single values, which are facts; and arrays, which are inputs like any other."""
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
                    f"the value for {name} is no array",
                    expected="a number, or rows of one length",
                    got=str(value),
                ) from error
            if array.ndim == 0:
                scalars[name] = array
            else:
                arrays[name] = (array, {})
    return scalars, arrays


def _fed(
    given: Mapping[str, tuple[np.ndarray, dict[str, Any]]],
    scalars: Mapping[str, np.ndarray],
    network: TensorFlowNetwork,
    tensors: Sequence[str],
    mapping: rows.Mapping | None,
    sizes: Sizes,
    seed: int,
) -> Fed:
    """What a person gave for the network's inputs, or values from the seed; and for tensors inside a graph."""
    specs = network.inputs(tensors, list(scalars))
    # Neither an input's name nor the one for the only input: a tensor inside, behind which no input may be needed.
    inside = {name: each for name, each in given.items() if name not in specs and name != INPUT}
    if inside:
        specs = network.inputs(tensors, [*scalars, *inside])
    outside = {name: each for name, each in given.items() if name not in inside}
    if outside:
        fed = matched(outside, specs, network.location)
    else:
        whole = [name for name, spec in specs.items() if spec.dtype.lstrip("u").startswith("int")]
        tables = network.tables(whole) if whole else {}
        fed = seeded(specs, mapping, sizes, seed, network.location, tables)
    arrays = {name: array for name, (array, _) in inside.items()}
    facts = {name: {**origin, "shape": list(array.shape)} for name, (array, origin) in inside.items()}
    return Fed({**fed.arrays, **arrays}, {**fed.facts, **facts})


def _recorded(
    values: Mapping[str, np.ndarray], whole: bool, network: TensorFlowNetwork
) -> dict[str, RecordedEndpoint]:
    found = {}
    for name, array in values.items():
        if array.dtype.kind in "OSU":
            raise SourceError(
                f"{name} is text, which cannot be recorded", where=network.location, expected="numbers"
            )
        found[name] = RecordedEndpoint.of(name, _plain(array), whole=whole)
    return found


def _plain(array: np.ndarray) -> np.ndarray:
    """In a dtype that numpy itself has: the small floats of ml_dtypes are numbers of float32 all."""
    return array.astype(np.float32) if array.dtype.isbuiltin == 2 else array


def _facts(
    network: TensorFlowNetwork,
    mapping: rows.Mapping | None,
    fed: Fed,
    scalars: Mapping[str, np.ndarray],
    wanted: Mapping[str, str],
    values: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """How a recording was made."""
    from tfpt.networks.running.importing import import_tensorflow

    names = fed.named()
    facts: dict[str, Any] = {
        "tfpt": __version__,
        "tensorflow": import_tensorflow().__version__,
        "network": network.location,
        "format": network.format,
        **network.facts,
        "mapping": None if mapping is None else mapping.named,
        "training": any(value.dtype.kind == "b" and bool(value) for value in scalars.values()),
        "feeds": {name: _told(value.item()) for name, value in scalars.items()},
        "inputs": {name: {"tensor": known, **fed.facts[known]} for name, known in names.items()},
        "ops": dict(wanted),
        "largest": {name: _largest(values[tensor]) for name, tensor in wanted.items() if tensor in values},
    }
    if INPUT in names:
        # Of a single seeded input what makes it again stands in front.
        facts.update({key: facts["inputs"][INPUT].get(key) for key in ("seed", "shape", "range")})
    return facts


def _told(value: Any) -> Any:
    """A value as JSON can hold it: what is no number is text."""
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)


def _largest(array: np.ndarray) -> float | None:
    """The largest absolute value, if it is a number: JSON has no other."""
    largest = float(np.abs(_plain(array)).max()) if array.size and array.dtype.kind not in "OSU" else 0.0
    return largest if np.isfinite(largest) else None
