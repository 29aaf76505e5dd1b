"""The page of two trees as text: nothing from outside, no markup from names, and its size."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from fnmatch import fnmatch
from importlib.resources import files

from tests.report.pages.pages import ATTACKS, hostile, many, matching
from tests.report.pages.test_verification import read
from tests.test_docs import ROOT
from tfpt.planning import Finding
from tfpt.report.pages.states import STATES
from tfpt.report.pages.trees import page, write_page
from tfpt.visible import visible


def data_of(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )


def test_nothing_is_fetched():
    text = page([hostile()])
    reader = read(re.sub(r"(?s)<script>.*?</script>", "", text).replace("<input ", "<meta "))
    assert not [
        name
        for _, attributes in reader.tags
        for name in attributes
        if name in ("src", "href", "action", "data")
    ]
    assert {"link", "iframe", "object", "img"}.isdisjoint(tag for tag, _ in reader.tags)
    # The namespace of SVG is a name, not an address.
    assert re.findall(r"https?://[^\"' ]+", re.sub(r'id="data">.*?</script>', "", text)) == [
        "http://www.w3.org/2000/svg"
    ]
    assert "url(" not in text
    assert "@import" not in text


def test_no_name_becomes_markup():
    text = page([hostile()])
    # Its own two, whatever the names are.
    assert len(re.findall(r"<script", text)) == len(re.findall(r"</script", text)) == 2
    for attack in ATTACKS:
        assert attack not in text.replace(visible(attack), "") or attack.isidentifier() or attack == " "
    names = [entry[0] for entry in data_of(text)["matchings"][0]["left"]]
    assert names == [visible(f"{attack}/{attack}/kernel") for attack in ATTACKS]
    text.encode()


def test_scripts_put_no_text_into_the_page_as_markup():
    script = re.search(r"(?s)<script>(.*?)</script>", page([many(1, 1)]))[1]
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert unsafe not in script


def test_it_fits_dark_screens_and_telephones():
    text = page([many(1, 1)])
    assert "prefers-color-scheme: dark" in text
    assert '<meta name="viewport" content="width=device-width' in text


def test_every_color_of_a_state_is_in_the_style():
    style = re.search(r"(?s)<style>(.*?)</style>", page([many(1, 1)]))[1]
    for state in STATES.values():
        for use in ("c", "b", "l"):
            assert f".{use}-{state.color} {{" in style


def test_a_page_of_thousands_of_tensors_is_small():
    text = page([many()])
    entries = data_of(text)["matchings"][0]
    assert (len(entries["left"]), len(entries["right"]), len(entries["joins"])) == (5000, 5000, 5000)
    # Two names, shapes and states, figures and 64 counts take less than 600 bytes.
    assert len(text) < 5000 * 600 + 100_000


def test_findings_about_no_tensor_are_listed_with_what_to_do_next():
    findings = [Finding("scope", "no <scope> fits", expected="a", got="b", nearest=("c",), hint="d")]
    text = page([matching({}, {}, [], findings)])
    listed = text[text.index('<details class="loose"') : text.index("</details>")]
    assert "1 finding not about a single tensor" in listed
    assert "no &lt;scope&gt; fits" in listed
    assert re.findall(r"<dt>(\w+)</dt><dd>(\w)</dd>", listed) == [
        ("expected", "a"), ("got", "b"), ("nearest", "c"), ("next", "d")
    ]  # fmt: skip
    many_notes = [Finding("unchecked", f"note {number}") for number in range(60)]
    listed = page([matching({}, {}, [], many_notes)])
    assert listed.count('<li class="note">') == 50
    assert "<li>and 10 more</li>" in listed


def test_an_installed_package_has_the_files_that_the_page_is_made_of():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert "tfpt.report.pages" in settings["options"]["packages"].split()
    patterns = settings["options.package_data"]["tfpt.report.pages"].split(", ")
    for file in files("tfpt.report.pages").iterdir():
        assert (
            file.is_dir() or file.name.endswith(".py") or any(fnmatch(file.name, each) for each in patterns)
        )


def test_a_page_is_written_once(tmp_path):
    write_page(tmp_path / "p.html", [hostile(), many(1, 1)])
    assert len(data_of((tmp_path / "p.html").read_text("utf-8"))["matchings"]) == 2
