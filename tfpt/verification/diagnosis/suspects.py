"""The usual suspects: what is left to think of where no trial proves a cause, likeliest first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tfpt.verification.agreement import Compared
from tfpt.verification.diagnosis.calls import ACTIVATIONS, CONCATENATIONS
from tfpt.verification.diagnosis.changes import Hypothesis
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.evidence import Sign
from tfpt.verification.diagnosis.windows import CONVS, windows_of


def suspects(
    scene: Scene, endpoint: Compared, signs: Sequence[Sign], best: tuple[Hypothesis, float] | None
) -> tuple[str, ...]:
    """Causes in plain words: from what the difference shows, from what came closest, from the kinds of layers."""
    found = []
    if scene.sound and scene.trace.pieces is not None:
        other = [source for source in scene.trace.pieces.sources if source not in scene.sound]
        found.append(f"what {' and '.join(other)} computes: all other branches agree")
    found += [f"{sign.suggests} ({sign.shows})" for sign in signs]
    if best is not None:
        hypothesis, rel = best
        where = hypothesis.parts[0][0].path or "the input"
        found.append(f"{hypothesis.cause}, and something else besides ({where} so changed leaves {rel:.1e})")
    found = [*_of_precision(scene), *found]
    if endpoint.verdict == "shape":
        found.append("a stride, a window or a padding rule: the shapes differ")
    found += _of_layers(scene)
    return tuple(dict.fromkeys(found))


def _of_precision(scene: Scene) -> list[str]:
    """What a model rounds that holds fewer digits than TensorFlow's float32."""
    for parameter in scene.model.parameters():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            name = str(parameter.dtype).removeprefix("torch.")
            digits = torch.finfo(parameter.dtype).eps
            return [
                f"rounding: the model runs in {name}, in steps of {digits:.0e}; "
                "--dtype float32 shows whether it is more than that, and no trial proves anything without it"
            ]
    return []


def _of_layers(scene: Scene) -> list[str]:
    trace = scene.trace
    leaves = [run.module for run in trace.leaves()]
    called = {call.name for call in trace.calls}
    strided = [window.path for window in windows_of(trace) if max(window.stride) > 1]
    found = [
        "weights other than those that TensorFlow ran with: tfpt diff --mapping … CHECKPOINT WEIGHTS says"
    ]
    if len(strided) > 1:
        found.append(f"the stride on another layer of the block (here {', '.join(strided[:3])})")
    if any(isinstance(module, nn.modules.batchnorm._NormBase) for module in leaves):
        found.append("the order of normalization and activation, or statistics of another averaging")
    if any(isinstance(module, CONVS) and module.groups > 1 for module in leaves):
        found.append("the order of the filters within the groups of a convolution")
    if any(isinstance(module, nn.RNNBase | nn.MultiheadAttention) for module in leaves):
        found.append("the order of the gates, or the scale, mask or heads of an attention")
    if called & CONCATENATIONS:
        found.append("branches that take their input from another place")
    if not called & ACTIVATIONS:
        found.append("an activation function that the code calls by other means than torch's functions")
    found.append("arithmetic in forward() that is no layer: scales, sums, transposes, slices")
    return found
