"""Long choices of words are abbreviated in messages, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Tiny
from tfpt.checking.lint import check_mapping
from tfpt.errors import MappingError
from tfpt.language.abbreviation import abbreviated
from tfpt.language.loader import load_mapping
from tfpt.language.mapping import Mapping

Load = Callable[..., Mapping]

WORDS = "|".join(f"block{number}=stage.{number}" for number in range(55))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a/{b:x|y}/c", "a/{b:x|y}/c"),
        ("a/{b:1|2|3|4|5|6}/c", "a/{b:1|2|3|4|5|6}/c"),
        ("a/{b:1|2|3|4|5|6|7}/c", "a/{b:1|2|… 7 words}/c"),
        (f"{{b:{WORDS}}}/{{i:int}}", "{b:block0=stage.0|block1=stage.1|… 55 words}/{i:int}"),
        ("{a:1|2|3|4|5|6|7}{b:1|2|3|4|5|6|7|}", "{a:1|2|… 7 words}{b:1|2|… 8 words}"),
        ("a|b|c|d|e|f|g|h {x} {b:1|2|3|4|5|6|7", "a|b|c|d|e|f|g|h {x} {b:1|2|3|4|5|6|7"),
    ],
)
def test_a_choice_of_more_than_six_words_is_cut_short(text: str, shown: str) -> None:
    assert abbreviated(text) == shown


def test_mistakes_and_rows_show_few_words_and_match_all(load: Load) -> None:
    text = f'version: 1\nparams: {{words: "{WORDS}"}}\nweights:\n  - {{tf: "a/{{b:${{words}}}}", pt: "{{b}}.w"}}\n'
    row = load(text).alternatives[0].rows[0]
    assert str(row) == "a/{b:block0=stage.0|block1=stage.1|… 55 words} → {b}.w"
    assert row.pt[0].render(row.tf[0].match("a/block54") or {}) == "stage.54.w"
    with pytest.raises(MappingError) as caught:
        load(text.replace('"{b}.w"', "w"))
    assert caught.value.got == "a/{b:block0=stage.0|block1=stage.1|… 55 words} → w"
    with pytest.raises(MappingError) as caught:
        load(text.replace('"{b}.w"', '"{b}{i}.w"'))
    assert len(str(caught.value)) < 300


def test_the_nearest_rows_show_few_words(tiny: Tiny) -> None:
    tiny.rewrite("tf: dense/bias,   pt: fc.bias, ", f'tf: "{{b:{WORDS}}}", pt: "fc.bias.{{b}}", ')
    found = check_mapping(load_mapping(tiny.mapping))
    assert all("block9" not in str(finding) for finding in (*found.findings, *found.notes))
    assert any("… 55 words" in finding.what for finding in found.notes)
