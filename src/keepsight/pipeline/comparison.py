"""From the masks of several policies to numbers: agreement, quality where the truth is known, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from keepsight.core import FrameResult, Mask, Source
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


def _mean(table: Floats, known: NDArray[np.bool_], axis: int) -> Floats:
    """Mean over known values; 1 where there is none."""
    count = known.sum(axis=axis)
    total = np.where(known, table, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), 1.0), np.float64)
