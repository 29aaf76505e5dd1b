"""Limits on sizes, counts and depths in untrusted files, each with its reason.

Readers refuse what exceeds them. They are far above what real files contain, and low enough that a refusal comes before
the machine runs out of memory or time.
"""

from __future__ import annotations

# ── zip archives ──
# A directory of 64 MB names some 600,000 members; Python makes 400 bytes of memory of each 46 of them.
ZIP_DIRECTORY = 64 << 20
ZIP_MEMBERS = 200_000
# Deflate cannot pack more tightly than 1032 to 1 (zlib's technical notes). Weights do not come near a hundred;
# zeros do, and are small.
TIGHTEST = 1032
TIGHTEST_OF_LARGE, LARGE_MEMBER = 100, 256 << 20

# ── archives that are unpacked ──
# Models are a few files of floats that hardly compress: much higher ratios are made to fill disks.
UNPACKED_FILES = 10_000
UNPACKED_GROWTH = 50
UNPACKED_FREELY = 1 << 30
# tarfile takes the headers that hold a long name or attributes into memory, whatever size they declare.
TAR_HEADER = 64 << 10
# Nested archives.
ARCHIVE_LEVELS = 3

# ── pickles ──
# A checkpoint of 30,000 tensors with its optimizer takes 3 million opcodes; a million take a second.
PICKLE_OPCODES = 1_000_000
TORCH_OPCODES = 10_000_000
PICKLE_TEXT = 64 << 20
# Nested pickles: joblib writes arrays of objects as such.
PICKLE_LEVELS = 8

# ── trees of values, of pickles and msgpack ──
# A list may be repeated in another: thirty nested lists of two are a billion values.
TREE_VALUES = 200_000
TREE_LEVELS = 32
TREE_NAME = 1_000

# ── tensors larger than their stored bytes ──
# Expanded tensors, sparse tensors, one storage under many names: the total size of a file's tensors, relative to the
# file, and the size that is always allowed.
EXPANDED_GROWTH, EXPANDED_FREELY = 20, 256 << 20
# The scales of all quantized tensors of a file; each becomes a Python number.
SCALES = 1 << 22

# ── safetensors and indexes of shards ──
# The official reader's own limit.
SAFETENSORS_HEADER = 100_000_000
SHARD_INDEX = 64 << 20

# ── PyTorch ──
# The pickle of a state dict takes some 200 bytes a tensor.
TORCH_PICKLE = 256 << 20

# ── mappings ──
# A mapping of thousands of rows has some ten thousand values; aliases and parameters that multiply past this are an
# attack.
MAPPING_VALUES = 200_000
# The characters of all its keys and texts, aliases and parameters written out: no mapping known has a hundredth.
MAPPING_CHARACTERS = 32_000_000
# A mapping is seven deep. PyYAML's composer recurses in C: some ten thousand brackets would overflow its stack.
MAPPING_DEPTH = 100
# Files that extend one another; known mappings have two.
MAPPING_CHAIN = 50
# Rows, counted for each scope of a layer and of the source.
MAPPING_ROWS = 200_000
# Python refuses to write numbers of more than 4,300 digits out; no size or seed has more than 64 bits.
NUMBER_BITS = 256
# A config.json has some kilobytes.
CONFIGURATION_BYTES = 32_000_000
# Rows times names: what a plan keeps for each tensor takes about a kilobyte.
PLAN_INSTANCES = 1_000_000
# Blocks of 256 KB that are kept while the structure of a remote file is read: 64 MB.
MOST_KEPT_BLOCKS = 256

# Bytes of a tensor that a few stored bytes represent: a constant of one repeated value, a sparse tensor. No model has a
# larger one; a file of a kilobyte may claim terabytes.
LARGEST_FILL = 1 << 29

# Fields at the top of a message that are looked at to tell what it is.
MOST_FIELDS_LOOKED_AT = 16

# Components of a name that may be the scope of an optimizer; known ones have two.
MOST_SCOPES = 8

# Bytes that a V1 checkpoint's value may stand for, for each byte of its files: snappy cannot say more than 22 in one.
LARGEST_V1_GROWTH = 22

# Bytes of a remote checkpoint's index that are fetched at once: an index of 100,000 tensors has 8 MB.
LARGEST_FETCHED_INDEX = 64 << 20
# ── HDF5 ──
# Blocks of one object's header: each holds a message, and those are counted in 16 bits.
HDF5_HEADER_BLOCKS = 1 << 16
# Levels of a tree of links or chunks: a full one of this depth has more entries than a disk has bytes.
HDF5_TREE_LEVELS = 32
# Groups in groups: deeper than any model nests.
HDF5_DEPTH = 100
# Characters of all paths together, for each byte of the file: several groups may share their names' bytes.
HDF5_NAMES_PER_BYTE = 4
# Bytes of the texts of one attribute: the longest is the configuration of a model.
HDF5_ATTRIBUTE_BYTES = 256 << 20
# Texts of one dataset: vocabularies have some hundred thousand.
HDF5_TEXTS = 1 << 20
# The HDF5 library, which reads files of other kinds in a process of its own: memory beside that of the values read, and
# seconds of processor time for a list of everything; for values, as much again for each 64 MiB of them.
HDF5_MEMORY = 1 << 30
HDF5_SECONDS = 60
# Bytes that it may ask for, for each byte of the file, to answer a question.
HDF5_READS_PER_BYTE = 8

# ── Keras ──
# Bytes of the configuration of a model. Those of the largest models have some megabytes; parsed, lists without
# elements take thirty times as many.
KERAS_CONFIG = 16 << 20

# ── packed values ──
# Claims up to a harmless size are accepted: Keras 3 does not write datasets of zeros.
CLAIMED_FREELY = 64 << 20


def most_unpacked(claimed: int, stored: int) -> int:
    """How many bytes `stored` bytes may be unpacked to, if their claimed size is `claimed`.

    Example:
        >>> most_unpacked(1000, 10), most_unpacked(8 << 30, 8 << 20) >> 20
        (67108864, 800)
    """
    return max(CLAIMED_FREELY, stored * (TIGHTEST if claimed <= LARGE_MEMBER else TIGHTEST_OF_LARGE))


# ── TensorFlow.js ──
# A model.json holds the graph, too: the largest have some 10 MB, and Python makes of 1 MB up to 40.
TFJS_MANIFEST = 32 << 20
# Shards have 4 MB; each is a file to request.
TFJS_SHARDS = 10_000
# Strings of a tensor, each preceded by its length: they are counted one by one.
TFJS_STRINGS = 1 << 22
# ── remote files ──
# The largest file size that a store may report, 64 TiB: above S3's largest object (50 TB).
REMOTE_SIZE = 1 << 46
# Seconds until a web server begins to respond, including redirects, and between two chunks of a response.
WEB_ANSWER = 60.0
WEB_STALL = 30.0
# A response may take this long, plus a second for every 4 KB received.
WEB_PATIENCE = 60.0
WEB_SLOWEST = 4 << 10
# The largest file that is read from a server without ranges.
WEB_WHOLE = 64 << 20
# The largest download of unknown size, and the disk space that downloads leave free.
DOWNLOAD_UNSIZED = 32 << 30
DISK_LEFT = 256 << 20
