"""What a mapping may name without further permission, and what it may with it.

There are three kinds of permission: `trust` for one run; the user's list of trusted mappings (`tfpt.targets.trust`);
and, for a mapping that an installed package registered, the code of that package.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from tfpt.errors import TfptError, UntrustedError
from tfpt.language.mapping import Mapping, ModelReference
from tfpt.language.mapping_packages import package_of
from tfpt.language.tree import display_path
from tfpt.targets.model_arguments import checked_configuration
from tfpt.targets.trust import Trusted, trusted_mappings

# Mappings may come from untrusted sources, so the packages they can import are a fixed list.
TRUSTED = ("tfpt.models", "torchvision.models", "timm", "transformers", "torch.nn")

# The mappings that needed `trust` and are not in the user's list, for the command line to say how to add them.
needed_trust: dict[str, None] = {}


@dataclass(frozen=True)
class Permission:
    """What a mapping may import and pass on.

    Attributes:
        any_code: Whether it may import anything.
        any_arguments: Whether the arguments of its model are not checked.
        own: Packages that it may import besides the trusted ones.
        folders: Where else modules are searched for, after all installed packages.
    """

    any_code: bool = False
    any_arguments: bool = False
    own: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that may be imported if not everything may."""
        return (*TRUSTED, *self.own)

    def imports(self, module: str) -> bool:
        """Whether a module may be imported, or an object used that it defines."""
        return self.any_code or below(module, self.packages)


def without_trust(mapping: Mapping) -> Permission:
    """What any mapping may do, and one of an installed package with the code of that package."""
    return Permission(own=_own_package(mapping.model))


def with_trust(mapping: Mapping) -> Permission:
    """What a mapping may do that the user trusts in this run."""
    folders = (str(mapping.path.parent.resolve()), os.getcwd())
    return Permission(any_code=True, any_arguments=True, folders=folders)


def from_list(mapping: Mapping) -> Permission | None:
    """What a mapping may do according to the user's list; None if it is not there, or has changed.

    Modules are searched for beside the mapping but not in the working folder, which is another one in another run.
    Arguments are checked where a configuration was supplied, which the list does not cover.

    Raises:
        TfptError: The list is damaged.
    """
    entry = _entry_of(mapping)
    if entry is None or _changed(entry, mapping):
        return None
    folder = str(Path(entry.mapping).parent)
    return Permission(any_code=True, any_arguments=mapping.config is None, folders=(folder,))


def explained(error: UntrustedError, mapping: Mapping) -> UntrustedError:
    """The error with a next step that names the list, or says that the mapping has changed since it was added."""
    entry, add = _entry_of(mapping), f"tfpt trust add {shlex.quote(mapping.named)}"
    hint = error.hint or ""
    if entry is None:
        return error.with_hint(hint.replace("--trust", f"--trust for this run, or {add} for all"))
    changed = _changed(entry, mapping)
    if not changed:  # the list does not cover the configuration
        return error
    files = ", ".join(display_path(Path(path)) for path in changed)
    since = f"changed since you trusted it on {entry.added}"
    since = f"{files} {since}" if len(changed) == 1 else f"{files}: {since.replace(' it ', ' them ')}"
    return error.with_hint(f"{since}. {hint.replace('--trust', f'{add} again, or --trust for this run')}")


def note_trust(mapping: Mapping) -> None:
    """Remember a mapping that is used with `trust`, unless it does not need that or is in the user's list."""
    references = (mapping.model.factory, mapping.model.config)
    modules = [str(each).partition(":")[0] for each in references if each is not None]
    try:
        if all(map(without_trust(mapping).imports, modules)):
            checked_configuration(mapping.model.kwargs, str(mapping.model.factory), "")
            return
    except UntrustedError:
        pass
    try:
        listed = from_list(mapping) is not None
    except TfptError:
        listed = False  # said where the list is needed
    if not listed:
        needed_trust[mapping.named] = None


def below(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of these packages, or in one."""
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _own_package(reference: ModelReference) -> tuple[str, ...]:
    """The package whose code a mapping may use because the package registered the mapping; empty for other mappings.

    What counts is the file that states the factory, and the configuration if there is one: a mapping from elsewhere may
    extend that of a package.
    """
    named = [(reference.factory, reference.position), (reference.config, reference.config_position)]
    stated = [(str(each).partition(":")[0], position) for each, position in named if each is not None]
    if all(below(module, TRUSTED) for module, _ in stated):
        return ()  # no other package is needed, so none has to be found
    homes = {package.home if (package := package_of(position.file)) else "" for _, position in stated}
    return tuple(homes) if len(homes) == 1 and "" not in homes else ()


def _entry_of(mapping: Mapping) -> Trusted | None:
    path = str(mapping.path.resolve())
    return next((each for each in trusted_mappings() if each.mapping == path), None)


def _changed(entry: Trusted, mapping: Mapping) -> list[str]:
    """The files of which the mapping was read other than when it was trusted: new, different or gone."""
    now = {str(path): digest for path, digest in mapping.files_of_ones_own.items()}
    return sorted(path for path in now.keys() | entry.files.keys() if now.get(path) != entry.files.get(path))
