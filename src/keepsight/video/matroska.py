"""The one thing about Matroska and WebM files that FFmpeg does not tell: whether their end is missing.

A file that is cut between two blocks reads like a shorter one, so its length in bytes is held against what it says of itself.
"""

from __future__ import annotations

from pathlib import Path

_SEGMENT = 0x18538067
_HEAD_BYTES = 4096  # the header before the segment has some 40


def is_cut(path: Path) -> bool:
    """Whether the file is shorter than its segment says it is. Recordings that were never finished do not say, nor do files of
    another kind: these count as whole."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    place = 0
    while place < len(head):
        identifier, place = _number(head, place, marked=True)
        size, place = _number(head, place)
        if identifier is None or size is None:
            return False
        if identifier == _SEGMENT:
            return place + size > path.stat().st_size
        place += size
    return False


def _number(data: bytes, place: int, *, marked: bool = False) -> tuple[int | None, int]:
    """A number of EBML (RFC 8794, section 4) and the place after it; ``None`` for "unknown" and for what is none.

    Args:
        marked: keeps the bits that say how long the number is, as identifiers are written.
    """
    length = 9 - data[place].bit_length() if place < len(data) else 9
    if length > 8 or place + length > len(data):
        return None, place
    value = int.from_bytes(data[place : place + length])
    if marked:
        return value, place + length
    most = (1 << 7 * length) - 1
    return None if value & most == most else value & most, place + length
