"""The kinds of causes, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tfpt.verification.diagnosis.activations import (
    missing_activations,
    other_activations,
    resizing,
    softmax_axes,
)
from tfpt.verification.diagnosis.attention import masks, score_scales
from tfpt.verification.diagnosis.branches import exchanged_weights, orders
from tfpt.verification.diagnosis.changes import Hypothesis
from tfpt.verification.diagnosis.epsilons import epsilons
from tfpt.verification.diagnosis.flattening import flatten_orders, flattening
from tfpt.verification.diagnosis.heads import heads, packed_heads
from tfpt.verification.diagnosis.inputs import inputs
from tfpt.verification.diagnosis.norms import statistics, training_mode
from tfpt.verification.diagnosis.padding import counted_pads, paddings, zero_pads
from tfpt.verification.diagnosis.parameters import (
    blocks,
    exchanged_parameters,
    packed_orders,
    scaled_values,
    shifted_rows,
)
from tfpt.verification.diagnosis.recurrent import (
    exchanged_directions,
    gate_biases,
    gate_orders,
    reversed_time,
)
from tfpt.verification.diagnosis.replacements import (
    channel_blocks,
    gate_activations,
    resets,
    resizes,
    response_norms,
    transposed_paddings,
)
from tfpt.verification.diagnosis.residuals import missing_skips, superfluous_terms, unused_branches
from tfpt.verification.diagnosis.structure import ends, norm_orders, numbers, pools, strides
from tfpt.verification.diagnosis.trace import Context
from tfpt.verification.diagnosis.weights import (
    all_axes,
    kernel_axes,
    mirrored_kernels,
    square_weights,
)

# In the order in which they are tried: common mistakes first, and those that take few trials.
KINDS: dict[str, tuple[Callable[[Context], Iterator[Hypothesis]], ...]] = {
    "training mode": (training_mode,),
    "zero pads": (zero_pads,),
    "padding": (paddings, transposed_paddings),
    "counted pads": (counted_pads,),
    "epsilon": (epsilons,),
    "flattening": (flattening,),
    "branch order": (orders,),
    "kernel axes": (kernel_axes,),
    "square weight": (square_weights, blocks),
    "axes": (all_axes,),
    "packed order": (packed_orders,),
    "gate order": (gate_orders,),
    "gate bias": (gate_biases,),
    "exchanged parameters": (exchanged_parameters, exchanged_directions),
    "heads": (heads, packed_heads),
    "score scale": (score_scales,),
    "mask": (masks,),
    "activation": (other_activations, gate_activations),
    "missing activation": (missing_activations,),
    "norm order": (norm_orders,),
    "input": (inputs,),
    "statistics": (statistics,),
    "values": (scaled_values,),
    "reduction": (pools,),
    "stride": (strides,),
    "number": (numbers,),
    "time": (reversed_time,),
    "step": (ends,),
    "softmax axis": (softmax_axes,),
    "resize": (resizing, resizes),
    "local response": (response_norms,),
    "pixel shuffle": (channel_blocks,),
    "reset": (resets,),
    "mirrored kernel": (mirrored_kernels,),
    "superfluous term": (superfluous_terms,),
    "missing skip": (unused_branches, missing_skips),
    "flatten": (flatten_orders,),
    "rows": (shifted_rows,),
    "exchanged weights": (exchanged_weights,),
}


def hypotheses_of(kind: str, context: Context) -> Iterator[Hypothesis]:
    """The hypotheses of one kind; none of a kind whose number is solved for."""
    for propose in KINDS.get(kind, ()):
        yield from propose(context)
