"""The bundled mappings against official converters and TensorFlow's outputs: the table in docs/zoo.md.

Each recorded conversion (tests/data/zoo) is repeated with random values: tfpt converts them, numpy does what the
official converter was observed to do, and the two are compared bit for bit. Then the tests in tests/mappings that
compare with something else are run, those with the fixture `agree`; the table has the largest difference that they
measured. Mappings without a record are converted from a sample.

    python benchmarks/zoo.py            print the table
    python benchmarks/zoo.py --write    write it to docs/zoo.md

Exits with 1 if a mapping was compared with nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import tfpt  # noqa: E402
from tests.mappings.agreement import AGREEMENTS, relative_difference  # noqa: E402
from tests.mappings.recorded import Recorded, recorded  # noqa: E402
from tfpt.language.library import libraries  # noqa: E402
from tfpt.language.loader import bundled_mappings, load_mapping  # noqa: E402
from tfpt.language.mapping import Mapping  # noqa: E402

PAGE = ROOT / "docs" / "zoo.md"
BEGIN, END = "<!-- written by benchmarks/zoo.py -->", "<!-- end -->"


class Agreements:
    """A plugin for pytest that runs the tests with the fixture `agree`, and keeps what they measured.

    Attributes:
        measured: For each mapping what it was compared with, and the largest relative difference.
    """

    def __init__(self) -> None:
        self.measured: dict[str, dict[str, float]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if "agree" in getattr(item, "fixturenames", ())]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for (mapping, other), difference in session.config.stash.get(AGREEMENTS, {}).items():
            self.measured.setdefault(mapping, {})[other] = difference


def agreements() -> dict[str, dict[str, float]]:
    """What the tests of the mappings measure; ends the program if one of them fails."""
    plugin = Agreements()
    arguments = [
        "-q",
        "--capture=no",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        str(ROOT / "tests/mappings"),
    ]
    if status := pytest.main(arguments, plugins=[plugin]):
        sys.exit(int(status))
    return plugin.measured


@dataclass(frozen=True)
class Line:
    """One mapping in the table."""

    mapping: Mapping
    variables: int
    parameters: int
    truth: str
    rows: int
    seconds: float

    def __str__(self) -> str:
        cells = (
            f"`{self.mapping.name}`",
            self.mapping.summary,
            self.variables,
            self.parameters,
            self.truth,
            self.rows,
            f"{self.seconds:.2f}",
        )
        return f"| {' | '.join(map(str, cells))} |"


def measured(mapping: Mapping, case: Recorded | None, tested: dict[str, float], folder: Path) -> Line:
    """One mapping, converted and compared.

    Args:
        mapping: The mapping.
        case: The recorded conversion, if there is one.
        tested: What its tests compare it with, and the largest relative difference.
        folder: Where files are written.
    """
    out = folder / f"{mapping.name}.safetensors"
    if case is None:
        tfpt.sample(mapping.name, folder / mapping.name)
        options = {"checkpoint": folder / mapping.name}
    else:
        variables = case.variables()
        (folder / mapping.name).mkdir()
        checkpoint = case.write(folder / mapping.name, variables)
        options = {"checkpoint": checkpoint, "config": case.config, "use_model": case.has_model}
    tfpt.convert(mapping.name, out=out, **options)  # imports the model's package
    start = time.perf_counter()
    done = tfpt.convert(mapping.name, out=out, overwrite=True, **options)
    seconds = time.perf_counter() - start
    truths = [f"{_closeness(difference)}: {other}" for other, difference in sorted(tested.items())]
    if case is not None:
        truths = [f"{_compared(case.expected(variables), load_file(out))}: the official converter", *truths]
    out.unlink()
    truth = "; ".join(truths)
    return Line(mapping, done.plan.variables, len(done.plan.writes), truth, rows_of(mapping), seconds)


def _compared(expected: dict[str, np.ndarray | None], written: dict[str, np.ndarray]) -> str:
    if set(expected) != set(written):
        return f"{len(set(expected) ^ set(written))} parameters differ in name"
    pairs = [(written[name], value) for name, value in expected.items() if value is not None]
    return _closeness(max(relative_difference(got, value) for got, value in pairs))


def _closeness(difference: float) -> str:
    return f"{difference:.1e}" if difference else "bit-equal"


def rows_of(mapping: Mapping) -> int:
    """The lines of rows and scopes that are written in the mapping itself, not in the library or in shared parts."""
    places = {
        (position.file, position.line)
        for row in mapping.alternatives[0].rows
        for position in (row.position, *row.scopes)
    }
    shared = {path.name for path in libraries().values()}
    return sum(Path(file).name == mapping.path.name and Path(file).name not in shared for file, _ in places)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table to docs/zoo.md")
    arguments = parser.parse_args()
    # The table without a suffix, if a mapping has several.
    cases = {case.mapping: case for case in sorted(recorded(), key=lambda case: case.name == case.mapping)}
    tested = agreements()
    compared_with_nothing: list[str] = []
    lines = [
        "| mapping | what it is | variables | parameters | largest relative difference to | rows | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in bundled_mappings():
            line = measured(load_mapping(name), cases.get(name), tested.get(name, {}), Path(folder))
            lines.append(str(line))
            print(line, flush=True)
            if not line.truth:
                compared_with_nothing.append(name)
    if arguments.write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + rest.partition(END)[2])
    if compared_with_nothing:
        sys.exit(f"compared with nothing: {', '.join(compared_with_nothing)}")


if __name__ == "__main__":
    main()
