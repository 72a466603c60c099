"""Choosing among the masks of several pathways at once (SAM2Long's constrained beam); numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keepsight.memory.policy import Candidates

EPSILON = 1e-5
"""Added to an IoU estimate before its logarithm."""


@dataclass(frozen=True)
class Entry:
    """One candidate of one pathway.

    Attributes:
        pathway: rank of the pathway it continues.
        hypothesis: the history that this pathway has; pathways with the same history share it.
        candidate: which of the masks on offer.
        score: cumulative log score of the pathway with this candidate.
    """

    pathway: int
    hypothesis: int
    candidate: int
    score: float


def is_certain(candidates: Sequence[Candidates], uncertainty: float) -> bool:
    """Whether one pathway at least is sure that the object is there, or that it is gone: ``max |o| > uncertainty``."""
    return max(abs(offer.object_score) for offer in candidates) > uncertainty


def prune(
    pathways: Sequence[int], scores: Sequence[float], candidates: Sequence[Candidates], uncertainty: float
) -> list[Entry]:
    """The pathways that go on, best first, as many as there were.

    On a certain frame the entries with the highest cumulative scores are kept, the same mask several times if need be. On an
    uncertain one a mask is only kept when no better one has the same signed IoU estimate to two decimals; what is then missing
    is filled up with the best mask of each pathway that none of the kept ones continues.

    Args:
        pathways: hypothesis of each pathway, by rank.
        scores: cumulative log score of each pathway.
        candidates: what the decoder offered each hypothesis.
        uncertainty: object score up to which a frame is uncertain, that value included.
    """
    offers = {offer.hypothesis: offer for offer in candidates}
    entries = [
        Entry(rank, hypothesis, j, scores[rank] + math.log(iou + EPSILON))
        for rank, hypothesis in enumerate(pathways)
        for j, iou in enumerate(offers[hypothesis].ious)
    ]
    # Stable: on ties the better pathway's mask comes first, then the first mask.
    entries.sort(key=lambda entry: -entry.score)
    count = len(pathways)
    if is_certain(candidates, uncertainty):
        return entries[:count]
    kept: list[Entry] = []
    seen: set[float] = set()
    for entry in entries:
        offer = offers[entry.hypothesis]
        sign = 1 if offer.object_score > 0 else -1
        key = round(sign * offer.ious[entry.candidate], 2)
        if key not in seen:
            seen.add(key)
            kept.append(entry)
        if len(kept) == count:
            return kept
    represented = {entry.pathway for entry in kept}
    for rank in range(count):
        if rank not in represented and len(kept) < count:
            kept.append(next(entry for entry in entries if entry.pathway == rank))
    return kept


def key_weights(scores: Sequence[float], spread: float) -> list[float]:
    """Factors on the keys of what is read: evenly spaced over ``1 -+ spread``, the lowest score gets the lowest.

    Equal scores share the mean of their places; the paper's sort leaves open who of them gets which.

    Args:
        scores: object score of each read, in the order they are read.
        spread: half the width of the range.
    """
    count = len(scores)
    if count == 1:
        return [1 - spread]
    order = sorted(range(count), key=lambda i: scores[i])
    places = [0.0] * count
    start = 0
    while start < count:
        stop = start
        while stop < count and scores[order[stop]] == scores[order[start]]:
            stop += 1
        for i in order[start:stop]:
            places[i] = (start + stop - 1) / 2
        start = stop
    return [1 - spread + 2 * spread * place / (count - 1) for place in places]
