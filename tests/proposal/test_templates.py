"""Templates made from names: one row for many, and exactly those."""

from __future__ import annotations

import pytest

from tfpt.proposal.templates import Item, generalized


def rows(pairs, others=()):
    """The templates for pairs of names, as `tf → pt`."""
    items = [Item((tf,), (pt,), "layer", place) for place, (tf, pt) in enumerate(pairs)]
    found = generalized(items, [*(tf for tf, _ in pairs), *others])
    return [f"{item.tf[0]} → {item.pt[0]}" for item in found]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param(
            [(f"layer_{i}/a", f"layers.{i}.a") for i in range(3)],
            "layer_{i:int}/a → layers.{i}.a",
            id="the same number",
        ),
        pytest.param(
            [(f"block_{i:03}/a", f"blocks.{i}.a") for i in range(12)],
            "block_{i:03}/a → blocks.{i}.a",
            id="padded",
        ),
        pytest.param(
            [(f"unit{i + 1:02}/a", f"units.{i}.a") for i in range(11)],
            "unit{i+1:02}/a → units.{i:int}.a",
            id="padded, from 1",
        ),
        pytest.param(
            [(f"conv{i + 4}/a", f"convs.{i}.a") for i in range(5)],
            "conv{i+4}/a → convs.{i:int}.a",
            id="from another number",
        ),
        pytest.param(
            [(f"conv{i}/a", f"convs.{i + 3}.a") for i in range(5)],
            "conv{i:int}/a → convs.{i+3}.a",
            id="to another number",
        ),
        pytest.param(
            [(f"Conv2d_{i}_depthwise", f"layer.{2 * i - 2}") for i in range(1, 14)],
            "Conv2d_{i:int}_depthwise → layer.{2*i-2}",
            id="every other",
        ),
        pytest.param(
            [(f"conv2d_{7 * i + 2}", f"mixed.{i}") for i in range(5)],
            "conv2d_{7*i+2} → mixed.{i:int}",
            id="every seventh",
        ),
        pytest.param(
            [(f"layer_{i}", f"blocks.{i // 3}.{i % 3}") for i in range(15)],
            "layer_{i:int} → blocks.{i//3}.{i%3}",
            id="stage and place",
        ),
        pytest.param(
            [
                (f"conv{s + 2}_block{j + 1}", f"layers.{n}")
                for n, (s, j) in enumerate((s, j) for s, size in enumerate((3, 4, 6, 3)) for j in range(size))
            ],
            "conv{i//[3,4,6,3]+2}_block{i%[3,4,6,3]+1} → layers.{i:int}",
            id="uneven stages",
        ),
        pytest.param(
            [
                (f"block{s + 1}{'abcdef'[j]}", f"blocks.{n}")
                for n, (s, j) in enumerate((s, j) for s, size in enumerate((1, 2, 3)) for j in range(size))
            ],
            "block{i//[1,2,3]+1}{i%[1,2,3]:a=0|b=1|c=2} → blocks.{i:int}",
            id="stages and letters",
        ),
        pytest.param(
            [(f"Mixed_{i}{letter}/b", f"mixed_{i}{letter}.b") for i in (3, 4) for letter in "bcd"],
            "Mixed_{i:int}{j:b|c|d}/b → mixed_{i}{j}.b",
            id="a number and a letter",
        ),
        pytest.param(
            [(f"self/{a}", f"self.{a}") for a in ("query", "key", "value")],
            "self/{p:query|key|value} → self.{p}",
            id="words",
        ),
        pytest.param(
            [(f"l{i}/{a}", f"h.{i}.{b}") for i in range(3) for a, b in (("q", "q_proj"), ("k", "k_proj"))],
            "l{i:int}/{p:q=q_proj|k=k_proj} → h.{i}.{p}",
            id="other words, in layers",
        ),
    ],
)
def test_one_row_stands_for_all(pairs, expected):
    assert rows(pairs) == [expected]


def test_names_that_no_rule_connects_are_listed():
    pairs = [("a_1", "b.4"), ("a_2", "b.1"), ("a_3", "b.3")]
    assert rows(pairs) == ["{p:a_1=4|a_2=1|a_3=3} → b.{p}"]


def test_a_line_through_two_points_is_no_rule():
    assert rows([("a_1", "b.4"), ("a_2", "b.9")]) == ["{p:a_1=4|a_2=9} → b.{p}"]


def test_a_template_does_not_match_names_that_go_elsewhere():
    pairs = [(f"layer_{i}/a", f"encoder.{i}.a") for i in range(4)]
    others = [f"layer_{i}/a" for i in range(4, 7)]
    assert rows(pairs, others) == ["layer_{i:0|1|2|3}/a → encoder.{i}.a"]


def test_numbers_that_differ_by_another_number_are_divided_by_it():
    pairs = [(f"branch_{b}/conv_{i}", f"branch_{b}.{i + b}") for b in (1, 2) for i in range(4)]
    assert rows(pairs) == [
        "branch_1/conv_{i:int} → branch_1.{i+1}",
        "branch_2/conv_{i:int} → branch_2.{i+2}",
    ]


def test_constants_get_a_row_only_if_all_parameters_of_that_name_are_constant():
    items = [Item((), (f"h.{i}.bias",), "fill: 0", i) for i in range(3)]
    found = generalized(items, [], [f"h.{i}.bias" for i in range(3)])
    assert [item.pt for item in found] == [("h.{i:int}.bias",)]
    found = generalized(items, [], [f"h.{i}.bias" for i in range(4)])
    assert len(found) == 1
    assert found[0].pt != ("h.{i:int}.bias",)
