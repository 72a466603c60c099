"""From the masks of several policies to numbers: agreement, quality where the truth is known, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from keepsight.core import FrameResult, Mask, Source, TrackedObject
from keepsight.core.mask import mask_ious
from keepsight.core.metrics import boundary_accuracy

#: What each policy gave: policy -> frame -> result. All policies have the same frames.
Results = Mapping[str, Mapping[int, FrameResult]]
#: What is true: frame -> object -> mask; an object that is missing on a frame is not there.
Truth = Mapping[int, Mapping[int, Mask]]
Floats = NDArray[np.float64]

_SAME = 0.9
"""Agreement from which on there is nothing to look at."""


@dataclass(frozen=True)
class Agreement:
    """How much policies show the same.

    Attributes:
        frames: frame indices, rising, ``(T,)``.
        pairs: J between the masks of two policies, mean over objects, ``(T,)``; 1 where nobody shows anything.
        objects: J between policies, mean over pairs, by object, ``(T,)``.
    """

    frames: list[int]
    pairs: dict[tuple[str, str], Floats]
    objects: dict[int, Floats]

    @property
    def mean(self) -> Floats:
        """Mean over pairs and objects, ``(T,)``."""
        return np.mean(list(self.pairs.values()), axis=0)

    def of(self, policy: str) -> Floats:
        """Mean agreement of a policy with the others, ``(T,)``."""
        return np.mean([values for pair, values in self.pairs.items() if policy in pair], axis=0)


@dataclass(frozen=True)
class Spot:
    """Frames on which policies differ most.

    Attributes:
        first, last: frames.
        pair: the two that differ most there, and their mean J.
        object_id: about which object.
    """

    first: int
    last: int
    pair: tuple[str, str]
    j: float
    object_id: int


@dataclass(frozen=True)
class Quality:
    """One policy and object against the truth: mean J and F, and J by frame."""

    j: float
    f: float
    by_frame: dict[int, float]

    @property
    def both(self) -> float:
        """J&F."""
        return (self.j + self.f) / 2


def objects_of(results: Results) -> list[int]:
    """Ids of all objects that any policy shows, rising."""
    return sorted({item.object_id for run in results.values() for result in run.values() for item in result.objects})


def mask_of(result: FrameResult, object_id: int) -> Mask | None:
    """The object's mask; ``None`` on frames where it is not followed yet."""
    return next((item.mask for item in result.objects if item.object_id == object_id), None)


