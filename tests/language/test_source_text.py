"""The line at a position, with a mark below it: of errors, and of values in a file."""

from __future__ import annotations

import pytest
import yaml

from tfpt.errors import MappingError
from tfpt.language.loader import load_mapping
from tfpt.language.source_text import SourceText, marked
from tfpt.language.tree import Position, parse_document


def test_a_mistake_shows_its_line_with_a_mark(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text('version: 1\nweights:\n  - {tf: a, pt: b, layuot: "i o -> o i"}\n')
    with pytest.raises(MappingError) as caught:
        load_mapping(path)
    assert str(caught.value).splitlines()[:4] == [
        "unknown key 'layuot'",
        f"  where     {path}:3:20",
        '            - {tf: a, pt: b, layuot: "i o -> o i"}',
        "                             ^^^^^^",
    ]


def test_each_of_several_mistakes_shows_its_line(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text('version: 1\nweights:\n  - {tf: "a{", pt: b}\n  - {tf: a, pt: b, dtype: float31}\n')
    with pytest.raises(MappingError) as caught:
        load_mapping(path)
    text = str(caught.value)
    assert '            - {tf: "a{", pt: b}\n              ^\n' in text
    assert (
        "            - {tf: a, pt: b, dtype: float31}\n                                    ^^^^^^^\n" in text
    )
    assert caught.value.causes[0].with_hint("x").problem.source.startswith("- {tf:")


def test_a_file_that_is_not_yaml_shows_its_line(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("version: 1\nsummary: a: b\n")
    with pytest.raises(MappingError, match=r"summary: a: b\n +\^\n"):
        load_mapping(path)


def test_control_characters_of_a_line_are_escaped(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(b"version: 1\nweights: [{tf: a\xe2\x80\xae, pt: b, bogus: 1}]\n")
    with pytest.raises(MappingError) as caught:
        load_mapping(path)
    assert "\u202e" not in str(caught.value)
    assert r"\u202e" in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_offsets_are_those_of_yaml_for_every_line_break(end):
    text = f'version: 1{end}weights:{end}  - {{tf: ü, pt: "b.c"}}{end}'
    found = SourceText("m.yaml", text)
    row = parse_document(text, "m.yaml").at(["weights", 0]).position
    span = found.find(row, "pt")
    assert text[span.start : span.end] == '"b.c"'
    assert span.value == "b.c"
    assert found.position(span.start) == span.position
    assert yaml.safe_load(text)["weights"][0]["pt"] == span.value
    assert found.excerpt(span) == '- {tf: ü, pt: "b.c"}\n              ^^^^^'


def test_a_table_in_block_style_is_found_where_its_first_key_is():
    text = SourceText("m.yaml", "weights:\n  - tf: a\n    pt: [b, c]\n")
    row = Position("m.yaml", 2, 5)
    assert [span.value for span in text.items(row, "pt")] == ["b", "c"]
    assert [span.value for span in text.items(row, "tf")] == ["a"]
    assert text.find(row, "layout") is None


def test_a_long_line_is_cut_around_the_mark():
    line, mark = marked("  " + "x" * 500 + "wrong" + "y" * 500, 502, 5).splitlines()
    assert len(line) <= 122
    assert line[mark.index("^") :].startswith("wrong")
    assert line.startswith("…")
    assert line.endswith("…")


def test_a_mark_is_below_wide_characters_and_tabs():
    line, mark = marked("\t層: wrong", 4, 5).splitlines()
    assert (line, mark) == ("層: wrong", "    ^^^^^")


def test_a_position_beyond_the_file_shows_nothing():
    assert SourceText("m.yaml", "a: 1\n").excerpt(Position("m.yaml", 9, 1)) == ""
