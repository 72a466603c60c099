"""MOT and MOTS text: ``gt/gt.txt`` with one object a line, frames counted from 1."""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from keepsight.core import Box, FrameResult, InputError, Mask
from keepsight.formats.exchange import (
    SIDECAR,
    Export,
    Import,
    ReadFrame,
    ReadObject,
    check_file,
    score_of,
)
from keepsight.formats.rows import TextRows, frames_of

FILE = "gt/gt.txt"
RESULTS = "results.txt"
LABELS = "labels.txt"
_KNOWN = {"car": 1, "person": 2, "pedestrian": 2}  # what the MOTS evaluators mean by 1 and 2
_IGNORED, _FIRST_OTHER = 10, 11
_MOTS_INSTANCES = 1000


def write_mot(source: Export, folder: Path) -> None:
    """Writes ``gt/gt.txt`` (``frame,id,x,y,width,height,1,class,1``), the same lines as a tracker hands them in
    (``frame,id,x,y,width,height,score,-1,-1,-1``) in ``results.txt``, ``labels.txt`` (names of the classes, from 1) and
    ``seqinfo.ini``.

    Two files, because the seventh number means two things: in a truth it says whether the line counts, and evaluators pass over
    a line with a score below 1 there. Boxes only, in px from the corner 0,0 of the first pixel. Ids start at 1: where an
    object is 0, all are dealt anew.
    """
    ids, names = source.fit_ids(1, 2**31 - 1), source.names()
    with _open(source, folder) as out, (folder / RESULTS).open("w", encoding="utf-8") as results:
        for result in source.results():
            source.losses["empty_frames"] += not any(item.present for item in result.objects)
            for item in result.objects:
                if item.mask.box is None or item.object_id not in ids:
                    continue
                x1, y1, x2, y2 = item.mask.box
                box = ",".join(f"{value:.10g}" for value in (x1, y1, x2 - x1, y2 - y1))
                line = f"{result.frame + 1},{ids[item.object_id]},{box}"
                out.write(f"{line},1,{names.index(source.label(item.object_id)) + 1},1\n")
                results.write(f"{line},{round(item.score, 5):g},-1,-1,-1\n")
                source.losses["masks_as_boxes"] += 1
    (folder / LABELS).write_text("".join(f"{_one_line(name)}\n" for name in names), encoding="utf-8")


def write_mots(source: Export, folder: Path) -> None:
    """Writes ``frame id class height width rle`` as MOTSChallenge has it: id = class x 1000 + instance, no overlaps.

    Where objects overlap, the one added last is on top. Instances are the object ids where all are 1 to 999, else dealt from 1.
    ``car`` is class 1, ``person`` and ``pedestrian`` 2, other names 11 and on (10 means "ignore"); ``labels.txt`` has the names.
    """
    ids = source.fit_ids(1, _MOTS_INSTANCES - 1)
    others = count(_FIRST_OTHER)
    classes: dict[str, int] = {}
    for name in source.names():
        classes[name] = _KNOWN.get(name.lower()) or next(others)
    values = {key: classes[source.label(key)] * _MOTS_INSTANCES + instance for key, instance in ids.items()}
    source.written_as = values
    with _open(source, folder) as out:
        for result in source.results():
            kept = tuple(item for item in result.objects if item.object_id in ids)
            masks, overlap = without_overlap(replace(result, objects=kept))
            source.losses["overlap_px"] += overlap
            source.losses["empty_frames"] += not any(mask.area for mask in masks.values())
            for object_id, mask in masks.items():
                if mask.area:
                    kind = classes[source.label(object_id)]
                    rle = mask.counts.decode("ascii")
                    out.write(f"{result.frame + 1} {values[object_id]} {kind} {mask.height} {mask.width} {rle}\n")
    table = "".join(f"{number} {_one_line(name)}\n" for name, number in classes.items())
    (folder / LABELS).write_text(table, encoding="utf-8")


def without_overlap(result: FrameResult) -> tuple[dict[int, Mask], int]:
    """Object id -> what can be seen of it where the object added last is on top, and the number of pixels that were claimed by
    more than one (once for every object too many)."""
    taken = np.zeros((result.height, result.width), bool)
    masks, overlap = {}, 0
    for item in reversed(result.objects):
        masks[item.object_id] = item.mask
        if item.mask.box is None:
            continue
        x1, y1, x2, y2 = (int(side) for side in item.mask.box)
        window, pixels = taken[y1:y2, x1:x2], item.mask.to_array()
        shared = int(np.count_nonzero(window & pixels[y1:y2, x1:x2]))
        if shared:
            overlap += shared
            visible = pixels & ~taken
            masks[item.object_id] = Mask.from_array(visible)
        window |= pixels[y1:y2, x1:x2]
    return {item.object_id: masks[item.object_id] for item in result.objects}, overlap


