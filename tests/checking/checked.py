"""Mappings with a manifest, to be checked."""

from __future__ import annotations

import json
from pathlib import Path

from tfpt.checking.lint import Check, check_mapping
from tfpt.language.loader import load_mapping


def written(folder: Path, text: str, shapes: dict[str, list[int]]) -> Path:
    """A mapping of version 1 with a manifest of these parameters."""
    path = folder / "m.yaml"
    path.write_text(f"version: 1\n{text}")
    table = {name: {"dtype": "float32", "shape": shape} for name, shape in shapes.items()}
    path.with_name("m.manifest.json").write_text(json.dumps(table))
    return path


def check(folder: Path, text: str, shapes: dict[str, list[int]]) -> Check:
    """What a check says of such a mapping."""
    return check_mapping(load_mapping(written(folder, text, shapes)))
