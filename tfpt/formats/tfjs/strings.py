"""Strings as TensorFlow.js stores them: each behind its length, of four bytes, little endian."""

from __future__ import annotations

from tfpt.formats.tfjs.shards import Shards
from tfpt.io.limits import TFJS_STRINGS

# Lengths are looked at through a window: one by one they would be as many reads.
_WINDOW = 64 << 10


def end_of_strings(shards: Shards, begin: int, count: int) -> int | None:
    """Where the last of `count` strings ends that begin at `begin`; None where the bytes end before.

    Raises:
        ValueError: They are more than tfpt counts.
    """
    # Both writers store nothing for no strings; tensorflowjs' reader passes over four bytes, by mistake.
    if 4 * count > shards.end - begin:
        return None
    if count > TFJS_STRINGS:
        raise ValueError(f"{count:,} strings are more than {TFJS_STRINGS:,}")
    window, start, at = b"", begin, begin
    for _ in range(count):
        if at + 4 > shards.end:
            return None
        if at + 4 > start + len(window):
            to = min(at + _WINDOW, shards.end)
            if shards.lacking(at, to) is not None:
                to = at + 4
                if shards.lacking(at, to) is not None:
                    return None
            window, start = shards.read(at, to).tobytes(), at
        at += 4 + int.from_bytes(window[at - start : at - start + 4], "little")
    return at if at <= shards.end else None


def decode_strings(raw: bytes, count: int) -> list[bytes]:
    """The `count` strings in `raw`, which `end_of_strings` measured.

    Raises:
        ValueError: They are others than before.

    Example:
        >>> decode_strings(b"\\x02\\0\\0\\0ab\\0\\0\\0\\0", 2)
        [b'ab', b'']
    """
    strings = []
    at = 0
    for _ in range(count):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        strings.append(raw[at + 4 : end])
        at = end
    if at != len(raw):
        raise ValueError("the lengths of the strings changed since the file was opened")
    return strings
