"""YAML files that come with tfpt or an installed package, each read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tfpt.language.tree import Node, document_of, read_content


@dataclass(frozen=True)
class Document:
    """A YAML file as it was read.

    Attributes:
        root: Its content.
        digest: The SHA-256 digest of its bytes.
    """

    root: Node
    digest: str


# What `kept_document` has read.
_KEPT: dict[Path, str] = {}


@cache
def kept_document(path: Path) -> Document:
    """A file that is read only once, even if it changes while the program runs.

    Raises:
        MappingError: It cannot be read, or is not YAML.
    """
    content = read_content(path)
    found = Document(document_of(content, path), hashlib.sha256(content).hexdigest())
    _KEPT[path] = found.digest
    return found


def kept_digests() -> dict[Path, str]:
    """The digests of the files that `kept_document` has read in this process."""
    return dict(_KEPT)
