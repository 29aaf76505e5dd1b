"""Limits on sizes, counts and depths in untrusted files, each with its reason.

Readers refuse what exceeds them. They are far above what real files contain, and low enough to refuse a file before the
machine runs out of memory or time.
"""

from __future__ import annotations

# ── zip archives ──
# A directory of 64 MB lists some 600,000 members; Python uses 400 bytes of memory for every 46 bytes of it.
ZIP_DIRECTORY = 64 << 20
ZIP_MEMBERS = 200_000
# Deflate cannot pack more tightly than 1032 to 1 (zlib's technical notes). Weights do not come near 100 to 1;
# zeros do, and are small.
TIGHTEST = 1032
TIGHTEST_OF_LARGE, LARGE_MEMBER = 100, 256 << 20

# ── archives to unpack ──
# Models are a few files of floats that hardly compress: archives with much higher ratios are made to fill disks.
UNPACKED_FILES = 10_000
UNPACKED_GROWTH = 50
UNPACKED_FREELY = 1 << 30
# tarfile reads headers with a long name or attributes into memory, whatever size they declare.
TAR_HEADER = 64 << 10
# Nested archives.
ARCHIVE_LEVELS = 3

# ── pickles ──
# A checkpoint of 30,000 tensors with its optimizer takes 3 million opcodes; reading a million takes a second.
PICKLE_OPCODES = 1_000_000
TORCH_OPCODES = 10_000_000
PICKLE_TEXT = 64 << 20
# Nested pickles: joblib writes arrays of objects as pickles.
PICKLE_LEVELS = 8

# ── trees of values in pickles and msgpack ──
# A list may contain another one twice: thirty such levels make a billion values.
TREE_VALUES = 200_000
TREE_LEVELS = 32
TREE_NAME = 1_000

# ── tensors larger than their stored bytes ──
# Expanded tensors, sparse tensors, one storage under many names: the total size of a file's tensors, relative to the
# file, and the size that is always allowed.
EXPANDED_GROWTH, EXPANDED_FREELY = 20, 256 << 20
# Scales of all quantized tensors of a file; each becomes a Python number.
SCALES = 1 << 22

# ── safetensors and indexes of shards ──
# The official reader's own limit.
SAFETENSORS_HEADER = 100_000_000
SHARD_INDEX = 64 << 20

# ── PyTorch ──
# The pickle of a state dict takes some 200 bytes a tensor.
TORCH_PICKLE = 256 << 20

# ── mappings ──
# A mapping of thousands of rows has some ten thousand values; aliases and parameters that expand beyond this are an
# attack.
MAPPING_VALUES = 200_000
# Characters of all its keys and texts, with aliases and parameters expanded: known mappings have less than a hundredth.
MAPPING_CHARACTERS = 32_000_000
# A mapping has seven levels. PyYAML's composer recurses in C: some ten thousand brackets would overflow its stack.
MAPPING_DEPTH = 100
# Files that extend one another; known mappings have a handful.
MAPPING_FILES = 50
# Rows, counted once per scope of a layer and of the source.
MAPPING_ROWS = 200_000
# Python refuses to print numbers of more than 4,300 digits; no size or seed has more than 64 bits.
NUMBER_BITS = 256
# A config.json has a few kilobytes.
CONFIGURATION_BYTES = 32_000_000
# Rows times names: what a plan keeps for each tensor takes about a kilobyte.
PLAN_INSTANCES = 1_000_000
# Blocks of 256 KB cached while the structure of a remote file is read: 64 MB.
MOST_KEPT_BLOCKS = 256

# Bytes of a tensor that a few stored bytes represent: a constant of one repeated value, a sparse tensor. No model has a
# larger one; a file of one kilobyte may claim terabytes.
LARGEST_FILL = 1 << 29

# Top-level fields of a message examined to detect its type.
MOST_FIELDS_LOOKED_AT = 16

# Components in an optimizer's scope; known scopes have two.
MOST_SCOPES = 8

# Uncompressed bytes per byte of a V1 checkpoint's files: snappy cannot exceed 22.
LARGEST_V1_GROWTH = 22

# Bytes of a remote checkpoint's index downloaded at once: an index of 100,000 tensors has 8 MB.
LARGEST_FETCHED_INDEX = 64 << 20
# ── HDF5 ──
# Blocks of one object's header: each contains a message, and messages are counted in 16 bits.
HDF5_HEADER_BLOCKS = 1 << 16
# Levels of a tree of links or chunks: a full tree of this depth has more entries than a disk has bytes.
HDF5_TREE_LEVELS = 32
# Nested groups: deeper than any model.
HDF5_DEPTH = 100
# Characters of all paths together per byte of the file: groups may share the bytes of their names.
HDF5_NAMES_PER_BYTE = 4
# Bytes of the strings of one attribute: the longest is the configuration of a model.
HDF5_ATTRIBUTE_BYTES = 256 << 20
# Strings of one dataset: vocabularies have some hundred thousand.
HDF5_TEXTS = 1 << 20
# The HDF5 library, which reads other kinds of files in a separate process: memory in addition to the values read, and
# seconds of CPU time to list everything; for values, the same for every 64 MiB.
HDF5_MEMORY = 1 << 30
HDF5_SECONDS = 60
# Bytes that it may read to answer a request, per byte of the file.
HDF5_READS_PER_BYTE = 8

# ── Keras ──
# Bytes of the configuration of a model. Those of the largest models have a few megabytes; empty lists take thirty
# times as many bytes when parsed.
KERAS_CONFIG = 16 << 20

# ── packed values ──
# Claims up to a harmless size are accepted: Keras 3 does not write datasets of zeros.
CLAIMED_FREELY = 64 << 20


def most_unpacked(claimed: int, stored: int) -> int:
    """The number of bytes to which `stored` bytes may be unpacked if their claimed size is `claimed`.

    Example:
        >>> most_unpacked(1000, 10), most_unpacked(8 << 30, 8 << 20) >> 20
        (67108864, 800)
    """
    return max(CLAIMED_FREELY, stored * (TIGHTEST if claimed <= LARGE_MEMBER else TIGHTEST_OF_LARGE))


# ── TensorFlow.js ──
# A model.json also contains the graph: the largest have some 10 MB, and Python uses up to 40 MB for each.
TFJS_MANIFEST = 32 << 20
# Shards have 4 MB; each takes one request.
TFJS_SHARDS = 10_000
# Strings of a tensor, each preceded by its length, so they must be counted one by one.
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
# The largest file that is read from a server without range requests.
WEB_WHOLE = 64 << 20
# The largest download of unknown size, and the disk space that downloads leave free.
DOWNLOAD_UNSIZED = 32 << 30
DISK_LEFT = 256 << 20
