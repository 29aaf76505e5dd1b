"""A package with mappings, as pip leaves one behind: its files, and its metadata with the entry point."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Raises an error whenever any of the package is imported.
EXPLODES = "raise RuntimeError('was imported')\n"


def install(
    site: Path,
    files: Mapping[str, str],
    *,
    entry: str = "acme = acme_nets.mappings",
    distribution: str = "acme-nets",
    module: str = "acme_nets/mappings",
    initial: str = EXPLODES,
) -> Path:
    """Write a package and its metadata, and return the folder with its mappings.

    Args:
        site: The folder on ``sys.path``.
        files: The files in the folder with mappings.
        entry: The line of the entry point.
        distribution: The name of the distribution.
        module: The path of the package with mappings.
        initial: What each `__init__.py` contains.
    """
    folder = site / module
    folder.mkdir(parents=True, exist_ok=True)
    for package in (folder, *folder.parents):
        if package == site:
            break
        (package / "__init__.py").write_text(initial)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tfpt.mappings]\n{entry}\n")
    return folder
