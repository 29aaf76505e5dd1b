"""Frames at a steady rate: which frame is shown at each time, worked out by hand and by brute force."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpt.errors import SourceError
from tfpt.video.clips.clip import Frame
from tfpt.video.clips.sampling import sampled


def at(times, end=None):
    """Frames that know their number, shown from those times on."""
    times = [Fraction(time) for time in times]
    ends = [*times[1:], None if end is None else Fraction(end)]
    return [
        Frame(time, until, lambda k=k: k) for k, (time, until) in enumerate(zip(times, ends, strict=True))
    ]


def numbers(frames, *arguments, **options):
    return [frame.read() for frame in sampled(frames, *arguments, **options)]


def steady(number, fps):
    return at([k / Fraction(fps) for k in range(number)], Fraction(number) / fps)


def test_of_50_a_second_every_other_frame_is_one_of_25():
    assert numbers(steady(10, 50), Fraction(25)) == [0, 2, 4, 6, 8]


def test_of_30_a_second_one_frame_in_six_is_left_out():
    assert numbers(steady(12, 30), Fraction(25)) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_of_24_a_second_one_frame_is_repeated_each_second():
    found = numbers(steady(48, 24), Fraction(25))
    assert len(found) == 50
    assert [k for k in range(48) if found.count(k) == 2] == [0, 24]
    assert sorted(set(found)) == list(range(48))


def test_of_25_a_second_each_frame_is_taken_once():
    assert numbers(steady(79, 25), Fraction(25)) == list(range(79))


def test_of_a_varying_rate_the_frame_shown_at_each_time_is_taken():
    frames = at(["0", "0.01", "0.09", "0.12", "0.3"], "0.34")
    #                     0  .04 .08 .12 .16 .20 .24 .28 .32
    assert numbers(frames, Fraction(25)) == [0, 1, 1, 3, 3, 3, 3, 3, 4]


def test_whole_ratios_come_out_exactly_over_an_hour():
    found = numbers(steady(3600 * 30, 30), Fraction(15))
    assert found == list(range(0, 3600 * 30, 2))


def test_a_frame_that_matroska_s_milliseconds_put_late_counts_as_in_time():
    # 15 a second in milliseconds: 0.067 lies behind 1/15.
    rounded = at([Fraction(round(1000 * k / 15), 1000) for k in range(30)], Fraction(2))
    found = numbers(rounded, Fraction(15), tick=Fraction(1, 1000))
    assert found == list(range(30))
    assert numbers(rounded, Fraction(15)) != found  # without the tick it is not


def test_the_last_frame_lasts_as_the_one_before_it_where_the_file_does_not_say():
    assert numbers(at(["0", "0.1"]), Fraction(25)) == [0, 0, 0, 1, 1]
    assert numbers(at(["0"]), Fraction(25)) == [0]


def test_start_and_end_are_times_of_which_the_end_is_not_taken():
    frames = steady(20, 10)
    assert numbers(frames, Fraction(5), start=Fraction(1, 2), end=Fraction(3, 2)) == [5, 7, 9, 11, 13]
    assert numbers(frames, None, start=Fraction(1, 2), end=Fraction(1)) == [5, 6, 7, 8, 9]
    assert numbers(frames, Fraction(5), start=Fraction(5)) == []


def test_no_frame_is_pulled_after_the_end():
    def frames():
        yield from steady(20, 10)[:12]
        raise AssertionError("read on")

    assert numbers(frames(), Fraction(10), end=Fraction(1)) == list(range(10))


def test_times_that_run_backwards_are_refused():
    with pytest.raises(SourceError, match="not in order") as refused:
        numbers(at(["0", "0.2", "0.1"]), Fraction(25), location="v.mp4")
    assert refused.value.got == "0.100 s after 0.200 s"
    assert "--fps" in refused.value.hint


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.integers(1, 60),
    st.integers(0, 50),
    st.integers(1, 400),
)
def test_it_is_the_last_frame_not_later_at_every_time(gaps, fps, start, length):
    """Against a search of all frames at every time; a hundredth of a second the unit."""
    times = [sum(gaps[:k]) for k in range(len(gaps))]
    over, end = sum(gaps), start + length
    frames = at([Fraction(time, 100) for time in times], Fraction(over, 100))
    expected, k = [], 0
    while Fraction(start, 100) + Fraction(k, fps) < Fraction(min(over, end), 100):
        moment = Fraction(start, 100) + Fraction(k, fps)
        expected.append(max(n for n, time in enumerate(times) if Fraction(time, 100) <= moment))
        k += 1
    found = numbers(frames, Fraction(fps), start=Fraction(start, 100), end=Fraction(end, 100))
    assert found == expected
