from __future__ import annotations

import pytest

from tfpt.networks.behavior.layers import has_windows_of, window_count


@pytest.mark.parametrize("stride", range(1, 5))
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_fixed_pads_agree_with_same_where_windows_start_and_end_alike(stride, dilation):
    """Compared with the documented formula: ceil(size / stride) windows, half of the padding at the start."""
    for kernel in range(1, 8):
        span = (kernel - 1) * dilation + 1
        for before in range(5):
            for after in range(5):
                for size in range(max(1, span - before - after), 41):
                    starts = range(-before, size + after - span + 1, stride)
                    outputs = -(-size // stride)
                    wanted = max((outputs - 1) * stride + span - size, 0) // 2
                    count = window_count(size, (before, after), kernel, stride, dilation)
                    assert count == len(starts)
                    agrees = (before, count) == (wanted, outputs)
                    assert has_windows_of("same", size, before, count, kernel, stride, dilation) == agrees
