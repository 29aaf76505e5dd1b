"""The graph of objects that TensorFlow 2 stores in a checkpoint: names and roles of the variables.

The message: tensorflow/core/protobuf/trackable_object_graph.proto; keys and their parts:
tensorflow/python/checkpoint/graph_view.py and tensorflow/python/trackable/trackable_utils.py.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from tfpt.formats.source import Role
from tfpt.formats.tensorflow.tensorflow_pb2 import TrackableObjectGraph

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"

_ATTRIBUTES = "/.ATTRIBUTES/"
_VARIABLE = f"{_ATTRIBUTES}VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
_METRICS = "keras_api/metrics/"

# No model's path is longer; only slots need paths, and a hostile graph gets no long names.
_LONGEST_PATH = 1024
_MOST_NAMES = 64

_STEPS = frozenset({"iter", "iterations", "_iterations"})
_RATES = frozenset({"learning_rate", "_learning_rate", "decay"})
# Keras' name for its moving averages of variables (keras/src/optimizers/base_optimizer.py, `use_ema`).
_AVERAGES = "_model_variables_moving_average"


@dataclass
class Naming:
    """Names and roles of a checkpoint's tensors, from its graph.

    Attributes:
        names: Readable name by key.
        roles: The role of each tensor that is not a weight, by key.
    """

    names: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)


def path_of(key: str) -> str:
    """The path of a variable: its key without the suffix that marks variables.

    Example:
        >>> path_of("model/w/.ATTRIBUTES/VARIABLE_VALUE"), path_of("model/w/.ATTRIBUTES/OBJECT_CONFIG_JSON")
        ('model/w', 'model/w/.ATTRIBUTES/OBJECT_CONFIG_JSON')
    """
    return key.removesuffix(_VARIABLE)


def name_by_keys(keys: Collection[str]) -> Naming:
    """Names and roles from the keys alone, if the graph is not available.

    Example:
        >>> name_by_keys(["w/.ATTRIBUTES/VARIABLE_VALUE"]).names
        {'w/.ATTRIBUTES/VARIABLE_VALUE': 'w'}
    """
    naming = Naming()
    for key in keys:
        naming.names[key] = path_of(key)
        role = _role_of_key(key)
        if role:
            naming.roles[key] = role
    return naming


def name_by_graph(message: bytes, keys: Collection[str]) -> Naming:
    """Names and roles from the graph; for keys that it does not have, from the keys.

    A variable has its full name if it has one and it is unique, else its path; a slot is called
    ``<variable>/<path of the optimizer>/<name of the slot>``.

    Raises:
        ValueError: The message is not a graph, or refers to objects that do not exist.
    """
    try:
        graph = TrackableObjectGraph.FromString(message)
    except DecodeError:
        raise ValueError("it cannot be parsed") from None
    if any(not 0 <= node < len(graph.nodes) for node in _referred(graph)):
        raise ValueError("it refers to an object that does not exist")
    naming = name_by_keys(keys)
    stored = _stored(graph, naming.names)
    full_names = Counter(full_name for _, full_name in stored.values() if full_name)
    paths = set(naming.names.values())
    slots = _slots(graph)
    for node, (key, full_name) in stored.items():
        # A full name that is another tensor's path would make that tensor unreachable.
        if node not in slots and full_names[full_name] == 1 and full_name not in paths:
            naming.names[key] = full_name
    parents = _parents(graph)
    taken = set(naming.names.values())
    for slot, (variable, optimizer, slot_name) in slots.items():
        if slot in stored:
            key, _ = stored[slot]
            owner = naming.names[stored[variable][0]] if variable in stored else _path(parents, variable)
            name = "/".join(part for part in (owner, _path(parents, optimizer), slot_name) if part)
            if name not in taken:
                naming.names[key] = name
                taken.add(name)
    for node, role in _roles(graph, slots).items():
        if node in stored:
            naming.roles[stored[node][0]] = role
    return naming


def _referred(graph: TrackableObjectGraph) -> Iterator[int]:
    for node in graph.nodes:
        for child in node.children:
            yield child.node_id
        for slot in node.slot_variables:
            yield slot.original_variable_node_id
            yield slot.slot_variable_node_id


def _stored(graph: TrackableObjectGraph, keys: Mapping[str, str]) -> dict[int, tuple[str, str]]:
    """Key and full name of each object that is a variable of the checkpoint."""
    stored = {}
    seen = set()
    for number, node in enumerate(graph.nodes):
        for attribute in node.attributes:
            key = attribute.checkpoint_key
            if key.endswith(_VARIABLE) and key in keys and key not in seen:
                stored[number] = (key, attribute.full_name)
                seen.add(key)
                break
    return stored


def _slots(graph: TrackableObjectGraph) -> dict[int, tuple[int, int, str]]:
    """The variable, the optimizer and the name of each slot."""
    return {
        slot.slot_variable_node_id: (slot.original_variable_node_id, number, slot.slot_name)
        for number, node in enumerate(graph.nodes)
        for slot in node.slot_variables
    }


def _parents(graph: TrackableObjectGraph) -> dict[int, tuple[int, str]]:
    """The parent of each object on the shortest path, and its name there; a graph may have cycles.

    Whole paths would take memory quadratic in the length of a long chain of objects.
    """
    parents: dict[int, tuple[int, str]] = {}
    waiting = deque([0] if graph.nodes else [])
    while waiting:
        number = waiting.popleft()
        for child in graph.nodes[number].children:
            if child.node_id and child.node_id not in parents:
                parents[child.node_id] = (number, child.local_name)
                waiting.append(child.node_id)
    return parents


def _path(parents: Mapping[int, tuple[int, str]], number: int) -> str:
    """The path to an object; empty for the root, for an unreachable object, and for a path beyond the limits."""
    names: list[str] = []
    while number in parents and len(names) <= _MOST_NAMES:
        number, name = parents[number]
        names.append(name)
    path = "/".join(reversed(names))
    return path if len(names) <= _MOST_NAMES and len(path) <= _LONGEST_PATH else ""


def _roles(graph: TrackableObjectGraph, slots: Collection[int]) -> dict[int, Role]:
    roles: dict[int, Role] = {}
    weights: set[int] = set()
    own: dict[int, Role] = {}
    # Lists by number, so that each is read once: many optimizers of a hostile graph may share one long list.
    trained: set[int | None] = set()
    kept: set[int | None] = set()
    averaged: set[int | None] = set()
    for node in graph.nodes:
        children = {child.local_name: child.node_id for child in node.children}
        if not _is_optimizer(node, children):
            continue
        weights |= {slot.original_variable_node_id for slot in node.slot_variables}
        trained.add(children.get("_trainable_variables"))
        kept.add(children.get("_variables"))
        averaged.add(children.get(_AVERAGES))
        for name, number in children.items():
            own[number] = "counter" if name in _STEPS else "slot"
    for members in trained:
        weights |= set(_listed(graph, members))
    for members in kept:
        roles |= dict.fromkeys(_listed(graph, members), "slot")
    for members in averaged:
        roles |= dict.fromkeys(_listed(graph, members), "average")
    roles |= own
    return {
        **{number: role for number, role in roles.items() if number not in weights},
        **dict.fromkeys(slots, "slot"),
    }


def _is_optimizer(node: TrackableObjectGraph.TrackableObject, children: Collection[str]) -> bool:
    """Whether an object is an optimizer, judged by its attributes: graphs do not name classes.

    Optimizers of TensorFlow 1 and of Keras before 2.11 have slots, later ones of Keras a list `_variables`; all count
    steps or have a rate.
    """
    runs = not _STEPS.isdisjoint(children) and not _RATES.isdisjoint(children)
    return runs or bool(node.slot_variables) or ("_variables" in children and not _STEPS.isdisjoint(children))


def _listed(graph: TrackableObjectGraph, number: int | None) -> list[int]:
    """The members of a list."""
    return [] if number is None else [child.node_id for child in graph.nodes[number].children]


def _role_of_key(key: str) -> Role | None:
    path, _, attribute = key.partition(_ATTRIBUTES)
    if key == GRAPH_KEY or attribute in ("OBJECT_CONFIG_JSON", "py_state"):
        return "record"
    if _SLOT in key:
        return "slot"
    if path == "save_counter":
        return "counter"
    return "metric" if path.startswith(_METRICS) or f"/{_METRICS}" in path else None
