"""What the detector is taught: where objects are, which queries they are, whether there are any, and their masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from keepsight.training.detector.boxes import corners, overlaps
from keepsight.training.detector.heads import Head, Layers
from keepsight.training.detector.matching import Targets, one_to_many, one_to_one
from keepsight.training.detector.settings import Matching, Weights

_LEAST_TARGET = 0.01


def detector_loss(head: Head, targets: Targets, weights: Weights, rules: Matching) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of all losses, and its parts after their weights, detached.

    Boxes and scores are taught after every layer of the decoder, masks after the last. Sums over objects are divided by their
    number.
    """
    layers = head.decode()
    matched = one_to_one(layers.logits, layers.boxes, targets, rules)
    parts = _of_layers(layers, matched, targets, weights)
    spoken = F.binary_cross_entropy_with_logits(
        layers.presence, targets.present.float().expand_as(layers.presence), reduction="none"
    )
    parts["presence"] = weights.presence * spoken.mean(1).sum()
    if weights.many and rules.many:
        alone = head.decode(together=False)
        several = _of_layers(alone, one_to_many(alone.logits, alone.boxes, targets, rules), targets, weights)
        parts["many"] = weights.many * torch.stack(list(several.values())).sum()
    if weights.focal or weights.dice:
        parts |= _of_masks(head, layers.queries, matched[-1], targets, weights)
    return torch.stack(list(parts.values())).sum(), {name: part.detach() for name, part in parts.items()}


def _of_layers(layers: Layers, matched: Tensor, targets: Targets, weights: Weights) -> dict[str, Tensor]:
    """Losses of boxes and scores, summed over layers; ``matched`` as from :mod:`.matching`."""
    found = matched >= 0
    _, pair, _ = where = torch.nonzero(found, as_tuple=True)
    mine, truth = layers.boxes[where], targets.boxes[pair, matched[where]]
    iou, generalised = overlaps(corners(mine), corners(truth))
    # A layer of the decoder is a model of its own: divided by what it found, never by less than there is.
    objects = torch.maximum(found.sum((1, 2)), targets.there.sum()).clamp(min=1)
    share = 1 / objects[where[0]]
    aligned = torch.zeros_like(layers.logits).index_put(where, iou.detach())
    scores = score_loss(layers.logits, found, aligned) * targets.present[:, None]
    return {
        "box": weights.box * ((mine - truth).abs().sum(-1) * share).sum(),
        "giou": weights.giou * ((1 - generalised) * share).sum(),
        "score": weights.score * (scores.sum((1, 2)) / objects).sum(),
    }


def score_loss(logits: Tensor, found: Tensor, iou: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Cross entropy against how well a box fits (Cai et al., Align-DETR, 2023, equations 4 and 5), of the logits' shape.

    A query that found an object is taught ``score^a * IoU^(1 - a)``, one that found none 0, the more the surer it was. So scores
    end up ordered as boxes are good.

    Args:
        found: bool, which queries have a target.
        iou: of their boxes with it; elsewhere ignored.
    """
    likely = logits.sigmoid().detach()
    goal = (likely**alpha * iou.clamp(min=0) ** (1 - alpha)).clamp(min=_LEAST_TARGET)
    goal = torch.where(found, goal, 0.0)
    surely = torch.where(found, 1.0, logits.sigmoid() ** gamma)
    return surely * F.binary_cross_entropy_with_logits(logits, goal, reduction="none")


def _of_masks(head: Head, queries: Tensor, matched: Tensor, targets: Targets, weights: Weights) -> dict[str, Tensor]:
    """Losses of the masks of queries ``(B, Q, C)`` that found an object with a mask."""
    batch, most = targets.there.shape
    asked = (matched >= 0) & targets.masked.gather(1, matched.clamp(min=0)) if most else matched >= 0
    if not asked.any():
        # Masks of nothing, so that every step has the same graph on every process.
        nothing = head.masks(queries[:, :1]).float().sum() * 0
        return {"focal": nothing, "dice": nothing}
    room = int(asked.sum(1).max())
    # Queries that are asked for come first, in a table as wide as the fullest pair.
    order = asked.int().argsort(dim=1, descending=True, stable=True)[:, :room]
    real = asked.gather(1, order)
    chosen = queries.gather(1, order[..., None].expand(-1, -1, queries.shape[-1]))
    logits = head.masks(chosen)[real].float()
    pair = torch.arange(batch, device=matched.device)[:, None].expand_as(order)[real]
    truth = targets.masks[pair, matched.gather(1, order)[real]].float()
    share = 1 / targets.masked.sum().clamp(min=1)
    return {
        "focal": weights.focal * mask_focal(logits, truth).sum() * share,
        "dice": weights.dice * mask_dice(logits, truth).sum() * share,
    }


def mask_focal(logits: Tensor, truth: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """``(N,)`` means over cells of the focal loss (Lin et al., 2017, equation 5) of ``(N, h, w)``.

    Args:
        truth: in [0, 1]; a cell on the edge is in part the object's.
    """
    likely = logits.sigmoid()
    right = likely * truth + (1 - likely) * (1 - truth)
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (balance * (1 - right) ** gamma * entropy).flatten(1).mean(1)


def mask_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """``(N,)`` of ``(N, h, w)``: 1 - (2 * shared + 1) / (sizes + 1) (Milletari et al., 2016)."""
    likely, truth = logits.sigmoid().flatten(1), truth.flatten(1)
    return 1 - (2 * (likely * truth).sum(1) + 1) / (likely.sum(1) + truth.sum(1) + 1)
