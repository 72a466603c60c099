"""Objects that are followed together: what several of them claim belongs to one of them, before it is remembered.

Where things that are alike cross, the memory of the one behind slides onto the one in front, and from then on both are followed
there. As in Meta's predictor, where it can be switched on, a place goes to the object with the highest logit; five rules are
ours. Logits count for less away from where the object would be by now, which alone tells twins apart. An object that has grown
by what it shares yields it to one that has not: it has spread to the other one. An object that was lost takes nothing from one
that was not. What is much smaller than the other one is in front of it. And objects that were one within the other when a person
pointed at them, as a tie and who wears it, share their places for good; so do those of which clicks have both taken the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from keepsight.core import Region
from keepsight.memory import FrameRecord, Role
from keepsight.memory.shelf import unfolded
from keepsight.tracking.looks import measure_records, without_strays
from keepsight.tracking.masks import OUTSIDE_LOGIT, move_logits
from keepsight.tracking.pace import PACE_X, PACE_Y, expected_box
from keepsight.tracking.recognition import DISMISSED_SCORE
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import Track
from keepsight.tracking.units import Chosen
from keepsight.tracking.zoom import Zoom

NESTED_SHARE = 0.8
"""Share of the smaller mask from which one object lies within another one."""

GUESSED_SHARE = 0.3
"""The same where one of them was only clicked on: what both answers took is no more the one's than the other's."""

LEFT_SHARE = 0.1
"""Share of its mask below which what others leave of an object is not the object: it is hidden."""

AWAY, MOST_AWAY = 4.0, 6.0
"""Logits by which a claim is weaker for each width and height of the object between the place and the middle of where it is
expected; and at most. On generated twins who cross 2.5 was too little."""

PROMPTED_SHARE = 0.25
"""Share of the answer to a box that must be left of it: somebody has said that the object is there."""

GROWN = 1.25
"""Times its usual area from which an object has grown."""

WITHOUT = 0.7
"""Times its usual area that must be left without what it shares, or else it is not that to which it has spread."""

MUCH_LARGER = 10.0
"""Times an object's usual area from which another one is seen too coarsely to show it and fills it in: a ball before a player."""

GROWS, SHRINKS, MEETS = 0.2, 0.05, 0.03
"""How fast the usual area follows: a frame's weight when it is larger, and when it is smaller, for what covers an object is no
news of its size; and the share by which it may change while another object claims the same place."""

USUAL_AREA = "usual_area"
"""Mark of a record: px of the frame that the object covers when nothing covers it."""

_WITH = "with object "


def settle_claims(
    chosen: Sequence[Chosen],
    lasts: Mapping[Track, FrameRecord | None],
    sight: Sight,
    zoom: Zoom | None,
    absent: Tensor | None,
) -> None:
    """Takes from every mask of a frame what belongs to another object, and from an object that loses all its presence.

    Args:
        chosen: measured; an object's hypotheses stand together, the best one first. All of them yield to the best ones of others.
        lasts: where each object was last.
        absent: pointer ``(1, C)`` of an object that is not there, where the model has one.
    """
    best: dict[Track, int] = {}
    for row, item in enumerate(chosen):
        best.setdefault(item.track, row)
    if len(best) < 2:
        return
    records, tracks = [item.record for item in chosen], [item.track for item in chosen]
    sharing = _sharing(lasts, sight)
    usual = {track: _usual_area(last, sight) for track, last in lasts.items()}
    areas = _areas(records, sight)
    sides = [
        _Side(record, lasts[track], area, usual[track])
        for record, track, area in zip(records, tracks, areas, strict=True)
    ]
    pairs = [
        (row, rival)
        for row, rival in np.argwhere(_meeting(records, records)).tolist()
        if tracks[row] is not tracks[rival]
        and best[tracks[rival]] == rival
        and tracks[rival].object_id not in sharing[tracks[row]]
    ]
    taken = _taken(sides, pairs, sight)
    cut = [row for row, loses in taken.items() if bool(loses.any())]
    for row in cut:
        _cut(records[row], taken[row], lasts[tracks[row]], sight, zoom, absent)
    shorter = [records[row] for row in cut]
    measure_records(shorter, sight.size, [lasts[tracks[row]] for row in cut], zoom)
    for row, area in zip(cut, _areas(shorter, sight), strict=True):
        areas[row] = area
    for row, (record, track) in enumerate(zip(records, tracks, strict=True)):
        record.marks.update({_WITH + str(other): 1.0 for other in sharing[track]})
        record.marks[USUAL_AREA] = _followed(usual[track], areas[row], met=row in taken)


