"""The HTML report of a verification: one self-contained file that fits any screen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from tfpt.packages import package
from tfpt.report.html import escape
from tfpt.report.pages.document import check_path, document, write
from tfpt.report.pages.verification_pictures import closeup, depth_chart
from tfpt.report.verifications import (
    MARKS,
    by_how_much,
    explained,
    facts_in_words,
    headline,
    notes,
    repaired_text,
    short,
    unproven,
)
from tfpt.tensors import format_shape
from tfpt.verification import Verification
from tfpt.verification.agreement import VERDICTS, ComparedEndpoint
from tfpt.verification.diagnosis import Diagnosis, Place

# As in docs/verify.md.
_COLUMNS = {
    "rel": "the norm of the difference divided by the recorded norm, in a normal run of the model",
    "own": "the same with all earlier endpoints replaced by the recorded ones: the error of the endpoint's own layers",
    "max rel": "the largest difference divided by the largest recorded value",
    "max abs": "the largest difference",
    "cosine": "the cosine of the angle between the two, as vectors",
    "mean |x|": "the mean absolute value of the whole activation, computed by PyTorch",
    "TensorFlow's": "the same, recorded from TensorFlow",
}


def check_page(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Check that the page can be written, before anything is computed.

    Raises:
        SinkError: It cannot be written.
        TfptError: A package needed for its pictures is not installed.
    """
    for name in ("PIL.Image", "matplotlib"):
        package(name)
    check_path(path, overwrite)


def write_page(path: str | os.PathLike[str], result: Verification, *, overwrite: bool = False) -> None:
    """Write the page atomically.

    Raises:
        SinkError: It exists already, or cannot be written.
    """
    check_page(path, overwrite)
    write(path, page(result), overwrite=overwrite)


def page(result: Verification) -> str:
    """The page as text."""
    verdict, rest = headline(result)
    kind, mark = ("good", MARKS["agrees"]) if result.agrees else ("bad", MARKS["departs"])
    body = "\n".join(
        [
            f'<header class="{kind}"><p class="sides">{_soft(_sides(result))}</p>',
            f"<h1><b>{mark} {verdict}</b>{_soft(rest)}</h1></header>",
            *(_diagnosis(one, result.explanation.seconds) for one in result.explanation.diagnoses),
            _repaired(result),
            *(f'<p class="note">{escape(note)}</p>' for note in notes(result)),
            "<h2>Error by depth</h2>",
            f'<figure><div class="wide">{depth_chart(result)}</div>'
            "<figcaption>The norm of the difference relative to the recorded norm. Filled: the model running "
            "unchanged. Hollow diamonds: each endpoint's own layers, given the values that TensorFlow recorded before "
            "them; at the bottom they are bit-identical.</figcaption></figure>",
            *_closeup(result),
            "<h2>Endpoints</h2>",
            _table(result),
            f'<dl class="legend">{"".join(_legend(result))}</dl>',
            "<h2>Both sides</h2>",
            _facts(result),
        ]
    )
    return document(f"{result.mapping} {verdict}", _STYLE, body)


def _sides(result: Verification) -> str:
    return f"{result.mapping}: {result.weights} against {result.recording}"


def _diagnosis(diagnosis: Diagnosis, seconds: float) -> str:
    name = escape(diagnosis.name)
    if not diagnosis.proven:
        seen = "".join(f"<li>{escape(sign.shows)}</li>" for sign in diagnosis.signs)
        usual = "".join(f"<li>{escape(suspect)}</li>" for suspect in diagnosis.suspects)
        return (
            f'<section class="why"><h2>Why {name} departs is not proven</h2>'
            f"<p>{escape(_sentence(unproven(diagnosis, seconds)))}</p>"
            + (f"<p>The difference shows:</p><ul>{seen}</ul>" if seen else "")
            + f"<p>Usual causes, likeliest first:</p><ol>{usual}</ol></section>"
        )
    rows = "".join(_place(place) for place in diagnosis.places)
    where = " everywhere" if diagnosis.everywhere else ""
    shown = "".join(f"<p>{escape(_sentence(line))}</p>" for line in explained(diagnosis))
    advice = "".join(f"<p><b>Next:</b> {escape(text)}</p>" for text in diagnosis.advice)
    head = "<tr><th>module</th><th>PyTorch</th><th>TensorFlow</th></tr>"
    return (
        f'<section class="why"><h2>Why {name} departs</h2>'
        f"<p>Proven by trial: {escape(diagnosis.cause)}{where}.</p>"
        f'<div class="wide"><table>{head}{rows}</table></div>{shown}{advice}</section>'
    )


