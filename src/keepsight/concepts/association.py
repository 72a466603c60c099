"""Which detection is which object: pure functions of masks, scores and concepts.

Source of the rules: the released SAM 3 (association of detections with masklets), in our own words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.concepts.settings import ConceptRules

ANY_CONCEPT = 0
"""Concept of an object that a person pointed at without saying what it is: a detection of any concept may be it."""


def mask_ious(a: Tensor, b: Tensor) -> NDArray[np.float32]:
    """IoU of each pair, as one matrix product.

    Args:
        a, b: bool ``(N, h, w)`` and ``(M, h, w)``.

    Returns:
        float32 ``(N, M)`` in [0, 1]; 0 where both are empty.
    """
    # float32 counts whole numbers exactly up to 2**24, more than a mask has cells.
    left, right = a.flatten(1).float(), b.flatten(1).float()
    common = left @ right.T
    union = left.sum(1)[:, None] + right.sum(1)[None] - common
    return (common / union.clamp(min=1)).cpu().numpy()


@dataclass(frozen=True)
class Matches:
    """How N detections and M objects belong together.

    Attributes:
        new: indices of detections that are no known object, in their order.
        pairs: bool ``(N, M)``, which detection is which object; several may be the same one.
        seen: bool ``(M,)``, objects that a detection overlaps well.
        empty: bool ``(M,)``, objects without a mask on this frame.
        confident: int ``(M,)``, the detection that an object may be reconditioned on, -1 for none.
    """

    new: NDArray[np.int64]
    pairs: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    confident: NDArray[np.int64]

    @property
    def unmatched(self) -> NDArray[np.bool_]:
        """Objects that are visible and that nothing detected."""
        return ~self.empty & ~self.seen

    @property
    def matched(self) -> NDArray[np.bool_]:
        """Objects that some detection is."""
        return np.asarray(self.pairs.any(axis=0), bool)


def associate(
    detected: Tensor,
    scores: NDArray[np.float32],
    concepts: NDArray[np.int64],
    followed: Tensor,
    followed_concepts: NDArray[np.int64],
    rules: ConceptRules,
) -> Matches:
    """Matches detections with the objects that are followed.

    Objects and detections of different concepts never match.

    Args:
        detected: bool ``(N, h, w)``.
        scores, concepts: ``(N,)`` of the detections.
        followed: bool ``(M, h, w)``, masks of the objects on this frame.
        followed_concepts: ``(M,)``; :data:`ANY_CONCEPT` matches every one.
    """
    count, objects = len(scores), len(followed_concepts)
    empty = ~followed.flatten(1).any(1).cpu().numpy() if objects else np.zeros(0, bool)
    nothing = np.full(objects, -1, np.int64)
    if objects == 0:
        return Matches(np.arange(count), np.zeros((count, 0), bool), np.zeros(0, bool), empty, nothing)
    if count == 0:
        none = np.zeros(objects, bool)
        return Matches(np.zeros(0, np.int64), np.zeros((0, objects), bool), none, empty, nothing)
    ious = mask_ious(detected, followed)
    ious[(concepts[:, None] != followed_concepts[None]) & (followed_concepts[None] != ANY_CONCEPT)] = 0
    if rules.one_to_one:
        from scipy.optimize import linear_sum_assignment  # half a second, and most rules do without

        rows, columns = linear_sum_assignment(-ious)
        assigned = np.zeros_like(ious)
        assigned[rows, columns] = ious[rows, columns]
    else:
        assigned = ious
    pairs = assigned >= rules.match_iou
    is_new = (scores >= rules.new_score) & ~(ious >= rules.match_iou).any(axis=1)
    sure = (scores >= rules.recondition_score) & ~is_new & (assigned.max(axis=1) >= rules.recondition_iou)
    confident = nothing
    # Of several detections of one object the last one has it, as in SAM 3.
    confident[assigned.argmax(axis=1)[sure]] = np.flatnonzero(sure)
    seen = np.asarray((assigned >= rules.seen_iou).any(axis=0), bool)
    return Matches(np.flatnonzero(is_new), pairs, seen, empty, confident)


def shrunk(logits: Tensor, concepts: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Objects that would lose most of their mask if each place went to the strongest object of the concept there.

    Args:
        logits: ``(M, h, w)``.
        concepts: ``(M,)``.
        share: part of the mask that must be left; 0: nobody is found.

    Returns:
        bool ``(M,)``.
    """
    lost = np.zeros(len(concepts), bool)
    if share <= 0:
        return lost
    for concept in np.unique(concepts):
        rows = np.flatnonzero(concepts == concept)
        if len(rows) < 2:
            continue
        mine = logits[torch.from_numpy(rows).to(logits.device)]
        strongest = mine.argmax(dim=0)
        positive = mine > 0
        before = positive.sum((1, 2))
        own = strongest[None] == torch.arange(len(rows), device=logits.device)[:, None, None]
        left = (positive & own).sum((1, 2))
        lost[rows] = (left / before.clamp(min=1) < share).cpu().numpy()
    return lost


def doubled(
    masks: Tensor,
    concepts: NDArray[np.int64],
    last_lost: NDArray[np.int64],
    limit: float,
) -> NDArray[np.bool_]:
    """Objects that lie on another one of their concept and were lost more recently than that one.

    Args:
        masks: bool ``(M, h, w)``.
        concepts: ``(M,)``.
        last_lost: ``(M,)`` step at which an object was last without a mask, -1 for never. One that was never lost neither
            empties another one nor is emptied.
        limit: IoU from which two count as lying on each other; 0: nobody is found.

    Returns:
        bool ``(M,)``.
    """
    if limit <= 0 or len(concepts) < 2:
        return np.zeros(len(concepts), bool)
    over = (mask_ious(masks, masks) >= limit) & (concepts[:, None] == concepts[None])
    later = (last_lost[:, None] > last_lost[None]) & (last_lost[None] > -1)
    return (over & later).any(axis=1)
