"""Which file a mapping's name means: one on disk, one that comes with tfpt, or one of an installed package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from tfpt.errors import MappingError
from tfpt.language.mapping_packages import (
    BUNDLED,
    QUALIFIER,
    MappingPackage,
    mapping_packages,
    package_of,
    packages_called,
    unusable_packages,
)
from tfpt.language.referenced_files import file_beside
from tfpt.language.tree import Node, display_path
from tfpt.nearest import nearest


def bundled_mappings() -> dict[str, Path]:
    """The mappings that come with tfpt, by name.

    Example:
        >>> "i3d_rgb" in bundled_mappings()
        True
    """
    return {name: path for name, path in bundled_files().items() if not name.startswith("_")}


@cache
def bundled_files() -> Mapping[str, Path]:
    """The mappings that come with tfpt, and parts of mappings, whose names start with an underscore."""
    folder = Path(str(resources.files("tfpt.mappings")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def named_mappings() -> dict[str, Path]:
    """Every mapping that has a name: those that come with tfpt, then `package:name` for those of installed packages.

    Example:
        >>> list(named_mappings())[:3]
        ['albert', 'bert', 'bert_tf2']
    """
    found = bundled_mappings()
    for package in mapping_packages():
        found.update({package.qualified(name): path for name, path in package.mappings.items()})
    return found


def short_names() -> list[str]:
    """Every name that means one mapping, unqualified where possible, in the order of `named_mappings`."""
    bundled = bundled_mappings()
    names = [name for package in mapping_packages() for name in package.mappings]
    found = [*bundled]
    for package in mapping_packages():
        found += [
            package.qualified(name) if name in bundled or names.count(name) > 1 else name
            for name in package.mappings
        ]
    return found


def find_mapping(name: str | Path) -> Path:
    """The file of a mapping, by path or by name, with or without `.yaml`.

    A name means a file first, then a mapping that comes with tfpt, then one of an installed package; `package:name`
    means that of a certain package, `tfpt:name` one that comes with tfpt.

    Raises:
        MappingError: There is no such mapping, or several packages have one.
    """
    return locate_mapping(name)[0]


def locate_mapping(name: str | Path) -> tuple[Path, str]:
    """Like `find_mapping`, with the name that messages use for the mapping.

    Raises:
        MappingError: There is no such mapping, or several packages have one.
    """
    path = Path(name).expanduser()
    bundled = bundled_mappings()
    if path.is_file():
        return path, path.stem if path in bundled.values() else display_path(path)
    stem = path.name.removesuffix(".yaml")
    if path.parent == Path():
        found = _named(stem, bundled, lambda package: package.mappings)
        if found is not None:
            return found
    raise MappingError(
        f"there is no mapping {str(name)!r}",
        expected="the path of a .yaml file, or the name of a mapping that comes with tfpt or an installed package",
        got="a folder" if path.is_dir() else "neither",
        nearest=nearest(stem, short_names()),
        hint="tfpt mappings",
        causes=unusable_packages(),
    )


def is_named(name: str) -> bool:
    """Whether a text is the name of a mapping, rather than a path or anything else.

    Example:
        >>> is_named("i3d_rgb"), is_named("torch.nn:Linear"), is_named("mine.yaml")
        (True, False, False)
    """
    if name in bundled_mappings():
        return True
    package, colon, stem = name.rpartition(QUALIFIER)
    if not colon:
        return any(name in each.mappings for each in mapping_packages())
    return (package == BUNDLED and stem in bundled_mappings()) or any(
        stem in each.mappings for each in packages_called(package)
    )


def base_mapping(base: Node, path: Path) -> Path:
    """The file of a mapping that the mapping at `path` extends.

    It is one beside that mapping, one that comes with tfpt, or one of an installed package: the one that the mapping
    is in before others.

    Raises:
        MappingError: There is no such file, or several packages have one.
    """
    where = str(base.position)
    if not isinstance(base.value, str):
        raise MappingError(
            "extends: takes a file, or a list of files", where=where, got=type(base.value).__name__
        )
    name, bundled = base.value.removesuffix(".yaml"), bundled_files()
    if not is_qualified(name):
        target = file_beside(path.parent, base.value, "extends", where)
        if target is not None:
            return target
    found = _named(name, bundled, lambda package: package.files, where, path)
    if found is not None:
        return found[0]
    raise MappingError(
        f"there is no mapping {base.value!r} to extend",
        where=where,
        nearest=nearest(name, [*bundled, *(n for package in mapping_packages() for n in package.files)]),
        causes=unusable_packages(),
    )


def is_qualified(name: str) -> bool:
    """Whether a name is `package:name`, for a package with mappings or for tfpt itself.

    Example:
        >>> is_qualified("tfpt:_bit"), is_qualified("_bit"), is_qualified("file:///etc/passwd")
        (True, False, False)
    """
    package, colon, _ = name.rpartition(QUALIFIER)
    return bool(colon) and (package == BUNDLED or bool(packages_called(package)))


def _named(
    name: str,
    bundled: Mapping[str, Path],
    files: Callable[[MappingPackage], Mapping[str, Path]],
    where: str = "",
    user: Path | None = None,
) -> tuple[Path, str] | None:
    """The file with this name, perhaps qualified, and its name in messages; None if there is none.

    Args:
        name: The name.
        bundled: The files that come with tfpt.
        files: Those of a package.
        where: The position of the name, for errors.
        user: The file with the name, whose own package comes before others.

    Raises:
        MappingError: Several packages have one.
    """
    qualifier, colon, stem = name.rpartition(QUALIFIER)
    if stem in bundled and qualifier in ("", BUNDLED):
        return bundled[stem], stem
    packages = packages_called(qualifier) if colon else mapping_packages()
    found = [package for package in packages if stem in files(package)]
    if not found:
        return None
    own = package_of(user) if user is not None and len(found) > 1 else None
    if own in found:
        found = [own]
    if len(found) > 1:
        raise ambiguous(f"{len(found)} packages have a mapping {name!r}", stem, found, where)
    return files(found[0])[stem], found[0].qualified(stem)


def ambiguous(what: str, name: str, packages: list[MappingPackage], where: str) -> MappingError:
    """The error for a name that several installed packages have."""
    return MappingError(
        what,
        where=where or None,
        expected=" or ".join(package.qualified(name) for package in packages),
        got=", ".join(package.distribution for package in packages),
        hint="name the package, too",
    )