def _place(place: Place) -> str:
    # The mapping's row that writes the weights involved, if there are any.
    row = f"<br><small>{escape(place.row)}</small>" if place.row else ""
    return (
        f"<tr><td><code>{escape(place.path or 'the model')}</code>{row}</td><td>{escape(place.actual)}</td>"
        f"<td>{escape(place.expected)}</td></tr>"
    )


def _repaired(result: Verification) -> str:
    if not result.explanation.repaired:
        return ""
    return f"<p>{_sentence(repaired_text(result))}</p>"


def _closeup(result: Verification) -> Iterator[str]:
    if result.closeup is None:
        return
    first = next(one for one in result.endpoints if one.name == result.closeup.recorded.name)
    sampled = (
        ""
        if result.closeup.recorded.whole
        else f" Shown: the {result.closeup.recorded.values.size} recorded samples."
    )
    yield f"<h2>{escape(first.name)} in detail</h2><p>{escape(_sentence(by_how_much(first)))}{sampled}</p>"
    yield closeup(result.closeup)


def _table(result: Verification) -> str:
    heads = ("", "endpoint", "shape", *_COLUMNS, "verdict")
    head = "".join(f'<th title="{escape(_COLUMNS.get(name, ""))}">{name}</th>' for name in heads)
    return (
        f'<div class="wide"><table class="figures"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_row(one) for one in result.endpoints)}</tbody></table></div>"
    )


def _row(one: ComparedEndpoint) -> str:
    kind = one.verdict.replace(" ", "-")
    shape = one.shape if one.shape is not None else one.shape_tf
    text = format_shape(shape) if shape is not None else ""
    if one.verdict == "shape" and one.shape_tf is not None:
        text += f", recorded {format_shape(one.shape_tf)}"
    figures = [""] * 7
    if one.free is not None:
        theirs = one.free.mean_abs_tf
        figures = [
            short(one.free.rel),
            short(one.own.rel) if one.own is not None else "",
            short(one.free.max_rel),
            short(one.free.max_abs),
            f"{one.free.cosine:.6f}",
            f"{one.free.mean_abs:.5g}",
            "" if theirs is None else f"{theirs:.5g}",
        ]
    cells = "".join(f'<td class="number">{figure}</td>' for figure in figures)
    note = f" <small>{escape(one.note)}</small>" if one.note else ""
    return (
        f'<tr class="{kind}"><td>{MARKS[one.verdict]}</td><td title="{escape(one.path)}">{escape(one.name)}</td>'
        f"<td>{text}</td>{cells}<td><b>{one.verdict}</b>{note}</td></tr>"
    )


def _legend(result: Verification) -> Iterator[str]:
    for verdict, meaning in VERDICTS.items():
        if any(one.verdict == verdict for one in result.endpoints):
            yield f"<dt>{MARKS[verdict]} {verdict}</dt><dd>{escape(meaning)}</dd>"
    for name, meaning in _COLUMNS.items():
        yield f"<dt>{name}</dt><dd>{escape(meaning)}</dd>"


def _facts(result: Verification) -> str:
    theirs = result.facts["tensorflow"]
    rows = [("weights", result.weights), ("recording", result.recording)]
    labels = ("input", "versions", "tolerance")
    rows += [
        (name, line.removeprefix(f"{name} "))
        for name, line in zip(labels, facts_in_words(result), strict=True)
    ]
    rows += [(name, str(theirs[name])) for name in ("network", "format") if theirs.get(name)]
    rows += [
        ("tfpt", str(result.facts["pytorch"]["tfpt"])),
        ("python", str(result.facts["pytorch"]["python"])),
    ]
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f'<div class="wide"><table>{cells}</table></div>'


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _soft(text: str) -> str:
    """Escaped, with break opportunities in long paths, and none in numbers."""
    text = re.sub(r"(?<=\w)([._/])(?=[A-Za-z])", r"\1<wbr>", escape(text))
    return re.sub(r"\b\d[\d.]*e-\d+", r'<span class="figure">\g<0></span>', text)


