"""The page of a verification: one file that needs nothing else, with every endpoint and both pictures."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.test_docs import code, section, table
from tests.test_docs import read as read_document
from tfpt.errors import SinkError, TfptError
from tfpt.networks.recording.recordings import RecordedEndpoint
from tfpt.report.colors import Scale, data_uri
from tfpt.report.pages.verification import check_page, page, write_page
from tfpt.verification import Closeup, Verification
from tfpt.verification.agreement import ComparedEndpoint, Measure, measure, with_verdicts
from tfpt.verification.diagnosis import Diagnosis, Explanation, Place

FACTS = {
    "input": {"shapes": {"input": [1, 5, 7, 3]}, "origin": "the recording"},
    "tensorflow": {"tensorflow": "2.21.0", "network": "<b>net</b>.pb"},
    "pytorch": {
        "torch": "2.13",
        "tfpt": "0",
        "python": "3",
        "device": "cpu",
        "dtype": "float32",
        "optimize": False,
    },
}


def verification(*, whole: bool = True, factor: float = 1.5) -> Verification:
    random = np.random.default_rng(3)
    truth = random.normal(size=(1, 41, 37, 5)).astype(np.float32)
    ours = truth.copy()
    ours[..., 3] *= factor
    recorded = RecordedEndpoint.of("block/relu<0>", truth, whole=whole)
    close = Measure(2e-7, 1e-6, 3e-7, 1.0, 1.0, 1.0, True, True)
    far = measure(recorded, ours)
    compared = with_verdicts(
        [
            ComparedEndpoint("first", "a", truth.shape, truth.shape, close, close),
            ComparedEndpoint(recorded.name, "b", truth.shape, truth.shape, far),
            ComparedEndpoint("later", "c", truth.shape, truth.shape, far, close),
            ComparedEndpoint("gone", "", (1, 3)),
        ],
        1e-5,
    )
    place = Place("epsilon", "b.norm", "has eps 1e-05", "eps 0.001", "net.yaml:7")
    why = Diagnosis(
        recorded.name,
        "b",
        True,
        ("epsilon",),
        "the epsilon is not TensorFlow's",
        (place,),
        False,
        0.2,
        8e-7,
        ("build it so",),
        (),
        (),
        3,
    )
    closeup = Closeup(recorded, ours, 3)
    return Verification(
        "net", "w.pth", "r.npz", 1e-5, compared, (), Explanation((why,), True), FACTS, closeup
    )


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that they are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "wbr", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_nothing_is_fetched_and_nothing_runs():
    reader = read(page(verification()))
    addresses = [
        value
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data")
    ]
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in reader.tags)
    assert "url(" not in page(verification())
    assert "@import" not in page(verification())


def test_names_from_files_are_text_and_no_tags():
    text = page(verification())
    assert "<b>net</b>.pb" not in text
    assert "&lt;b&gt;net&lt;/b&gt;.pb" in text
    assert "relu<0>" not in text


def test_it_fits_dark_screens_and_phones():
    text = page(verification())
    assert "prefers-color-scheme: dark" in text
    assert '<meta name="viewport" content="width=device-width' in text


def test_each_endpoint_has_a_row_a_mark_and_words():
    text = page(verification())
    rows = re.findall(r'<tr class="([\w-]+)"><td>(.)</td>', text)
    assert rows == [("agrees", "✓"), ("departs", "✗"), ("follows", "↓"), ("missing", "?")]
    chart = text[text.index('<svg class="chart"') : text.index("</svg>")]
    titles = re.findall(r"<title>(.*?)</title>", chart)
    assert [title.split(":")[0] for title in titles] == ["first", "block/relu&lt;0&gt;", "later", "gone"]
    # The verdicts are told apart by shapes, not by colors alone.
    marks = dict(re.findall(r'class="mark ([\w-]+)" d="([^"]+)', chart))
    shapes = {re.sub(r"[\d. -]", "", mark) for mark in marks.values()}
    assert len(shapes) == len(marks) == 4


def test_the_error_by_depth_has_a_logarithmic_scale():
    text = page(verification())
    chart = text[text.index('<svg class="chart"') : text.index("</svg>")]
    lines = [float(y) for y in re.findall(r'class="grid"[^>]* y1="([\d.]+)"', chart)]
    steps = np.diff(lines)
    assert np.allclose(steps, steps[0])
    (tolerance,) = re.findall(r'class="tolerance" x1="[\d.]+" x2="[\d.]+" y1="([\d.]+)"', chart)
    assert min(abs(float(tolerance) - y) for y in lines) < 0.06
    # 2e-7 lies 1.7 powers of ten below the tolerance of 1e-5.
    (mark,) = re.findall(r'class="mark agrees" d="M[\d.]+ ([\d.]+)', chart)
    assert (float(mark) - float(tolerance)) / abs(steps[0]) == pytest.approx(1.699, abs=0.01)


def test_whole_activations_are_shown_as_pictures_on_shared_scales():
    reader = read(page(verification()))
    pictures = {attributes["alt"]: attributes["src"] for tag, attributes in reader.tags if tag == "img"}
    assert len(pictures) == 15  # five channels, three rows
    decoded = {}
    for name, source in pictures.items():
        import base64

        picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert picture.size == (37, 41)
        decoded[name] = np.asarray(picture)
    same = decoded["difference, channel 0"]
    assert (same == same[0, 0]).all()  # nothing differs: the middle color
    assert not (decoded["difference, channel 3"] == same[0, 0]).all()
    assert (decoded["TensorFlow, channel 1"] == decoded["PyTorch, channel 1"]).all()
    assert not (decoded["TensorFlow, channel 3"] == decoded["PyTorch, channel 3"]).all()


def test_samples_are_shown_as_points():
    text = page(verification(whole=False))
    assert "<img" not in text
    assert "Shown: the 997 recorded samples." in text
    points = text[text.index('class="points"') :]
    assert points[: points.index("/>")].count("M") == 997


def test_the_cause_comes_first():
    text = page(verification())
    assert text.index("<code>b.norm</code>") < text.index("Error by depth")
    heading = re.sub(r"<[^>]+>", "", text[text.index("<h1>") : text.index("</h1>")])
    assert heading == (
        "✗ departs at block/relu&lt;0&gt;, the 2nd of 4 endpoints: "
        "b.norm has eps 1e-05; with eps 0.001, block/relu&lt;0&gt; agrees to 8.0e-07"
    )


def test_a_page_is_whole_or_not_there(tmp_path):
    path = tmp_path / "r.html"
    write_page(path, verification())
    before = path.read_bytes()
    with pytest.raises(SinkError, match="exists already"):
        write_page(path, verification(factor=3))
    assert path.read_bytes() == before
    write_page(path, verification(factor=3), overwrite=True)
    assert path.read_bytes() != before
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_are_what_other_programs_read():
    pixels = np.random.default_rng(5).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    kind, _, text = data_uri(pixels).partition(",")
    assert kind == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) == pixels).all()


def test_a_bar_beside_a_picture_has_the_colors_of_the_picture():
    for scale in (Scale(0.0, 7.0, False), Scale(-7.0, 7.0, True)):
        first, *_, last = re.findall("#([0-9a-f]{6})", scale.gradient)
        ends = scale.colors(np.array([scale.low, scale.high]))
        assert [first, last] == [bytes(color).hex() for color in ends]


def test_without_the_packages_for_pictures_it_says_what_to_install_before_anything_runs(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TfptError, match="matplotlib is needed") as error:
        check_page(tmp_path / "r.html")
    assert error.value.hint == 'pip install "tfpt[pictures]"'


def test_names_that_look_like_parts_of_the_page_stay_names():
    result = dataclasses.replace(verification(), mapping="{body}{style}")
    text = page(result)
    assert "<title>{body}{style} departs</title>" in text
    assert text.count("<h1>") == 1


def test_text_that_cannot_be_encoded_is_escaped(tmp_path):
    result = dataclasses.replace(verification(), recording="r\ud800.npz")
    write_page(tmp_path / "r.html", result)
    assert "<td>r\\ud800.npz</td>" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize(("number", "least"), [(1, 200), (300, 300 * 15)])
def test_the_error_by_depth_can_be_read_however_many_there_are(number, least):
    close = Measure(2e-7, 1e-6, 3e-7, 1.0, 1.0, 1.0, True, True)
    names = [f"block_{index}" for index in range(number)]
    result = dataclasses.replace(
        verification(),
        endpoints=with_verdicts([ComparedEndpoint(name, name, (1,), (1,), close) for name in names], 1e-5),
        closeup=None,
    )
    assert int(re.search(r"min-width:(\d+)px", page(result))[1]) >= least


def test_a_tolerance_below_all_that_is_drawn_leaves_a_picture():
    nothing = Measure(0.0, 0.0, 0.0, 1.0, 1.0, 1.0, True, True)
    endpoints = with_verdicts([ComparedEndpoint("x", "x", (1,), (1,), nothing)], 1e-25)
    text = page(dataclasses.replace(verification(), endpoints=endpoints, tolerance=1e-25, closeup=None))
    bottom = max(float(y) for y in re.findall(r'class="grid"[^>]* y1="([-\d.]+)"', text))
    assert bottom > 100


def test_of_a_batch_the_one_that_differs_is_shown():
    truth = np.random.default_rng(3).normal(size=(3, 7, 5, 2)).astype(np.float32)
    ours = truth.copy()
    ours[1] += 1
    closeup = Closeup(RecordedEndpoint.of("x", truth), ours, 3)
    far = measure(closeup.recorded, ours)
    endpoints = with_verdicts([ComparedEndpoint("x", "x", truth.shape, truth.shape, far)], 1e-5)
    text = page(dataclasses.replace(verification(), endpoints=endpoints, closeup=closeup))
    assert "in element 1 of the batch of 3" in text


def test_every_column_and_every_fact_is_named_and_explained():
    text = page(verification())
    documented = table(section(read_document("verify.md"), "The columns"), "column")
    meanings = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text))
    for row in documented:
        (name,) = code(row["column"])
        shown = html.unescape(meanings[name.replace("\\|", "|")])
        assert shown.split(",")[0] == row["meaning"].split(",")[0], name
    text = text[text.index("<h2>Both sides") :]
    assert "<th></th>" not in text
    assert re.findall(r"<tr><th>(\w+)</th>", text) == [
        "weights", "recording", "input", "versions", "tolerance", "network", "tfpt", "python"
    ]  # fmt: skip


def test_it_says_what_was_compared():
    text = re.sub(r"<wbr>", "", page(verification()))
    assert '<p class="sides">net: w.pth against r.npz</p>' in text


def test_a_cause_without_a_row_of_the_mapping_has_no_empty_column():
    result = verification()
    [why] = result.explanation.diagnoses
    assert "<small>net.yaml:7</small>" in page(result)
    why = dataclasses.replace(why, places=(dataclasses.replace(why.places[0], row=""),))
    text = page(dataclasses.replace(result, explanation=Explanation((why,), True)))
    text = text[text.index('<section class="why">') : text.index("</section>")]
    assert "<small>" not in text
    assert text.count("<th>") == text.count("<td>") == 3


def test_a_number_is_not_broken_at_its_minus():
    assert '<span class="figure">1e-05</span>' in page(verification())
