"""The usual suspects: causes worth checking when no trial proved one, likeliest first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tfpt.verification.agreement import ComparedEndpoint
from tfpt.verification.diagnosis.calls import ATTENTIONS, CONCATENATIONS
from tfpt.verification.diagnosis.changes import Hypothesis
from tfpt.verification.diagnosis.evidence import Sign
from tfpt.verification.diagnosis.replacements import TRANSPOSED
from tfpt.verification.diagnosis.trace import Context
from tfpt.verification.diagnosis.windows import CONVS, windows_of


def suspects(
    context: Context, endpoint: ComparedEndpoint, signs: Sequence[Sign], best: tuple[Hypothesis, float] | None
) -> tuple[str, ...]:
    """Possible causes, from what the difference shows, the hypothesis that came closest, and the kinds of layers."""
    found = []
    if context.agreeing and context.trace.concatenation is not None:
        other = [source for source in context.trace.concatenation.sources if source not in context.agreeing]
        found.append(f"{' or '.join(other)}: all other branches agree")
    found += [f"{sign.suggests} ({sign.shows})" for sign in signs]
    if best is not None:
        hypothesis, rel = best
        where = hypothesis.parts[0][0].path or "the input"
        found.append(f"{hypothesis.cause}, and something else as well (changing {where} leaves {rel:.1e})")
    found = [*_of_precision(context), *found]
    if endpoint.verdict == "shape":
        found.append("a stride, a kernel size or a padding rule: the shapes differ")
    found += _of_layers(context)
    return tuple(dict.fromkeys(found))


def _of_precision(context: Context) -> list[str]:
    """Rounding, if the model has fewer digits than TensorFlow's float32."""
    for parameter in context.model.parameters():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            name = str(parameter.dtype).removeprefix("torch.")
            digits = torch.finfo(parameter.dtype).eps
            return [
                f"rounding: the model runs in {name}, with a precision of {digits:.0e}; "
                "run it with --dtype float32 to see whether there is another cause, and to let trials prove it"
            ]
    return []


def _of_layers(context: Context) -> list[str]:
    trace = context.trace
    leaves = [run.module for run in trace.leaves()]
    called = {call.name for call in trace.calls}
    strided = [window.path for window in windows_of(trace) if max(window.stride) > 1]
    found = [
        "weights other than those that TensorFlow ran with: check with tfpt diff --mapping … CHECKPOINT WEIGHTS"
    ]
    if len(strided) > 1:
        found.append(f"the stride on another layer of the block (here {', '.join(strided[:3])})")
    if any(isinstance(module, nn.modules.batchnorm._NormBase) for module in leaves):
        found.append(
            "the order of normalization and activation, or moving averages used in place of the statistics"
        )
    if any(isinstance(module, CONVS) and module.groups > 1 for module in leaves):
        found.append("the order of the filters within the groups of a convolution")
    if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in leaves):
        found.append("the gates of a recurrent layer: their order, their biases, their activations")
    if called & ATTENTIONS or "softmax" in called:
        found.append("the scale, the mask or the heads of an attention")
    if any(isinstance(run.module, TRANSPOSED) for run in trace.runs):
        found.append("the crop or the output size of a transposed convolution")
    if "interpolate" in called:
        found.append("the rule by which an activation is resized")
    if called & CONCATENATIONS:
        found.append("branches that take their input from the wrong layer")
    silent = [
        run.path
        for run in trace.leaves()
        if run.shape == run.output
        and next(run.module.parameters(), None) is None
        and not any(call.path == run.path for call in trace.calls)
    ]
    if silent:
        found.append(f"what {silent[0]} computes, by functions that trials cannot replace")
    found.append("arithmetic in forward() outside of layers: scales, sums, transposes, slices")
    return found
