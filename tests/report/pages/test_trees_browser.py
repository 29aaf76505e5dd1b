"""The page of two trees in headless Chromium: what is drawn, and what happens when it is used."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.report.pages.browser import Page, browser
from tests.report.pages.pages import ATTACKS, hostile, many, matching
from tfpt.report.pages.matching import Entry, Join
from tfpt.report.pages.trees import write_page
from tfpt.tensors import TensorSpec

NODES = "document.querySelectorAll('*').length"
SCREENS = [(1280, 800), (820, 600), (390, 760)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def show(chromium, tmp_path) -> Iterator:
    """Opens a page; in the end, nothing must have failed or been requested."""

    def opened(*matchings, **screen) -> Page:
        write_page(tmp_path / "p.html", matchings, overwrite=True)
        chromium.open(tmp_path / "p.html", **screen)
        return chromium

    chromium.problems.clear()
    yield opened
    assert chromium.problems == []
    assert chromium("window.harmed") is None


def rows(page: Page, side: str, what: str = ".name") -> list[str]:
    """Texts of the drawn rows of a tree, from top to bottom."""
    return page(
        f"""[...document.querySelectorAll('#tree-{side} .row')].sort((a, b) => parseFloat(a.style.top)
        - parseFloat(b.style.top)).map(row => row.querySelector({what!r})?.textContent ?? '')"""
    )


def tensors(*names: str, state: str = "written") -> dict[str, Entry]:
    return {name: Entry(TensorSpec(name, (3, 5), "float32"), state) for name in names}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_it_fits_every_screen_light_and_dark(show, dark, width, height):
    page = show(many(), width=width, height=height, dark=dark)
    page.click(".left .scope", "block_0")
    page.click(".left .scope", "layer_0")
    page.click(".left .leaf")
    assert not page("document.getElementById('details').hidden")
    assert page("document.documentElement.scrollWidth") == width
    assert page("document.documentElement.scrollHeight") == height
    # Nothing that is shown is cut off at the side.
    assert page(
        """[...document.querySelectorAll('#top *, #heads *, #details *, .row .mark, .row .caret')].every(each => {
        const box = each.getBoundingClientRect(), chips = each.closest('.chips');
        return chips || !box.width || (box.left >= -1 && box.right <= innerWidth + 1); })"""
    )
    pixels = np.asarray(Image.open(io.BytesIO(page.picture())).convert("L"))
    assert pixels.shape == (height, width)
    assert (np.median(pixels) < 80) == dark
    assert pixels.std() > 10


@pytest.mark.parametrize("dark", [False, True])
def test_texts_have_enough_contrast(show, dark):
    """At least 4.5 to 1, as WCAG 2.1 asks for text of this size."""
    page = show(many(1, 2), dark=dark)
    values = page(
        """Object.fromEntries(['ground', 'ink', 'dim', 'good', 'bad', 'follow', 'odd', 'accent', 'near', 'apart-1',
        'apart-2', 'apart-3'].map(name => {
          const probe = document.createElement('i'); probe.style.color = `var(--${name})`; document.body.append(probe);
          return [name, getComputedStyle(probe).color.match(/\\d+/g).map(Number)]; }))"""
    )

    def luminance(color):
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(color) / 255]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    ground = luminance(values.pop("ground"))
    for name, color in values.items():
        low, high = sorted((ground, luminance(color)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


def test_few_elements_are_in_the_document_however_many_tensors_there_are(show):
    page = show(many())
    few = page(NODES)
    page.click("#open")
    assert page("parseFloat(document.getElementById('canvas').style.height)") > 5000 * 20
    every = [page(NODES)]
    for place in (0.5, 1):
        page(f"(s => {{ s.scrollTop = s.scrollHeight * {place}; }})(document.getElementById('scroll'))")
        page.settle()
        every.append(page(NODES))
        assert len(rows(page, "left")) > 20
    assert max(few, *every) < 1500
    assert page("document.querySelectorAll('#lines path').length") <= 400


def test_a_scope_that_fans_out_into_thousands_of_rows_draws_few_lines(show):
    one = tensors("all/w")
    other = tensors(*(f"e{number}.w" for number in range(3000)))
    page = show(matching(one, other, [Join(("all/w",), tuple(other))]))
    page.click("#open")
    assert 0 < page("document.querySelectorAll('#lines path').length") <= 400
    page.click(".left .leaf", "w")
    assert "and 2,976 more" in page("document.getElementById('details').textContent")
    assert page(NODES) < 1500
    # Only what is searched is found, and not everything else that is joined to the same variable.
    page.press("/")
    page.type("e1234")
    assert page("document.getElementById('found').textContent") == "1 found"
    assert rows(page, "right")[-1] == "e1234.w"
    assert rows(page, "left")[-1] == "all/w"


def test_hostile_names_are_shown_and_do_nothing(show):
    page = show(hostile())
    page.click("#open")
    shown = " ".join(rows(page, "left"))
    assert "<img src=x onerror='window.harmed = 2'>" in shown
    assert "\\x1b[2J\\u202eb" in shown
    assert (
        page("document.querySelectorAll('#middle img, #middle script, .loose script, .loose img').length")
        == 0
    )
    for attack in ATTACKS[:3]:
        page.click(".right .row.leaf" if attack == ATTACKS[0] else ".right .row", attack[:12])
    assert page("document.getElementById('title').textContent") == ATTACKS[0]


def test_the_policy_refuses_what_comes_from_outside(show, chromium):
    page = show(many(1, 1))
    page(
        """new Promise(done => { const image = new Image(); image.onerror = done;
        image.src = 'https://example.invalid/x.png'; })"""
    )
    assert any("Content Security Policy" in problem for problem in chromium.problems)
    chromium.problems.clear()


def test_a_click_opens_both_sides_and_the_details_of_a_tensor(show):
    page = show(many())
    assert "layer_0" not in rows(page, "left")
    page.click(".left .scope", "block_7")
    page.click(".left .scope", "layer_3")
    assert "gamma" in rows(page, "left")
    assert "scale" in rows(page, "right")
    page.click(".right .leaf", "scale")
    text = page("document.getElementById('details').textContent")
    for part in (
        "blocks.7.layers.3.scale",
        "net/block_7/layer_3/gamma",
        "layout i o -> o i",
        "net.yaml:7",
        "0.03",
    ):
        assert part in text
    bars = page("document.querySelector('#details .histogram .bars').getAttribute('d')")
    assert bars.count("M") > 20
    # The name of the partner leads to it.
    page.click("#details button.path")
    assert page("document.querySelector('#details h2').textContent") == "net/block_7/layer_3/gamma"
    page.press("Escape")
    assert page("document.getElementById('details').hidden")
    page.click(".left .scope", "block_7")
    assert "scale" not in rows(page, "right")


def test_rows_that_belong_together_are_level(show):
    left = tensors("b/kernel", "a/deep/er/kernel", "z/unused")
    right = tensors("a.weight", "b.weight")
    joins = [Join(("a/deep/er/kernel",), ("a.weight",)), Join(("b/kernel",), ("b.weight",))]
    page = show(matching(left, right, joins))
    tops = {
        side: page(
            f"""Object.fromEntries([...document.querySelectorAll('#tree-{side} .row')].map(row =>
            [row.querySelector('.name').textContent, row.style.top]))"""
        )
        for side in ("left", "right")
    }
    assert tops["left"]["a/deep/er/kernel"] == tops["right"]["a.weight"]
    assert tops["left"]["b/kernel"] == tops["right"]["b.weight"]
    # The left tree has the order of the right one.
    assert rows(page, "left") == ["a/deep/er/kernel", "b/kernel", "z/unused"]
    assert page(
        "[...document.querySelectorAll('#lines path')].every(each => /^M0 [\\d.]+H/.test(each.getAttribute('d')))"
    )


def test_a_search_finds_names_of_both_sides_shapes_and_rows(show):
    page = show(many())
    found = "document.getElementById('found').textContent"
    page.press("/")
    for words, number in (("layer_3/gamma", "50"), ("GAMMA block_7/", "25"), ("layers.3.sc", "50"), ("[5, 3]", "1,250"),
                          ("net.yaml:7", "5,000"), ("nonesuch", "0"), ("</script>", "0")):  # fmt: skip
        page("document.getElementById('search').value = ''")
        page.type(words)
        assert page(found) == f"{number} found"
        assert page("document.getElementById('nothing').hidden") == (number != "0")
    page("document.getElementById('search').value = ''")
    page.type("block_7/layer_3/gamma")
    assert rows(page, "left")[-1] == "gamma"
    assert rows(page, "right")[-1] == "scale"
    page.type(" ")  # still the same words
    page("(s => { s.value = ''; s.dispatchEvent(new Event('input')); })(document.getElementById('search'))")
    assert page(found) == ""


def test_the_buttons_show_only_the_chosen_states(show):
    page = show(many())
    page.click(".chip", "differs < 0.1")
    assert page("document.querySelector('.chip[aria-pressed=true]').textContent").endswith("differs < 0.11")
    assert rows(page, "left")[-1] == "gamma"
    assert rows(page, "right")[-1] == "scale"
    assert page("document.getElementById('found').textContent") == "1 found"
    page.click(".chip", "identical")
    assert page("document.getElementById('found').textContent") == "5,000 found"


def test_it_can_be_used_with_the_keyboard(show):
    page = show(many(2, 2))
    page("document.getElementById('tree-left').focus()")
    current = """(tree => document.getElementById(tree.getAttribute('aria-activedescendant')))
        (document.activeElement)"""
    page.press("ArrowDown")
    assert page(f"{current}.getAttribute('aria-label')").startswith("block_0, 8 tensors")
    expanded = page(f"{current}.getAttribute('aria-expanded')")
    if expanded == "true":
        page.press("ArrowLeft")
    assert page(f"{current}.getAttribute('aria-expanded')") == "false"
    page.press("ArrowRight", "ArrowDown")
    assert page(f"{current}.getAttribute('aria-level')") == "3"
    page.press("ArrowRight", "ArrowDown", "Enter")
    assert not page("document.getElementById('details').hidden")
    assert page(f"{current}.getAttribute('aria-selected')") == "true"
    page.press("Escape", "Tab")
    assert page("document.activeElement.id") == "tree-right"
    for side in ("left", "right"):
        assert page(f"document.getElementById('tree-{side}').getAttribute('aria-label')")
    assert page(
        """[...document.querySelectorAll('.row')].every(row => row.getAttribute('role') === 'treeitem'
        && row.getAttribute('aria-level') && row.getAttribute('aria-label') && row.id)"""
    )
    assert page(
        "[...document.querySelectorAll('button, input, select')].every(each => each.textContent || each.ariaLabel)"
    )


def test_pointing_at_a_row_names_the_row_of_the_mapping(show):
    page = show(many(1, 1))
    page.hover(".left .leaf", "kernel")
    text = page("document.getElementById('status').textContent")
    for part in ("net/block_0/layer_0/kernel", "blocks.0.layers.0.weight", "net.yaml:7", "layout i o -> o i"):
        assert part in text
    assert page("document.querySelectorAll('.line.lit').length") == 1


def test_several_mappings_share_a_page(show):
    page = show(many(1, 1), matching(tensors("x/w"), tensors("x.weight"), [], title="other"))
    assert page("document.getElementById('choice').options.length") == 2
    page("(c => { c.value = '1'; c.dispatchEvent(new Event('change')); })(document.getElementById('choice'))")
    assert rows(page, "right") == ["x.weight"]
    assert page("document.getElementById('title').textContent") == "other"


def test_variables_below_a_variable_open_by_their_arrow(show):
    left = tensors("d/kernel", "d/kernel/Momentum", "d/bias")
    page = show(matching(left, tensors("d.weight"), [Join(("d/kernel",), ("d.weight",))]))
    assert rows(page, "left") == ["d", "kernel", "bias"]
    page.click(".left .caret", "▸")
    assert rows(page, "left") == ["d", "kernel", "Momentum", "bias"]
    page.click(".left .row", "kernel")
    assert page("document.querySelector('#details h2').textContent") == "d/kernel"
    assert rows(page, "left") == ["d", "kernel", "Momentum", "bias"]
