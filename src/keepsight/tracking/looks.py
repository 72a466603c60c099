"""Where an object is looked at on a frame, and what of a look is believed: between the engine and the rules of zoom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from keepsight.core import Box, Region
from keepsight.memory import FrameRecord, Step
from keepsight.tracking.masks import drop_strays, measure
from keepsight.tracking.pace import ahead, note_pace, pace_known
from keepsight.tracking.track import FramePrompt, Track
from keepsight.tracking.zoom import Zoom

SMALL_SHARE = 0.08
"""Share of the region below which a click's mask counts as badly framed."""

EDGE_SHARE = 0.25
"""How far from a mask's edge a click may lie on the wrong side and yet not be overlooked, over the root of the mask's area."""

LEAST_CELLS = 12
"""Cells from which a mask is more than a speck."""

MOST_OVERLOOKED = 1
"""Clicks on what is not of the object that an answer may overlook. One may be about a detail, a hole in a wheel; where it is more
the mask is another thing."""


@dataclass(frozen=True, eq=False)
class PreviousMask:
    """A mask that is there already: logits ``(h, w)`` over a region."""

    logits: Tensor
    region: Region

    def box(self) -> Box | None:
        """Its box in px of the frame."""
        box = measure(self.logits[None])[1][0]
        return None if box is None else self.region.box_from_grid(box, *self.logits.shape)


@dataclass(frozen=True, eq=False)
class Look:
    """A prompt's answer in one region: candidates with their scores, absent gate applied."""

    region: Region
    logits: Tensor  # (M, h, w)
    ious: list[float]
    object_score: float
    pointers: Tensor | None  # (M, C)


def last_record(track: Track, step: Step) -> FrameRecord | None:
    """The record from which the object is looked for: of the step before, or the nearest one."""
    record = track.bank.at(step.back(1))
    if record is not None:
        return record
    others = [(abs(step.distance(other.frame)), step.distance(other.frame) < 0, other) for other in track.bank]
    return min(others, key=lambda entry: entry[:2])[2] if others else None


def region_of(track: Track, step: Step, size: tuple[int, int], zoom: Zoom | None) -> Region:
    """Where to look for an object on a frame that nobody prompted."""
    whole = Region.whole(*size)
    last = None if zoom is None else last_record(track, step)
    if zoom is None or last is None or last.box is None:
        return whole
    before = last.region or whole
    if last.lost:
        return zoom.search(
            last.box, last.extent, last.lost, before, size, ahead(last, step, zoom), paced=pace_known(last)
        )
    return zoom.follow(last.box, last.extent, before, size, ahead(last, step, zoom))


def middle(box: Box) -> tuple[float, float]:
    """Centre of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def tidy(
    records: Sequence[FrameRecord], zoom: Zoom, size: tuple[int, int], lasts: Sequence[FrameRecord | None]
) -> None:
    """Drops stray pieces of masks before they are remembered: what stays behind on something else, or comes in elsewhere, grows
    there.

    Args:
        lasts: where each object was last.
    """
    for record, last in zip(records, lasts, strict=True):
        if record.logits is not None:
            record.logits = without_strays(record.logits, record.region or Region.whole(*size), zoom, last)


def without_strays(logits: Tensor, region: Region, zoom: Zoom, last: FrameRecord | None) -> Tensor:
    """A mask, logits ``(h, w)`` over a region, without stray pieces; unchanged where there are none.

    Args:
        last: where the object was last.
    """
    if not zoom.stray:
        return logits
    before = None
    if last is not None and last.box is not None and not last.lost:
        before = region.box_to_grid(last.box, *logits.shape)
    return drop_strays(logits, zoom.stray, before)


def measure_records(
    records: Sequence[FrameRecord],
    size: tuple[int, int],
    lasts: Sequence[FrameRecord | None],
    zoom: Zoom | None = None,
) -> None:
    """Sets area, box, extent and how long the object has been lost, from the records' logits."""
    if not records:
        return
    areas, boxes = measure(torch.stack([record.logits for record in records]))  # type: ignore[misc]
    for record, area, box, last in zip(records, areas, boxes, lasts, strict=True):
        assert record.logits is not None
        region = record.region or Region.whole(*size)
        record.area_px = round(area * region.share(*size))
        if box is not None:
            record.box = region.box_from_grid(box, *record.logits.shape)
            record.extent = max(record.box[2] - record.box[0], record.box[3] - record.box[1])
            if zoom is not None and last is not None and last.extent:
                record.extent = zoom.believe(record.box, last.extent, size)
        elif last is not None:
            record.box, record.extent, record.lost = last.box, last.extent, last.lost + 1
        else:
            record.lost = 1
        if zoom is not None and last is not None:
            note_pace(record, last, shown=box is not None)


