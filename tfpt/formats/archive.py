"""A model in an archive, or compressed: unpacked into a temporary folder, and read from there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats import recognition as formats
from tfpt.formats.source import Source
from tfpt.io import limits
from tfpt.io.archives import fill
from tfpt.io.locations import as_location
from tfpt.io.storage import open_storage
from tfpt.io.temporary import TemporaryFolder

# What torch before 0.1.10 put into a tar archive: torch/serialization.py, `legacy_load`.
_OLD_TORCH = {"sys_info", "pickle", "storages", "tensors"}
# stable_baselines3/common/save_util.py and, before it, stable_baselines/common/base_class.py: the policy network is in
# one file, the training state in others.
_SUFFIX = " in an archive"
_POLICY, _PARAMETERS = "policy.pth", "parameters"
_TRAINED_WITH = ("data", "_stable_baselines3_version", "pytorch_variables.pth", "parameter_list")


class PackedSource(Source):
    """A `tfpt.formats.source.Source` over an archive of one model, or one compressed file.

    A zip archive, a tar archive, compressed or not, or a file compressed by gzip, bzip2, xz or zlib. It contains a
    checkpoint, a SavedModel or one file of weights; of an archive of Stable Baselines the policy is read. It is
    unpacked into a temporary folder, which is removed when the source is closed.

    Raises:
        SourceError: It is damaged, refused by `tfpt.io.archives`, or does not contain exactly one model.

    Example:
        >>> import tempfile, zipfile
        >>> folder = tempfile.mkdtemp()
        >>> np.save(f"{folder}/kernel.npy", np.ones((2, 3), np.float32))
        >>> with zipfile.ZipFile(f"{folder}/m.zip", "w") as archive:
        ...     archive.write(f"{folder}/kernel.npy", "model/kernel.npy")
        >>> source = PackedSource(f"{folder}/m.zip")
        >>> source.format, [str(spec) for spec in source.specs.values()]
        ('NumPy array in an archive', ['kernel [2, 3] float32'])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        verify_checksums: bool = True,
        dequantize: bool = False,
        level: int = 1,
    ) -> None:
        self.location = as_location(path)
        if level > limits.ARCHIVE_LEVELS:
            raise SourceError(f"more than {limits.ARCHIVE_LEVELS} nested archives", where=self.location)
        self._folder = TemporaryFolder()
        try:
            with self._named():
                fill(open_storage(self.location), Path(self._folder.name))
                inside = _model_in(Path(self._folder.name))
                found = formats.recognize(inside)
                options: dict[str, Any] = {"verify_checksums": verify_checksums, "dequantize": dequantize}
                self._source: Source = (
                    PackedSource(inside, **options, level=level + 1)
                    if found is formats.ARCHIVE
                    else found.open(inside, **options)
                )
        except BaseException:
            self._remove()
            raise
        self.describe_as(self._source)
        self.location = as_location(path)
        self.format = self.format.removesuffix(_SUFFIX) + _SUFFIX

    @property
    def details(self) -> Sequence[str]:
        """The details of the model inside."""
        with self._named():
            return self._source.details

    @property
    def order(self) -> Sequence[str] | None:
        """The order of the model inside."""
        with self._named():
            return self._source.order

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The unavailable tensors of the model inside."""
        with self._named():
            return self._source.unavailable

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor."""
        with self._named():
            return self._source.read(name)

    def release(self, name: str) -> None:
        """Hint that this tensor is not needed again soon."""
        self._source.release(name)

    def fingerprint(self) -> str:
        """The fingerprint of the model inside."""
        with self._named():
            return self._source.fingerprint()

    def close(self) -> None:
        """Close the model inside, and remove the temporary folder."""
        self._source.close()
        self._remove()

    def _remove(self) -> None:
        self._folder.cleanup()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Make errors name the archive and the path in it, not the temporary folder."""
        try:
            yield
        except SourceError as error:
            folder = self._folder.name
            if error.where is not None and error.where.startswith(folder):
                inside = error.where[len(folder) :].strip("/")
                error.where = f"{self.location}, {inside} in it" if inside else self.location
            if error.hint is not None:
                error.hint = error.hint.replace(f"{folder}/", "")
            raise


def _model_in(folder: Path) -> str:
    """The file or folder of the model among the unpacked files."""
    # Most archives contain one folder with the files.
    while len(entries := _entries(folder)) == 1 and entries[0].is_dir():
        folder = entries[0]
    names = {path.name for path in entries}
    if names >= _OLD_TORCH:
        raise SourceError(
            "the file is of torch before 0.1.10, which cannot be read without running code",
            where=str(folder),
            hint="where you trust it: load it with torch.load(…, weights_only=False), and save it with torch.save",
        )
    if not names:
        raise SourceError("the archive is empty", where=str(folder))
    for model in (_POLICY, _PARAMETERS):
        if model in names and names & {*_TRAINED_WITH}:
            return str(folder / model)
    if len(entries) == 1:
        return str(entries[0])
    return formats.weights_in(str(folder))


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, without those that macOS adds to archives."""
    return sorted(
        path for path in folder.iterdir() if path.name != "__MACOSX" and not path.name.startswith(".")
    )
