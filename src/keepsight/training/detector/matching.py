"""Which query is to find which object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from keepsight.training.detector.boxes import corners, overlaps
from keepsight.training.detector.settings import Matching


@dataclass(frozen=True, eq=False)
class Targets:
    """True objects of B pairs of picture and phrase, padded to T a pair.

    Attributes:
        boxes: ``(B, T, 4)``, centre and size as shares of the picture.
        there: bool ``(B, T)``, where a target is one.
        masks: ``(B, T, h, w)`` in [0, 1], the share of each cell that the object covers.
        masked: bool ``(B, T)``, which targets have a mask; the others have a box only.
    """

    boxes: Tensor
    there: Tensor
    masks: Tensor
    masked: Tensor

    @property
    def present(self) -> Tensor:
        """Bool ``(B,)``: whether the phrase is in the picture."""
        return self.there.any(1)

    def to(self, device: torch.device) -> Targets:
        return Targets(*(part.to(device) for part in (self.boxes, self.there, self.masks, self.masked)))


@torch.no_grad()
def one_to_one(logits: Tensor, boxes: Tensor, targets: Targets, rules: Matching) -> Tensor:
    """The assignment of least cost, each object to one query (Carion et al., DETR, 2020; costs as in Deformable DETR).

    Args:
        logits: ``(L, B, Q)``.
        boxes: ``(L, B, Q, 4)``, centre and size.

    Returns:
        int64 ``(L, B, Q)`` on the logits' device: the target of each query, -1 for none.
    """
    cost = costs(logits, boxes, targets, rules).cpu().numpy()
    there = targets.there.cpu().numpy()
    taken = np.full(logits.shape, -1, np.int64)
    for pair in np.flatnonzero(there.any(1)):
        columns = np.flatnonzero(there[pair])
        for layer in range(len(cost)):
            queries, chosen = linear_sum_assignment(cost[layer, pair][:, columns])
            taken[layer, pair, queries] = columns[chosen]
    return torch.from_numpy(taken).to(logits.device)


def costs(logits: Tensor, boxes: Tensor, targets: Targets, rules: Matching) -> Tensor:
    """``(L, B, Q, T)``: what it costs that a query finds a target."""
    likely = logits.sigmoid()[..., None]
    # What the focal loss would rise by, were the query to be nothing instead.
    as_object = -rules.alpha * (1 - likely) ** rules.gamma * (likely + 1e-8).log()
    as_nothing = -(1 - rules.alpha) * likely**rules.gamma * (1 - likely + 1e-8).log()
    mine, theirs = boxes[..., :, None, :], targets.boxes[:, None]
    apart = (mine - theirs).abs().sum(-1)
    generalised = overlaps(corners(mine), corners(theirs))[1]
    return rules.score * (as_object - as_nothing) + rules.box * apart - rules.giou * generalised


@torch.no_grad()
def one_to_many(logits: Tensor, boxes: Tensor, targets: Targets, rules: Matching) -> Tensor:
    """Each object to its best query, and to as many more as are good (Hu et al., DAC-DETR, NeurIPS 2023, section 3.3).

    How well a query does is ``a * score + (1 - a) * IoU``. A query that several objects want goes to the one for which it does
    best.

    Returns:
        int64 ``(L, B, Q)``, the target of each query, -1 for none.
    """
    iou = overlaps(corners(boxes)[..., :, None, :], corners(targets.boxes)[:, None])[0]
    good = rules.many_score * logits.sigmoid()[..., None] + (1 - rules.many_score) * iou
    good = good.masked_fill(~targets.there[:, None], -1.0)
    if good.shape[-1] == 0:
        return torch.full(logits.shape, -1, dtype=torch.int64, device=logits.device)
    best, which = good.topk(min(rules.many, good.shape[2]), dim=2)
    wanted = best > rules.many_least
    wanted[:, :, 0] = True
    chosen = torch.zeros_like(good, dtype=torch.bool).scatter_(2, which, wanted)
    value, target = good.masked_fill(~chosen, -1.0).max(-1)
    return torch.where(value >= 0, target, -1)
