"""COCO JSON: one image a frame, one annotation an object on a frame, masks as run lengths.

Run lengths and not polygons, which have no holes: ``pycocotools`` and every COCO loader that goes through it read both. The
track is in ``track_id`` (and the same in ``attributes.track_id``, where CVAT keeps it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.formats.exchange import (
    Export,
    Import,
    Namer,
    ReadFrame,
    ReadObject,
    frame_of,
    read_json,
    score_of,
    write_json_list,
)
from keepsight.formats.polygons import fill_polygons

FILE = "annotations.json"


def write_coco(source: Export, folder: Path) -> None:
    """Writes ``annotations.json``: every stored frame is an image, also those without objects; overlaps and holes stay."""
    video, names = source.video, source.names()
    categories = {name: number for number, name in enumerate(names, start=1)}

    def images() -> Iterator[dict[str, Any]]:
        for result in source.results():
            yield {
                "id": result.frame + 1,
                "file_name": f"images/{result.frame:05d}.jpg",
                "width": video.width,
                "height": video.height,
                "frame": result.frame,
            }

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for result in source.project.results(video.id, source.start, source.stop):
            for item in result.objects:
                if item.mask.box is None:
                    continue
                number += 1
                x1, y1, x2, y2 = item.mask.box
                yield {
                    "id": number,
                    "image_id": result.frame + 1,
                    "category_id": categories[source.label(item.object_id)],
                    "segmentation": item.mask.to_coco(),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": item.mask.area,
                    "iscrowd": 0,
                    "track_id": item.object_id,
                    "attributes": {"track_id": item.object_id},
                    "score": round(item.score, 5),
                }

    with (folder / FILE).open("w", encoding="utf-8") as out:
        out.write('{"info": ' + json.dumps({"description": f"{video.name}, written by Keepsight", "version": "1.0"}))
        out.write(',\n"licenses": [],\n"categories": ')
        out.write(json.dumps([{"id": number, "name": name} for name, number in categories.items()]))
        out.write(',\n"images": ')
        write_json_list(out, images())
        out.write(',\n"annotations": ')
        write_json_list(out, annotations())
        out.write("}\n")


def read_coco(source: Import) -> Iterator[ReadFrame]:
    """Reads masks (run lengths or polygons) or, without ``segmentation``, boxes; several annotations of a track on a frame
    are one object. The frame is the image's ``frame``, or else the number in its file name."""
    data = read_json(source.path, FILE)
    name = str(source.path)
    lists: list[Any] = [
        data.get(key) if isinstance(data, dict) else None for key in ("images", "annotations", "categories")
    ]
    if not all(isinstance(entries, list) for entries in lists):
        raise InputError(f"{name} is not COCO: it needs lists of images, annotations and categories.")
    images, annotations, categories = lists
    try:
        labels = {item["id"]: str(item["name"]) for item in categories}
        frames: dict[Any, int] = {}
        for image in images:
            where = f"{name}, image {image['id']}"
            index = image["frame"] if "frame" in image else frame_of(str(image["file_name"]))
            frames[image["id"]] = source.frame(index, where)
            source.check_size(image["height"], image["width"], where)
        found: dict[int, list[dict[str, Any]]] = {frame: [] for frame in frames.values()}
        if len(found) != len(images):
            raise InputError(f"{name}: two images are the same frame; import one video at a time.")
        for entry in annotations:
            if entry["image_id"] not in frames:
                raise InputError(f"{name}, annotation {entry.get('id')}: there is no image {entry['image_id']}.")
            found[frames[entry["image_id"]]].append(entry)
        ids = [track for entry in annotations if isinstance(track := _track(entry), int)]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name} is not COCO: {error} is missing or of the wrong kind.") from error
    namer = Namer(source, max([0, *ids, *source.declared]) + 1)
    for frame in sorted(found):
        yield ReadFrame(frame, _objects(source, found.pop(frame), labels, namer))


def _objects(
    source: Import, entries: list[dict[str, Any]], labels: dict[Any, str], namer: Namer
) -> tuple[ReadObject, ...]:
    of_frame, objects = namer.frame(), {}
    for entry in entries:
        where = f"{source.path}, annotation {entry.get('id')}"
        if entry.get("category_id") not in labels:
            raise InputError(f"{where}: there is no category {entry.get('category_id')}.")
        label, track = labels[entry["category_id"]], _track(entry)
        object_id = source.object_id(track, where) if isinstance(track, int) else of_frame(label)
        source.declare(object_id, label)
        item = _object(source, object_id, entry, where)
        if item is None:
            continue
        if object_id in objects:
            raise InputError(f"{where}: object {object_id} is twice on image {entry['image_id']}.")
        objects[object_id] = item
    return tuple(objects.values())


def _object(source: Import, object_id: int, entry: dict[str, Any], where: str) -> ReadObject | None:
    shape, score = entry.get("segmentation"), score_of(entry.get("score"), where)
    if isinstance(shape, dict):
        return ReadObject(object_id, source.mask(shape, where), score)
    try:
        if shape:
            polygons = [list(zip(part[::2], part[1::2], strict=True)) for part in shape]
            return ReadObject(object_id, fill_polygons(polygons, source.height, source.width), score)
        x, y, width, height = (float(side) for side in entry["bbox"])
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(f"{where}: neither run lengths, polygons nor a box: {str(error).rstrip('.')}.") from error
    return source.from_box(object_id, (x, y, x + width, y + height), where, score)


def _track(entry: dict[str, Any]) -> int | None:
    track = entry.get("track_id")
    if track is None:
        track = (entry.get("attributes") or {}).get("track_id")
    return track if isinstance(track, int) and not isinstance(track, bool) else None