def read_mot(source: Import) -> Iterator[ReadFrame]:
    """Reads ``gt.txt`` or a tracker's results: at least ``frame,id,x,y,width,height``. Lines whose seventh number is 0 (not to be
    considered) are left out and counted; -1 there, as trackers write it, is a score of 1. Beside our own ``gt.txt`` the scores
    are taken from ``results.txt``."""
    file = _file(source.path)
    names = dict(enumerate(_lines_of(file.parent.parent / LABELS) or _lines_of(file.parent / LABELS), start=1))
    score_of_line, scores = _scores(file), array("d")
    lines = TextRows(file, _lines)

    def where(place: int) -> str:
        return f"{file}, line {place + 1}"

    def frames() -> Iterator[int | None]:
        for place, line in enumerate(lines):
            row = _box_row(line, where(place)) if line else None
            if row is not None and score_of_line is not None:
                row = replace(row, score=score_of_line(row.said))
            scores.append(0.0 if row is None else row.score)
            if row is None or not row.counts:
                source.troubles["ignored_lines"] += row is not None
                yield None
                continue
            source.declare(source.object_id(row.value, where(place)), names.get(row.kind))
            yield source.frame(row.frame - 1, f"{where(place)} (frames count from 1)")

    def read(place: int, line: str) -> tuple[ReadObject | None, None]:
        row = _box_row(line, where(place))
        return source.from_box(source.object_id(row.value, where(place)), row.box, where(place), scores[place]), None

    yield from frames_of(frames(), lines.at, read, where)


@dataclass(frozen=True)
class _BoxRow:
    """A line of MOT; ``said`` is how it names its box."""

    frame: int
    value: int
    box: Box
    score: float
    counts: bool
    kind: int
    said: list[str]


def _box_row(line: str, where: str) -> _BoxRow:
    parts = line.replace(" ", "").split(",") if "," in line else line.split()
    try:
        frame, value = (_whole(part) for part in parts[:2])
        x, y, width, height = (float(part) for part in parts[2:6])
        kind = _whole(parts[7]) if len(parts) > 7 else -1
        score = 1.0 if len(parts) < 7 or float(parts[6]) < 0 else score_of(parts[6], where)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: expected frame,id,x,y,width,height but found {line[:60]!r}.") from error
    return _BoxRow(frame, value, (x, y, x + width, y + height), score, score > 0, kind, parts[:6])


def read_mots(source: Import) -> Iterator[ReadFrame]:
    """Reads ``frame id class height width rle``; class 10 (regions to ignore) is left out and counted."""
    file = _file(source.path)
    names = {1: "car", 2: "pedestrian"}
    for line in _lines_of(file.parent.parent / LABELS) or _lines_of(file.parent / LABELS):
        number_text, _, name = line.partition(" ")
        if number_text.isdecimal():
            names[int(number_text)] = name
    lines = TextRows(file, _lines)

    def where(place: int) -> str:
        return f"{file}, line {place + 1}"

    def frames() -> Iterator[int | None]:
        for place, line in enumerate(lines):
            if not line:
                yield None
                continue
            frame, value, kind, _ = _mask_row(line, where(place))
            if kind == _IGNORED:
                source.troubles["ignored_lines"] += 1
                yield None
                continue
            source.declare(source.object_id(value, where(place)), names.get(kind))
            yield source.frame(frame - 1, f"{where(place)} (frames count from 1)")

    def read(place: int, line: str) -> tuple[ReadObject, None]:
        _, value, _, rle = _mask_row(line, where(place))
        return ReadObject(source.object_id(value, where(place)), source.mask(rle, where(place))), None

    yield from frames_of(frames(), lines.at, read, where)


def _mask_row(line: str, where: str) -> tuple[int, int, int, dict[str, Any]]:
    """Frame, id, class and run lengths."""
    parts = line.split(" ")
    try:
        frame, value, kind, height, width = (_whole(part) for part in parts[:5])
        (counts,) = parts[5:]
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: expected frame id class height width rle but found {line[:60]!r}.") from error
    return frame, value, kind, {"size": [height, width], "counts": counts}


def _lines(stream: Iterator[str]) -> Iterator[str]:
    return (line.strip() for line in stream)


def _scores(file: Path) -> Callable[[list[str]], float] | None:
    """What gives the score of each line of our own ``gt.txt`` in turn; ``None`` for anybody else's."""
    results = file.parent.parent / RESULTS
    if file.name != "gt.txt" or not results.is_file() or not (results.parent / SIDECAR).is_file():
        return None
    rows = _rows(check_file(results))

    def score(line: list[str]) -> float:
        number, other = next(rows, (0, ""))
        parts = other.split(",")
        if parts[:6] != line or len(parts) < 7:
            raise InputError(f"{results}, line {number}: not the box that {file} has; move {RESULTS} away.")
        return score_of(parts[6], f"{results}, line {number}")

    return score


@contextlib.contextmanager
def _open(source: Export, folder: Path) -> Iterator[IO[str]]:
    """``gt.txt``, with ``seqinfo.ini`` beside it at the end."""
    (folder / "gt").mkdir()
    with (folder / FILE).open("w", encoding="utf-8") as out:
        yield out
    video = source.video
    length = video.frame_count or max(source.project.frames_done(video.id), default=-1) + 1
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={_one_line(video.name)}\nimDir=img1\nframeRate={video.fps:g}\nseqLength={length}\n"
        f"imWidth={video.width}\nimHeight={video.height}\nimExt=.jpg\n",
        encoding="utf-8",
    )


def _file(path: Path) -> Path:
    names = (FILE, "gt.txt")
    return check_file(path, next((name for name in names if path.is_dir() and (path / name).exists()), FILE))


def _rows(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line.strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not a text file.") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error


def _lines_of(file: Path) -> list[str]:
    return [line for _, line in _rows(check_file(file))] if file.is_file() else []


def _whole(text: str) -> int:
    number = float(text)  # some tools write 12.0
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{text} is no whole number")
    return int(number)


def _one_line(text: str) -> str:
    return " ".join(text.split())
