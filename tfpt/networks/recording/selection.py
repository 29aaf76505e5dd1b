"""Selects the activations to record: a mapping's endpoints, or those named by the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfpt.errors import ModelError, SourceError, TfptError
from tfpt.language import mapping as rows
from tfpt.language.templates import Template
from tfpt.networks.running.network import TensorFlowNetwork

_CAUSES = 4


def select_endpoints(
    mapping: rows.Mapping | None,
    network: TensorFlowNetwork,
    endpoints: Sequence[str] | None,
    *,
    all_layers: bool = False,
    trust: bool = False,
) -> dict[str, str]:
    """The tensors or layers to record, by their names in the recording.

    Args:
        mapping: Its endpoints are selected, unless `endpoints` names others.
        network: The network.
        endpoints: Names of the mapping's endpoints, of operations, name scopes or layers.
        all_layers: Select everything that the network lists, under the network's names.
        trust: Build the mapping's model even from outside the trusted packages.

    Raises:
        SourceError: Nothing is selected, or the network lacks an endpoint.
    """
    scopes = [] if mapping is None else [each.scope for each in mapping.alternatives if each.scope]
    if all_layers:
        return {each.name: network.resolve(each.name) for each in network.names()}
    pairs = (
        {}
        if mapping is None or (endpoints and not mapping.endpoints)
        else _mapping_endpoints(mapping, network, scopes, trust)
    )
    if endpoints:
        pairs = {name: pairs.get(name, name) for name in endpoints}
    if not pairs:
        raise SourceError(
            "nothing to record" if mapping is None else f"the mapping {mapping.name} names no endpoint",
            where=network.location if mapping is None else str(mapping.path),
            expected="a mapping with endpoints, or names",
            hint=f"--endpoint NAME; tfpt record --list {network.location} lists the names",
        )
    return _resolved(pairs, network, scopes)


def _resolved(pairs: Mapping[str, str], network: TensorFlowNetwork, scopes: Sequence[str]) -> dict[str, str]:
    """The network's name for each operation; all failures are reported together."""

    def attempt(op: str) -> str | SourceError:
        try:
            return network.resolve(op, scopes)
        except SourceError as error:
            return error

    attempts = {name: attempt(op) for name, op in pairs.items()}
    failures = [each for each in attempts.values() if isinstance(each, SourceError)]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise SourceError(
            f"{len(failures)} of {len(pairs)} endpoints are not found in the network",
            where=network.location,
            causes=[_short(each) for each in failures[:_CAUSES]],
            hint=f"tfpt record --list {network.location}",
        )
    return {name: each for name, each in attempts.items() if isinstance(each, str)}


def _short(error: TfptError) -> TfptError:
    return SourceError(error.what, got=error.got, nearest=error.nearest)


def _mapping_endpoints(
    mapping: rows.Mapping, network: TensorFlowNetwork, scopes: Sequence[str], trust: bool
) -> dict[str, str]:
    """A mapping's endpoints (name, operation): for the modules of its model, or else for the network's names."""
    from tfpt.networks.endpoints import endpoints_in
    from tfpt.targets.model import build_model

    if all(row.tf.is_literal and (row.op is None or row.op.is_literal) for row in mapping.endpoints):
        return {row.tf.text: (row.op or row.tf).text for row in mapping.endpoints}
    try:
        model = build_model(mapping, trust=trust)
    except ModelError:
        return _matching(mapping, network, scopes)
    return {endpoint.tf: endpoint.op for endpoint in endpoints_in(model, mapping)}


def _matching(mapping: rows.Mapping, network: TensorFlowNetwork, scopes: Sequence[str]) -> dict[str, str]:
    """The endpoints whose templates match names of the network; used if the model cannot be built."""
    candidates: dict[str, None] = {}
    for each in network.names():
        for name in (*each.scopes, each.name):
            for scope in scopes:
                candidates.update({name.removeprefix(f"{scope}/"): None})
            candidates.update({name: None})
    found: dict[str, str] = {}
    for row in mapping.endpoints:
        template: Template = row.tf if row.op is None else row.op
        for name in candidates:
            values = template.match(name)
            shown = None if values is None else row.tf.render(values)
            if shown is not None:
                found.setdefault(shown, name)
    return found
