"""A binary mask: run lengths inside, an array only at the edge.

A 1080p mask is 2 MB as booleans and about 1 kB as COCO run lengths, so everything that is kept (results, the store, caches)
holds run lengths and everything that computes asks for the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco

from keepsight.core.errors import InputError
from keepsight.core.geometry import BoolArray, Box


@dataclass(frozen=True)
class Mask:
    """One object's pixels on one frame.

    Attributes:
        height, width: frame size in px.
        counts: COCO compressed run lengths (column-major, background first).
    """

    height: int
    width: int
    counts: bytes

    @classmethod
    def from_array(cls, array: ArrayLike) -> Mask:
        """Encodes a ``(H, W)`` array; every non-zero value counts as the object."""
        pixels = np.asarray(array)
        if pixels.ndim != 2 or pixels.size == 0:
            raise InputError(f"A mask must be a (height, width) array, got shape {pixels.shape}.")
        rle = coco.encode(np.asfortranarray(pixels != 0, dtype=np.uint8))
        return cls(int(rle["size"][0]), int(rle["size"][1]), bytes(rle["counts"]))

    @classmethod
    def from_window(cls, window: ArrayLike, height: int, width: int, *, top: int, left: int) -> Mask:
        """Encodes a ``(h, w)`` array, every non-zero value of which is the object, that lies with its corner at ``top`` and
        ``left`` px in a frame without another pixel of it; in time that does not grow with the frame's width.

        Raises:
            InputError: the window reaches out of the frame.
        """
        pixels = np.asarray(window)
        tall, wide = pixels.shape
        if not (0 <= top <= height - tall and 0 <= left <= width - wide):
            raise InputError(f"A window of {wide}x{tall} px at ({left}, {top}) leaves a frame of {width}x{height} px.")
        columns = np.zeros((wide, height), np.bool_)  # an array's row is a column of the frame: the order of the runs
        columns[:, top : top + tall] = pixels.T
        flat = columns.reshape(-1)
        borders = np.flatnonzero(np.diff(flat, prepend=False, append=False)) + left * height
        runs = np.diff(borders, prepend=0, append=height * width).tolist()
        rle = {"size": [height, width], "counts": runs if runs[-1] else runs[:-1]}
        return cls(height, width, bytes(coco.frPyObjects(rle, height, width)["counts"]))

    @classmethod
    def empty(cls, height: int, width: int) -> Mask:
        """A mask without a pixel."""
        rle = {"size": [height, width], "counts": [height * width]}
        return cls(height, width, bytes(coco.frPyObjects(rle, height, width)["counts"]))

    @classmethod
    def from_box(cls, height: int, width: int, left: int, top: int, right: int, bottom: int) -> Mask:
        """A filled rectangle of whole pixels, ``0 <= left < right <= width`` and ``0 <= top < bottom <= height``, made without
        an array."""
        tall, wide = bottom - top, right - left
        if tall == height:
            runs = [left * height, wide * height]
        else:
            runs = [left * height + top, *[tall, height - tall] * (wide - 1), tall]
        rest = height * width - sum(runs)
        rle = {"size": [height, width], "counts": [*runs, rest] if rest else runs}
        return cls(height, width, bytes(coco.frPyObjects(rle, height, width)["counts"]))

    @classmethod
    def from_coco(cls, rle: dict[str, Any]) -> Mask:
        """Reads a COCO RLE object with compressed (``str`` / ``bytes``) or uncompressed (list) counts.

        Raises:
            InputError: malformed run lengths, or runs that do not add up to the size.
        """
        try:
            height, width = (int(side) for side in rle["size"])
            counts = rle["counts"]
            if height <= 0 or width <= 0:
                raise ValueError("size must be positive")
            if isinstance(counts, (list, tuple)):
                if any(not isinstance(run, (int, np.integer)) or run < 0 for run in counts):
                    raise ValueError("runs are whole numbers of 0 or more")
                if sum(counts) != height * width:
                    raise ValueError("runs do not add up to the size")
                counts = coco.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)["counts"]
            data = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"Not a COCO run-length mask: {error}.") from error
        mask = cls(height, width, data)
        if sum(_runs(data)) != height * width:
            raise InputError("Not a COCO run-length mask: runs do not add up to the size.")
        return mask

    def to_coco(self) -> dict[str, Any]:
        """COCO RLE object with ``str`` counts, ready for JSON."""
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}

    def to_array(self) -> BoolArray:
        """Decodes to a fresh boolean ``(H, W)`` array."""
        return coco.decode(self._rle).astype(bool)

    @property
    def _rle(self) -> dict[str, Any]:
        return {"size": [self.height, self.width], "counts": self.counts}

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(coco.area(self._rle))

    @cached_property
    def box(self) -> Box | None:
        """Tight box, ``None`` when empty."""
        if self.area == 0:
            return None
        x, y, width, height = (float(v) for v in coco.toBbox(self._rle))
        return (x, y, x + width, y + height)

    def iou(self, other: Mask) -> float:
        """Intersection over union in [0, 1]; 1 when both are empty (the convention of the J measure)."""
        if (self.height, self.width) != (other.height, other.width):
            raise InputError(
                f"Masks of different frames: {self.width}x{self.height} and {other.width}x{other.height} px."
            )
        if self.area == 0 and other.area == 0:
            return 1.0
        return float(coco.iou([self._rle], [other._rle], [0])[0, 0])


def mask_ious(a: Sequence[Mask], b: Sequence[Mask]) -> NDArray[np.float64]:
    """Intersection over union of each pair, ``(N, M)`` in [0, 1]; 0 when both are empty."""
    return np.asarray(coco.iou([one._rle for one in a], [one._rle for one in b], [0] * len(b)), float).reshape(
        len(a), len(b)
    )


def masks_from_coco(rles: Sequence[dict[str, Any]]) -> list[Mask]:
    """What :meth:`Mask.from_coco` makes of each, with all runs checked at once: for files with thousands of masks.

    Raises:
        InputError: see there; of the first mask that is none.
    """
    masks = []
    for rle in rles:
        size, counts = (rle.get("size"), rle.get("counts")) if isinstance(rle, dict) else (None, None)
        height, width = size if isinstance(size, list) and len(size) == 2 else (0, 0)
        if (
            isinstance(height, int)
            and isinstance(width, int)
            and min(height, width) > 0
            and isinstance(counts, str)
            and counts.isascii()
        ):
            masks.append(Mask(height, width, counts.encode("ascii")))
        else:
            try:
                masks.append(Mask.from_coco(rle))
            except InputError:
                break  # one before it may be none either, which is only seen of all together
    if len(masks) < len(rles) or not _add_up(masks):
        for rle in rles:
            Mask.from_coco(rle)
    return masks


def mask_areas(masks: Sequence[Mask]) -> NDArray[np.int64]:
    """Number of pixels of each mask, ``(N,)``."""
    return np.asarray(coco.area([one._rle for one in masks]), np.int64).reshape(len(masks))


def _add_up(masks: Sequence[Mask]) -> bool:
    """Whether the runs of every mask are sound and fill its frame; what :func:`_runs` reads, for all masks at once."""
    if not masks:
        return True
    lengths = np.array([len(mask.counts) for mask in masks])
    digits = np.frombuffer(b"".join(mask.counts for mask in masks), np.uint8) - np.uint8(48)
    if not lengths.all() or (digits >= 64).any():
        return False
    ends = np.flatnonzero(digits < 32)
    edges = np.cumsum(lengths)
    if (digits[edges - 1] >= 32).any():
        return False
    width = np.diff(ends, prepend=-1)
    if width.max() > 7:
        return False
    starts = ends - width + 1
    shift = (5 * (np.arange(len(digits)) - np.repeat(starts, width))).astype(np.int64)
    values = np.add.reduceat((digits & 0x1F).astype(np.int64) << shift, starts)
    values[digits[ends] >= 16] -= np.int64(1) << (5 * width[digits[ends] >= 16])
    # Each run but the first three is said as the difference to the one before the last: two chains of sums a mask, the one of
    # even places (which leaves the first run out) and the one of odd places. Each mask begins at an even place.
    numbers = np.diff(np.searchsorted(ends, edges - 1, side="right"), prepend=0)
    begins = np.cumsum(numbers) - numbers
    room = numbers + numbers % 2
    first = np.cumsum(room) - room
    runs = np.zeros(room.sum(), np.int64)
    runs[np.arange(len(values)) + np.repeat(first - begins, numbers)] = values
    leading = runs[first].copy()
    runs[first] = 0
    pairs = runs.reshape(-1, 2)
    sums = np.cumsum(pairs, axis=0)
    before = sums[first // 2] - pairs[first // 2]
    sums -= np.repeat(before, room // 2, axis=0)
    sums[first // 2, 0] = leading
    sums.reshape(-1)[(first + room - 1)[numbers % 2 == 1]] = 0  # the places that make the number even
    areas = np.array([mask.height * mask.width for mask in masks])
    return bool((sums >= 0).all() and (np.add.reduceat(sums.sum(1), first // 2) == areas).all())


def _runs(counts: bytes) -> list[int]:
    """Run lengths of COCO's compressed form (6 bits a character, differences to the run before the last)."""
    runs: list[int] = []
    position = 0
    while position < len(counts):
        value, shift, more = 0, 0, True
        while more:
            if position >= len(counts):
                raise InputError("Not a COCO run-length mask: it ends in the middle of a number.")
            chunk = counts[position] - 48
            if shift > 30:
                # pycocotools reads into a machine word: with more digits it would see another number than this loop.
                raise InputError("Not a COCO run-length mask: a number has too many digits.")
            if not 0 <= chunk < 64:
                raise InputError("Not a COCO run-length mask: unexpected character.")
            value |= (chunk & 0x1F) << shift
            more = bool(chunk & 0x20)
            position += 1
            shift += 5
            if not more and chunk & 0x10:
                value |= -1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise InputError("Not a COCO run-length mask: negative run.")
        runs.append(value)
    return runs
