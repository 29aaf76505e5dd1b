"""`tfpt init` on every pair of a checkpoint and a state dict whose conversion is known, without any help.

The table says how many parameters get the right values (variable and layout), how many the proposal flags as unsure,
and how many are wrong without a flag; rows against those of the hand-written mapping; and the time.

    python benchmarks/init.py                 the recorded conversions, and the mappings compared with TensorFlow
    python benchmarks/init.py bert mobilenet  those with these words in their names
    python benchmarks/init.py --variants      the recorded conversions at other depths and widths as well
    python benchmarks/init.py --weights       how the result depends on the weight of each kind of evidence
    python benchmarks/init.py --write         write the table to docs/init.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.zoo import rows_of  # noqa: E402
from tests.mappings.recorded import recorded, variants  # noqa: E402
from tests.proposal.pairs import Pair, Score, of_mapping, of_recorded  # noqa: E402
from tfpt.language.loader import bundled_mappings, load_mapping  # noqa: E402
from tfpt.proposal.evidence import Weights  # noqa: E402

PAGE = ROOT / "docs" / "init.md"
BEGIN, END = "<!-- written by benchmarks/init.py -->", "<!-- end -->"
# Mappings of models with variables of 100 million values, which compare nothing that the others do not.
_LARGE = frozenset(("slim_vgg16", "keras_vgg16"))


def pairs(words: list[str], folder: Path, *, also_variants: bool) -> Iterator[tuple[Pair, str]]:
    """Every pair, and the mapping that was written by hand for it."""
    cases = [*recorded(), *(variants() if also_variants else [])]
    for number, case in enumerate(cases):
        if not words or any(word in str(case) for word in words):
            place = folder / str(number)
            place.mkdir()
            yield of_recorded(case, place), case.mapping
    known = {case.mapping for case in cases}
    for name in bundled_mappings():
        if name not in known and name not in _LARGE and (not words or any(word in name for word in words)):
            yield of_mapping(name), name


def line(pair: Pair, mapping: str, score: Score) -> str:
    cells = (
        pair.name,
        f"{len(pair.source.specs):,}",
        f"{score.parameters:,}",
        f"{score.right / score.parameters:.1%}",
        f"{score.unsure / score.parameters:.1%}",
        len(score.wrong) or "—",
        f"{score.rows} / {rows_of(load_mapping(mapping))}",
        f"{score.seconds:.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def table(
    words: list[str], weights: Weights, *, also_variants: bool, quiet: bool = False
) -> tuple[list[str], float, float]:
    """The lines of the table; the shares of parameters that are right, and wrong without a flag."""
    lines = [
        "| pair | variables | parameters | right | unsure | wrong, not flagged | rows, by hand | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    total = right = unsure = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for pair, mapping in pairs(words, Path(folder), also_variants=also_variants):
            score = pair.score(Path(folder), weights)
            lines.append(line(pair, mapping, score))
            if not quiet:
                print(lines[-1], *score.wrong[:2], flush=True)
            total += score.parameters
            right += score.right
            unsure += score.unsure
            wrong += len(score.wrong)
    lines.append(
        f"| **all** | | {total:,} | **{right / total:.1%}** | {unsure / total:.1%} | **{wrong / total:.2%}** | | |"
    )
    if not quiet:
        print(lines[-1])
    return lines, right / total, wrong / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.weights:
        for name, weight in Weights().explained().items():
            for factor in (0.5, 2.0):
                changed = replace(Weights(), **{name: weight * factor})
                _, right, wrong = table(
                    arguments.words, changed, also_variants=arguments.variants, quiet=True
                )
                print(
                    f"{name:10} × {factor}: {right:.2%} right, {wrong:.2%} wrong without a flag", flush=True
                )
        return
    lines, _, _ = table(arguments.words, Weights(), also_variants=arguments.variants)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
