"""A YOLO segmentation dataset: ``labels/00000.txt`` with ``class x1 y1 x2 y2 ...`` a line, coordinates in parts of the frame.

YOLO has classes and no tracks, so the object of every line is in ``tracks/00000.txt`` beside it, which trainers do not look at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError
from keepsight.formats.boxes import read_text
from keepsight.formats.exchange import Export, Import, Namer, ReadFrame, ReadObject, frame_of, numbered
from keepsight.formats.polygons import fill_polygons

YAML = "data.yaml"


def write_yolo(source: Export, folder: Path) -> None:
    """Writes ``data.yaml``, ``labels/`` and ``tracks/``, a file for every stored frame. Every part of an object is a line of its
    own; overlaps stay, holes are filled."""
    names = source.names()
    size = np.array([source.video.width, source.video.height], np.float64)
    lines = ["path: .", "train: images", "val: images", "names:"]
    lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names)]  # JSON strings are YAML strings
    (folder / YAML).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for part in ("labels", "tracks"):
        (folder / part).mkdir()
    for result in source.results():
        shapes, ids = [], []
        for item in result.objects:
            number = names.index(source.label(item.object_id))
            for outline in source.outlines(item.mask):
                shapes.append(
                    f"{number} " + " ".join(f"{value:.9g}" for value in (_at_least_three(outline) / size).ravel())
                )
                ids.append(str(item.object_id))
        for name, rows in (("labels", shapes), ("tracks", ids)):
            text = "\n".join(rows) + ("\n" if rows else "")
            (folder / name / f"{result.frame:05d}.txt").write_text(text, encoding="utf-8")


def _at_least_three(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A dot or a line with its last point repeated: three points are the least that YOLO takes for a polygon."""
    return np.concatenate([points, np.repeat(points[-1:], max(0, 3 - len(points)), axis=0)])


def read_yolo(source: Import) -> Iterator[ReadFrame]:
    """Reads the folder of a dataset or of its labels. Lines of four numbers are boxes (centre, size). With ``tracks/`` lines of
    the same object are its parts; without, every line is an object."""
    root = source.path
    folder = root / "labels" if (root / "labels").is_dir() else root
    tracks = folder.parent / "tracks"
    names = _names(folder.parent / YAML)
    files = numbered(folder, ".txt") if folder.is_dir() else [(frame_of(folder.name), folder)]
    namer = Namer(source, max([0, *source.declared]) + 1)
    for frame, file in files:
        ids = _lines(tracks / file.name) if tracks.is_dir() else None
        yield ReadFrame(frame, _read(source, file, ids, names, namer))


def _read(
    source: Import, file: Path, ids: list[str] | None, names: dict[int, str], namer: Namer
) -> tuple[ReadObject, ...]:
    rows = _lines(file)
    if ids is not None and len(ids) != len(rows):
        raise InputError(f"{file} has {len(rows)} lines but tracks/{file.name} has {len(ids)}; they must match.")
    scale = np.array([source.width, source.height], np.float64)
    polygons: dict[int, list[NDArray[np.float64]]] = {}
    boxes: dict[int, ReadObject] = {}
    of_frame = namer.frame()
    for place, row in enumerate(rows):
        where = f"{file}, line {place + 1}"
        try:
            values = [float(value) for value in row.split()]
            number = int(row.split()[0])
            object_id = None if ids is None else source.object_id(int(ids[place]), where)
        except ValueError as error:
            raise InputError(f"{where}: expected a class and coordinates but found {row[:60]!r}.") from error
        if not all(math.isfinite(value) and abs(value) <= 10 for value in values[1:]):
            raise InputError(f"{where}: coordinates are parts of the frame, 0 to 1.")
        label = names.get(number, str(number))
        if object_id is None:
            object_id = of_frame(label)
        source.declare(object_id, label)
        if len(values) == 5:
            x, y, width, height = (np.array(values[1:]).reshape(2, 2) * scale).ravel().tolist()
            item = source.from_box(object_id, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), where)
            if item is not None:
                boxes[object_id] = item
        elif len(values) >= 7 and len(values) % 2:
            # Written with nine digits: a thousandth of a pixel brings back the half that an outline runs along.
            points = np.round(np.array(values[1:]).reshape(-1, 2) * scale, 3)
            polygons.setdefault(object_id, []).append(points)
        else:
            raise InputError(f"{where}: expected a class and 4, or 6 and more, coordinates.")
    filled = {
        key: ReadObject(key, fill_polygons(value, source.height, source.width)) for key, value in polygons.items()
    }
    return tuple((boxes | filled).values())


def _lines(file: Path) -> list[str]:
    return [line for line in read_text(file).splitlines() if line.strip()]


def _names(file: Path) -> dict[int, str]:
    """The ``names`` of a ``data.yaml``: the two ways in which they are written, without a YAML parser's other powers."""
    if not file.is_file():
        return {}
    names: dict[int, str] = {}
    lines = iter(read_text(file).splitlines())
    for line in lines:
        if not line.startswith("names:"):
            continue
        rest = line.removeprefix("names:").strip()
        if rest.startswith("["):
            return {number: _plain(name) for number, name in enumerate(rest.strip("[]").split(","))}
        for entry in lines:
            if not entry[:1].isspace() and not entry.startswith("-"):
                break
            if entry.strip().startswith("- "):
                names[len(names)] = _plain(entry.strip()[2:])
            elif ":" in entry and (number_text := entry.split(":", 1)[0].strip()).isdecimal():
                names[int(number_text)] = _plain(entry.split(":", 1)[1])
    return names


def _plain(text: str) -> str:
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            pass
    return text.strip("'\"")
