"""Where the channels of an activation should be: as the layers that take it want them."""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.modelwriting.block import Order
from tfpt.modelwriting.configuration import MODELS, Graph, Ref, read_graph
from tfpt.modelwriting.registry import KINDS


def preference(graph: Graph, ref: Ref) -> Order | None:
    """The order that the first layer wants that is not computed element by element; `None` if no layer cares."""
    work, seen = [ref], {ref}
    while work:
        current = work.pop(0)
        for layer, node in graph.consumers(current):
            if layer.kind in MODELS:
                found = _inside(layer.settings.get("model"), layer.calls[node].refs.index(current))
            else:
                kind = KINDS.get(layer.kind)
                found = kind.order if kind else None
                output = Ref(layer.name, node, 0)
                if kind is not None and kind.neutral and output not in seen:
                    seen.add(output)
                    work.append(output)
            if found is not None:
                return found
    return None


def _inside(model: object, number: int) -> Order | None:
    try:
        inner = read_graph(model, "")
    except SourceError:
        return None
    return preference(inner, inner.inputs[number]) if number < len(inner.inputs) else None
