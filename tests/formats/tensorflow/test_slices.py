"""Keys of pieces against those listed in TensorFlow's own tests, and what covers what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfpt.formats.tensorflow import slices
from tfpt.formats.tensorflow.slices import Piece, covers_once


# From the tests of the C++ original, as repeated in other languages (OrderedCode::WriteSignedNumIncreasing).
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (-(1 << 63), "003f8000000000000000"),
        (-(1 << 63) + 1, "003f8000000000000001"),
        (-(1 << 31) - 1, "077fffffff"),
        (-(1 << 31), "0780000000"),
        (-65, "3fbf"),
        (-64, "40"),
        (-3, "7d"),
        (-1, "7f"),
        (0, "80"),
        (63, "bf"),
        (64, "c040"),
    ],
)
def test_signed_numbers_are_coded_as_the_original_codes_them(value: int, code: str) -> None:
    assert slices._ordered_signed(value).hex() == code


def test_codes_sort_as_their_numbers_do() -> None:
    numbers = sorted(
        {sign * (1 << bits) + step for sign in (1, -1) for bits in range(62) for step in (-1, 0, 1)}
    )
    codes = [slices._ordered_signed(number) for number in numbers]
    assert codes == sorted(codes)
    assert len(set(codes)) == len(codes)


def test_zero_and_255_are_escaped_in_names() -> None:
    assert slices._ordered_string(b"a\x00\xffb") == b"a\x00\xff\xff\x00b\x00\x01"


@pytest.mark.parametrize(
    "piece", [Piece((0,), (2,)), Piece((6, 0), (2, -1)), Piece((-1, 0), (1, 1)), Piece((0, 0), (-2, 1))]
)
def test_a_piece_outside_the_tensor_is_refused(piece: Piece) -> None:
    with pytest.raises(ValueError, match="piece"):
        piece.within((7, 5))


def test_covering_agrees_with_counting_elements() -> None:
    shape = (3, 5)
    spans = [slice(a, b) for a, b in [(0, 1), (0, 3), (1, 3), (0, 5), (2, 5), (0, 2)]]
    candidates = [(r, c) for r, c in itertools.product(spans[:3], spans[1:]) if c.stop <= 5]
    seen = set()
    for boxes in itertools.combinations(candidates, 2):
        counts = np.zeros(shape, int)
        for box in boxes:
            counts[box] += 1
        expected = bool((counts == 1).all())
        seen.add(expected)
        assert covers_once(boxes, shape) is expected
    assert seen == {True, False}


def test_a_scalar_is_covered_by_itself_alone() -> None:
    assert covers_once([()], ())
    assert not covers_once([(), ()], ())
