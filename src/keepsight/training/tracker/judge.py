"""J&F on what was kept back, with the product's own engine: once before training, once after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core import FrameResult, InputError, Mask, Source, TrackedObject
from keepsight.core.metrics import agreement
from keepsight.evaluation.paired import Estimate, differences
from keepsight.evaluation.report import Picture
from keepsight.evaluation.results import Results, Row
from keepsight.render.overlay import draw_overlay
from keepsight.tracking import Tracker, load
from keepsight.training import prompts
from keepsight.training.tracker.footage import KnownObject
from keepsight.training.tracker.split import Part

MEASURES = ("J&F", "J", "F")
LONGEST = 500
"""Frames of a kept-back part that are followed at most."""

STRETCH = 10
"""Frames of truth that count as one draw of the interval where all of it is of one video."""

_PICTURE_PX = 480


@dataclass(frozen=True)
class Judgement:
    """What a model does on the kept-back parts.

    Attributes:
        found: mask by (part number, kind of pointing, object id, frame), of the frames of :func:`looks` only.
    """

    results: Results
    found: dict[tuple[int, str, int, int], Mask]


def judge(
    model: str | Path,
    parts: Sequence[Part],
    kinds: Sequence[str],
    *,
    device: str = "auto",
    image_size: int | None = None,
    log: Callable[[str], None] = print,
) -> Judgement:
    """Follows every object of the kept-back parts from its first known frame to the end and measures it where truth is known.

    Args:
        model: anything that ``--model`` takes.
        kinds: how objects are pointed at: "mask", "box", "click" (in the middle); every kind is a run of its own, and all count
            alike.
        image_size: see :func:`keepsight.load`.

    Raises:
        InputError: nothing can be measured, or the model gives no numbers.
    """
    tracker = load(model, device=device, image_size=image_size)
    rows: list[Row] = []
    found: dict[tuple[int, str, int, int], Mask] = {}
    for number, part in enumerate(parts):
        looked = {(item.object_id, frame) for item in part.objects() for frame in looks(part, item)}
        for kind in kinds:
            followed = _follow(tracker, part, kind, looked)
            rows += [row for row, _ in followed]
            for _, masks in followed:
                found |= {(number, kind, *key): mask for key, mask in masks.items()}
            if followed:
                log(f"  {part}, by {kind}: J&F {np.mean([row.values['J&F'] for row, _ in followed]):.3f}")
    if not rows:
        raise InputError(
            f"What is kept back has no two known frames of an object less than {LONGEST} frames apart, so nothing can be "
            "measured; correct or accept more frames."
        )
    ordered = tuple(sorted(rows, key=lambda row: (row.video, row.item)))
    summary = {name: float(np.mean([row.values[name] for row in ordered])) for name in MEASURES}
    for kind in kinds:
        summary[f"J&F@{kind}"] = float(np.mean([row.values["J&F"] for row in ordered if kind in row.attributes]))
    protocol = (
        f"Objects are pointed at by {' and, in another run, by '.join(kinds)} on the first frame where they are known to be, and "
        "followed forward.",
        "Frames: all later ones with a truth; an object that is away counts 1 where nothing is shown.",
        "Mean: over objects, each weighs the same.",
    )
    settings: dict[str, Any] = {"model": str(model), "prompts": list(kinds), "parts": [str(part) for part in parts]}
    return Judgement(Results("vos", protocol, summary, MEASURES, ordered, settings), found)


def looks(part: Part, item: KnownObject) -> tuple[int, ...]:
    """Frames of an object that are looked at by people: in the middle and at the end."""
    frames = _scored(part, item)
    return (frames[len(frames) // 2], frames[-1]) if len(frames) > 1 else tuple(frames)


def _scored(part: Part, item: KnownObject) -> list[int]:
    first = int(item.visible(part.start, part.stop)[0])
    return [frame for frame in part.known_frames(item) if first < frame < first + LONGEST]


def _follow(
    tracker: Tracker, part: Part, kind: str, looked: set[tuple[int, int]]
) -> list[tuple[Row, dict[tuple[int, int], Mask]]]:
    footage, items = part.footage, part.objects()
    session = tracker.open(footage.video)
    scored = {item.object_id: _scored(part, item) for item in items}
    for item in items:
        first = int(item.visible(part.start, part.stop)[0])
        _point(session.add, item.object_id, first, footage.masks(item.object_id, [first])[first], kind)
    stop = max((frames[-1] + 1 for frames in scored.values() if frames), default=0)
    if not stop:
        return []
    values: dict[int, list[tuple[int, float, float]]] = {item.object_id: [] for item in items}
    masks: dict[int, dict[tuple[int, int], Mask]] = {item.object_id: {} for item in items}
    wanted = {(object_id, frame) for object_id, frames in scored.items() for frame in frames}
    empty = Mask.empty(footage.height, footage.width)
    for result in session.propagate(stop=stop):
        shown = {item.object_id: item.mask for item in result.objects}
        for item in items:
            key = (item.object_id, result.frame)
            if key not in wanted:
                continue
            mask = shown.get(item.object_id, empty)
            truth = footage.masks(item.object_id, [result.frame])[result.frame].to_array()
            got = agreement(mask.to_array(), truth)
            values[item.object_id].append((result.frame, got.j, got.f))
            if key in looked:
                masks[item.object_id][key] = mask
    return [
        (_row(part, item, kind, values[item.object_id]), masks[item.object_id])
        for item in items
        if scored[item.object_id]
    ]


def _point(add: Callable[..., object], object_id: int, frame: int, mask: Mask, kind: str) -> None:
    if kind == "mask":
        add(object_id=object_id, frame=frame, mask=mask)
    elif kind == "box":
        add(object_id=object_id, frame=frame, box=mask.box)
    else:
        array = mask.to_array()
        x, y, _ = prompts.correct(array, np.zeros_like(array))[0]
        add(object_id=object_id, frame=frame, points=[(x, y)])


def _row(part: Part, item: KnownObject, kind: str, values: Sequence[tuple[int, float, float]]) -> Row:
    frames, js, fs = (tuple(column) for column in zip(*values, strict=True))
    both = tuple((j + f) / 2 for j, f in zip(js, fs, strict=True))
    means = {"J&F": float(np.mean(both)), "J": float(np.mean(js)), "F": float(np.mean(fs))}
    series = {"J&F": both, "J": js, "F": fs}
    return Row(part.name, f"{_name(part, item.object_id)} by {kind}", means, (kind,), frames, series)


def _name(part: Part, object_id: int) -> str:
    return f"{object_id}" if part.number == 0 else f"{object_id} ({part.number + 1})"


# -- the difference ---------------------------------------------------------------------------------------------------
def gains(before: Results, after: Results) -> tuple[dict[str, Estimate], str]:
    """What training brought, by measure, and a line on what the interval is over.

    With several videos it is over videos. With one, stretches of it stand for them: such an interval tells whether this
    video gained, and nothing of others.
    """
    videos, measures = {row.video for row in before.rows}, list(before.summary)
    if len(videos) > 1:
        return differences(before, after, measures), f"over {len(videos)} videos"
    old, new = _stretched(before), _stretched(after)
    found = differences(old, new, measures)
    whole = {name: after.summary[name] - before.summary[name] for name in measures}
    return (
        {
            name: replace(
                item, value=whole[name], why=item.why.replace("video", "stretch").replace("stretchs", "stretches")
            )
            for name, item in found.items()
        },
        f"over stretches of {STRETCH} frames of one video, so nothing is said of others",
    )


def worthless(results: Results) -> Results:
    """The same rows, all of them 0: what a model is worth that gives no masks."""
    rows = tuple(
        replace(row, values=dict.fromkeys(MEASURES, 0.0), series=dict.fromkeys(MEASURES, (0.0,) * len(row.frames)))
        for row in results.rows
    )
    return replace(results, summary=dict.fromkeys(results.summary, 0.0), rows=rows)


def _stretched(results: Results) -> Results:
    rows = []
    for row in results.rows:
        places = range(len(row.frames))
        for number, group in groupby(places, key=lambda place: place // STRETCH):
            chosen = list(group)
            values = {
                name: float(np.mean([row.series[name][i] for i in chosen]))
                for name in MEASURES  # type: ignore[misc]
            }
            rows.append(Row(f"{row.video} {number}", row.item, values, row.attributes))
    return replace(results, rows=tuple(rows))


def pictures(parts: Sequence[Part], before: Judgement, after: Judgement, most: int = 6) -> list[Picture]:
    """Frames side by side (truth, before, after), of the objects that changed most."""
    change = {
        new.name: abs(new.values["J&F"] - old.values["J&F"])
        for old, new in zip(before.results.rows, after.results.rows, strict=True)
    }
    found: list[tuple[float, Picture]] = []
    for (number, kind, object_id, frame), old in before.found.items():
        new = after.found.get((number, kind, object_id, frame))
        footage = parts[number].footage
        if new is None:
            continue
        truth = footage.masks(object_id, [frame])[frame]
        panes = [_pane(footage.rgb(frame), frame, object_id, mask) for mask in (truth, old, new)]
        js = f"before, J {old.iou(truth):.2f}; after, J {new.iou(truth):.2f}"
        caption = f"frame {frame}, object {object_id} by {kind}: truth; {js}"
        name = f"{parts[number].name}/{_name(parts[number], object_id)} by {kind}"
        found.append((change.get(name, 0.0), Picture(name, caption, np.concatenate(panes, 1))))
    found.sort(key=lambda pair: -pair[0])
    return [picture for _, picture in found[:most]]


def _pane(rgb: NDArray[np.uint8], frame: int, object_id: int, mask: Mask) -> NDArray[np.uint8]:
    import cv2

    height, width = rgb.shape[:2]
    item = TrackedObject(object_id, mask, 1.0, 1.0, Source.TRACKED)
    drawn = draw_overlay(rgb, FrameResult(frame, 0.0, height, width, (item,)))
    scale = _PICTURE_PX / width
    size = (_PICTURE_PX, max(1, round(height * scale)))
    return np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
