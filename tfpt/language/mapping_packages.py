"""Installed packages that have mappings: each declares an entry point in the group `tfpt.mappings`.

Finding them reads the metadata of installed distributions and lists folders. Nothing of a package is imported: not the
package with the mappings, nor those that contain it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpt.errors import MappingError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "tfpt.mappings"

# Between the name of a package and that of a mapping or a library: `acme:net`, `acme:blocks/conv`.
QUALIFIER = ":"

# What qualifies the names of mappings that come with tfpt.
BUNDLED = "tfpt"


@dataclass(frozen=True)
class MappingPackage:
    """An installed package with mappings.

    Attributes:
        name: The name of its entry point, which qualifies the names of its mappings. If several packages have the same,
            it is the name under which it is imported.
        module: The name under which it is imported.
        distribution: The distribution that it belongs to, with its version.
        folder: The folder with the mappings.
        home: The outermost package with an `__init__.py` on the way to it, whose code belongs to it.
    """

    name: str
    module: str
    distribution: str
    folder: Path
    home: str

    @cached_property
    def files(self) -> dict[str, Path]:
        """Its mappings, and parts of mappings, whose names start with an underscore."""
        return {path.stem: path for path in sorted(self.folder.glob("*.yaml"))}

    @cached_property
    def mappings(self) -> dict[str, Path]:
        """Its mappings."""
        return {name: path for name, path in self.files.items() if not name.startswith("_")}

    @cached_property
    def libraries(self) -> dict[str, Path]:
        """Its files with layers for `use`."""
        return {path.stem: path for path in sorted((self.folder / "layers").glob("*.yaml"))}

    def qualified(self, name: str) -> str:
        """The name of a mapping or library that means this package's."""
        return f"{self.name}{QUALIFIER}{name}"


def mapping_packages() -> tuple[MappingPackage, ...]:
    """The installed packages with mappings, by name."""
    return _installed(tuple(sys.path))[0]


def unusable_packages() -> tuple[MappingError, ...]:
    """What is wrong with the packages whose mappings cannot be found."""
    return _installed(tuple(sys.path))[1]


def packages_called(name: str) -> tuple[MappingPackage, ...]:
    """The packages that a qualifier can mean: a name, or that under which they are imported."""
    return tuple(package for package in mapping_packages() if name in (package.name, package.module))


def package_of(file: str | Path) -> MappingPackage | None:
    """The package whose mapping or library a file is, if any; links are resolved first."""
    path = Path(file).resolve()
    for package in mapping_packages():
        folder = package.folder.resolve()
        if path.parent in (folder, folder / "layers"):
            return package
    return None


@lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> tuple[tuple[MappingPackage, ...], tuple[MappingError, ...]]:
    """The packages, and what is wrong with others, for a value of ``sys.path``."""
    from importlib.metadata import entry_points

    found: dict[Path, MappingPackage] = {}
    wrong: list[MappingError] = []
    try:
        points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    except (OSError, ValueError) as error:  # the metadata of any distribution
        return (), (MappingError("cannot read the metadata of the installed packages", got=str(error)),)
    for point in points:
        package = _package(point)
        if isinstance(package, MappingError):
            wrong.append(package)
        else:
            found.setdefault(package.folder.resolve(), package)
    names = Counter(package.name for package in found.values())
    packages = [
        package if names[package.name] == 1 else replace(package, name=package.module)
        for package in found.values()
    ]
    return tuple(sorted(packages, key=lambda package: package.name)), tuple(wrong)


def _package(point: EntryPoint) -> MappingPackage | MappingError:
    """The package that an entry point names, or what is wrong with it."""
    distribution = "a distribution" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    where = f"the entry point {point.name} of {distribution}"
    if not re.fullmatch(r"\w[\w.-]*", point.name):
        return MappingError(
            "the name of an entry point cannot qualify mappings",
            where=where,
            expected="letters, digits, _, - and .",
            got=point.name,
        )
    if point.name == BUNDLED:
        return MappingError(f"only tfpt's own mappings are called {BUNDLED}", where=where)
    parts = point.value.split(".")
    if not all(part.isidentifier() for part in parts):
        return MappingError(
            "an entry point for mappings names a package",
            where=where,
            expected=f"{point.name} = package.with.mappings",
            got=point.value,
        )
    home, locations = "", None
    for number, part in enumerate(parts, 1):
        name = ".".join(parts[:number])
        spec, locations = _find(name, part, locations)
        home = home or (name if spec is not None and spec.origin is not None else "")
    folder = next((Path(each) for each in locations or () if Path(each).is_dir()), None)
    if folder is None:
        return MappingError(
            f"the package {point.value} is not a folder on sys.path",
            where=where,
            expected="a package with mappings: NAME.yaml, NAME.manifest.json, layers/",
            got="not found" if locations is None else "a module, or a package in an archive",
            hint="install it again",
        )
    return MappingPackage(point.name, point.value, distribution, folder, home or point.value)


def _find(name: str, last: str, parent: Sequence[str] | None) -> tuple[ModuleSpec | None, list[str] | None]:
    """The specification of a package, and its folders, without importing it or what contains it.

    Not `importlib.util.find_spec`, which imports the packages that contain it.

    Args:
        name: The dotted name.
        last: Its last component.
        parent: The folders of the package that contains it; None for one at the top.
    """
    if parent is None and name != last:
        return None, None
    found = next(filter(None, (_specification(finder, name, parent) for finder in sys.meta_path)), None)
    if found is not None:
        return found
    folders = [str(Path(folder) / last) for folder in parent or () if (Path(folder) / last).is_dir()]
    return None, folders or None


def _specification(
    finder: Any, name: str, parent: Sequence[str] | None
) -> tuple[ModuleSpec, list[str] | None] | None:
    try:
        spec = finder.find_spec(name, parent)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
        return spec, None if folders is None else list(folders)
    except (
        Exception
    ):  # finders of other packages; or a folder without __init__.py in one that is not imported
        return None
