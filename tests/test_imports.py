"""What tfpt imports: no torch and no TensorFlow where they are not needed, and packages in one direction only."""

from __future__ import annotations

import ast
import configparser
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


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = tfpt.nonesuch


PACKAGE = Path(tfpt.__file__).parent

# A package may import those before it; packages in one group do not import each other, except in the first.
LAYERS = (
    ("errors", "visible", "tensors", "nearest", "folding", "packages", "_version"),
    ("io",),
    ("nn",),
    ("operations",),
    ("language",),
    ("formats",),
    ("targets",),
    ("planning",),
    ("execution",),
    ("networks",),
    ("profiling",),
    ("checking",),
    ("verification",),
    ("proposal", "modelwriting"),
    ("report",),
    ("video",),
    ("commands", "api"),
    ("__init__", "__main__"),
)
LAYER = {package: number for number, layer in enumerate(LAYERS) for package in layer}


def modules() -> list[tuple[Path, str, ast.Module]]:
    """Every module: its path, the package it is in (the name after ``tfpt.``), and its syntax tree."""
    return [
        (
            path.relative_to(PACKAGE.parent),
            path.relative_to(PACKAGE).with_suffix("").parts[0],
            ast.parse(path.read_text(encoding="utf-8")),
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def imports() -> list[tuple[str, str, str]]:
    """Every import of tfpt in tfpt: where (path:line), the importing package, and the imported package."""
    found = []
    for path, package, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}:{node.lineno} is a relative import"
                module = node.module or ""
                names = [f"tfpt.{each.name}" for each in node.names] if module == "tfpt" else [module]
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            else:
                continue
            parts = [name.split(".") for name in names]
            found += [
                (f"{path}:{node.lineno}", package, name[1] if len(name) > 1 else "__init__")
                for name in parts
                if name[0] == "tfpt"
            ]
    return found


def test_every_package_has_a_layer():
    assert {package for _, package, _ in modules()} == LAYER.keys()


def test_imports_follow_the_order_of_the_layers():
    wrong = [
        f"{where} imports tfpt.{imported}"
        for where, package, imported in imports()
        if package != imported
        and (LAYER[imported] > LAYER[package] or (LAYER[imported] == LAYER[package] and LAYER[package]))
    ]
    assert not wrong, "\n".join(wrong)


def test_only_commands_and_the_api_import_video():
    wrong = [
        f"{where} imports tfpt.video"
        for where, package, imported in imports()
        if imported == "video" and package not in ("video", "commands", "api")
    ]
    assert not wrong, "\n".join(wrong)


def test_packages_do_not_import_each_other():
    """No cycle, whatever the order of the layers."""
    below: dict[str, set[str]] = {}
    for _, package, imported in imports():
        if imported != package:
            below.setdefault(package, set()).add(imported)
    while below:
        lowest = [package for package in below if not below[package] & below.keys()]
        assert lowest, f"these import each other: {', '.join(sorted(below))}"
        for package in lowest:
            del below[package]


def test_the_engine_names_no_model():
    """Names of networks only occur in docstrings and messages, as examples."""
    networks = ("i3d", "bert", "inception", "mixed_", "kinetics")
    for path, _, tree in modules():
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
            # A text that contains a space is a message.
            found = [
                text
                for text in texts
                if isinstance(text, str) and " " not in text and any(n in text.lower() for n in networks)
            ]
            assert not found, f"{path}: {found[0][:100]}"


def test_every_package_is_installed():
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    listed = set(settings["options"]["packages"].split())
    # tfpt.models and tfpt.mappings are the folders beside it.
    found = {
        ".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")
    } | {"tfpt.models", "tfpt.mappings"}
    assert listed == found