def settle_boxes(tracks: Iterable[Track], frame: int, sight: Sight) -> None:
    """Takes what belongs to another object from masks by which boxes on a frame were answered, before they are remembered.

    Boxes of people who stand before each other overlap, and each answer takes some of the other one along. What was clicked on
    or drawn stays as it is.
    """
    boxed = {
        track: (record, track.prompts[frame].box)
        for track in tracks
        if (record := track.pending.get(frame)) is not None and frame in track.prompts and track.prompts[frame].only_box
    }
    records = [record for record, _ in boxed.values()]
    if len(records) < 2:
        return
    # A box says where its object is as what is expected does later on.
    sides = [
        _Side(record, replace(record, box=box, marks={}), area, max(area, 1.0))
        for (record, box), area in zip(boxed.values(), _areas(records, sight), strict=True)
    ]
    pairs = [
        (row, rival)
        for row, rival in np.argwhere(_meeting(records, records)).tolist()
        if row != rival and not _nested(records[row], records[rival], sight)
    ]
    for row, loses in _taken(sides, pairs, sight).items():
        logits = records[row].logits
        assert logits is not None
        left = float(((logits > 0) & ~loses).sum())
        if bool(loses.any()) and left >= PROMPTED_SHARE * float((logits > 0).sum()):
            records[row].logits = _without(logits, loses)
            measure_records([records[row]], sight.size, [None])


@dataclass(frozen=True, eq=False)
class _Side:
    """One of two objects that claim the same place.

    last: where it was; area: px of the frame that it covers; usual: that it covers when nothing covers it.
    """

    record: FrameRecord
    last: FrameRecord | None
    area: float
    usual: float

    @property
    def was_lost(self) -> bool:
        return self.last is not None and self.last.lost > 0

    def away(self, region: Region, logits: Tensor) -> Tensor | float:
        """Logits ``(h, w)`` by which its claim is weaker in the cells of a region, in which some ``logits`` are; 0 where nobody
        knows where it should be."""
        if self.last is None or self.last.box is None:
            return 0.0
        x1, y1, x2, y2 = region.box_to_grid(expected_box(self.last, self.record.frame), *logits.shape)
        rows, columns = (torch.arange(count, device=logits.device) + 0.5 for count in logits.shape)
        across, down = (columns - (x1 + x2) / 2) / max(x2 - x1, 1.0), (rows - (y1 + y2) / 2) / max(y2 - y1, 1.0)
        return (AWAY * torch.hypot(across[None], down[:, None])).clamp(max=MOST_AWAY)

    def spread(self, common: float) -> float:
        """How many times larger it has become if that is because of what it shares, so many px; else 0."""
        grown = self.area / self.usual
        return grown if grown > GROWN and grown - common / self.usual >= WITHOUT else 0.0


def _taken(sides: Sequence[_Side], pairs: Iterable[tuple[int, int]], sight: Sight) -> dict[int, Tensor]:
    """What masks yield to rivals, bool ``(h, w)`` each, by number of the side; ``pairs`` name a side and its rival."""
    taken: dict[int, Tensor] = {}
    for row, rival in pairs:
        loses = _yielded(sides[row], sides[rival], sight)
        taken[row] = taken[row] | loses if row in taken else loses
    return taken


def _without(logits: Tensor, taken: Tensor) -> Tensor:
    """A mask without some cells; they are as far below 0 as they were above, so that the border stays where both are as sure."""
    return torch.where(taken, -logits.abs(), logits)


def _yielded(mine: _Side, theirs: _Side, sight: Sight) -> Tensor:
    """bool ``(h, w)``: where a mask yields to a rival."""
    logits, rival = mine.record.logits, _over(theirs.record, mine.record, sight)
    assert logits is not None
    claimed: Tensor = (logits > 0) & (rival > 0)
    region = mine.record.region or sight.whole
    common = float(claimed.float().mean()) * region.width * region.height
    mine_spread, theirs_spread = mine.spread(common), theirs.spread(common)
    if mine_spread != theirs_spread:
        return claimed & (mine_spread > theirs_spread)
    if mine.was_lost != theirs.was_lost:
        return claimed & mine.was_lost
    if max(mine.usual, theirs.usual) >= MUCH_LARGER * min(mine.usual, theirs.usual):
        return claimed & (mine.usual > theirs.usual)
    away = theirs.away(region, logits) - mine.away(region, logits)
    return claimed & (rival - away > logits)


