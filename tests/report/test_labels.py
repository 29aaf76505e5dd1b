"""Short labels are different where the names are, and short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpt.report.labels import short_labels

PART = st.sampled_from(
    ["resnet", "block", "unit_1", "unit_2", "conv", "Relu", "bottleneck_v2", "a" * 30, "b"]
)


@given(st.lists(st.lists(PART, min_size=1, max_size=6).map("/".join), min_size=1, max_size=12))
def test_labels_differ_as_the_names_do(names):
    labels = short_labels(names)
    assert len(set(labels)) == len(set(names))
    assert [labels.index(label) for label in labels] == [names.index(name) for name in names]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["relu1", "pool1"], ["relu1", "pool1"]),
        (["a/conv/Relu", "a/conv/Relu"], ["a/conv/Relu", "a/conv/Relu"]),
        (
            [f"RGB/inception_i3d/Mixed_{n}/Branch_0/Conv3d_0a_1x1/Relu" for n in ("3b", "3c")],
            ["Mixed_3b", "Mixed_3c"],
        ),
        (
            # The tail is the same in both blocks; what differs comes before it.
            ["net/block1/unit_1/bottleneck_v2/conv3/BiasAdd", "net/block2/unit_1/bottleneck_v2/conv3/BiasAdd",
             "net/block2/unit_1/bottleneck_v2/conv1/Relu"],
            ["block1/…/conv3/BiasAdd", "block2/…/conv3/BiasAdd", "block2/…/conv1/Relu"],
        ),
        (["x" * 30 + "1" + "y" * 30, "x" * 30 + "2" + "y" * 30], ["…1" + "y" * 21 + "…", "…2" + "y" * 21 + "…"]),
    ],
)  # fmt: skip
def test_labels_keep_what_differs(names, expected):
    assert short_labels(names) == expected


def test_no_label_is_longer_than_it_needs_to_be():
    names = [f"Call/model/encoder/layer_{n}/attention/self/{part}/BiasAdd" for n in range(12) for part in
             ("query", "key", "value")]  # fmt: skip
    labels = short_labels(names)
    assert len(set(labels)) == 36
    assert max(map(len, labels)) <= 24
