"""The format of a file or folder, detected from its content, not its name."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tfpt.errors import SourceError
from tfpt.io.archives import ARCHIVES
from tfpt.io.damage import refuse_pointer
from tfpt.io.limits import SHARD_INDEX
from tfpt.io.locations import inside, is_file, is_folder, name_of, names_in
from tfpt.io.storage import Storage, open_storage

if TYPE_CHECKING:
    from tfpt.formats.source import Source

# The magic numbers of tensorflow/core/lib/io/format.h, RFC 1952's sibling zip, HDF5 (file format specification,
# superblock), numpy/lib/format.py and TensorFlow Lite's schema.fbs.
_TABLE_END = 0xDB4775248B80FB57.to_bytes(8, "little")
_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NPY = b"\x93NUMPY"
_TFLITE = b"TFL3"

# Suffixes of weight files: a folder with only one such file means that file.
_WEIGHTS = re.compile(
    r"\.(?:safetensors|bin|pth?|ckpt|h5|hdf5|keras|tflite|npz|npy|msgpack|pkl|pickle|joblib|pb)$",
    re.IGNORECASE,
)
# Training state beside the weights: transformers/trainer.py, accelerate/utils/constants.py.
_BESIDE = re.compile(
    r"(?:training_args|optimizer|scheduler|scaler|rng_state|random_states|sampler)[\w.]*\.\w+", re.IGNORECASE
)
# An index of weight files: it is opened, not the files.
_INDEX = re.compile(r".+\.weights\.json")
# The same of TensorFlow.js, if it is one: Keras calls a model without weights model.json, too.
_MANIFEST = re.compile(r"model\.json|(?:.+[-_.])?weights_manifest\.json")
# Its shards, and the graph of 2018.
_OF_MANIFEST = re.compile(r".+\.bin|tensorflowjs_model\.pb", re.IGNORECASE)
_OF_CHECKPOINT = re.compile(r"checkpoint|.+\.index|.+-\d{5,}-of-\d{5,}")

# An HDF5 superblock is at byte 0, or at 512 times a power of two after a user block.
_HDF5_PLACES = (0, 512, 1024, 2048)
_HEAD = 4096


@dataclass(frozen=True)
class Format:
    """A format that tfpt reads.

    Attributes:
        name: Its name in errors.
        module: The module of its reader, imported when a file of the format is opened.
        reader: The reader's name there: called with the location, with `verify_checksums` where `checked`, and with
            `dequantize` where `quantized`.
        checked: Whether the format stores checksums of tensors.
        quantized: Whether the format may hold quantized weights with their scales.
        index: The module below `tfpt.formats` whose `shard_names` lists the files of an index; empty if there are none.
    """

    name: str
    module: str
    reader: str
    checked: bool = False
    quantized: bool = False
    index: str = ""

    def shards(self, location: str) -> list[str]:
        """The files that the index at `location` names, relative to its folder; none in formats of one file.

        Raises:
            SourceError: The index is damaged, or names a file outside its folder.
        """
        if not self.index:
            return []
        module = importlib.import_module(f"tfpt.formats.{self.index}")
        return cast("list[str]", module.shard_names(location))

    def open(self, location: str, *, verify_checksums: bool = True, dequantize: bool = False) -> Source:
        """The source at `location`, by the format's reader."""
        options: dict[str, Any] = {"verify_checksums": verify_checksums} if self.checked else {}
        if self.quantized:
            options["dequantize"] = dequantize
        reader = getattr(importlib.import_module(self.module), self.reader)
        return cast("Source", reader(location, **options))


