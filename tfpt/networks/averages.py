"""Moving averages that a mapping reads in place of variables, so that the TensorFlow network can be run with them."""

from __future__ import annotations

from contextlib import closing

from tfpt.errors import TfptError
from tfpt.formats import open_source
from tfpt.language import mapping as rows
from tfpt.planning.averages import resolve_averages


def averages_read(mapping: rows.Mapping, checkpoint: str) -> dict[str, str]:
    """The moving averages that a mapping reads from a checkpoint: variable → average.

    Empty if the mapping declares none, or if the file has none or is not a checkpoint of TensorFlow's.
    """
    declared = [each for each in mapping.alternatives if each.ema is not None and each.ema.use != "ignore"]
    if not declared:
        return {}
    try:
        with closing(open_source(checkpoint, names=mapping.names)) as source:
            if source.side == "pt":
                return {}
            specs = source.specs
            found: dict[str, str] = {}
            for each in declared:
                found |= resolve_averages(specs, each.ema, each.ignore, checkpoint).shadows
    except TfptError:  # reported where the weights are loaded
        return {}
    return {base: shadow for base, shadow in found.items() if shadow in specs}
