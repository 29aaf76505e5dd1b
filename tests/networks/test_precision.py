"""Full precision, whatever the caller allows; and the caller's settings afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tfpt.networks.precision import full_precision

PROGRAM = """
import warnings
warnings.simplefilter("ignore")
import torch
from tfpt.networks.precision import full_precision
B = torch.backends

def read(get):
    try:
        return get()
    except RuntimeError as error:
        return "contradicts"

def state():
    nodes = [B, B.cudnn, B.mkldnn, B.cuda.matmul, B.cudnn.conv, B.cudnn.rnn, B.mkldnn.matmul, B.mkldnn.conv,
             B.mkldnn.rnn] if hasattr(B, "fp32_precision") else []
    return [read(lambda: node.fp32_precision) for node in nodes] + [
        read(torch.get_float32_matmul_precision), read(lambda: B.cuda.matmul.allow_tf32),
        read(lambda: B.cudnn.allow_tf32), B.cuda.matmul.allow_bf16_reduced_precision_reduction,
        B.cuda.matmul.allow_fp16_reduced_precision_reduction]

exec({setting!r})
before = state()
with full_precision():
    inside = state()
after = state()
assert before == after, (before, after)
operations = inside[3:9] if hasattr(B, "fp32_precision") else []
assert all(each == "ieee" for each in operations), inside
assert inside[-5] in ("highest", "contradicts"), inside
assert inside[-2:] == [False, False]
try:
    with full_precision():
        raise KeyError
except KeyError:
    assert state() == before
# What was inherited is inherited again.
if hasattr(B, "fp32_precision"):
    B.fp32_precision = "ieee"
    inherited = [B.mkldnn.conv.fp32_precision]
    assert inherited == ["ieee"] or {setting!r}.count("mkldnn"), inherited
"""


@pytest.mark.parametrize(
    "setting",
    [
        "pass",
        "torch.set_float32_matmul_precision('high')",
        "torch.set_float32_matmul_precision('medium')",
        "B.cuda.matmul.allow_tf32 = True; B.cudnn.allow_tf32 = True",
        "B.cudnn.allow_tf32 = False",
        "B.fp32_precision = 'tf32'",
        "B.mkldnn.conv.fp32_precision = 'bf16'; B.cuda.matmul.fp32_precision = 'tf32'",
        "B.cudnn.fp32_precision = 'tf32'",
    ],
)
def test_every_setting_is_overridden_and_restored(setting):
    if "fp32_precision" in setting and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has no such setting")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setting=setting)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-600:]


def test_the_callers_autocast_is_off_inside_only():
    x = torch.randn(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with full_precision():
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
