"""Which bundled mapping fits a checkpoint, by its names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.commands.running import run
from tests.mappings.recorded import read
from tfpt.checking.ranking import rank
from tfpt.execution.sinks.bundle import write_bundle


def write(folder: Path, names: list[str]) -> Path:
    write_bundle(folder / "m.ckpt", dict.fromkeys(names, np.zeros(1, np.float32)), write_state=False)
    return folder / "m.ckpt"


def test_the_mapping_of_a_recorded_conversion_fits_best(tmp_path: Path) -> None:
    for name in ("bert", "albert"):
        (tmp_path / name).mkdir()
        best, *others = rank(write(tmp_path / name, list(read(name).shapes)))
        assert (best.mapping.name, best.score) == (name, 1)
        assert all(other.score < 1 for other in others)


def test_slots_do_not_count_and_foreign_weights_do(tmp_path: Path) -> None:
    names = [name for name in read("bert").shapes if "adam" not in name]
    best = rank(write(tmp_path, [f"module/{name}" for name in names] + ["other/kernel"]), ["bert"])[0]
    assert best.scope == "module"
    assert (best.weights - best.read, best.matched) == (1, best.rows)
    assert 0.9 < best.score < 1


def test_a_checkpoint_of_something_else_has_no_candidate(tmp_path: Path) -> None:
    path = write(tmp_path, ["some/thing/else"])
    assert rank(path) == []
    found = run("mappings", "--for", path)
    assert found.code == 0
    assert found.out.startswith("no installed mapping fits the names in this checkpoint")


def test_the_command_lists_the_best_first_and_says_how_to_convert(tmp_path: Path) -> None:
    path = write(tmp_path, list(read("bert").shapes))
    found = run("mappings", "--for", path)
    lines = found.out.splitlines()
    assert lines[1].split()[:4] == ["bert", "46", "of", "46"]
    assert (
        lines[-1]
        == f"next      tfpt convert --mapping bert --config config.json --checkpoint {path} --out FILE"
    )
    first = run("mappings", "--for", path, "--json").json[0]
    assert first == {
        "mapping": "bert",
        "scope": "",
        "score": 1.0,
        "read": 46,
        "weights": 46,
        "matched": 12,
        "rows": 12,
    }
    assert run("mappings", "--for", tmp_path / "nothing").code == 2


def test_ranking_imports_neither_torch_nor_what_compiles_mappings(tmp_path: Path) -> None:
    path = write(tmp_path, list(read("bert").shapes))
    code = (
        "import sys; from tfpt.checking.ranking import rank; rank(sys.argv[1]); rank(sys.argv[1]); "
        "print(*{'torch', 'tensorflow', 'pydantic', 'yaml', 'tfpt.language.compiler'} & sys.modules.keys())"
    )
    words = [sys.executable, "-c", code, str(path)]
    environment = {**os.environ, "TFPT_CACHE": str(tmp_path / "cache")}
    first, second = (
        subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.split()
        for _ in range(2)
    )
    assert "torch" not in first
    assert "tfpt.language.compiler" in first
    assert set(second) <= {"yaml"}
