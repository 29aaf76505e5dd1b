"""Published checkpoints: the `source.url` of a mapping, downloaded once into the user's cache."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from tfpt.errors import SourceError, TfptError
from tfpt.formats.cache import JSON, Fetched, cache_path
from tfpt.io.addresses import PUBLISHED, refuse_unknown_store
from tfpt.io.archives import ARCHIVES, unpack
from tfpt.io.downloading import Progress, download, locked
from tfpt.io.locations import as_location
from tfpt.io.remote_errors import MissingError, is_http, shown

# Suffixes of single files. Any other name may be the prefix of a checkpoint or a file, and is tried as both.
_SINGLE = re.compile(
    r"\.(?:h5|hdf5|keras|npz|npy|pb|pbtxt|safetensors|tflite|pth?|bin|json)$",
    re.IGNORECASE,
)

# What follows a checkpoint's prefix in its files' names; a query may follow.
_OF_CHECKPOINT = re.compile(r"\.(?:index|meta|data-\d{5,}-of-\d{5,})(?=\?|$)")


def fetch(url: str, *, index_only: bool = False, progress: Progress | None = None) -> Fetched:
    """The checkpoint published at `url`, from the cache, or downloaded into it.

    Args:
        url: The URL of a checkpoint's prefix or ``.index``, of a file, of a ``model.json`` or an ``.index.json`` with
            its shards beside it, or of an archive (``.zip``, ``.tar``,
            ``.tar.gz``, ``.tgz``, ``.tar.bz2``, ``.tar.xz``); behind a ``#``, the path inside the archive.
        index_only: Of a TensorFlow checkpoint, download only the index, which is enough for a plan. The files that a
            JSON index names are always downloaded: the readers need them for shapes and sizes.
        progress: Called from time to time for each file.

    Raises:
        SourceError: A mapping may not name `url`, or it cannot be downloaded; the error says where to put it by hand.
        TfptError: The cache cannot be written.
    """
    address, _, inside = url.partition("#")
    # Mappings may come from strangers: no local paths, and no protocol that runs programs.
    refuse_unknown_store(address, PUBLISHED)
    location = _OF_CHECKPOINT.sub("", as_location(address))  # some publishers name the prefix, some the index
    root = cache_path(location)
    archive = ARCHIVES.search(urlsplit(location).path) is not None
    if inside and not archive:
        raise TfptError(
            "only an archive can be followed by # and a path", where=url, expected="a .zip or a .tar.gz"
        )
    found = _in_cache(url, root, archive, inside, index_only)
    if found is not None:
        return found
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.with_name(f"{root.name}.lock")):
            # Another process may have downloaded it while this one waited.
            found = _in_cache(url, root, archive, inside, index_only)
            if found is None:
                _fetch(location, root, archive, index_only, progress)
    except OSError as error:
        raise TfptError(
            f"cannot write into the cache: {error.strerror}",
            where=str(root.parent),
            hint="export TFPT_CACHE=…",
        ) from error
    found = found or _in_cache(url, root, archive, inside, index_only)
    assert found is not None
    return found


def _fetch(location: str, root: Path, archive: bool, index_only: bool, progress: Progress | None) -> None:
    def get(ending: str) -> Path:
        path = root.with_name(root.name + ending)
        _download(
            _with_ending(location, ending), path, progress, lambda error: _by_hand(error, location, root)
        )
        return path

    if archive:
        unpack(get(""), _unpacked(root))
        root.unlink()
        return
    if _SINGLE.search(root.name):
        get("")
        for name in _named_shards(root):
            url, path = _sibling(location, name), root.parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _download(url, path, progress, partial(_one_by_hand, url=url, path=path))
        return
    try:
        index = get(".index")
    except SourceError as error:
        if not isinstance(error.__cause__, MissingError):
            raise
        get("")  # a file of a format whose name says nothing
        return
    for shard in () if index_only else _shards(index):
        get(shard.name.removeprefix(root.name))


def _download(
    url: str, path: Path, progress: Progress | None, explain: Callable[[SourceError], SourceError]
) -> None:
    if path.exists():
        return
    try:
        download(url, path, progress)
    except SourceError as error:
        raise explain(error) from error


def _named_shards(root: Path) -> list[str]:
    """The files that a JSON file names, relative to its folder; a damaged index is removed."""
    from tfpt.formats import recognition

    if not JSON.search(root.name):
        return []
    try:
        kind = recognition.recognize(str(root))
    except SourceError:
        return []  # its reader says what is wrong
    try:
        return kind.shards(str(root))
    except SourceError as error:
        raise _damaged_index(root, error) from error


def _in_cache(url: str, root: Path, archive: bool, inside: str, index_only: bool) -> Fetched | None:
    if archive:
        folder = _unpacked(root)
        return Fetched(_chosen(url, folder, inside), url, root, (folder,)) if folder.is_dir() else None
    index = root.with_name(f"{root.name}.index")
    if index.is_file():
        # An index whose data are missing is accepted for a plan.
        files = [index, *_shards(index)]
        if index_only or all(path.is_file() for path in files):
            return Fetched(str(root), url, root, tuple(files))
        return None
    if not root.is_file():
        return None
    files = [root, *(root.parent / name for name in _named_shards(root))]
    return Fetched(str(root), url, root, tuple(files)) if all(path.is_file() for path in files) else None


def _shards(index: Path) -> Sequence[Path]:
    """The data files of an index, which is removed if it cannot be read."""
    from tfpt.formats.tensorflow.bundle_index import read_index
    from tfpt.formats.tensorflow.location import Location

    prefix = str(index).removesuffix(".index")
    try:
        count = read_index(str(index)).shards
    except SourceError as error:
        raise _damaged_index(index, error) from error
    return [Path(Location(prefix, str(index)).shard(number, count)) for number in range(count)]


def _damaged_index(index: Path, error: SourceError) -> SourceError:
    """The error that a downloaded index cannot be read; it is removed."""
    index.unlink(missing_ok=True)
    return SourceError(
        f"the published index cannot be read: {error.what}",
        where=error.where,
        got=error.got,
        hint="it was removed from the cache: run the same command again",
    )


def _chosen(url: str, folder: Path, inside: str) -> str:
    """The checkpoint in an unpacked archive: the named one, or the only one."""
    if inside:
        if ".." in inside.split("/") or inside.startswith("/"):
            raise TfptError("the path inside the archive leads out of it", where=url)
        return str(folder / inside)
    # Most archives contain one folder with the files.
    while len(entries := sorted(folder.iterdir())) == 1 and entries[0].is_dir():
        folder = entries[0]
    if len(entries) == 1:
        return str(entries[0])
    indexes = [path for path in entries if path.name.endswith(".index")]
    if len(indexes) == 1:
        return str(indexes[0].with_suffix(""))
    if len(indexes) > 1:
        raise TfptError(
            "the archive contains several checkpoints",
            where=url,
            got=", ".join(path.stem for path in indexes[:8]),
            hint="name one after a #, as in model.zip#folder/model.ckpt",
        )
    return str(folder)


def _with_ending(location: str, ending: str) -> str:
    """The URL of another file of a checkpoint: the ending goes before a query."""
    path, mark, query = location.partition("?") if is_http(location) else (location, "", "")
    return f"{path}{ending}{mark}{query}"


def _sibling(location: str, name: str) -> str:
    """The URL of a file that the index at `location` names, with the same query."""
    if not is_http(location):
        return f"{posixpath.dirname(location)}/{name}"
    path, mark, query = location.partition("?")
    return f"{posixpath.dirname(path)}/{quote(name)}{mark}{query}"


def _unpacked(root: Path) -> Path:
    return root.with_name(f"{root.name}.unpacked")


def published(
    url: str | None, mapping: str, *, index_only: bool = False, progress: Progress | None = None
) -> Fetched:
    """The checkpoint published at the `source.url` of a mapping.

    Args:
        url: The URL; None if the mapping has none.
        mapping: The mapping's name, for errors.
        index_only: As in `fetch`.
        progress: As in `fetch`.

    Raises:
        TfptError: There is no URL, or the checkpoint cannot be downloaded.
    """
    if not url:
        raise TfptError(
            "the mapping does not say where its checkpoint was published",
            where=mapping,
            expected="a checkpoint, or url: under source: in the mapping",
            got="neither",
            hint="--checkpoint PATH",
        )
    return fetch(url, index_only=index_only, progress=progress)


def discarded(error: SourceError, fetched: Fetched) -> SourceError:
    """Remove the damaged copy that `error` refers to; returns the error with a hint."""
    gone = fetched.discard(f"{error.where}")
    if not gone:
        return error
    names = ", ".join(path.name for path in gone)
    return error.with_hint(
        f"the damaged copy was removed from the cache ({names}): run the same command again to download it again"
    )


def kept(error: SourceError, fetched: Fetched) -> SourceError:
    """`error` from opening the copy, with a hint: the copy may be damaged."""
    places = " ".join(str(path) for path in fetched.files)
    also = f"{error.hint}; " if error.hint else ""
    if not places:
        return error
    return error.with_hint(
        f"{also}if the copy in the cache is damaged, remove it and run again: rm -r {places}"
    )


def _by_hand(error: SourceError, location: str, root: Path) -> SourceError:
    """The error, with a hint for use without a network."""
    if ARCHIVES.search(root.name) or _SINGLE.search(root.name):
        return _one_by_hand(error, location, root)
    return _hinted(error, "its files", location, f"{root}.index, {root.name}.data-…")


def _one_by_hand(error: SourceError, url: str, path: Path) -> SourceError:
    return _hinted(error, "it", url, str(path))


def _hinted(error: SourceError, what: str, url: str, path: str) -> SourceError:
    return error.with_hint(
        f"{error.hint + '; ' if error.hint else ''}"
        f"without a network: download {what} elsewhere from {shown(url)}\n"
        f"and put {what} at {path}\nor name the local copy with --checkpoint",
    )
