"""LabelMe JSON, as X-AnyLabeling writes it: one file a frame, polygons, the track in ``group_id``.

What a file holds besides (unknown keys, points and lines, flags, notes) is kept when the objects are exported over it again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keepsight.core import InputError, TrackedObject
from keepsight.formats.exchange import (
    UNNAMED,
    Export,
    Import,
    Namer,
    ReadFrame,
    ReadObject,
    frame_of,
    numbered,
    read_json,
    score_of,
)
from keepsight.formats.polygons import fill_polygons

_POLYGONS = {"polygon", "quadrilateral", "rotation"}
_CIRCLE_POINTS = 72


def write_labelme(source: Export, folder: Path) -> None:
    """Writes ``00000.json`` and on, one for every stored frame; every part of an object is a polygon with the object's id as
    ``group_id``. Overlaps stay, holes are filled.

    With ``source.base`` a frame's file is taken from there, and only the shapes of the objects change: the polygons of an object
    keep their unknown keys, shapes that are no object's stay, and so do files of frames without a result.
    """
    ours: set[int | str] = {item.object_id for item in source.objects} | set(source.names())
    earlier = {} if source.base is None else dict(numbered(source.base, ".json"))
    for result in source.results():
        base_file = earlier.pop(result.frame, None)
        data = _new(source, result.frame) if base_file is None else _load(base_file)
        former = [shape for shape in data["shapes"] if _is_object(shape, ours)]
        shapes = [shape for shape in data["shapes"] if not _is_object(shape, ours)]
        source.losses["kept_shapes"] += len(shapes)
        data["shapes"] = shapes
        for item in result.objects:
            shapes += _shapes(source, item, former)
        name = f"{result.frame:05d}.json" if base_file is None else base_file.name
        _write(folder / name, data)
    for file in earlier.values():
        data = _load(file)
        source.losses["kept_shapes"] += len(data["shapes"])
        _write(folder / file.name, data)


def _new(source: Export, frame: int) -> dict[str, Any]:
    return {
        "version": "4.2.1",
        "flags": {},
        "checked": False,
        "shapes": [],
        "imagePath": f"{frame:05d}.jpg",
        "imageData": None,
        "imageHeight": source.video.height,
        "imageWidth": source.video.width,
        "description": "",
    }


def _shapes(source: Export, item: TrackedObject, former: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The object's shapes; each takes the unknown keys of one of ``former``, which is used up."""
    shapes = []
    for outline in source.outlines(item.mask):
        shape: dict[str, Any] = {
            "label": source.label(item.object_id),
            "score": round(item.score, 5),
            "points": outline.tolist(),
            "group_id": item.object_id,
            "description": "",
            "difficult": False,
            "shape_type": "polygon",
            "flags": {},
            "attributes": {},
            "kie_linking": [],
        }
        mine = (item.object_id, shape["label"])
        place = next((place for place, old in enumerate(former) if _owner(old) in mine), None)
        if place is not None:
            kept = former.pop(place)
            kept.pop("direction", None)  # belongs to a rotated box, which this is no more
            shape = kept | {key: shape[key] for key in ("label", "score", "points", "group_id", "shape_type")}
        shapes.append(shape)
    return shapes


def _is_object(shape: dict[str, Any], ours: set[int | str]) -> bool:
    return _owner(shape) in ours and _encloses(shape)


def _owner(shape: dict[str, Any]) -> int | str:
    """What tells whose shape it is: the ``group_id``, or else the label."""
    group = _group(shape)
    return str(shape.get("label") or UNNAMED) if group is None else group


def _encloses(shape: dict[str, Any]) -> bool:
    return shape.get("shape_type", "polygon") in {*_POLYGONS, "rectangle", "circle"}


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_labelme(source: Import) -> Iterator[ReadFrame]:
    """Reads a folder of files, named by frame. Polygons, rectangles, rotated boxes and circles of one ``group_id`` are the parts
    of one object; other shapes are left out and counted. One file is in memory at a time (each is read twice)."""
    files = numbered(source.path, ".json") if source.path.is_dir() else [(frame_of(source.path.name), source.path)]
    top = max([0, *source.declared])
    for _, file in files:
        for shape in _load(file)["shapes"]:
            top = max(top, _group(shape) or 0)
    namer = Namer(source, top + 1)
    for frame, file in files:
        data = _load(file)
        source.check_size(data.get("imageHeight"), data.get("imageWidth"), str(file))
        yield ReadFrame(frame, _objects(source, file, data["shapes"], namer))


def _objects(source: Import, file: Path, shapes: list[dict[str, Any]], namer: Namer) -> tuple[ReadObject, ...]:
    of_frame = namer.frame()
    polygons: dict[int, list[Any]] = {}
    scores: dict[int, float] = {}
    for number, shape in enumerate(shapes, start=1):
        where = f"{file}, shape {number}"
        if not _encloses(shape):
            source.troubles["unknown_shapes"] += 1
            continue
        label, group = str(shape.get("label") or UNNAMED), _group(shape)
        object_id = of_frame(label) if group is None else source.object_id(group, where)
        source.declare(object_id, label)
        polygons.setdefault(object_id, []).append((where, _points(shape, where)))
        scores.setdefault(object_id, score_of(shape.get("score"), where))
    found = []
    for object_id, parts in polygons.items():
        try:
            mask = fill_polygons([points for _, points in parts], source.height, source.width)
        except InputError as error:
            raise InputError(f"{parts[0][0]}: {error}.") from error
        found.append(ReadObject(object_id, mask, scores[object_id]))
    return tuple(found)


def _points(shape: dict[str, Any], where: str) -> Any:
    points: Any = shape.get("points")
    kind = shape.get("shape_type", "polygon")
    if kind in _POLYGONS:
        return points
    try:
        (xa, ya), (xb, yb) = points[0], points[2 if kind == "rectangle" and len(points) == 4 else 1]
        if kind == "circle":
            radius = math.dist((xa, ya), (xb, yb))
            turn = np.linspace(0, 2 * math.pi, _CIRCLE_POINTS, endpoint=False)
            return np.stack([xa + radius * np.cos(turn), ya + radius * np.sin(turn)], axis=1)
        return [(xa, ya), (xb, ya), (xb, yb), (xa, yb)]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"{where}: a {kind} needs its corners as points.") from error


def _group(shape: dict[str, Any]) -> int | None:
    group = shape.get("group_id")
    return group if isinstance(group, int) and not isinstance(group, bool) else None


def _load(file: Path) -> dict[str, Any]:
    data = read_json(file)
    shapes = data.get("shapes") if isinstance(data, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise InputError(f"{file} is not LabelMe: it has no list of shapes.")
    return dict(data)
