"""What tfpt imports: neither torch nor TensorFlow where neither is needed, and nothing that it does not name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tfpt
from tests.commands.running import run

# Runs a command of tfpt as the installed program does and prints which of the heavy packages it imported.
PROGRAM = """
import sys
from tfpt.commands.main import main
try:
    main(sys.argv[1:], standalone_mode=False)
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "tensorflow", "transformers", "jax", "pandas", "scipy"} & sys.modules.keys()
print("imported:", *sorted(heavy))
"""


def imported_by(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def test_importing_tfpt_imports_neither_torch_nor_tensorflow():
    code = "import tfpt, sys; print({'torch', 'tensorflow', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_and_version_import_neither():
    assert imported_by("--help") == "imported:"
    assert imported_by("convert", "--help") == "imported:"
    assert imported_by("--version") == "imported:"


def test_converting_to_safetensors_imports_neither(sampled_rgb, tmp_path):
    out = tmp_path / "w.safetensors"
    assert (
        imported_by("convert", "--mapping", "i3d_rgb", "--checkpoint", sampled_rgb, "--out", out)
        == "imported:"
    )
    assert imported_by("diff", "--mapping", "i3d_rgb", sampled_rgb, out) == "imported:"


def test_looking_at_checkpoints_and_safetensors_imports_neither(tiny, tmp_path):
    out = tmp_path / "w.safetensors"
    assert run("convert", "--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", out).code == 0
    assert imported_by("inspect", "--stats", tiny.checkpoint) == "imported:"
    assert imported_by("inspect", "--stats", out) == "imported:"
    assert imported_by("diff", out, out) == "imported:"
    assert imported_by("mappings") == "imported:"


def test_a_sample_needs_neither(tmp_path):
    assert imported_by("sample", "--mapping", "i3d_rgb", "--out", tmp_path / "m") == "imported:"


def test_writing_pth_imports_torch_alone(tiny, tmp_path):
    words = ("--mapping", tiny.mapping, "--checkpoint", tiny.checkpoint, "--out", tmp_path / "w.pth")
    assert imported_by("convert", *words) == "imported: torch"


@pytest.mark.parametrize("name", tfpt.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(tfpt, name)
    assert name in dir(tfpt)
    if name != "__version__":
        assert value.__doc__


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = tfpt.nonesuch


PACKAGE = Path(tfpt.__file__).parent


def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the package: the room it is in (the first name behind ``tfpt.``), and what it says."""
    return [
        (path.relative_to(PACKAGE).with_suffix("").parts[0], ast.parse(path.read_text(encoding="utf-8")))
        for path in PACKAGE.rglob("*.py")
    ]


def test_no_package_imports_another_that_imports_it():
    """Imports go downwards: following them never leads back."""
    below: dict[str, set[str]] = {}
    for room, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tfpt."):
                below.setdefault(room, set()).add(node.module.split(".")[1])
    for room in below:
        below[room].discard(room)
    while below:
        lowest = [room for room in below if not below[room] & below.keys()]
        assert lowest, f"these import each other: {', '.join(sorted(below))}"
        for room in lowest:
            del below[room]


def test_the_engine_names_no_model():
    """Names of networks stand in docstrings and messages, as examples, and nowhere else."""
    networks = ("i3d", "bert", "inception", "mixed_", "kinetics")
    for room, tree in modules():
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            texts = [
                getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "module", None),
                node.value if isinstance(node, ast.Constant) and id(node) not in documentation else None,
            ]  # fmt: skip
            # A text with a space in it is a message.
            found = [
                text
                for text in texts
                if isinstance(text, str) and " " not in text and any(n in text.lower() for n in networks)
            ]
            assert not found, f"{room}: {found[0][:100]}"
