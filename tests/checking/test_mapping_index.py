"""The index of mappings is that of the mappings as they are, whatever is in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import install
from tfpt.checking import mapping_index as module
from tfpt.checking.mapping_index import computed_index, indexed, mapping_index
from tfpt.checking.ranking import rank
from tfpt.language import documents, library, loader, tree
from tfpt.language.loader import load_mapping
from tfpt.language.mapping import Copy
from tfpt.language.mapping_files import bundled_mappings, named_mappings


class Counts:
    """How many files were parsed and how many mappings compiled."""

    def __init__(self) -> None:
        self.parsed = self.compiled = 0

    def taken(self) -> tuple[int, int]:
        found = self.parsed, self.compiled
        self.parsed = self.compiled = 0
        return found


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    found = Counts()
    parse, compile_ = tree.parse_document, loader.Compiler

    def parsing(*arguments: object) -> object:
        found.parsed += 1
        return parse(*arguments)

    class Counted(compile_):
        def __init__(self, *arguments: object) -> None:
            found.compiled += 1
            super().__init__(*arguments)

    monkeypatch.setattr(tree, "parse_document", parsing)
    monkeypatch.setattr(loader, "Compiler", Counted)
    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/mappings"


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed package with mappings; the only ones that are indexed, for speed."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr("tfpt.language.mapping_files.bundled_mappings", dict)
    monkeypatch.setattr("tfpt.language.loader.bundled_mappings", dict)
    return install(
        tmp_path / "site",
        {
            "net.yaml": "version: 1\nextends: _base.yaml\nsource: {ignore: [{tf: '{_...}/Adam', why: slot}]}\n",
            "_base.yaml": "version: 1\nscopes: [{tf: 'a_{i:0=stem|int}', pt: 'a.{i}', use: blocks/dense}]\n",
            "layers/blocks.yaml": "layers:\n"
            "  dense: {weights: [{tf: w, pt: weight}, {tf: b, pt: bias, optional: true}]}\n",
        },
    )


def names(name: str = "acme:net") -> list[list[str]]:
    return [[template.text for template in row.tf] for row in mapping_index()[name].alternatives[0].rows]


def test_what_is_read_from_the_cache_is_what_was_computed(cache: Path, counts: Counts) -> None:
    """Every attribute of every field of every mapping."""
    computed = computed_index()
    assert counts.taken()[1] == len(named_mappings())
    assert mapping_index() == computed
    assert counts.taken()[1] == len(named_mappings())
    assert mapping_index() == computed
    assert counts.taken() == (0, 0)
    [file] = cache.iterdir()
    json.loads(file.read_text().partition("\n")[2])


def test_the_index_has_what_the_mapping_reads() -> None:
    for name in ("bert", "stylegan2", "keras_efficientnet"):
        mapping, entry = load_mapping(name), mapping_index()[name]
        assert entry == indexed(mapping, name)
        for row_set, rows in zip(mapping.alternatives, entry.alternatives, strict=True):
            copies = [row for row in row_set.rows if isinstance(row, Copy)]
            assert [(row.tf, row.optional) for row in copies] == [(row.tf, row.optional) for row in rows.rows]


@pytest.mark.parametrize("changed", ["net.yaml", "_base.yaml", "layers/blocks.yaml"])
def test_a_change_of_any_file_counts_at_once(acme: Path, cache: Path, counts: Counts, changed: str) -> None:
    before = names()
    assert before == [["a_{i:0=stem|int}/w"], ["a_{i:0=stem|int}/b"]]
    counts.taken()
    assert names() == before
    assert counts.taken() == (0, 0)
    path, text = acme / changed, (acme / changed).read_text()
    new = {"net.yaml": "{_...}/Adam", "_base.yaml": "a_", "layers/blocks.yaml": "tf: w"}[changed]
    path.write_text(text.replace(new, f"{new}x"))
    forget()
    assert mapping_index()["acme:net"] == indexed(load_mapping("acme:net"), "acme:net")
    assert counts.taken()[1] == 2
    # Back again: the first file of the cache still has the right answer.
    path.write_text(text)
    assert names() == before
    assert counts.taken() == (0, 0)


def forget() -> None:
    """Forget all files read once, as another process has not read them."""
    documents.kept_document.cache_clear()
    documents._KEPT.clear()
    library._layers.cache_clear()


def test_what_a_process_keeps_in_memory_is_not_kept_under_what_is_on_disk(
    acme: Path, cache: Path, counts: Counts
) -> None:
    """A library is read once in a process; an index of the old one must not be taken for that of the new one."""
    blocks = acme / "layers/blocks.yaml"
    names()
    blocks.write_text(blocks.read_text().replace("tf: w", "tf: weights"))
    assert names()[0] == ["a_{i:0=stem|int}/w"]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "other values", "a folder"])
def test_a_damaged_file_is_computed_anew(acme: Path, cache: Path, counts: Counts, damage: str) -> None:
    before = names()
    [file] = cache.iterdir()
    content = file.read_bytes()
    counts.taken()
    if damage == "a folder":
        file.unlink()
        file.mkdir()
    elif damage == "other values":
        file.write_bytes(hashlib.sha256(b"[3]").hexdigest().encode() + b"\n[3]")
    else:
        file.write_bytes({"empty": b"", "cut": content[:-9]}.get(damage, content.replace(b"a_", b"b_")))
    assert names() == before
    assert counts.taken()[1] == 1


def test_a_cache_that_cannot_be_written_changes_nothing(
    acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: Counts
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFPT_CACHE", str(tmp_path / "file"))
    assert names() == names()
    assert counts.taken()[1] == 2


def test_old_files_are_removed(acme: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    text = (acme / "net.yaml").read_text()
    for number in range(4):
        (acme / "net.yaml").write_text(f"{text}# {number}\n")
        mapping_index()
    assert len(list(cache.iterdir())) == 2


def test_an_invalid_mapping_of_a_package_is_left_out_with_a_warning_each_time(
    acme: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (acme / "wrong.yaml").write_text("version: 1\nscope: a\n")
    for _ in range(2):
        assert list(mapping_index()) == ["acme:net"]
        assert "unknown key 'scope'" in caplog.text
        caplog.clear()


def test_ranking_compiles_nothing_the_second_time(cache: Path, counts: Counts, sampled_rgb: Path) -> None:
    first = rank(sampled_rgb)
    assert counts.taken()[1] == len(bundled_mappings())
    assert rank(sampled_rgb) == first
    assert counts.taken() == (0, 0)
    assert "i3d_rgb" in {found.mapping.name for found in first if found.score == 1}