def agreement_of(results: Results) -> Agreement | None:
    """Agreement between all pairs of policies; ``None`` for fewer than two, or no frame."""
    names = list(results)
    if len(names) < 2 or not results[names[0]]:
        return None
    frames, objects = sorted(results[names[0]]), objects_of(results)
    table = np.full((len(frames), len(objects), len(names) * (len(names) - 1) // 2), np.nan)
    for t, frame in enumerate(frames):
        for place, object_id in enumerate(objects):
            masks = [mask_of(results[name][frame], object_id) for name in names]
            for number, (one, other) in enumerate(combinations(masks, 2)):
                if one is not None and other is not None:
                    table[t, place, number] = one.iou(other)
    # An object that is not followed yet is nothing to agree on.
    known = ~np.isnan(table)
    pairs = _mean(table, known, axis=1)
    by_object = _mean(table, known, axis=2)
    return Agreement(
        frames,
        {pair: pairs[:, number] for number, pair in enumerate(combinations(names, 2))},
        {object_id: by_object[:, place] for place, object_id in enumerate(objects)},
    )


def where_to_look(agreement: Agreement) -> Spot | None:
    """The stretch of frames around the one on which policies agree least; ``None`` when they agree throughout."""
    mean = agreement.mean
    # Over five frames: one frame on which outlines differ is nothing to look at.
    smooth = np.convolve(np.pad(mean, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    worst = int(smooth.argmin())
    if smooth[worst] >= _SAME:
        return None
    limit = (1 + smooth[worst]) / 2
    first = last = worst
    while first > 0 and smooth[first - 1] < limit:
        first -= 1
    while last + 1 < len(smooth) and smooth[last + 1] < limit:
        last += 1
    part = slice(first, last + 1)
    pair = min(agreement.pairs, key=lambda key: float(agreement.pairs[key][part].mean()))
    object_id = min(agreement.objects, key=lambda key: float(agreement.objects[key][part].mean()))
    j = float(agreement.pairs[pair][part].mean())
    return Spot(agreement.frames[first], agreement.frames[last], pair, j, object_id)


def quality_of(run: Mapping[int, FrameResult], truth: Truth, object_id: int) -> Quality | None:
    """J and F of one object over the frames that have a truth, prompted ones left out; ``None`` when there are none."""
    scores: dict[int, tuple[float, float]] = {}
    for frame, result in sorted(run.items()):
        item = next((item for item in result.objects if item.object_id == object_id), None)
        if frame not in truth or item is None or item.source is Source.PROMPT:
            continue
        true = truth[frame].get(object_id) or Mask.empty(result.height, result.width)
        f = boundary_accuracy(item.mask.to_array(), true.to_array())
        scores[frame] = item.mask.iou(true), f
    if not scores:
        return None
    j, f = np.mean(list(scores.values()), axis=0)
    return Quality(float(j), float(f), {frame: score[0] for frame, score in scores.items()})


def numbered_alike(results: Results, truth: Truth | None = None) -> dict[str, dict[int, FrameResult]]:
    """The same results with the same id for the same object, where each policy has found its objects for itself.

    Objects are matched with those of the truth, or else of the first policy, by the IoU of their masks over all frames (the best
    assignment); what matches none gets an id of its own. An object that one policy shows from a frame on and another does not is
    absent in the other.
    """
    names = list(results)
    if not results[names[0]]:
        return {name: {} for name in names}
    some = next(iter(results[names[0]].values()))
    if truth is not None:
        reference = {
            frame: [TrackedObject(one, mask, 1.0, 1.0) for one, mask in masks.items()] for frame, masks in truth.items()
        }
    else:
        reference = {frame: list(result.objects) for frame, result in results[names[0]].items()}
    used = {item.object_id for items in reference.values() for item in items}
    shown: dict[str, dict[int, list[TrackedObject]]] = {}
    for name in names:
        new = _matched(reference, {frame: list(result.objects) for frame, result in results[name].items()})
        for one in sorted(
            {item.object_id for result in results[name].values() for item in result.objects} - new.keys()
        ):
            new[one] = max(used, default=0) + 1
            used.add(new[one])
        shown[name] = {
            frame: [replace(item, object_id=new[item.object_id]) for item in result.objects]
            for frame, result in results[name].items()
        }
    born: dict[int, int] = {}
    for run in shown.values():
        for frame, items in run.items():
            for item in items:
                born[item.object_id] = min(frame, born.get(item.object_id, frame))
    nothing = Mask.empty(some.height, some.width)
    for run in shown.values():
        for frame, items in run.items():
            there = {item.object_id for item in items}
            items += [
                TrackedObject(one, nothing, 0.0, 0.0) for one, at in born.items() if frame >= at and one not in there
            ]
            items.sort(key=lambda item: item.object_id)
    return {
        name: {frame: replace(result, objects=tuple(shown[name][frame])) for frame, result in results[name].items()}
        for name in names
    }


def _matched(ours: Mapping[int, list[TrackedObject]], theirs: Mapping[int, list[TrackedObject]]) -> dict[int, int]:
    """Our id for those of their objects that match one of ours."""
    a = sorted({item.object_id for items in ours.values() for item in items})
    b = sorted({item.object_id for items in theirs.values() for item in items})
    common, ours_px, theirs_px = np.zeros((len(a), len(b))), np.zeros(len(a)), np.zeros(len(b))
    for frame in ours.keys() & theirs.keys():
        left, right = ours[frame], theirs[frame]
        rows = np.searchsorted(a, [item.object_id for item in left])
        columns = np.searchsorted(b, [item.object_id for item in right])
        left_px = np.array([item.mask.area for item in left], float)
        right_px = np.array([item.mask.area for item in right], float)
        ours_px[rows] += left_px
        theirs_px[columns] += right_px
        if len(left) and len(right):
            iou = mask_ious([item.mask for item in left], [item.mask for item in right])
            common[np.ix_(rows, columns)] += iou / (1 + iou) * (left_px[:, None] + right_px[None])
    overlap = common / np.maximum(ours_px[:, None] + theirs_px[None] - common, 1)
    chosen = zip(*linear_sum_assignment(-overlap), strict=True)
    return {b[column]: a[row] for row, column in chosen if overlap[row, column] > 0}


def _mean(table: Floats, known: NDArray[np.bool_], axis: int) -> Floats:
    """Mean over known values; 1 where there is none."""
    count = known.sum(axis=axis)
    total = np.where(known, table, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), 1.0), np.float64)
