"""Reads what `torch.save` wrote: a dict of tensors, perhaps inside a training checkpoint."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.sources.places import as_location
from tfpt.sources.pytorch.sampling import sample_hash
from tfpt.sources.source import NO_ALIASES, NO_ROLES, NONE_QUANTISED, Quantised, Role
from tfpt.tensors import DTYPES, TensorSpec, dtype

if TYPE_CHECKING:
    import torch

_ZIP = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
# torch.serialization.MAGIC_NUMBER as a pickled long, the first value in files of torch before 1.6.
_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_BY_TORCH = {known.torch: known for known in DTYPES.values() if known.torch is not None}
# "Unsupported global: GLOBAL argparse.Namespace was not…", "Trying to load unsupported GLOBAL posix.system whose…"
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_REASON = re.compile(r"WeightsUnpickler error: *(.+)")


def looks_like_torch(path: str | os.PathLike[str]) -> bool:
    """Whether the file is one that `torch.save` writes, of either kind; False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(32)
        return _has_pickle(path) if start.startswith(_ZIP) else _is_legacy(start)
    except (OSError, zipfile.BadZipFile):
        return False


def _is_legacy(start: bytes) -> bool:
    return _PICKLE.match(start) is not None and _MAGIC in start


def _has_pickle(path: str | os.PathLike[str]) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


class TorchSource:
    """A `tfpt.sources.source.Source` over a `.pth`, `.pt` or `.bin` file.

    Nothing in the file is run: `torch.load(weights_only=True)` rebuilds tensors and plain containers only. A
    training checkpoint such as `{"epoch": 3, "state_dict": {...}}` is unwrapped where one dict of tensors is in it.

    Attributes:
        inside: The keys that lead to the tensors, joined by dots ("state_dict"); empty where they are on top.
        skipped: What is beside the tensors, by its path of keys, with the reason why it is none of them.

    Raises:
        SourceError: The file cannot be read, is damaged, would run code, or holds no dict of tensors, or several.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "w.pth"
        >>> torch.save({"epoch": 3, "state_dict": {"bias": torch.tensor([1.0, 2.0])}}, path)
        >>> source = TorchSource(path)
        >>> source.inside, source.read("bias").tolist(), source.skipped
        ('state_dict', [1.0, 2.0], {'epoch': 'int'})
    """

    side: Literal["tf", "pt"] = "pt"
    format: str = "PyTorch"
    roles: Mapping[str, Role] = NO_ROLES
    aliases: Mapping[str, str] = NO_ALIASES
    quantised: Mapping[str, Quantised] = NONE_QUANTISED

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location = as_location(path)
        skipped: dict[str, str] = {}
        self.skipped: Mapping[str, str] = skipped
        self.inside, entries = _only_tensors(Path(self.location), _load(Path(self.location)), skipped)
        self._tensors: dict[str, torch.Tensor] | None = {}
        specs: dict[str, TensorSpec] = {}
        for key, value in entries.items():
            reason = _why_not(key, value)
            if reason is None:
                tensor = cast("torch.Tensor", value)
                specs[key] = TensorSpec(key, tuple(tensor.shape), _BY_TORCH[_name(tensor)].name)
                self._tensors[key] = tensor.detach()
            elif not isinstance(value, Mapping):
                skipped[f"{self.inside}.{key}" if self.inside else str(key)] = reason
        self.specs: Mapping[str, TensorSpec] = specs

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: a read-only view of the file, or a copy where the tensor is not contiguous."""
        if self._tensors is None:
            raise SourceError("the file was closed", where=self.location)
        if name not in self._tensors:
            close = nearest(name, self.specs)
            raise SourceError(f"there is no tensor {name!r}", where=self.location, nearest=close)
        return _array(self._tensors[name], self.specs[name])

    def release(self, name: str) -> None:
        """Does nothing: torch owns the mapping, and the system drops its clean pages when it needs room."""

    def fingerprint(self) -> str:
        """A hash of names, shapes, dtypes and of 64 bytes of every tensor (`tfpt.sources.pytorch.sampling`)."""
        return sample_hash(self.specs.values(), self.read)

    def close(self) -> None:
        """Let go of the tensors; arrays that were read keep theirs."""
        self._tensors = None


def _load(path: Path) -> object:
    """The content of the file, its tensors mapped where the file's kind allows it."""
    import torch

    where = str(path)
    try:
        with open(path, "rb") as file:
            start = file.read(32)
    except OSError as error:
        raise SourceError(f"cannot read the file: {error.strerror}", where=where) from None
    if not start.startswith(_ZIP) and not _is_legacy(start):
        what = "not a file that torch.save wrote"
        raise SourceError(
            what, where=where, expected="a zip archive, or a pickle of torch", got=repr(start[:8])
        )
    if start.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise SourceError(
            "the file is cut off", where=where, expected="a zip archive with its directory at the end"
        )
    try:
        # Pickles of torch before 1.6 cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=start.startswith(_ZIP))
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise _damaged(where, error) from None
        raise SourceError(
            "the file would run code when loaded, and was not loaded",
            where=where,
            expected="tensors and plain containers",
            got=refused[1].strip("."),
            hint="save its state_dict() alone, where you trust it",
        ) from None
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        AssertionError,
        EOFError,
        OSError,
    ) as error:
        raise _damaged(where, error) from None


