"""What is answered: plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from keepsight.annotation import DeskLine, DeskObject, DeskSettings, DeskView, Job, Timeline
from keepsight.core import TrackedObject
from keepsight.store import StoredPrompt

Json = dict[str, Any]


def mask_item(item: TrackedObject) -> Json:
    """``counts`` are COCO compressed run lengths of the video's size; an empty mask says that the object is not there."""
    return {
        "id": item.object_id,
        "counts": item.mask.counts.decode("ascii"),
        "area": item.mask.area,
        "box": item.mask.box,
        "score": round(float(item.score), 4),
        "presence": round(float(item.presence), 4),
        "source": str(item.source),
    }


def mask_items(items: Iterable[TrackedObject]) -> list[Json]:
    return [mask_item(item) for item in items]


def object_item(item: DeskObject) -> Json:
    return asdict(item)


def job_item(job: Job) -> Json:
    return asdict(job)


def line_item(line: DeskLine) -> Json:
    values = asdict(line)
    values["id"] = values.pop("key")
    return values


def settings_item(settings: DeskSettings) -> Json:
    return asdict(settings)


def prompt_item(stored: StoredPrompt) -> Json:
    prompt = stored.prompt
    return {
        "id": stored.id,
        "object_id": prompt.object_id,
        "frame": prompt.frame,
        "points": [[x, y, on] for (x, y), on in zip(prompt.points, prompt.labels, strict=True)],
        "box": prompt.box,
        "mask": prompt.mask is not None,
    }


def view_item(view: DeskView) -> Json:
    return line_item(view.line) | {
        "revision": view.revision,
        "objects": [object_item(item) for item in view.objects],
        "prompts": [prompt_item(item) for item in view.prompts],
        "accepted": accepted_items(view.accepted),
        "undo": view.undo,
        "redo": view.redo,
        "settings": settings_item(view.settings),
        "notes": list(view.notes),
    }


def accepted_items(accepted: Iterable[tuple[int, int]]) -> list[Json]:
    return [{"frame": frame, "object_id": object_id} for frame, object_id in accepted]


def timeline_item(timeline: Timeline) -> Json:
    lanes = []
    for lane in timeline.lanes:
        values = asdict(lane)
        lanes.append({"id": values.pop("object_id")} | values)
    return {"revision": timeline.revision, "done": timeline.done, "lanes": lanes}
