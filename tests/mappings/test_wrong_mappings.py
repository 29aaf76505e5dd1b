"""A mapping that is wrong in one place is caught: code 1 or 2, the place named, no file written.

Every row of i3d_rgb.yaml and bert.yaml is dropped, doubled, misspelled on either side, and changed in its layout, its
constant or its index, one at a time, in the text of the file, so that the line of the mistake is known.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.commands.running import run
from tests.conftest import DATA
from tfpt.language.loader import bundled_mappings

# A row, alone on its line.
_ROW = re.compile(r"^\s*- \{(?:tf|pt): ")


@dataclass(frozen=True)
class Mutant:
    """A mapping with one mistake.

    Attributes:
        mistake: What was done, for the test's name.
        text: The whole file.
        row: The line of the row that was changed.
        lines: The lines of which one at least must be named; none where the mistake leaves the row's own findings
            without a row: then the parameters that the row wrote must be named.
    """

    mistake: str
    text: str
    row: int
    lines: frozenset[int]

    def __str__(self) -> str:
        return self.mistake


def mutants_of(name: str) -> Iterator[Mutant]:
    lines = bundled_mappings()[name].read_text().splitlines()
    sections = _sections(lines)
    rows = Counter(section for line, section in zip(lines, sections, strict=True) if _ROW.match(line))
    for index, line in enumerate(lines):
        section = sections[index]
        if not _ROW.match(line) or section not in ("layers", "scopes", "weights"):
            continue
        number = index + 1

        def mutant(mistake, new, at=(number,), index=index, number=number, section=section):
            changed = [*lines[:index], *new, *lines[index + 1 :]]
            if not new and rows[section] == 1:  # a section without rows would be a mistake of its own
                changed.remove(f"{section}:")
            return Mutant(f"{number}: {mistake}", "\n".join(changed) + "\n", number, frozenset(at))

        # A row that is not there has no line, nor one that has become too narrow to reach its variables.
        yield mutant("dropped", [], ())
        yield mutant("doubled", [line, line], (number, number + 1))
        for side in ("tf", "pt"):
            for mistake, changed in _misspelled(line, side):
                yield mutant(f"{mistake} in {side}", [changed])
        for mistake, changed in _changed(line):
            yield mutant(mistake, [changed])
        for mistake, changed in _narrowed(line):
            yield mutant(mistake, [changed], ())


def _sections(lines: list[str]) -> list[str]:
    found, current = [], ""
    for line in lines:
        key = re.match(r"(\w+):", line)
        current = key[1] if key else current
        found.append(current)
    return found


def _misspelled(line: str, side: str) -> Iterator[tuple[str, str]]:
    """The first and the last component of a name, each with a letter more."""
    found = re.search(rf'\b{side}: ("[^"]*"|[^,}}]*)', line)
    if found is None:
        return
    name = found[1]
    bare = name.strip('"')
    literal = [piece for piece in re.split(r"[/.]|\{[^}]*\}", bare) if piece]
    places = {"first": literal[0], "last": literal[-1]} if len(literal) > 1 else {"last": literal[0]}
    for where, piece in places.items():
        start = bare.index(piece) if where == "first" else bare.rindex(piece)
        wrong = f'"{bare[:start]}{piece[0]}x{piece[1:]}{bare[start + len(piece) :]}"'
        yield f"{where} component misspelled", line.replace(f"{side}: {name}", f"{side}: {wrong}", 1)


def _changed(line: str) -> Iterator[tuple[str, str]]:
    swaps = {
        # Axes of unequal size in every kernel of 1×1 and more, but for one.
        '-> o i t h w"': '-> i o t h w"',
        '-> c"': '-> 1 c"',
        '"i o -> o i"': '"i o -> i o"',
        '"v d -> v d"': '"v d -> d v"',
        '"o i -> o i"': '"o i -> i o"',
        '"o -> o"': '"o -> o 1"',
        '"v -> v"': '"v -> 1 v"',
        "shape: []": "shape: [1]",
        "like: batch3d.bias": "like: conv3d.weight",
        "like: batch3d": "like: batch3e",
        'branch_{b}.0"': 'branch_{b}.1"',
        'branch_{b}.1"': 'branch_{b}.0"',
        'branch_3.1"': 'branch_3.0"',
        'branch_2.1"': 'branch_2.0"',
        'branch_0"': 'branch_1"',
        "layer_{i}": "layer_{j}",
        "layer.{i:int}": "layer.{i+1}",
        "layer: head": "layer: unit3d",
        "layer: dense": "layer: norm",
        "layer: norm": "layer: dense",
    }
    yield from _replaced(line, swaps)
    if "Branch_{b:1|2}" in line:
        one_off = line.replace("Branch_{b:1|2}", "Branch_{b:int}").replace("branch_{b}", "branch_{b+1}")
        yield "branch_{b+1} for branch_{b}", one_off


def _narrowed(line: str) -> Iterator[tuple[str, str]]:
    swaps = {"{b:1|2}": "{b:2|3}", "query|key|value": "query|key", "layer: unit3d": "layer: head"}
    yield from _replaced(line, swaps)


def _replaced(line: str, swaps: dict[str, str]) -> Iterator[tuple[str, str]]:
    for right, wrong in swaps.items():
        if right in line:
            yield f"{wrong} for {right}", line.replace(right, wrong)


def _named_lines(text: str, file: str) -> set[int]:
    """Every line of the mapping that the output names: `file:24`, or as a scope: `(in the scope at line 36)`."""
    numbers = re.findall(rf"{re.escape(file)}:(\d+)|at line (\d+)", text)
    return {int(number) for pair in numbers for number in pair if number}


@pytest.fixture(scope="module")
def checkpoints(sampled_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """For each mapping a checkpoint that fits it, and the manifest."""
    with safe_open(DATA / "bert/gold.safetensors", "numpy") as file:
        gold = {
            name: {"dtype": "float32", "shape": file.get_slice(name).get_shape()}
            for name in sorted(file.keys())
        }
    i3d = bundled_mappings()["i3d_rgb"].with_name("i3d_rgb.manifest.json").read_text()
    return {"i3d_rgb": (sampled_rgb, i3d), "bert": (DATA / "bert/tf/model.ckpt", json.dumps(gold))}


@pytest.fixture(scope="module")
def written_by(
    checkpoints: dict[str, tuple[Path, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[int, set[str]]]:
    """For each mapping, line by line, the parameters that the row there writes, or the layer that stands there."""
    found: dict[str, dict[int, set[str]]] = {}
    for name, (checkpoint, manifest) in checkpoints.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / f"{name}.yaml").write_text(bundled_mappings()[name].read_text())
        (folder / f"{name}.manifest.json").write_text(manifest)
        words = ("--mapping", folder / f"{name}.yaml", "--checkpoint", checkpoint, "--json")
        [plan] = run("convert", "--dry-run", *words).json
        for step in plan["steps"]:
            for line in _named_lines(step["row"], f"{name}.yaml"):
                written = {write["name"] for write in step["writes"]}
                found.setdefault(name, {}).setdefault(line, set()).update(written)
    return found


def convert(
    folder: Path, name: str, text: str, checkpoint: Path, manifest: str
) -> tuple[int, str, list[Path]]:
    """Exit code, everything that was found, and the files written."""
    (folder / f"{name}.yaml").write_text(text)
    (folder / f"{name}.manifest.json").write_text(manifest)
    out = folder / "out"
    out.mkdir()
    words = ("--mapping", folder / f"{name}.yaml", "--checkpoint", checkpoint, "--json")
    found = run("convert", *words, "--out", out / "w.safetensors")
    facts = found.json
    findings = facts[0]["findings"] if isinstance(facts, list) else facts
    return found.code, json.dumps(findings, indent=1), list(out.iterdir())


@pytest.mark.parametrize("name", ["i3d_rgb", "bert"])
def test_unchanged_the_mapping_fits(name, checkpoints, tmp_path):
    text = bundled_mappings()[name].read_text()
    code, findings, written = convert(tmp_path, name, text, *checkpoints[name])
    assert (code, findings) == (0, "[]")
    assert [path.name for path in written] == ["w.safetensors"]


@pytest.mark.parametrize(
    ("name", "mutant"),
    [(name, mutant) for name in ("i3d_rgb", "bert") for mutant in mutants_of(name)],
    ids=lambda value: str(value),
)
def test_a_mistake_is_found_and_named_and_nothing_is_written(name, mutant, checkpoints, written_by, tmp_path):
    code, findings, written = convert(tmp_path, name, mutant.text, *checkpoints[name])
    assert code in (1, 2), findings
    assert written == []
    assert f"{name}.yaml" in findings
    if mutant.lines:
        named = _named_lines(findings, f"{name}.yaml")
        assert named & mutant.lines, f"{sorted(named)} are named, not {sorted(mutant.lines)}:\n{findings}"
        return
    # Another row may seem to be the one that wants a variable for it: then it is absent, not missing.
    missing = set(re.findall(r"(?:no row writes the parameter |: \"it, for )([^\s\"]+)", findings))
    assert missing <= written_by[name][mutant.row]
    assert missing
    if mutant.mistake.endswith("dropped"):
        assert missing == written_by[name][mutant.row]
