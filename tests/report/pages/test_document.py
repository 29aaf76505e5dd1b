"""The frame of a page: what a browser may load, and data that cannot end their element."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from tfpt.errors import SinkError
from tfpt.report.pages.document import check_path, data, document, write

HOSTILE = [
    "</script><script>alert(1)</script>", "<!--", "]]>", "\"'`", "a\u2028b\u2029", "\x00\x1b[2J", "\ud800", "{title}"
]  # fmt: skip


def test_data_survive_and_contain_no_markup():
    text = data("data", HOSTILE)
    inner = re.fullmatch(r'<script type="application/json" id="data">(.*)</script>', text, re.DOTALL)
    assert json.loads(inner[1]) == HOSTILE
    assert not set("<>&\u2028\x00\ud800") & set(inner[1])
    text.encode()


def test_only_the_pages_own_script_may_run():
    text = document("t", "", "<p></p>", script="alert(1)")
    digest = base64.b64encode(hashlib.sha256(b"alert(1)").digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert "script-src" not in document("t", "", "")


def test_parts_that_look_like_places_of_others_stay_as_they_are():
    text = document("{body}", "", "{script}{style}", script="'{body}'")
    assert "<title>{body}</title>" in text
    assert "\n{script}{style}\n" in text
    assert "<script>'{body}'</script>" in text


def test_a_page_is_complete_or_absent(tmp_path):
    path = tmp_path / "p.html"
    write(path, "first")
    with pytest.raises(SinkError, match="exists already"):
        write(path, "second")
    with pytest.raises(SinkError, match="exists already"):
        check_path(path)
    assert path.read_text() == "first"
    check_path(path, overwrite=True)
    write(path, "second", overwrite=True)
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["p.txt", "p", "none/p.html"])
def test_what_cannot_be_written_is_refused_before_anything_is_computed(tmp_path, name):
    with pytest.raises(SinkError):
        check_path(tmp_path / name)