CHECKPOINT = Format("a TensorFlow checkpoint", "tfpt.formats.tensorflow.checkpoint", "open_checkpoint", True)
SAVED_MODEL = Format("a SavedModel", "tfpt.formats.tensorflow.saved_model", "SavedModelSource", True, True)
GRAPH = Format("a TensorFlow graph", "tfpt.formats.tensorflow.graph", "open_graph", True, True)
HDF5 = Format("a Keras HDF5 file", "tfpt.formats.keras.hdf5", "open_hdf5")
KERAS_ARCHIVE = Format("a .keras archive", "tfpt.formats.keras.archive", "ArchiveSource", True)
KERAS_SHARDS = Format(
    "sharded Keras weights",
    "tfpt.formats.keras.weights",
    "ShardedWeightsSource",
    index="keras.weights",
)
TFLITE = Format("a TensorFlow Lite model", "tfpt.formats.tflite.model", "TfliteSource", quantized=True)
TFJS = Format(
    "a TensorFlow.js model",
    "tfpt.formats.tfjs.source",
    "TfjsSource",
    quantized=True,
    index="tfjs.manifest",
)
NUMPY = Format("a numpy file", "tfpt.formats.numpy.source", "open_numpy")
SAFETENSORS = Format("safetensors", "tfpt.formats.pytorch.safetensors", "SafetensorsSource")
TORCH = Format("PyTorch weights", "tfpt.formats.pytorch.torch", "TorchSource", True, True)
TORCH_SHARDS = Format(
    "sharded PyTorch weights",
    "tfpt.formats.pytorch.shards",
    "ShardedSource",
    True,
    True,
    index="pytorch.shards",
)
PICKLE = Format("a pickle of arrays", "tfpt.formats.pickle.source", "PickleSource")
FLAX = Format("a file of Flax", "tfpt.formats.flax.source", "FlaxSource")
ARCHIVE = Format("an archive of a model", "tfpt.formats.archive", "PackedSource", True, True)

FORMATS = (
    CHECKPOINT,
    SAVED_MODEL,
    GRAPH,
    HDF5,
    KERAS_ARCHIVE,
    KERAS_SHARDS,
    TFLITE,
    TFJS,
    NUMPY,
    SAFETENSORS,
    TORCH,
    TORCH_SHARDS,
    PICKLE,
    FLAX,
    ARCHIVE,
)


def recognize(location: str) -> Format:
    """The format of the file, folder or checkpoint at `location`.

    Raises:
        SourceError: There is a file of an unknown format.
    """
    from tfpt.io.archives import FOREIGN

    if is_folder(location):
        return _of_folder(location)
    if not is_file(location):
        return CHECKPOINT  # a prefix, or nothing: the checkpoint reader reports what it looked for
    storage = open_storage(location)
    found = _of_bytes(storage)
    if found is not None:
        return found
    name = name_of(location)
    # A checkpoint's data files and its state file have no format of their own: they mean their index.
    if name == "checkpoint" or re.search(r"\.data-\d{5,}-of-\d{5,}$", name) or name.endswith(".index"):
        return CHECKPOINT
    if name in ("saved_model.pb", "saved_model.pbtxt") or is_beside_saved_model(location):
        return SAVED_MODEL
    refuse_pointer(storage.data, location)
    start = storage.data[:24].tobytes()
    for magic, codec in FOREIGN.items():
        if start.startswith(magic):
            raise SourceError(
                f"the file is compressed by {codec}, which Python cannot decompress",
                where=location,
                hint=f"unpack it: {codec.removesuffix('andard')} -d",
            )
    raise SourceError(
        "tfpt does not know the format of this file",
        where=location,
        expected=", ".join(known.name for known in FORMATS),
        got=f"{len(storage.data):,} bytes that begin with {start!r}" if start else "an empty file",
        hint="if it was downloaded, compare its size with the original's: it may be a web page or incomplete",
    )


def weights_in(location: str) -> str:
    """The only file of weights, or the only archive, in a folder; `location` if it is anything else.

    Raises:
        SourceError: Several files of weights are in the folder.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("config.json", "model.safetensors", "training_args.bin"):
        ...     open(f"{folder}/{name}", "w").close()
        >>> weights_in(folder).removeprefix(folder)
        '/model.safetensors'
    """
    if not is_folder(location):
        return location
    names = names_in(location)
    if _several_files(names) is not None:
        return location
    found = [name for name in names if _INDEX.fullmatch(name)]
    if len(found) != 1:
        found = [name for name in names if _WEIGHTS.search(name) and not _BESIDE.fullmatch(name)]
        found = _manifests(location, names, found)
    if len(found) == 1:
        return inside(location, found[0])
    if not found:
        archives = [name for name in names if ARCHIVES.search(name)]
        return inside(location, archives[0]) if len(archives) == 1 else location
    raise SourceError(
        "more than one file of weights is in the folder",
        where=location,
        expected="one, or the file itself in place of its folder",
        got=", ".join(found[:20]) + (f" and {len(found) - 20:,} more" if len(found) > 20 else ""),
        hint=f"name it: {inside(location, found[0])}",
    )


