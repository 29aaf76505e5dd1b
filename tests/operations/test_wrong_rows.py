"""Rows whose keys do not go together, or have values that they cannot have: what the error says, and where."""

from __future__ import annotations

import pytest
import yaml

from tests.operations.test_fold import FOLD, PARTS
from tests.operations.test_transform import transform
from tfpt.errors import MappingError
from tfpt.language.compiler import Compiler
from tfpt.language.schema import MappingEntry
from tfpt.language.tree import parse_document


def mistake(row: str) -> MappingError:
    """The mistake in a row."""
    text = f"{{version: 1, weights: [{{{row}}}]}}"
    compiler = Compiler(parse_document(text, "m.yaml"), MappingEntry.model_validate(yaml.safe_load(text)))
    compiler.alternatives()
    with pytest.raises(MappingError) as caught:
        compiler.finish()
    return caught.value


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (
            'tf: [k, b], pt: c, layout: ["h i o -> o (h i)", "o -> o 1"], concat: i',
            "concat: names the axis 'i'",
        ),
        ('tf: [a, b], pt: c, layout: ["i -> i", "i -> i", "i -> i"]', "a list of layouts needs one for each"),
        ('tf: "l{i:int}", pt: c, layout: ["i -> i", "i -> i"]', "a list of layouts needs one for each"),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "o -> o"]', "must have as many axes"),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "... o -> ... o"]', "cannot have ... outside"),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "i o -> i o"]', "'i' is at different places"),
        ('tf: [a, b], pt: c, layout: ["i -> i", "i -> i"], axes: {t: 2}', "which none of the layouts has"),
        (
            'tf: [a, b], pt: c, layout: ["i o -> o i", "i o -> (o i)"], concat: o',
            "must have as many axes",
        ),
        (
            'tf: [a, b], pt: c, layout: ["i o -> (o i)", "i -> i"], reorder: {axis: o, as: [1, 0]}',
            "reorder: names the axis 'o'",
        ),
        (
            'tf: a, pt: c, layout: "(a b) -> a b", axes: {a: 2}, slice: {"(b a)": "1:"}',
            "slice: names the axis",
        ),
        ('tf: a, pt: c, layout: "a b -> a b", slice: {"(a b)": "1:"}', "slice: names the axis"),
        ('tf: a, pt: c, slice: {"(a b)": "1:"}', "so the row needs a layout"),
        ("tf: [a, b], pt: c, combine: [1, 2, 3]", "combine: needs one number for each name"),
        ('tf: "l{i:int}", pt: c, combine: [1, 2]', "combine: needs one number for each name"),
        ('tf: [a, b], pt: c, combine: [1, 2], layout: "v -> v", concat: v', "both say how variables are"),
        ('tf: [a, b], pt: c, combine: [1, 2], product: "i, i -> 1"', "both say how variables are"),
        ('tf: [a, b, d], pt: c, product: "i, i -> 1"', "product: needs two names"),
        ('tf: [a, b], pt: c, product: "i, i -> 1", layout: "i -> i"', "so the row needs no layout"),
        ('tf: [a, b], pt: c, product: "i -> i"', "a product has two or more variables and a result"),
        ('tf: [a, b], pt: c, product: "i, j, k -> i"', "'j' is in one of the variables only"),
        ('tf: [a, b], pt: c, product: "i, i, i -> i"', "product: needs 3 names"),
        ('tf: [a, b], pt: c, product: "i j, i -> i"', "'j' is in one of the variables only"),
        ('tf: [a, b], pt: c, product: "i, i -> t"', "'t' is only on the right and has no size"),
        ('tf: [a, b], pt: c, product: "i, i -> i", axes: {t: 2}', "axes: names 't'"),
        ('tf: [a, b], pt: c, product: "i i, i -> i"', "cannot parse the layout"),
        ('tf: [a, b], pt: c, product: "i (...), i -> i"', "... is not allowed in parentheses"),
        ('tf: [a, b], pt: c, product: "i ..., i -> i ..."', "the right side has ... but the left"),
        (f"{FOLD}, fold: {{{PARTS}, eps: 1, axis: o}}", "so the row needs a layout"),
        (f'{FOLD}, layout: "i o -> o i", fold: {{{PARTS}, eps: 1, axis: q}}', "fold: names the axis 'q'"),
        (
            f'{FOLD}, layout: "i m -> (i m)", fold: {{{PARTS}, eps: 1, axis: m}}',
            "fold: names the axis 'm'",
        ),
        (
            f'{FOLD}, layout: "i o -> o i", scale: 2, fold: {{{PARTS}, eps: 1, axis: o}}',
            "fold: cannot be combined with scale:",
        ),
        (
            'tf: [a, b, d], pt: x, layout: "i o -> o i", '
            "fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: o}",
            "fold: needs two names under pt:",
        ),
        (
            'tf: [a, b], pt: [x, y], layout: "i o -> o i", '
            "fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: o}",
            "fold: needs one name under tf: for each part",
        ),
        (
            'tf: ["a{i:int}", "b{i:int}", "c{i:int}"], pt: [x, y], layout: "i o -> o i", '
            "fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: o}",
            "fold: cannot stack or split by {i}",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(row: str, what: str) -> None:
    caught = mistake(row)
    assert what in caught.what
    assert caught.where is not None
    assert caught.where.startswith("m.yaml:1:")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("tf: [a, b], pt: c, combine: [1, 0]", "expected numbers other than 0"),
        ("tf: [a, b], pt: c, combine: [1]", "expected a list of numbers"),
        ("tf: [a, b], pt: c, combine: [1, x]", "expected a number or a fraction"),
        ("tf: [a, b], pt: c, combine: 1", "expected a list of numbers"),
        ("tf: a, pt: c, apply: cosine", "expected one of sqrt, square"),
        ("tf: [a, b], pt: c, combine: {numbers: [1, 1]}", "expected a list of numbers"),
        ("tf: a, pt: c, apply: []", "expected one of sqrt, square"),
        ("tf: a, pt: c, apply: {functions: [exp]}", "expected one of sqrt, square"),
        ("tf: a, pt: [b, c], fold: {batch_norm: [kernel, mean], eps: 1, axis: o}", "needs a variance"),
        (
            "tf: a, pt: b, fold: {batch_norm: [kernel, mean, variance, mean], eps: 1, axis: o}",
            "must list each part once",
        ),
        (
            "tf: a, pt: b, fold: {batch_norm: [kernel, mean, variance], eps: -1, axis: o}",
            "greater than or equal to 0",
        ),
        ("tf: a, pt: b, fold: {batch_norm: [kernel, mean, variance], axis: o}", "Field required"),
        ("pt: b, fill: 1, apply: sqrt", "apply: needs tf:"),
        ("pt: b, fill: 1, product: 'i, i -> i'", "product: needs tf:"),
    ],
)
def test_values_that_an_operation_cannot_have_are_refused(row: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        transform(row)
