"""How fast an object moves, and where it is likely to be by now.

A search region is two to three times as large as its object, so a thing that moves by its own size in a frame is out of it
before anybody has looked. Its pace is kept with its records (``marks``), in px of the frame a frame.
"""

from __future__ import annotations

from keepsight.core import Box
from keepsight.memory import FrameRecord, Step
from keepsight.tracking.zoom import Zoom

PACE_X, PACE_Y = "pace_x", "pace_y"
"""Marks of a record: px of the frame that the object moves in a frame."""

RATE = 0.7
"""Weight of the newest movement."""

STEADY_SHARE = 0.15
"""Change of a side of the box, over the object's extent or how far it went, whichever is more, from which it is not movement that
changed it."""

LEAST_IOU = 0.5
"""IoU estimate from which a mask says something about the object's pace."""

LONGEST_LOST = 3
"""Steps that an object may be lost and still be taken to go on as it did when it is found again."""

NEARBY_STEPS, REACH = 8, 1.0
"""For how many steps a lost object is found on its way or not at all, and how far from it, over its extent. On 21
generated clips in which the rule mattered 15 of 17 right finds within these steps lay nearer, and 9 of 11 wrong ones beyond."""

KEPT = 0.8
"""What is left of a lost object's pace a step later: all in all it is looked for five steps ahead at most."""


def pace_known(record: FrameRecord) -> bool:
    """Whether the object was seen to move, or to stand, before this record; not where it was pointed at or has come back."""
    return PACE_X in record.marks


def ahead(last: FrameRecord, step: Step, zoom: Zoom) -> tuple[float, float]:
    """Px that an object has moved since it was seen last, if it went on as it did; slower and slower while it is lost.

    0 for one that is slow enough to be seen where it was.
    """
    frames = step.frame - last.frame
    pace_x, pace_y = last.marks.get(PACE_X, 0.0), last.marks.get(PACE_Y, 0.0)
    if abs(step.distance(last.frame)) != 1 or not zoom.hurries((pace_x * frames, pace_y * frames), last.extent):
        return 0.0, 0.0
    steps = (1 - KEPT ** (last.lost + 1)) / (1 - KEPT)
    return pace_x * frames * steps, pace_y * frames * steps


def fast_pace(last: FrameRecord, step: Step, zoom: Zoom) -> tuple[float, float]:
    """Px a frame that an object moves; 0 for one that is slow enough to be seen where it was, and for a lost one."""
    if last.lost or ahead(last, step, zoom) == (0.0, 0.0):
        return 0.0, 0.0
    return last.marks[PACE_X], last.marks[PACE_Y]


def expected_box(last: FrameRecord, frame: int, margin: float = 0.0) -> Box:
    """Box in px of the frame in which an object is expected that went on from where it was, and ``margin`` of its size around it.

    Args:
        last: where it was, with its box.
    """
    assert last.box is not None, "an object that was seen has a box"
    frames, around = frame - last.frame, margin * last.extent
    by_x, by_y = (last.marks.get(mark, 0.0) * frames for mark in (PACE_X, PACE_Y))
    x1, y1, x2, y2 = last.box
    return x1 + by_x - around, y1 + by_y - around, x2 + by_x + around, y2 + by_y + around


def stays_inside(last: FrameRecord, step: Step, size: tuple[int, int]) -> bool:
    """Whether the centre of an object that goes on as it went is still within the frame of ``(height, width)`` px; one that has
    left is not to be looked for where it was.

    Args:
        last: where it was, with its box.
    """
    x1, y1, x2, y2 = expected_box(last, step.frame)
    return 0 <= (x1 + x2) / 2 < size[1] and 0 <= (y1 + y2) / 2 < size[0]


def on_its_way(box: Box, last: FrameRecord, step: Step) -> bool:
    """Whether an object that has just been lost can have come to ``box``, in px of the frame, from where it was and as it went;
    ``True`` for one that has been lost for longer, which may come back anywhere.

    Args:
        last: of the step before, with the box in which the object was seen last.
    """
    if not 0 < last.lost <= NEARBY_STEPS or last.box is None or abs(step.distance(last.frame)) != 1:
        return True
    frames = (step.frame - last.frame) * (last.lost + 1)
    gone = complex(last.marks.get(PACE_X, 0.0), last.marks.get(PACE_Y, 0.0)) * frames
    to = complex(box[0] + box[2] - last.box[0] - last.box[2], box[1] + box[3] - last.box[1] - last.box[3]) / 2
    share = (to * gone.conjugate()).real / abs(gone) ** 2 if gone else 0.0
    return abs(to - min(max(share, 0.0), 1.0) * gone) <= REACH * last.extent


def note_pace(record: FrameRecord, last: FrameRecord, *, shown: bool) -> None:
    """Notes how far an object moves in a frame; what is being covered, or is seen badly, goes on as it did.

    Args:
        record: of this step, with its box.
        last: of the step before.
        shown: whether ``record`` has a mask.
    """
    if shown and last.lost > LONGEST_LOST:
        return  # whatever it did before it went away
    pace = [last.marks.get(PACE_X, 0.0), last.marks.get(PACE_Y, 0.0)]
    frames, known = record.frame - last.frame, pace_known(last)
    sure = shown and not last.lost and record.iou >= LEAST_IOU
    if not (sure or known):
        return
    if sure and frames and record.box is not None and last.box is not None:
        moves = [(record.box[axis] - last.box[axis], record.box[axis + 2] - last.box[axis + 2]) for axis in (0, 1)]
        scales = [max(record.extent, abs(low + high) / 2) for low, high in moves]
        steady = [abs(high - low) <= STEADY_SHARE * by + 1 for (low, high), by in zip(moves, scales, strict=True)]
        if not known and not all(steady):
            return  # half out of its region, say: to take it for one that stands would lose it
        for axis, (low, high) in enumerate(moves):
            if steady[axis]:
                moved = min(low, high, key=abs) if low * high > 0 else 0.0
                pace[axis] += (RATE if known else 1.0) * (moved / frames - pace[axis])
    record.marks[PACE_X], record.marks[PACE_Y] = pace