def _manifests(folder: str, names: list[str], weights: list[str]) -> list[str]:
    """TensorFlow.js manifests in a folder, with weight files that are not shards; without a manifest, `weights`."""
    from tfpt.formats.tfjs.manifest import is_tfjs

    others = [name for name in weights if not _OF_MANIFEST.fullmatch(name)]
    found = [
        name
        for name in names
        # Under any name if nothing else in the folder contains weights.
        if (name.endswith(".json") and not others) or _MANIFEST.fullmatch(name)
        if is_tfjs(open_storage(inside(folder, name)).data[:_HEAD].tobytes())
    ]
    return found + others if found else weights


def _of_folder(folder: str) -> Format:
    return _several_files(names_in(folder)) or CHECKPOINT


def _several_files(names: list[str]) -> Format | None:
    """The format of a folder that is a model of several files; None if it is not one."""
    if "saved_model.pb" in names or "saved_model.pbtxt" in names:
        return SAVED_MODEL
    if any(name.endswith((".safetensors.index.json", ".bin.index.json")) for name in names):
        return TORCH_SHARDS
    return CHECKPOINT if any(_OF_CHECKPOINT.fullmatch(name) for name in names) else None


def _of_bytes(storage: Storage) -> Format | None:
    from tfpt.formats.flax.msgpack import is_flax
    from tfpt.formats.pickle.opcodes import is_pickle
    from tfpt.formats.pytorch.contents import is_legacy
    from tfpt.io.archives import codec_of, is_tar

    data = storage.data
    head = data[:_HEAD].tobytes()
    # A zip archive may have an HDF5 file as a member, uncompressed and by chance at one of these places.
    places = _HDF5_PLACES[:1] if head.startswith(_ZIP) else _HDF5_PLACES
    if any(data[place : place + len(_HDF5)].tobytes() == _HDF5 for place in places):
        return HDF5
    if head[4:8] == _TFLITE:
        return TFLITE
    if head.startswith(_NPY):
        return NUMPY
    if head.startswith(_ZIP):
        return _of_zip(storage)
    if data[max(0, len(data) - 8) :].tobytes() == _TABLE_END:
        return CHECKPOINT
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= len(data):
        return SAFETENSORS
    if is_legacy(head):
        return TORCH
    if is_pickle(data):
        return PICKLE
    # A graph may begin as JSON does: a first node of 123 bytes is announced by a line feed and a brace.
    if head.lstrip()[:1] in (b"{", b"[") and (found := _of_json(storage)) is not None:
        return found
    if is_flax(data):
        return FLAX
    if codec_of(head) is not None or is_tar(head):
        return ARCHIVE
    return _of_message(storage)


def _of_zip(storage: Storage) -> Format:
    from tfpt.io.zips import listing

    names = [info.filename for info in listing(storage)]
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return TORCH
    if "config.json" in names and any(name.startswith("model.weights") for name in names):
        return KERAS_ARCHIVE
    # A numpy archive may contain notes beside its arrays.
    arrays = any(name.endswith(".npy") for name in names)
    if arrays and not any(_WEIGHTS.search(name) and not name.endswith(".npy") for name in names):
        return NUMPY
    return ARCHIVE


def _of_json(storage: Storage) -> Format | None:
    from tfpt.formats.tfjs.manifest import is_tfjs

    # Detected from its first key, whatever its size: its reader has its own limit, and fetches it once.
    if is_tfjs(storage.data[:_HEAD].tobytes()):
        return TFJS
    if len(storage.data) > SHARD_INDEX:
        return None
    try:
        content = json.loads(storage.data[:].tobytes())
    except (ValueError, RecursionError):
        return None
    if isinstance(content, dict) and "weightsManifest" in content:
        return TFJS
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict):
        return None
    # The files of a name: one, or several of Keras.
    files = (name for value in table.values() for name in (value if isinstance(value, list) else [value]))
    return KERAS_SHARDS if any(str(name).endswith(".h5") for name in files) else TORCH_SHARDS


def _of_message(storage: Storage) -> Format | None:
    """A TensorFlow protobuf message, binary or text."""
    from tfpt.formats.tensorflow.messages import kind_of

    kind = kind_of(storage)
    if kind is None:
        return None
    return SAVED_MODEL if kind == "saved model" else GRAPH


def is_beside_saved_model(location: str) -> bool:
    """Whether a file is an addition to a SavedModel beside it: naming it means the model."""
    return name_of(location) in ("fingerprint.pb", "keras_metadata.pb", "tfhub_module.pb") and is_file(
        sibling(location, "saved_model.pb")
    )


def sibling(location: str, name: str) -> str:
    """The location of a file beside another."""
    folder = location[: -len(name_of(location))].rstrip("/")
    return inside(folder or ".", name)