_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 20px 16px 60px; }
header { border-left: 6px solid; padding: 2px 0 2px 16px; margin-bottom: 20px; }
header.good { border-color: var(--good); } header.bad { border-color: var(--bad); }
header.good b { color: var(--good); } header.bad b { color: var(--bad); }
.sides { margin: 0; color: var(--dim); }
h1 { font-size: 1.45rem; line-height: 1.3; margin: 0; font-weight: 500; overflow-wrap: break-word; }
h2 { font-size: 1.15rem; margin: 34px 0 8px; }
section.why { background: var(--soft); border-radius: 8px; padding: 2px 18px 8px; margin: 16px 0; }
section.why h2 { margin-top: 14px; }
section.why td code { white-space: nowrap; } section.why td { min-width: 7rem; }
section.why small { color: var(--dim); overflow-wrap: anywhere; }
.figure { white-space: nowrap; } .sides { overflow-wrap: anywhere; }
.note { color: var(--dim); }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; }
th, td { padding: 4px 12px 4px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { color: var(--dim); font-weight: 500; white-space: nowrap; }
.figures td { white-space: nowrap; } .figures small { color: var(--dim); white-space: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.figures th:nth-child(n+4):nth-child(-n+10) { text-align: right; }
tr.departs, tr.shape, tr.not-finite { background: var(--soft); }
tr.agrees td:first-child, tr.agrees b { color: var(--good); }
tr.departs td:first-child, tr.departs b, tr.shape td:first-child, tr.shape b,
tr.not-finite td:first-child, tr.not-finite b { color: var(--bad); }
tr.follows td:first-child, tr.follows b { color: var(--follow); }
tr.missing td:first-child, tr.missing b { color: var(--odd); }
tr b { font-weight: 600; }
.legend { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; font-size: 0.88rem; color: var(--dim); }
.legend dd { margin: 0; }
figure { margin: 0 0 12px; } figcaption { font-size: 0.85rem; color: var(--dim); max-width: 70ch; }
.pair { display: flex; flex-wrap: wrap; gap: 20px; } .pair figure { flex: 1 1 300px; max-width: 460px; }
.chart { width: 100%; height: auto; display: block; }
.chart text { font: 11px system-ui, sans-serif; fill: var(--dim); }
.chart text.bad { fill: var(--bad); font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; } .frame { fill: none; stroke: var(--rule); }
.line { fill: none; stroke: var(--dim); stroke-width: 1.2; opacity: 0.6; }
.tolerance { stroke: var(--accent); stroke-width: 1.4; stroke-dasharray: 6 4; }
.chart text.tolerance-text { fill: var(--accent); }
.hit { fill: transparent; } g:hover > .hit { fill: var(--soft); }
.own { fill: var(--ground); stroke: var(--accent); stroke-width: 1.5; }
.mark { stroke-width: 2.6; fill: none; stroke-linecap: round; }
.mark.agrees { fill: var(--good); } .mark.follows { fill: var(--follow); }
.mark.missing { stroke: var(--odd); }
.mark.departs, .mark.shape, .mark.not-finite { stroke: var(--bad); }
.points { stroke: var(--accent); stroke-width: 3; stroke-linecap: round; opacity: 0.55; fill: none; }
.bars { stroke: var(--bad); fill: none; }
.tiles th, .tiles td { border: 0; padding: 2px 6px 2px 0; font-size: 0.8rem; vertical-align: middle;
  white-space: normal; }
.tiles img { width: clamp(56px, 12vw, 128px); image-rendering: pixelated; display: block;
  border: 1px solid var(--rule); }
.bar { display: inline-block; width: min(300px, 44%); margin: 8px 16px 6px 0; font-size: 0.8rem; color: var(--dim); }
.bar > div:nth-child(2) { height: 12px; border: 1px solid var(--rule); }
.bar > div:last-child { display: flex; justify-content: space-between; }
"""
