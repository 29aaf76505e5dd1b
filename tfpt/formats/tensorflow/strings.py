"""Encodes and decodes tensors of strings in V2 checkpoints.

WriteStringTensor in tensorflow/core/util/tensor_bundle/tensor_bundle.cc::

    length of each string (varints)   masked crc32c of the lengths (uint32)   the bytes of all strings

Checksums cover each length as a uint32, or as a uint64 if it does not fit, rather than as a varint; the one in the
tensor's entry covers the lengths, their stored checksum, and the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.formats.tensorflow.sstable import crc32c, masked
from tfpt.formats.tensorflow.wire import read_varint, write_varint


def decode_strings(raw: bytes, count: int, checksum: int | None) -> list[bytes]:
    """The `count` strings in `raw`.

    Args:
        raw: All bytes of the tensor.
        count: The number of its elements.
        checksum: The expected masked checksum; ``None`` to skip the check.

    Raises:
        ValueError: Lengths or checksums do not match the bytes.

    Example:
        >>> decode_strings(*encode_strings([b"relu", b""])[:1], 2, None)
        [b'relu', b'']
    """
    if not raw and not count:
        return []  # TensorFlow reads an absent tensor as an empty one
    if count > len(raw):
        raise ValueError(f"{count} strings do not fit into {len(raw)} bytes")
    lengths = []
    at = 0
    for _ in range(count):
        length, at = read_varint(raw, at)
        lengths.append(length)
    begin = at + 4
    if begin + sum(lengths) != len(raw):
        raise ValueError(
            f"the lengths of the strings add up to {sum(lengths)} bytes, and there are {len(raw) - begin}"
        )
    if checksum is not None:
        crc = _crc_of_lengths(lengths)
        if masked(crc) != int.from_bytes(raw[at:begin], "little"):
            raise ValueError("the lengths of the strings fail their checksum")
        if masked(crc32c(raw[at:], crc)) != checksum:
            raise ValueError("the strings fail their checksum")
    strings = []
    for length in lengths:
        strings.append(raw[begin : begin + length])
        begin += length
    return strings


def encode_strings(strings: Sequence[bytes]) -> tuple[bytes, int]:
    """The bytes to store, and their unmasked checksum."""
    lengths = [len(string) for string in strings]
    crc = _crc_of_lengths(lengths)
    tail = masked(crc).to_bytes(4, "little") + b"".join(strings)
    return b"".join(map(write_varint, lengths)) + tail, crc32c(tail, crc)


def _crc_of_lengths(lengths: Sequence[int]) -> int:
    return crc32c(b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths))
