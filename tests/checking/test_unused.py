"""Parameters and layers that nothing uses are notes, each with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.checking.checked import check
from tests.commands.running import run
from tfpt.checking.lint import check_mapping
from tfpt.language.loader import bundled_mappings, load_mapping

SHAPES = {"a.weight": [2]}
DENSE = "layers:\n  dense: {weights: [{tf: w, pt: weight}]}\n"
PLACED = "scopes: [{tf: a, pt: a, layer: dense}]\n"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def notes(text: str, **other: str) -> list[tuple[str, str]]:
    """Kind and text of the notes on what is unused, for a mapping and the files that it extends."""
    for name, content in other.items():
        Path(f"{name}.yaml").write_text(f"version: 1\n{content}")
    found = check(Path.cwd(), text, SHAPES)
    assert not found.findings
    return [(note.kind, note.what) for note in found.notes if note.kind.startswith("unused")]


def test_both_are_notes_with_line_column_and_mark() -> None:
    text = f"params:\n  scope: a\n  depth: 3\n{DENSE}  spare:\n    weights: [{{tf: v, pt: v}}]\n{PLACED}"
    found = check(Path.cwd(), text.replace("tf: a,", "tf: '${scope}',"), SHAPES)
    unused = [note for note in found.notes if note.kind.startswith("unused")]
    assert [(note.kind, note.name, note.where, note.stops) for note in unused] == [
        ("unused-param", "depth", "m.yaml:4:3", False),
        ("unused-layer", "spare", "m.yaml:7:3", False),
    ]
    assert [note.source for note in unused] == ["depth: 3\n^^^^^", "spare:\n^^^^^"]


@pytest.mark.parametrize(
    "use",
    [
        "source: {ignore: [{tf: 'x${n}', why: x}]}\n",
        "summary: ${n} layers\n",
        "model: {kwargs: {layers: '${n}'}}\n",
        "weights: [{tf: b, pt: 'b${n}', optional: true}]\n",
        "modules: [{pt: a, eps: '${n}'}]\n",
    ],
)
def test_any_use_of_a_parameter_counts(use: str) -> None:
    assert ("unused-param", "nothing uses the parameter n") not in notes(
        f"params: {{n: 3}}\n{DENSE}{PLACED}{use}"
    )


def test_a_parameter_that_only_an_unused_one_uses_is_unused_too() -> None:
    text = f"params: {{n: 3, m: '${{n}}', k: '${{2*n}}', s: {{from: width, default: 5}}}}\n{DENSE}{PLACED}"
    assert notes(text) == [
        ("unused-param", "nothing uses the parameter n, except m, k, which nothing uses"),
        ("unused-param", "nothing uses the parameter m"),
        ("unused-param", "nothing uses the parameter k"),
        ("unused-param", "nothing uses the parameter s"),
    ]
    assert [what for _, what in notes(f"{text}summary: net ${{m}}\n")] == [
        "nothing uses the parameter k",
        "nothing uses the parameter s",
    ]


def test_text_that_only_looks_like_a_use_is_none() -> None:
    assert notes(f"params: {{n: 3}}\nsummary: $${{n}}\n{DENSE}{PLACED}")[0][0] == "unused-param"


def test_a_layer_within_another_is_placed_where_that_one_is() -> None:
    outer = "  outer: {scopes: [{tf: x, pt: x, layer: dense}, {tf: y, pt: y, use: keras/dense}]}\n"
    text = f"{DENSE}{outer}"
    assert (
        notes(
            f"{text}scopes: [{{tf: a, pt: a, layer: outer, optional: true}}]\nweights: [{{tf: w, pt: a.weight}}]"
        )
        == []
    )
    assert notes(f"{text}weights: [{{tf: w, pt: a.weight}}]") == [
        ("unused-layer", "no scope places the layer dense, except in outer, which no scope places"),
        ("unused-layer", "no scope places the layer outer"),
    ]
    switched_off = (
        f"{DENSE}scopes: [{{tf: a, pt: a, layer: dense, when: false}}]\nweights: [{{tf: w, pt: a.weight}}]"
    )
    assert notes(switched_off) == []


def test_what_is_inherited_is_for_others_and_what_is_overridden_is_used_by_them() -> None:
    base = f"params: {{n: 3, scope: a}}\n{DENSE}  spare: {{weights: [{{tf: v, pt: v}}]}}\n"
    child = "extends: _base.yaml\nscopes: [{tf: '${scope}', pt: a, layer: dense}]\n"
    assert notes(child, _base=base) == []
    assert notes(f"{child}params: {{scope: b}}\n", _base=base) == []
    assert notes(f"{child}params: {{n: 5}}\nlayers: {{spare: {{}}}}\n", _base=base) == [
        ("unused-param", "nothing uses the parameter n"),
        ("unused-layer", "no scope places the layer spare"),
    ]
    # The part itself is not checked for what its children use.
    assert not [
        note for note in check_mapping(load_mapping("_base.yaml")).notes if note.kind.startswith("unused")
    ]


def test_a_value_that_is_set_does_not_change_what_is_used() -> None:
    text = f"params: {{n: 3, m: '${{n}}'}}\nsummary: net ${{m}}\n{DENSE}{PLACED}"
    assert notes(text) == []
    assert load_mapping("m.yaml", {"m": 7}).unused == ()


def test_the_command_prints_them_and_succeeds() -> None:
    assert notes(f"params: {{n: 3}}\n{DENSE}{PLACED}")
    found = run("check", "m.yaml")
    assert found.code == 0
    assert "note: unused-param  m.yaml:2:10\n  params: {n: 3}\n           ^\n" in found.out
    assert "  next      use it, or remove it" in found.out


def test_no_bundled_mapping_has_any(tmp_path: Path) -> None:
    for name in bundled_mappings():
        assert load_mapping(name).unused == (), name
    # Wherever the process is.
    os.chdir(tmp_path)
    assert load_mapping("i3d_flow").unused == ()
