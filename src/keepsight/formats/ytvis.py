"""YouTube-VIS JSON: one entry an object with a run-length mask, or null, for every frame. SA-Co and OVIS share it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from keepsight.core import InputError, Mask
from keepsight.store import Project, StoredObject, StoredVideo
from keepsight.store.files import replacing_file

_UNNAMED = "object"


@dataclass(frozen=True)
class YtvisTrack:
    """One object of a YTVIS file: frame index -> mask, only the frames where it is present."""

    video_id: int
    object_id: int
    label: str
    masks: dict[int, Mask]
    score: float | None = None


def export_ytvis(project: Project, video_id: int, path: str | os.PathLike[str]) -> int:
    """Writes ``annotations.json`` for one video; returns the number of objects.

    ``segmentations``, ``bboxes`` (``[x, y, width, height]`` px), ``areas`` (px) and ``scores`` have one entry a frame, ``null``
    where the object is absent or was not looked for. Overlapping objects stay as they are. Written frame by frame: memory does
    not grow with the video.

    Raises:
        StoreError: the file cannot be written.
    """
    video = project.video(video_id)
    objects = project.objects(video_id)
    length = _length(project, video, objects)
    names = list(dict.fromkeys(item.label or _UNNAMED for item in objects)) or [_UNNAMED]
    with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        out.write('{"info": ' + json.dumps({"description": "Written by Keepsight", "version": "1.0"}))
        out.write(',\n"videos": [' + json.dumps(_video_entry(video, length))[:-1] + ', "file_names": ')
        _write_list(out, (f"{video.name}/{frame:05d}.jpg" for frame in range(length)))
        out.write('}],\n"categories": ')
        out.write(json.dumps([{"id": number, "name": name} for number, name in enumerate(names, start=1)]))
        out.write(',\n"annotations": [')
        for number, item in enumerate(objects, start=1):
            out.write("\n" if number == 1 else ",\n")
            _write_object(out, project, video, item, number, names.index(item.label or _UNNAMED) + 1, length)
        out.write("\n]}\n")
    return len(objects)


def read_ytvis(path: str | os.PathLike[str]) -> list[YtvisTrack]:
    """Reads annotations, or results (a bare list of ``{video_id, category_id, score, segmentations}``).

    Raises:
        InputError: not JSON, not YTVIS, a mask that is no run length; the entry is named.
    """
    file = Path(path)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}.") from error
    entries = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise InputError(f"{file} is not YTVIS: it has no list of annotations.")
    categories = data.get("categories", []) if isinstance(data, dict) else []
    tracks = []
    for number, entry in enumerate(entries):
        try:
            names = {category["id"]: category["name"] for category in categories}
            masks = {frame: Mask.from_coco(rle) for frame, rle in enumerate(entry["segmentations"]) if rle is not None}
            score = entry.get("score")
            tracks.append(
                YtvisTrack(
                    video_id=int(entry["video_id"]),
                    object_id=int(entry.get("object_id", entry.get("id", number + 1))),
                    label=str(names.get(entry["category_id"], entry["category_id"])),
                    masks=masks,
                    score=None if score is None else float(score),
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{file}: annotation {number} is not YTVIS: {reason.rstrip('.')}.") from error
    return tracks


def _length(project: Project, video: StoredVideo, objects: Iterable[StoredObject]) -> int:
    """Frames of the video; for a stream of unknown length, up to the last frame with a mask."""
    if video.frame_count is not None:
        return video.frame_count
    last = -1
    for item in objects:
        for point in project.track(video.id, item.object_id):
            last = max(last, point.frame)
    return last + 1


def _video_entry(video: StoredVideo, length: int) -> dict[str, Any]:
    return {
        "id": video.id,
        "name": video.name,
        "file_name": Path(video.path).name,
        "height": video.height,
        "width": video.width,
        "length": length,
        "fps": video.fps,
    }


def _write_object(
    out: IO[str], project: Project, video: StoredVideo, item: StoredObject, number: int, category: int, length: int
) -> None:
    head = {
        "id": number,
        "object_id": item.object_id,
        "video_id": video.id,
        "category_id": category,
        "iscrowd": 0,
        "height": video.height,
        "width": video.width,
        "length": length,
    }
    out.write(json.dumps(head)[:-1] + ', "segmentations": ')
    masks = (
        (frame, found.mask.to_coco() if found.present else None)
        for frame, found in project.masklet(video.id, item.object_id)
    )
    _write_list(out, _every_frame(masks, length))

    # Three more passes over the index: a few milliseconds each, instead of lists as long as the video.
    def column(name: str) -> Iterator[Any]:
        for point in project.track(video.id, item.object_id):
            x1, y1, x2, y2 = point.box or (0, 0, 0, 0)
            values = {"bboxes": [x1, y1, x2 - x1, y2 - y1], "areas": point.area, "scores": round(point.score, 5)}
            yield point.frame, values[name] if point.area else None

    for name in ("bboxes", "areas", "scores"):
        out.write(f', "{name}": ')
        _write_list(out, _every_frame(column(name), length))
    out.write("}")


def _every_frame(values: Iterable[tuple[int, Any]], length: int) -> Iterator[Any]:
    """``length`` entries, ``None`` where ``values`` (in order of frames) has none; frames past the end are dropped."""
    position = 0
    for frame, value in values:
        if frame >= length:
            break
        for _ in range(position, frame):
            yield None
        yield value
        position = frame + 1
    for _ in range(position, length):
        yield None


def _write_list(out: IO[str], values: Iterable[Any]) -> None:
    out.write("[")
    for number, value in enumerate(values):
        out.write((", " if number else "") + json.dumps(value))
    out.write("]")
