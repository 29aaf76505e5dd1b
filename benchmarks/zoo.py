"""The bundled mappings against what official converters do: the table in docs/zoo.md.

Each recorded conversion (tests/data/zoo) is repeated with random values: tfpt converts them, numpy does what the
official converter was observed to do, and the two are compared bit for bit. Mappings without such a record are
converted from a sample and listed without a comparison; tests/mappings compares them with TensorFlow's outputs.

    python benchmarks/zoo.py            print the table
    python benchmarks/zoo.py --write    write it to docs/zoo.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import tfpt  # noqa: E402
from tests.mappings.recorded import Recorded, recorded  # noqa: E402
from tfpt.language.library import libraries  # noqa: E402
from tfpt.language.loader import bundled_mappings, load_mapping  # noqa: E402
from tfpt.language.mapping import Mapping  # noqa: E402

PAGE = ROOT / "docs" / "zoo.md"
BEGIN, END = "<!-- written by benchmarks/zoo.py -->", "<!-- end -->"


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


def measured(mapping: Mapping, case: Recorded | None, folder: Path) -> Line:
    """One mapping, converted and compared."""
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
    truth = "—" if case is None else _compared(case.expected(variables), load_file(out))
    out.unlink()
    return Line(mapping, done.plan.variables, len(done.plan.writes), truth, rows_of(mapping), seconds)


def _compared(expected: dict[str, np.ndarray | None], written: dict[str, np.ndarray]) -> str:
    if set(expected) != set(written):
        return f"{len(set(expected) ^ set(written))} parameters differ in name"
    pairs = [(written[name], value) for name, value in expected.items() if value is not None]
    if all(np.array_equal(got, value) for got, value in pairs):
        return "bit-equal"
    return f"{max(_relative(got, value) for got, value in pairs):.1e}"


def _relative(got: np.ndarray, value: np.ndarray) -> float:
    if got.shape != value.shape:
        return float("inf")
    scale = float(np.abs(value).max(initial=0)) or 1.0
    return float(np.abs(got.astype(np.float64) - value).max(initial=0)) / scale


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
    lines = [
        "| mapping | what it is | variables | parameters | against the official converter | rows | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in bundled_mappings():
            line = measured(load_mapping(name), cases.get(name), Path(folder))
            lines.append(str(line))
            print(line, flush=True)
    if arguments.write:
        text = PAGE.read_text()
        before, _, rest = text.partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
