"""The mappings that the user trusts in every run, by path and content: `tfpt trust add`."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import TfptError
from tfpt.io.output_file import AtomicFile
from tfpt.language.loader import files_of_ones_own
from tfpt.language.mapping_files import bundled_mappings, locate_mapping
from tfpt.language.tree import display_path
from tfpt.nearest import nearest

# No one has more than a few; a file of this size is not one of ours.
_LARGEST = 1 << 24


@dataclass(frozen=True)
class Trusted:
    """A mapping that the user trusts.

    Attributes:
        mapping: Its absolute path, links resolved.
        added: The day on which it was added, as ``2026-05-17``.
        files: What it was read from, files that come with tfpt left out: absolute paths with SHA-256 digests.
    """

    mapping: str
    added: str
    files: dict[str, str]

    def changed(self) -> list[str]:
        """Its files that are now different, or gone."""
        return [path for path, digest in self.files.items() if _digest(path) != digest]


def trust_file() -> Path:
    """The list: `trusted.json` in ``$TFPT_CONFIG_DIR``, else ``$XDG_CONFIG_HOME/tfpt``, else ``~/.config/tfpt``."""
    if named := os.environ.get("TFPT_CONFIG_DIR"):
        folder = Path(os.path.expanduser(named))
    else:
        # The XDG base directory specification: relative paths must be ignored.
        base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
        folder = (base if base.is_absolute() else Path.home() / ".config") / "tfpt"
    return folder / "trusted.json"


def trusted_mappings() -> list[Trusted]:
    """The mappings that the user trusts, in the order in which they were added.

    Raises:
        TfptError: The list is damaged, cannot be read, or others than the user may have written it.
    """
    path = trust_file()
    try:
        with path.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            _refuse_writable(path, facts)
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TfptError(
            "cannot read the list of trusted mappings", where=str(path), got=error.strerror
        ) from error
    try:
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} bytes")
        return _parsed(json.loads(content))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise TfptError(
            "the list of trusted mappings is damaged, so nothing in it is trusted",
            where=str(path),
            got=str(error),
            hint=f"rm {path}, and tfpt trust add what you trust",
        ) from error


def add_trusted(name: str | os.PathLike[str]) -> Trusted:
    """Trust a mapping as it is now, in every run.

    Args:
        name: Its path, or the name of one in an installed package.

    Raises:
        MappingError: There is no such mapping, or one of its files cannot be read.
        TfptError: It comes with tfpt, or the list cannot be read.
        SinkError: The list cannot be written.
    """
    path, named = locate_mapping(os.fspath(name))
    if path in bundled_mappings().values():
        raise TfptError("a mapping that comes with tfpt is always trusted", where=named)
    key = str(path.resolve())
    files = {str(file): digest for file, digest in sorted(files_of_ones_own(path).items())}
    added = Trusted(key, date.today().isoformat(), files)
    _write([*(each for each in trusted_mappings() if each.mapping != key), added])
    return added


def remove_trusted(name: str | os.PathLike[str]) -> Trusted:
    """Trust a mapping no longer.

    Args:
        name: Its path, which need not exist, or the name of one in an installed package.

    Raises:
        TfptError: It is not in the list, or the list cannot be read.
        SinkError: The list cannot be written.
    """
    found = trusted_mappings()
    keys = {str(Path(name).expanduser().resolve()), os.fspath(name)}
    if not any(each.mapping in keys for each in found) and Path(name).parent == Path():
        with suppress(TfptError):
            keys.add(str(locate_mapping(os.fspath(name))[0].resolve()))
    gone = [each for each in found if each.mapping in keys]
    if not gone:
        raise TfptError(
            f"the list of trusted mappings does not have {os.fspath(name)}",
            where=str(trust_file()),
            nearest=nearest(os.fspath(name), [display_path(Path(each.mapping)) for each in found]),
            hint="tfpt trust list",
        )
    _write([each for each in found if each not in gone])
    return gone[0]


def _write(mappings: Sequence[Trusted]) -> None:
    path = trust_file()
    text = json.dumps({"version": 1, "trusted": [asdict(each) for each in mappings]}, indent=1) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TfptError(
            "cannot create the folder for the list of trusted mappings",
            where=str(path.parent),
            got=error.strerror,
            hint="TFPT_CONFIG_DIR names another folder",
        ) from error
    with AtomicFile(path, overwrite=True) as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.descriptor, 0o600)
        file.write_at(0, np.frombuffer(text.encode(), np.uint8))
        file.commit()


def _refuse_writable(path: Path, facts: os.stat_result) -> None:
    """Refuse a list that another user may have written."""
    if not stat.S_ISREG(facts.st_mode):
        raise TfptError("the list of trusted mappings is not a file", where=str(path))
    if hasattr(os, "geteuid") and facts.st_uid not in (os.geteuid(), 0):
        raise TfptError(
            "the list of trusted mappings belongs to another user, so nothing in it is trusted",
            where=str(path),
            got=f"user {facts.st_uid}",
        )
    if os.name == "posix" and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TfptError(
            "other users may write the list of trusted mappings, so nothing in it is trusted",
            where=str(path),
            expected="mode 600",
            got=f"mode {stat.S_IMODE(facts.st_mode):o}",
            hint=f"tfpt trust list, if it is yours, after chmod 600 {path}",
        )


def _parsed(values: Any) -> list[Trusted]:
    if not isinstance(values, dict) or values.keys() != {"version", "trusted"} or values["version"] != 1:
        raise ValueError('expected {"version": 1, "trusted": […]}')
    if not isinstance(values["trusted"], list):
        raise ValueError("trusted: must be a list")
    return [_entry(each) for each in values["trusted"]]


def _entry(values: Any) -> Trusted:
    if not isinstance(values, dict) or values.keys() != {"mapping", "added", "files"}:
        raise ValueError("expected mapping, added and files in each entry")
    files = values["files"]
    texts = [values["mapping"], values["added"], *(files.values() if isinstance(files, dict) else [None])]
    if not all(isinstance(text, str) for text in texts) or values["mapping"] not in files:
        raise ValueError(f"the entry of {values['mapping']!r} is not valid")
    return Trusted(values["mapping"], values["added"], files)


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""
