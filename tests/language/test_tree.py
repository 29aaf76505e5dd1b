"""YAML is read with positions, quickly, and never executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.growth import cpu_budget
from tfpt.errors import MappingError
from tfpt.io.limits import MAPPING_DEPTH
from tfpt.language.tree import parse_document, read_document

TEXT = """\
version: 1
layers:
  head:
    eps: 0.5
    weights:
      - {tf: a, pt: b}
      - tf: c
        pt: [d, e]
"""


@pytest.mark.parametrize(
    ("path", "key", "position"),
    [
        ([], False, "m.yaml:1:1"),
        (["version"], False, "m.yaml:1:10"),
        (["version"], True, "m.yaml:1:1"),
        (["layers", "head", "eps"], False, "m.yaml:4:10"),
        (["layers", "head", "eps"], True, "m.yaml:4:5"),
        (["layers", "head", "weights", 0], False, "m.yaml:6:9"),
        (["layers", "head", "weights", 1], False, "m.yaml:7:9"),
        (["layers", "head", "weights", 1, "pt", 1], False, "m.yaml:8:17"),
        (["layers", "head", "nothing", "here"], False, "m.yaml:4:5"),  # the nearest existing ancestor
        (["layers", "head", "weights", 9], False, "m.yaml:6:7"),
    ],
)
def test_every_value_and_key_knows_where_it_stands(path: list[int | str], key: bool, position: str) -> None:
    assert str(parse_document(TEXT, "m.yaml").locate(path, key=key)) == position


def test_the_plain_value_is_what_yaml_says() -> None:
    assert parse_document(TEXT, "m.yaml").plain() == {
        "version": 1,
        "layers": {"head": {"eps": 0.5, "weights": [{"tf": "a", "pt": "b"}, {"tf": "c", "pt": ["d", "e"]}]}},
    }
    assert parse_document("", "m.yaml").plain() == {}
    assert parse_document("{400: yes, a: [1.5, null, 0x1f]}", "m.yaml").plain() == {
        "400": True,
        "a": [1.5, None, 31],
    }


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("a: [1\n", "the file is not YAML: did not find expected ',' or ']'", "m.yaml:2:1"),
        ("a: 1\nb: {c} d}", "the file is not YAML: did not find expected key", "m.yaml:2:8"),
        ("a: 1\n---\nb: 2", "the file is not YAML: but found another document", "m.yaml:2:1"),
        ("a: *nope", "the file is not YAML: found undefined alias", "m.yaml:1:4"),
        ("a: 1\nb: 2\na: 3", "duplicate key 'a'", "m.yaml:3:1"),
        ("? [a]\n: 1", "a key must be a plain word", "m.yaml:1:3"),
        ("a: 2024-13-01", "a value cannot be read", "m.yaml:1:4"),
        ("a: !!int x", "a value cannot be read", "m.yaml:1:4"),
        ("b: 1\na: " + "1" * 5000, "a value cannot be read", "m.yaml:2:4"),
        ("a: !mine b", "the tag !mine is not allowed in a mapping", "m.yaml:1:4"),
        ("a: =", "the tag tag:yaml.org,2002:value is not allowed in a mapping", "m.yaml:1:4"),
        ("a: &x [1, *x]", "an alias refers to a value that contains it", "m.yaml:1:4"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_and_where(text: str, what: str, where: str) -> None:
    with pytest.raises(MappingError) as caught:
        parse_document(text, "m.yaml")
    assert (caught.value.what, caught.value.where) == (what, where)


def test_a_repeated_key_names_its_first_place() -> None:
    with pytest.raises(MappingError) as caught:
        parse_document("x:\n  a: 1\n  a: 2", "m.yaml")
    assert (caught.value.where, caught.value.got) == ("m.yaml:3:3", "first at m.yaml:2:3")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch {marker}']",
        "a: !!python/object/apply:os.system ['touch {marker}']",
        "a: !!python/object/new:os.system ['touch {marker}']",
        "a: !!python/name:os.system",
        "a: !!python/tuple [1]",
        "a: !!python/module:os {}",
        "a: !!set {b}",
        "a: !!binary aGk=",
    ],
)
def test_a_python_object_is_refused_and_not_built(text: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(MappingError, match=r"the tag tag:yaml.org,2002:\S+ is not allowed in a mapping"):
        parse_document(text.replace("{marker}", str(marker)), "m.yaml")
    assert not marker.exists()


def test_aliases_that_multiply_are_refused_quickly() -> None:
    lines, previous = ["a: &a [x, x, x, x, x, x, x, x, x]"], "a"
    for name in "bcdefghij":
        lines.append(f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]")
        previous = name
    with cpu_budget(20), pytest.raises(MappingError, match="the mapping has more than 200,000 values"):
        parse_document("\n".join(lines), "m.yaml")


def test_an_alias_does_not_stand_deeper_than_a_mapping_may_be() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 1000))]
    with pytest.raises(MappingError, match=f"the mapping is more than {MAPPING_DEPTH} levels deep"):
        parse_document("\n".join(lines), "m.yaml")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[x" + ", x" * 500_000 + "]", "the mapping has more than 200,000 values"),
        ("[x" + ", {}" * 500_000 + "]", "the mapping has more than 200,000 values"),
        (f"[&a '{'x' * 1_000_000}'{', *a' * 100}]", "the mapping has more than 32,000,000 characters"),
        (f"[&a {{{'x' * 1000}: 1}}{', *a' * 50_000}]", "the mapping has more than 32,000,000 characters"),
    ],
    ids=["values", "tables", "texts", "keys"],
)
def test_what_multiplies_is_refused_before_it_fills_the_memory(text: str, what: str) -> None:
    with pytest.raises(MappingError, match=what):
        parse_document(text, "m.yaml")


@pytest.mark.parametrize(
    "number",
    ["1" * 5000, "0x" + "f" * 5000, "0b" + "1" * 5000, "1" + ":59" * 5000],
    ids=["decimal", "hexadecimal", "binary", "sexagesimal"],
)
def test_a_number_of_thousands_of_digits_is_refused_at_its_place(number: str) -> None:
    with pytest.raises(MappingError, match="a value cannot be read") as caught:
        parse_document(f"a: 1\nb: {number}", "m.yaml")
    assert caught.value.where == "m.yaml:2:4"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("there is no file without end here")
    with pytest.raises(MappingError, match="the mapping has more than 32,000,000 characters"):
        read_document(Path("/dev/zero"))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_brackets_without_end_are_refused_where_they_are_too_many(text: str) -> None:
    with pytest.raises(MappingError, match=f"the mapping is more than {MAPPING_DEPTH} levels deep") as caught:
        parse_document(text, "m.yaml")
    assert str(caught.value.where).startswith("m.yaml:1:")


def test_a_file_that_is_not_text_or_not_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"summary: caf\xe9")
    with pytest.raises(MappingError, match="the mapping is not UTF-8 text"):
        read_document(tmp_path / "latin.yaml")
    with pytest.raises(MappingError, match="cannot read the mapping: No such file or directory"):
        read_document(tmp_path / "none.yaml")


def test_a_file_in_the_working_folder_is_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.yaml").write_text("a: 1")
    monkeypatch.chdir(tmp_path)
    assert read_document(tmp_path / "sub" / "m.yaml").position.row == "sub/m.yaml:1"
    monkeypatch.chdir(tmp_path / "sub")
    (tmp_path / "n.yaml").write_text("a: 1")
    assert read_document(tmp_path / "n.yaml").position.row == f"{tmp_path / 'n.yaml'}:1"
