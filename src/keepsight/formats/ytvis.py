"""YouTube-VIS JSON: one entry an object with a run-length mask, or null, for every frame. SA-Co and OVIS share it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from keepsight.core import InputError, Mask
from keepsight.core.mask import masks_from_coco
from keepsight.formats.exchange import Export, Import, ReadFrame, ReadObject, check_file, in_order, score_of
from keepsight.store import Project, StoredObject, StoredVideo
from keepsight.store.files import replacing_file

FILE = "annotations.json"
_UNNAMED = "object"


@dataclass(frozen=True)
class YtvisTrack:
    """One object of a YTVIS file: frame index -> mask, only the frames where it is present. ``scores`` are by frame, where
    the file has them."""

    video_id: int
    object_id: int
    label: str
    masks: dict[int, Mask]
    score: float | None = None
    scores: dict[int, float] = field(default_factory=dict)


def export_ytvis(
    project: Project,
    video_id: int,
    path: str | os.PathLike[str],
    *,
    start: int | None = None,
    stop: int | None = None,
) -> int:
    """Writes ``annotations.json`` for one video; returns the number of objects.

    ``segmentations``, ``bboxes`` (``[x, y, width, height]`` px), ``areas`` (px) and ``scores`` have one entry a frame, ``null``
    where the object is absent or was not looked for. Overlapping objects stay as they are. Written frame by frame: memory does
    not grow with the video.

    Args:
        start, stop: objects are written for ``start <= frame < stop`` only; there is still an entry for every frame.

    Raises:
        StoreError: the file cannot be written.
    """
    video = project.video(video_id)
    objects = project.objects(video_id)
    length = _length(project, video, objects)
    window = range(start or 0, length if stop is None else stop)
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
            _write_object(out, project, video, item, number, names.index(item.label or _UNNAMED) + 1, length, window)
        out.write("\n]}\n")
    return len(objects)


def read_ytvis(path: str | os.PathLike[str]) -> list[YtvisTrack]:
    """Reads annotations, or results (a bare list of ``{video_id, category_id, score, segmentations}``).

    Raises:
        InputError: not JSON, not YTVIS, a mask that is no run length; the entry is named.
    """
    file = Path(path)
    data = read_json(file)
    entries = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise InputError(f"{file} is not YTVIS: it has no list of annotations.")
    categories = data.get("categories", []) if isinstance(data, dict) else []
    tracks = []
    for number, entry in enumerate(entries):
        try:
            names = {category["id"]: category["name"] for category in categories}
            masks = masks_by_frame(entry["segmentations"])
            score = entry.get("score")
            where = f"{file}: annotation {number}"
            scores = {
                frame: score_of(value, where)
                for frame, value in enumerate(entry.get("scores") or ())
                if value is not None
            }
            tracks.append(
                YtvisTrack(
                    video_id=int(entry["video_id"]),
                    object_id=int(entry.get("object_id", entry.get("id", number + 1))),
                    label=str(names.get(entry["category_id"], entry["category_id"])),
                    masks=masks,
                    score=None if score is None else float(score),
                    scores=scores,
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{file}: annotation {number} is not YTVIS: {reason.rstrip('.')}.") from error
    return tracks


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}.") from error


def masks_by_frame(segmentations: Sequence[Any]) -> dict[int, Mask]:
    """Masks of an entry's ``segmentations``, which has a run length or ``null`` for every frame.

    Raises:
        InputError: one that is no run length.
    """
    there = [frame for frame, rle in enumerate(segmentations) if rle is not None]
    return dict(zip(there, masks_from_coco([segmentations[frame] for frame in there]), strict=True))


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
    out: IO[str],
    project: Project,
    video: StoredVideo,
    item: StoredObject,
    number: int,
    category: int,
    length: int,
    window: range,
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
        (frame, found.mask.to_coco() if found.present and frame in window else None)
        for frame, found in project.masklet(video.id, item.object_id)
    )
    _write_list(out, _every_frame(masks, length))

    # Three more passes over the index: a few milliseconds each, instead of lists as long as the video.
    def column(name: str) -> Iterator[Any]:
        for point in project.track(video.id, item.object_id):
            x1, y1, x2, y2 = point.box or (0, 0, 0, 0)
            values = {"bboxes": [x1, y1, x2 - x1, y2 - y1], "areas": point.area, "scores": round(point.score, 5)}
            yield point.frame, values[name] if point.area and point.frame in window else None

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


def write_ytvis(source: Export, folder: Path) -> None:
    """Writes ``annotations.json``, see :func:`export_ytvis`; nothing is lost but the difference of absent and not looked at."""
    for _ in source.results():
        pass
    export_ytvis(source.project, source.video.id, folder / FILE, start=source.start, stop=source.stop)


def read_ytvis_tracks(source: Import) -> Iterator[ReadFrame]:
    """Reads the annotations of one video, see :func:`read_ytvis`.

    Raises:
        InputError: several videos in the file, masks of another size.
    """
    file = check_file(source.path, FILE)
    tracks = read_ytvis(file)
    if len({track.video_id for track in tracks}) > 1:
        raise InputError(f"{file} is about several videos; import one video at a time.")
    found: dict[int, dict[int, ReadObject]] = {}
    for track in tracks:
        object_id = source.object_id(track.object_id, str(file))
        where = f"{file}, object {object_id}"
        source.declare(object_id, track.label)
        score = score_of(track.score, where)
        for frame, mask in track.masks.items():
            source.check_size(mask.height, mask.width, f"{where}, frame {frame}")
            objects = found.setdefault(frame, {})
            if object_id in objects:
                raise InputError(f"{where} is twice on frame {frame}.")
            objects[object_id] = ReadObject(object_id, mask, track.scores.get(frame, score))
    yield from in_order(found)
