"""Losses of the built-in network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from keepsight.models.builtin.network import Decoded

# Share of the loss: on the object, near it, everywhere else.
_ON, _NEAR, _FAR = 0.3, 0.45, 0.25


def pixel_weights(truth: Tensor, reach: int = 7) -> Tensor:
    """Weights (B, H, W) that sum to 1: small objects and the pixels about them count as much as large ones.

    Args:
        truth: (B, H, W) true mask in [0, 1].
        reach: how far "near" goes, in pixels of the mask.
    """
    on = (truth > 0.5).float()
    side = 2 * reach + 1  # a square window in two passes
    grown = F.max_pool2d(F.max_pool2d(on[:, None], (side, 1), 1, (reach, 0)), (1, side), 1, (0, reach))[:, 0]
    near, far = grown - on, 1 - grown

    def share(region: Tensor, part: float) -> Tensor:
        return region * (part / region.sum((1, 2), keepdim=True).clamp(min=1))

    weights = share(on, _ON) + share(near, _NEAR) + share(far, _FAR)
    return weights / weights.sum((1, 2), keepdim=True)


def mask_loss(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """(B, M): 2 x weighted cross entropy + dice, for candidates (B, M, H, W) against truth (B, H, W)."""
    target = truth[:, None].expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    bce = (bce * weights[:, None]).sum((2, 3))
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * target).sum((2, 3)) + 1) / (p.sum((2, 3)) + target.sum((2, 3)) + 1)
    return 2 * bce + dice


def candidate_ious(logits: Tensor, truth: Tensor) -> Tensor:
    """(B, M) IoU of the thresholded candidates; two empty masks agree (1)."""
    a, b = logits > 0, (truth > 0.5)[:, None]
    union = (a | b).sum((2, 3))
    return torch.where(union > 0, (a & b).sum((2, 3)) / union.clamp(min=1), 1.0)


def decoder_loss(out: Decoded, truth: Tensor) -> Tensor:
    """Loss (B,) of all four masks, the IoU head and the presence head.

    Of the three candidates mainly the best one is pushed, so that they may differ where a click is ambiguous. An absent
    object (empty truth) teaches presence, and its mask only a little: the presence score empties it anyway. The
    predicted IoU is fitted by squares, which makes it the expected IoU; an absolute error would make it the median, too
    high for the few bad masks that one needs it for.
    """
    present = (truth > 0.5).flatten(1).any(1).float()
    losses = mask_loss(out.logits, truth, pixel_weights(truth))
    best, mean, single = losses[:, 1:].amin(1), losses[:, 1:].mean(1), losses[:, 0]
    mask = 0.7 * best + 0.06 * mean + 0.5 * single
    with torch.no_grad():
        ious = candidate_ious(out.logits, truth)
        # An empty candidate for an absent object is right, but what was predicted for it says nothing.
        counted = 1 - (1 - present[:, None]) * (ious > 0.5).float()
    iou = ((out.ious - ious) ** 2 * counted).mean(1)
    presence = F.binary_cross_entropy_with_logits(out.object_scores, present, reduction="none")
    return mask * (0.1 + 0.9 * present) + 1.5 * iou + 0.4 * presence


def prior_loss(p: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy of propagated probabilities (any shape), positives and negatives balanced.

    Args:
        p: propagated masks in [0, 1], clipped inside.
        truth: same shape, in [0, 1].
    """
    bce = F.binary_cross_entropy(p.clamp(1e-4, 1 - 1e-4), truth, reduction="none")
    on = (truth > 0.5).float()
    positive = (bce * on).sum() / on.sum().clamp(min=1)
    negative = (bce * (1 - on)).sum() / (1 - on).sum().clamp(min=1)
    return positive + negative
