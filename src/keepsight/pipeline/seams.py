"""Objects of neighbouring clips of one video, linked where the clips meet: number 3 before the cut is number 1 after it.

Clips are followed one by one, so that every clip counts its objects anew. Where two clips share frames, the same object has
nearly the same mask in both. Where they only touch, or where one of the two does not show it on the shared frames, it is carried
over the few frames between by the motion that it had.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, InputError, Mask
from keepsight.core.mask import mask_ious

F64 = NDArray[np.float64]

MOTION_FRAMES = 5
"""Frames on which an object was seen last (or first) that tell how it moves."""


@dataclass(frozen=True)
class LinkRule:
    """When an object before a seam and one after it are the same.

    Attributes:
        iou: least overlap (IoU) of their masks, in (0, 1]: the mean over shared frames that show both, or that of the two masks
            at the seam, one carried to the other by its motion. More links fewer: one object may be counted twice. Less links
            more: two that pass each other at a seam may be taken for one.
        gap_frames: frames of a clip for which an object may be unseen at the seam, 0 or more.

    Raises:
        InputError: a value out of range.
    """

    iou: float = 0.3
    gap_frames: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise InputError(f"The overlap that links two objects must be above 0 and at most 1, got {self.iou:g}.")
        if self.gap_frames < 0:
            raise InputError(f"The gap at a seam must be 0 frames or more, got {self.gap_frames}.")


@dataclass(frozen=True)
class ClipObject:
    """One object as one clip knows it.

    Attributes:
        object_id: in the clip.
        first, last: frames of the source on which it is visible first and last.
        frames: on how many it is visible.
        box: on ``first``, in px.
    """

    object_id: int
    label: str
    first: int
    last: int
    frames: int
    box: Box


class ClipTracks(Protocol):
    """The finished tracks of one clip; everything is in frame numbers of the source."""

    @property
    def number(self) -> int:
        """Of the clip; neighbours may be missing."""

    @property
    def frames(self) -> range:
        """What was cut out of the source."""

    @property
    def objects(self) -> Sequence[ClipObject]:
        """Those that are visible on a frame or more, in any order."""

    def masks(self, start: int, stop: int) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        """Visible masks by object on ``start <= frame < stop``, in order; frames without any may be left out."""


@dataclass
class Identity:
    """One object of the whole video: at most one object a clip, in the order of the clips."""

    number: int
    label: str
    parts: list[tuple[int, ClipObject]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Fit for a folder: ``cow_0003``."""
        return f"{''.join(c if c.isalnum() or c in '-_' else '_' for c in self.label) or 'object'}_{self.number:04d}"


@dataclass
class Linked:
    """What linking came to.

    Attributes:
        identities: numbered from 1 in the order in which they appear.
        links: how many pairs of objects were linked.
        broken: pairs of clips that follow each other in what was given but do not meet: nothing is linked across.
    """

    identities: list[Identity] = field(default_factory=list)
    links: int = 0
    broken: list[tuple[int, int]] = field(default_factory=list)


def link_clips(clips: Iterable[ClipTracks], rule: LinkRule | None = None) -> Linked:
    """Gives every object of every clip an identity that holds for the whole video.

    Holds two clips at a time, and of their masks those of one frame and of every object's end.

    Args:
        clips: by rising number; one may be missing, and then nothing is linked across.
    """
    rule = rule or LinkRule()
    linked = Linked()
    before: ClipTracks | None = None
    known: dict[int, Identity] = {}
    for clip in clips:
        links: dict[int, int] = {}
        if before is not None:
            if clip.frames[0] - before.frames[-1] <= before.frames.step:
                links = link_seam(before, clip, rule)
            else:
                linked.broken.append((before.number, clip.number))
        now: dict[int, Identity] = {}
        for item in _in_order(clip.objects):
            identity = known[links[item.object_id]] if item.object_id in links else None
            if identity is None:
                identity = Identity(len(linked.identities) + 1, item.label)
                linked.identities.append(identity)
            identity.parts.append((clip.number, item))
            now[item.object_id] = identity
        linked.links += len(links)
        before, known = clip, now
    return linked


def link_seam(before: ClipTracks, after: ClipTracks, rule: LinkRule) -> dict[int, int]:
    """Ids before the seam by ids after it; an object that has no counterpart is left out. Only equal labels are linked."""
    old, new = _in_order(before.objects), _in_order(after.objects)
    if not old or not new:
        return {}
    step = before.frames.step
    reach = (rule.gap_frames + MOTION_FRAMES) * step
    rows, columns = _places(old), _places(new)
    shared = np.zeros((len(old), len(new)))
    total = np.zeros_like(shared)
    last: dict[int, _End] = {}
    first: dict[int, _End] = {}
    for frame, ours, theirs in _side_by_side(
        before.masks(after.frames[0] - reach, before.frames[-1] + 1),
        after.masks(after.frames[0], before.frames[-1] + reach + 1),
    ):
        for object_id, mask in ours.items():
            last.setdefault(object_id, _End(latest=True)).note(frame, mask)
        for object_id, mask in theirs.items():
            first.setdefault(object_id, _End(latest=False)).note(frame, mask)
        if ours and theirs:
            cells = np.ix_([rows[i] for i in ours], [columns[i] for i in theirs])
            total[cells] += mask_ious(list(ours.values()), list(theirs.values()))
            shared[cells] += 1
    alike = np.array([[a.label == b.label for b in new] for a in old])
    # Where several would do, the one that agrees on more frames wins.
    weights = np.where(alike & (total >= rule.iou * np.maximum(shared, 1)), total, 0)
    found = _assigned(weights)
    near = np.zeros_like(total)
    taken = [row for row, _ in found], [column for _, column in found]
    apart = alike & (shared == 0)
    apart[taken[0]], apart[:, taken[1]] = False, False
    for row, column in np.argwhere(apart):
        one, other = last.get(old[row].object_id), first.get(new[column].object_id)
        if one and other and 0 < other.frame - one.frame <= (rule.gap_frames + 1) * step:
            near[row, column] = _carried_iou(one, other)
    found += _assigned(np.where(near >= rule.iou, near, 0))
    return {new[column].object_id: old[row].object_id for row, column in found}