def _sharing(lasts: Mapping[Track, FrameRecord | None], sight: Sight) -> dict[Track, set[int]]:
    """Ids of the objects with which each one shares its places."""
    sharing: dict[Track, set[int]] = {}
    for track, last in lasts.items():
        marks = () if last is None else last.marks
        sharing[track] = {int(mark.removeprefix(_WITH)) for mark in marks if mark.startswith(_WITH)}
    for one, a in lasts.items():
        if a is None or a.role is not Role.PROMPT:
            continue  # one tells of the other only on a frame about which somebody spoke
        for other, b in lasts.items():
            if b is None or other is one or a.frame != b.frame:
                continue
            # Of one that is not to be seen there it says nothing new.
            hidden = a.lost or b.lost
            least = GUESSED_SHARE if one.guessed or other.guessed else NESTED_SHARE
            if one.object_id in sharing[other] if hidden else _nested(a, b, sight, least):
                sharing[one].add(other.object_id)
                sharing[other].add(one.object_id)
            else:
                sharing[one].discard(other.object_id)
                sharing[other].discard(one.object_id)
    return sharing


def _nested(a: FrameRecord, b: FrameRecord, sight: Sight, least: float = NESTED_SHARE) -> bool:
    """Whether one of two masks of a frame lies within the other one, at least so much of it."""
    if a.logits is None or b.logits is None or a.lost or b.lost or not _meeting([a], [b]).any():
        return False
    small, large = sorted((unfolded(a), unfolded(b)), key=lambda record: record.area_px)
    mask: Tensor = small.logits > 0  # type: ignore[operator, assignment]
    inside = mask & (_over(large, small, sight) > 0)
    return float(inside.sum()) >= least * float(mask.sum())


def _meeting(some: Sequence[FrameRecord], others: Sequence[FrameRecord]) -> np.ndarray:
    """bool ``(len(some), len(others))``: whose boxes overlap, of records that show something."""
    nowhere = (np.inf, np.inf, -np.inf, -np.inf)
    a, b = (
        np.array([nowhere if r.lost or r.box is None else r.box for r in records]).reshape(-1, 4)
        for records in (some, others)
    )
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return (low < high).all(axis=-1)


def _over(record: FrameRecord, other: FrameRecord, sight: Sight) -> Tensor:
    """A record's logits where those of another one lie."""
    assert record.logits is not None
    return move_logits(record.logits, record.region or sight.whole, other.region or sight.whole)


def _areas(records: Sequence[FrameRecord], sight: Sight) -> list[float]:
    """Px of the frame that masks cover, whatever the scale of their regions."""
    if not records:
        return []
    shares = (torch.stack([record.logits for record in records]) > 0).float().mean((1, 2)).tolist()  # type: ignore[misc]
    regions = [record.region or sight.whole for record in records]
    return [share * region.width * region.height for share, region in zip(shares, regions, strict=True)]


def _usual_area(last: FrameRecord | None, sight: Sight) -> float:
    """Px of the frame that an object covers when nothing covers it, at least one."""
    known = 0.0 if last is None else last.marks.get(USUAL_AREA, 0.0)
    if not known and last is not None and last.logits is not None:
        known = _areas([unfolded(last)], sight)[0]
    return max(known, 1.0)


def _followed(usual: float, area: float, *, met: bool) -> float:
    """The usual area after a frame on which the object had an area."""
    if not area:
        return usual
    if met:
        return min(max(area, (1 - MEETS) * usual), (1 + MEETS) * usual)
    return usual + (GROWS if area > usual else SHRINKS) * (area - usual)


def _cut(
    record: FrameRecord,
    taken: Tensor,
    last: FrameRecord | None,
    sight: Sight,
    zoom: Zoom | None,
    absent: Tensor | None,
) -> None:
    """Leaves of a record what is not taken; nothing, when that is next to nothing."""
    assert record.logits is not None
    mask = record.logits > 0
    for mark in (PACE_X, PACE_Y):  # measured with what is taken away: it goes on as it did
        record.marks.pop(mark, None)
        if last is not None and mark in last.marks:
            record.marks[mark] = last.marks[mark]
    if float((mask & ~taken).sum()) >= LEFT_SHARE * float(mask.sum()):
        record.logits = _without(record.logits, taken)
        if zoom is not None:
            record.logits = without_strays(record.logits, record.region or sight.whole, zoom, last)
        return
    record.logits = torch.full_like(record.logits, OUTSIDE_LOGIT)
    record.object_score = min(record.object_score, DISMISSED_SCORE)
    if record.pointer is not None and absent is not None:
        record.pointer = absent.expand_as(record.pointer).clone()
