"""Tables of one object a row, read in order of frames without holding them.

Most files are in that order already; others (sorted by object, say) are read by jumping about in them. What is kept of a row is
its frame and its place: 24 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError
from keepsight.formats.exchange import ReadFrame, ReadObject

Row = TypeVar("Row")
IntArray = NDArray[np.int64]


class TextRows(Generic[Row]):
    """The rows of an UTF-8 file.

    Args:
        rows_of: makes rows of lines; it must take no line before it needs it, so that a row begins where the one before ended.
    """

    def __init__(self, file: Path, rows_of: Callable[[Iterator[str]], Iterator[Row]]) -> None:
        self._file, self._rows_of = file, rows_of
        self._starts = array("q")

    def __iter__(self) -> Iterator[Row]:
        """All rows, in the order of the file."""
        with _Lines(self._file) as lines:
            rows = self._rows_of(lines)
            while True:
                start = lines.end
                try:
                    row = next(rows)
                except StopIteration:
                    return
                self._starts.append(start)
                yield row

    def at(self, places: IntArray) -> Iterator[Row]:
        """Rows by their number from 0; all have been seen by an iteration before."""
        with _Lines(self._file) as lines:
            rows = self._rows_of(lines)
            for place in places:
                lines.go_to(self._starts[place])
                yield next(rows)


class _Lines:
    """Lines of a text file, and the byte at which the last one ended."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._stream = file.open("rb")
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
        self.end = 0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        first = self.end == 0
        try:
            line = self._stream.readline()
            text = line.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{self._file} is not a text file.") from error
        except OSError as error:
            raise InputError(f"{self._file} cannot be read: {error.strerror or error}.") from error
        if not line:
            raise StopIteration
        self.end += len(line)
        return text

    def go_to(self, start: int) -> None:
        if start != self.end:
            self._stream.seek(start)
            self.end = start


def frames_of(
    frames: Iterable[int | None],
    rows_at: Callable[[IntArray], Iterator[Row]],
    read: Callable[[int, Row], tuple[ReadObject | None, float | None]],
    where: Callable[[int], str],
) -> Iterator[ReadFrame]:
    """Frames in order, one in memory.

    Args:
        frames: the frame of each row in the order of the file; ``None`` for rows that are passed over.
        rows_at: gives rows by their number from 0.
        read: makes a row, given with its number, an object (``None``: it is outside the frame) and a time.
        where: names a row by its number, for errors.

    Raises:
        InputError: an object is twice on a frame.
    """
    of_row = np.frombuffer(array("q", (-1 if frame is None else frame for frame in frames)), np.int64)
    order = np.argsort(of_row, kind="stable")
    order = order[np.count_nonzero(of_row < 0) :]
    current, time_s = -1, None
    objects: dict[int, ReadObject] = {}
    for place, row in zip(map(int, order), rows_at(order), strict=True):
        frame = int(of_row[place])
        if frame != current and current >= 0:
            yield ReadFrame(current, tuple(objects.values()), time_s)
            objects, time_s = {}, None
        current = frame
        item, said_s = read(place, row)
        time_s = time_s if said_s is None else said_s
        if item is not None and item.object_id in objects:
            raise InputError(f"{where(place)}: object {item.object_id} is on this frame already.")
        if item is not None:
            objects[item.object_id] = item
    if current >= 0:
        yield ReadFrame(current, tuple(objects.values()), time_s)
