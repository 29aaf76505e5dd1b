"""Pages to test: names that would do harm, and very many tensors."""

from __future__ import annotations

import numpy as np

from tfpt.checking.comparison import TensorDiff
from tfpt.checking.histograms import histogram
from tfpt.planning import Finding
from tfpt.report.pages.matching import Entry, Join, Matching
from tfpt.tensors import TensorSpec

ATTACKS = [
    "</script><script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 2'>",
    "<!--<script>",
    '"onmouseover="window.harmed=3"',
    "a\x00\x1b[2J\u202eb\u2028c",
    "\ud800",
    "{body}&lt;&#x3c;",
    "__proto__",
    "constructor",
    " ",
]


def matching(left: dict[str, Entry], right: dict[str, Entry], joins: list[Join], findings=(), title="net: m"):
    """A page with these contents."""
    return Matching(
        title,
        "fits",
        True,
        ("TensorFlow", "PyTorch"),
        ("m.ckpt", "net:Net"),
        ("/", "."),
        left,
        right,
        joins,
        findings,
    )


def hostile() -> Matching:
    """Every text is an attack."""
    left, right, joins, findings = {}, {}, [], []
    for number, attack in enumerate(ATTACKS):
        one = f"{attack}/{attack}/kernel"
        other = f"{attack}.weight"
        left[one] = Entry(TensorSpec(one, (3, 5), "float32"), "ignored", attack, [number])
        right[other] = Entry(TensorSpec(other, (5, 3), "float32"), "written", "", [number])
        joins.append(Join((one,), (other,), f"layout {attack}", f"{attack}:7"))
        findings.append(
            Finding("unchecked", attack, where=attack, row=attack, nearest=(attack,), hint=attack)
        )
    findings.append(Finding("scope", ATTACKS[0], expected=ATTACKS[1], hint=ATTACKS[2]))
    return matching(left, right, joins, findings, title=ATTACKS[0])


def many(blocks: int = 50, layers: int = 25) -> Matching:
    """Four tensors in each layer of each block, compared, each with a histogram."""
    random = np.random.default_rng(7)
    values = random.normal(size=1000)
    counted = histogram(values, values * 1.01)
    left, right, joins = {}, {}, []
    for block in range(blocks):
        for layer in range(layers):
            for one, other, shape in (
                ("kernel", "weight", (3, 5)), ("bias", "bias", (5,)), ("gamma", "scale", (5,)), ("beta", "shift", (5,))
            ):  # fmt: skip
                name, written = (
                    f"net/block_{block}/layer_{layer}/{one}",
                    f"blocks.{block}.layers.{layer}.{other}",
                )
                state = "apart-3" if (block, layer, one) == (7, 3, "gamma") else "identical"
                left[name] = Entry(TensorSpec(name, shape, "float32"), state)
                right[written] = Entry(TensorSpec(written, shape[::-1], "float32"), state)
                spec = right[written].spec
                figures = TensorDiff(written, spec, 0.5, 0.25, 0.03, 0.99, False, False, histogram=counted)
                joins.append(Join((name,), (written,), "layout i o -> o i", "net.yaml:7", (figures,)))
    return matching(left, right, joins)