def _in_order(objects: Sequence[ClipObject]) -> list[ClipObject]:
    """By what is seen, so that nothing hangs on the numbers that a clip happened to give."""
    return sorted(objects, key=lambda item: (item.first, item.box, item.label, item.last, item.frames, item.object_id))


def _places(objects: Sequence[ClipObject]) -> dict[int, int]:
    return {item.object_id: place for place, item in enumerate(objects)}


def _side_by_side(
    ours: Iterator[tuple[int, Mapping[int, Mask]]], theirs: Iterator[tuple[int, Mapping[int, Mask]]]
) -> Iterator[tuple[int, Mapping[int, Mask], Mapping[int, Mask]]]:
    both = heapq.merge(((f, 0, m) for f, m in ours), ((f, 1, m) for f, m in theirs), key=itemgetter(0, 1))
    for frame, sides in groupby(both, key=itemgetter(0)):
        masks: dict[int, Mapping[int, Mask]] = {side: found for _, side, found in sides}
        yield frame, masks.get(0, {}), masks.get(1, {})


def _assigned(weights: F64) -> list[tuple[int, int]]:
    """Pairs of the greatest total weight, each row and column at most once; a weight of 0 is no pair."""
    from scipy.optimize import linear_sum_assignment  # half a second, for one stage of a batch

    rows, columns = linear_sum_assignment(-weights)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if weights[row, column] > 0]


class _End:
    """Where a track ends (``latest``) or begins, and how it moves there."""

    def __init__(self, *, latest: bool) -> None:
        self._latest = latest
        self._boxes: deque[tuple[int, Box]] = deque(maxlen=MOTION_FRAMES)
        self._mask: Mask | None = None
        self._patch: NDArray[np.bool_] | None = None
        self.frame = 0

    def note(self, frame: int, mask: Mask) -> None:
        """Takes a visible mask; frames rise."""
        box = mask.box
        if box is None or (not self._latest and len(self._boxes) == MOTION_FRAMES):
            return
        if self._latest or self._mask is None:
            self.frame, self._mask = frame, mask
        self._boxes.append((frame, box))

    @property
    def box(self) -> Box:
        return self._boxes[-1 if self._latest else 0][1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame in px."""
        assert self._mask is not None
        return self._mask.height, self._mask.width

    def moved(self, frames: int) -> tuple[int, int]:
        """How far it goes in so many frames of the source, ``(x, y)`` in px, by the mean speed of the frames noted."""
        (begin, a), (end, b) = self._boxes[0], self._boxes[-1]
        if begin == end:
            return 0, 0
        share = frames / (end - begin) / 2
        return round((b[0] + b[2] - a[0] - a[2]) * share), round((b[1] + b[3] - a[1] - a[3]) * share)

    def pixels(self) -> NDArray[np.bool_]:
        """The mask within its box; decoded once."""
        if self._patch is None:
            assert self._mask is not None
            x1, y1, x2, y2 = (int(value) for value in self.box)
            self._patch = self._mask.to_array()[y1:y2, x1:x2]
        return self._patch


def _carried_iou(one: _End, other: _End) -> float:
    """IoU of where a track ends and where another begins: as they are, the first carried on, or the second carried back."""
    ahead = one.moved(other.frame - one.frame)
    back = other.moved(other.frame - one.frame)
    return max(_shifted_iou(one, other, shift) for shift in {(0, 0), ahead, back})


def _shifted_iou(one: _End, other: _End, shift: tuple[int, int]) -> float:
    """IoU of ``one``, shifted by ``(x, y)`` px, with ``other``; what leaves the frame does not count."""
    x1, y1, x2, y2 = (round(value) for value in one.box)
    u1, v1, u2, v2 = (round(value) for value in other.box)
    x1, x2, y1, y2 = x1 + shift[0], x2 + shift[0], y1 + shift[1], y2 + shift[1]
    left, top, right, bottom = max(x1, u1), max(y1, v1), min(x2, u2), min(y2, v2)
    if left >= right or top >= bottom:
        return 0.0
    height, width = one.size
    a, b = one.pixels(), other.pixels()
    seen = a[max(-y1, 0) : max(height - y1, 0), max(-x1, 0) : max(width - x1, 0)].sum()
    inner = a[top - y1 : bottom - y1, left - x1 : right - x1] & b[top - v1 : bottom - v1, left - u1 : right - u1]
    return float(inner.sum() / (seen + b.sum() - inner.sum()))
