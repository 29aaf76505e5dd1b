"""The site: the reference is what the schema says, every page is in the navigation, and mkdocs builds it."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_docs import DOCS, ROOT, anchors

BUILDING = DOCS / "building"


def script(name: str) -> dict:
    return runpy.run_path(str(BUILDING / name))


def test_the_reference_is_what_the_schema_says() -> None:
    written = script("language_reference.py")["page"]()
    assert (DOCS / "language_reference.md").read_text() == written, (
        "python docs/building/language_reference.py"
    )


def test_every_page_is_in_the_navigation_once() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def pages(entries: list) -> list[str]:
        return [
            page
            for entry in entries
            for page in ([entry] if isinstance(entry, str) else below(next(iter(entry.values()))))
        ]

    def below(entry: str | list) -> list[str]:
        return [entry] if isinstance(entry, str) else pages(entry)

    assert sorted(pages(settings["nav"])) == sorted(
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")
    )


def test_anchors_are_those_of_a_code_host() -> None:
    anchor = script("site.py")["anchor"]
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert {anchor(heading.replace("`", ""), "-") for heading in headings} == anchors(page.read_text())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (r"| `{b:x\|y}` | one of \| these |", r"| `{b:x|y}` | one of \| these |"),
        (r"`{b:x\|y}` outside a table", r"`{b:x\|y}` outside a table"),
    ],
)
def test_bars_in_code_in_tables_are_shown_without_a_backslash(line: str, shown: str) -> None:
    assert script("site.py")["_in_tables"](line) == shown


def test_links_out_of_the_folder_become_text() -> None:
    linked = script("site.py")["_linked"]
    text = (
        "[one](../mappings/x.yaml) [two](verify.md#the-columns) [three](https://einops.rocks) [four](#five)"
    )
    assert linked(text, DOCS, DOCS) == text.replace("[one](../mappings/x.yaml)", "one")


def test_commands_break_between_words_and_names_in_tables_between_components() -> None:
    shown = script("site.py")["on_page_content"]
    assert shown("<code>tfpt check m.yaml --trust</code>") == (
        '<code>tfpt check m.yaml <span class="option">--trust</span></code>'
    )
    assert shown("<p><code>a/b.c</code></p>") == "<p><code>a/b.c</code></p>"
    assert shown("<td><code>a/{b}.c</code></td>") == "<td><code>a/<wbr>{b}.<wbr>c</code></td>"


def test_the_site_builds_without_a_warning_and_asks_for_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"?(https?:[^\" >]+)", page.read_text()
        )
        assert loaded == [], page