def _damaged(where: str, error: Exception) -> SourceError:
    text = str(error).strip() or type(error).__name__
    reason = _REASON.search(text)
    said = reason[1] if reason else text.splitlines()[0]
    return SourceError("torch cannot load the file", where=where, got=said[:200])


def _only_tensors(path: Path, content: object, skipped: dict[str, str]) -> tuple[str, Mapping[str, object]]:
    """The one dict of tensors in `content` and the keys that lead to it."""
    found = {".".join(keys): entries for keys, entries in _dicts_of_tensors(content, (), skipped)}
    if len(found) == 1:
        return next(iter(found.items()))
    if not found:
        got = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            got += f" with {', '.join(map(repr, list(content)[:8])) or 'nothing in it'}"
        raise SourceError(
            "no dict of tensors is in the file", where=str(path), expected="a state_dict", got=got
        )
    names = [key or "the top" for key in found]
    one = next(key for key in found if key)
    keys = "".join(f"[{key!r}]" for key in one.split("."))
    raise SourceError(
        "more than one dict of tensors is in the file",
        where=str(path),
        expected="one",
        got=", ".join(names),
        hint=f"save the one you mean: torch.save(torch.load({str(path)!r}){keys}, 'one.pth')",
    )


def _dicts_of_tensors(
    content: object, keys: tuple[str, ...], skipped: dict[str, str]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    import torch

    if not isinstance(content, Mapping):
        skipped[".".join(keys)] = type(content).__name__
        return
    if any(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()):
        yield keys, content
    for key, value in content.items():
        if isinstance(key, str) and not isinstance(value, torch.Tensor):
            yield from _dicts_of_tensors(value, (*keys, key), skipped)


def _why_not(key: object, value: object) -> str | None:
    """Why an entry is not a tensor that numpy can hold; None where it is one."""
    import torch

    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    if not isinstance(key, str):
        return f"its key is no string but {key!r}"
    if value.layout is not torch.strided or value.is_quantized:
        return f"{value.layout if value.layout is not torch.strided else value.dtype} tensor"
    if value.is_meta:
        return "a tensor without values"
    if _name(value) not in _BY_TORCH:
        return f"dtype {value.dtype}"
    return None


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _array(tensor: torch.Tensor, spec: TensorSpec) -> np.ndarray:
    import torch

    held = dtype(spec.dtype).numpy
    assert held is not None
    tensor = tensor.resolve_conj().resolve_neg().contiguous()
    widths = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    # numpy has no bfloat16 or float8 of torch's; the bits go over as integers.
    if held.itemsize in widths:
        tensor = tensor.view(widths[held.itemsize])
    array = tensor.numpy().view(held)
    array.flags.writeable = False
    return array