def hull(boxes: Sequence[Box], points: Sequence[tuple[float, float]]) -> Box:
    xs = [value for box in boxes for value in (box[0], box[2])] + [x for x, _ in points]
    ys = [value for box in boxes for value in (box[1], box[3])] + [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def labels_inside(points: Sequence[tuple[float, float]], labels: Sequence[int], region: Region) -> list[int]:
    """Labels with -1, which says nothing, for points that cannot be seen in a region (box corners stay)."""
    return [
        label if label > 1 or (region.x1 <= x < region.x2 and region.y1 <= y < region.y2) else -1
        for (x, y), label in zip(points, labels, strict=True)
    ]


def alike(a: Region, b: Region) -> bool:
    """Whether a second look would show nearly the same."""
    ratio = max(a.width, a.height) / max(b.width, b.height)
    moved = max(abs(a.x1 + a.x2 - b.x1 - b.x2), abs(a.y1 + a.y2 - b.y1 - b.y2)) / 2
    return 1 / 1.4 < ratio < 1.4 and moved < 0.2 * max(b.width, b.height)


def best_look(looks: Sequence[Look], bonus: Sequence[float] = ()) -> tuple[int, int]:
    """Which look and which candidate to believe; the IoU estimate decides where there is one look and no ``bonus``."""
    if len(looks) == 1 and not bonus:
        ious = looks[0].ious
        return 0, ious.index(max(ious))
    scores = {(i, j): trust for i, look in enumerate(looks) for j, trust in enumerate(_trust(look, bonus))}
    return max(scores, key=lambda key: scores[key])


def overlooked(look: Look, candidate: int, prompt: FramePrompt, kinds: Sequence[int] = (0, 1)) -> int:
    """How many clicks a mask goes against, and not just by its edge.

    Args:
        kinds: labels that are asked about: 1 for what is of the object, 0 for what is not.
    """
    mask = (look.logits[candidate] > 0).cpu().numpy()
    reach = max(1, round(EDGE_SHARE * float(mask.sum()) ** 0.5))
    count = 0
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        column, row = (int(at) for at in look.region.point_to_grid(x, y, *mask.shape))
        around = mask[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        if label in kinds:
            count += not around.any() if label else bool(around.size and around.all())
    return count


def best_heeding(looks: Sequence[Look], prompt: FramePrompt, size: tuple[int, int]) -> tuple[int, int]:
    """Which look and candidate to believe when an answer was another thing: of those that overlook fewest clicks the smallest.

    Clicks that are overlooked are mostly those on what surrounds a small object. What is too small another click makes larger.
    """
    scores = {}
    for i, look in enumerate(looks):
        areas, _ = measure(look.logits)
        for j, area in enumerate(areas):
            against = overlooked(look, j, prompt)
            scores[i, j] = (against, area < LEAST_CELLS, area * look.region.share(*size))
    return min(scores, key=lambda key: scores[key])


def _trust(look: Look, bonus: Sequence[float]) -> list[float]:
    """IoU estimates, more for masks that a shift of the threshold leaves alone, less for badly framed ones: a handful of
    cells, or cut off by the region's border."""
    areas, boxes = measure(look.logits)
    sizes = ((look.logits > 1).sum((1, 2)), (look.logits > -1).sum((1, 2)))
    stable = (sizes[0] / sizes[1].clamp(min=1)).tolist()
    height, width = look.logits.shape[-2:]
    trusts = []
    for j, (area, box) in enumerate(zip(areas, boxes, strict=True)):
        if box is None:
            trusts.append(-1.0)
            continue
        x1, y1, x2, y2 = box
        cut = sum((x1 < 1, y1 < 1, x2 > width - 1, y2 > height - 1))
        small = max(0.0, 1.0 - area / (SMALL_SHARE * height * width))
        whole = bonus[j] if j < len(bonus) and len(look.ious) > 1 else 0.0
        trusts.append(look.ious[j] + whole + 0.3 * stable[j] - 0.15 * small - 0.1 * cut)
    return trusts


def closer(look: Look, candidate: int, zoom: Zoom, size: tuple[int, int]) -> Region | None:
    """A region that frames a found mask better than the look it was found in."""
    box = PreviousMask(look.logits[candidate], look.region).box()
    if box is None:
        return None
    region = zoom.close_up(box, size)
    return None if alike(region, look.region) else region
