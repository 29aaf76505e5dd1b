"""What the layers turn into: nothing is copied without need, and they compile and export."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim, export

from tfpt import nn as tfnn

LAYERS = [
    tfnn.Conv1d(2, 3, 4, 3),
    tfnn.Conv2d(2, 3, (3, 4), (2, 1), dilation=(1, 2)),
    tfnn.Conv3d(2, 3, (3, 7, 1), (2, 2, 4)),
    tfnn.MaxPool1d(3, 2),
    tfnn.MaxPool2d((2, 3), (1, 4), dilation=(2, 1)),
    tfnn.MaxPool3d((1, 3, 2), (1, 2, 2)),
    tfnn.AvgPool1d(2, 1),
    tfnn.AvgPool2d((4, 3), 2, dilation=(2, 1)),
    tfnn.AvgPool3d((1, 3, 2), (1, 2, 3)),
    tfnn.AvgPool2d(3, 2, "symmetric"),
]
COPY_FREE = [
    (tfnn.Conv3d(2, 3, 3), (5, 6, 7)),
    (tfnn.Conv3d(2, 3, 7, 2), (15, 9, 7)),
    (tfnn.Conv2d(2, 3, 7, 2, "symmetric"), (8, 8)),
    (tfnn.Conv2d(2, 3, 7, 2, "valid"), (8, 8)),
    (tfnn.Conv2d(2, 3, 1, 2), (8, 9)),
    (tfnn.MaxPool3d(3, 2), (8, 9, 7)),
    (tfnn.MaxPool3d(2, 2), (8, 9, 7)),
    (tfnn.MaxPool3d(3, 1), (8, 9, 7)),
    (tfnn.MaxPool2d(2, 1), (8, 9)),
    (tfnn.AvgPool2d((3, 2), (2, 1)), (8, 9)),
    (tfnn.AvgPool3d((2, 7, 7), 1, "valid"), (3, 8, 9)),
]


def name(value):
    return str(value) if isinstance(value, torch.nn.Module) else ""


def dimensions(layer):
    return int(type(layer).__name__[-2])


def ops(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def inputs(layer, batch, size):
    return torch.randn(batch, 2, *(size + i for i in range(dimensions(layer))))


@pytest.mark.parametrize(("layer", "sizes"), COPY_FREE, ids=name)
def test_even_pads_and_pools_are_left_to_the_operator(layer, sizes):
    found = ops(export(layer, (torch.randn(1, 2, *sizes),)))
    assert not [op for op in found if "pad" in op or "unfold" in op]
    assert any("conv" in op or "pool" in op for op in found)


def test_uneven_pads_of_a_convolution_are_put_on():
    assert "aten.pad.default" in ops(export(tfnn.Conv2d(2, 3, 7, 2), (torch.randn(1, 2, 8, 8),)))


@pytest.mark.parametrize("layer", LAYERS, ids=name)
def test_it_compiles_whole_and_stays_right_at_other_sizes(layer):
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for size in (8, 9, 5, 12):
        x = inputs(layer, 2, size)
        torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("layer", LAYERS, ids=name)
def test_it_exports_with_a_batch_of_any_size(layer):
    program = export(layer, (inputs(layer, 2, 8),), dynamic_shapes=({0: Dim("batch")},)).module()
    for batch in (1, 2, 5):
        x = inputs(layer, batch, 8)
        torch.testing.assert_close(program(x), layer(x))


@pytest.mark.parametrize("layer", LAYERS, ids=name)
def test_it_exports_with_any_sizes_exactly(layer):
    # From 9 on, so that no output has the size 1, which torch.export would make a case of its own.
    dims = {2 + i: Dim(f"size{i}", min=9, max=64) for i in range(dimensions(layer))}
    program = export(
        layer, (inputs(layer, 2, 12),), dynamic_shapes=({0: Dim("batch"), **dims},), strict=False
    ).module()
    for size in (9, 10, 11, 12, 13, 23):
        x = inputs(layer, 3, size)
        torch.testing.assert_close(program(x), layer(x))
