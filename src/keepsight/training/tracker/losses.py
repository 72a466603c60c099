"""Losses of SAM 2's training (Ravi et al. 2024, appendix; the released configuration's weights).

Of several candidates only the best one is pushed, so that they may differ where a click is ambiguous. All IoU estimates
and the presence score learn on every decoded frame; masks only where the object is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from keepsight.models.backbone import Decoded
from keepsight.training.losses import candidate_ious

FOCAL, DICE, IOU, PRESENCE = 20.0, 1.0, 1.0, 1.0
_ALPHA, _GAMMA = 0.25, 2.0


@dataclass(frozen=True)
class MaskLoss:
    """Sums over units, to be divided by how many there are: `total` with its weights, the rest without, for the curve."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor


def mask_losses(decoded: Decoded, truth: Tensor, known: Tensor) -> MaskLoss:
    """Loss of one decoded frame.

    Args:
        decoded: of B units, M candidates, before any gate.
        truth: ``(B, h, w)`` true masks in [0, 1] at the size of the logits.
        known: ``(B,)`` bool; other units are left out.
    """
    logits = decoded.logits.float()
    target = (truth > 0.5).to(logits.dtype)
    present = target.flatten(1).any(1).to(logits.dtype)
    counted = known.to(logits.dtype)
    focal, dice = focal_loss(logits, target), dice_loss(logits, target)
    best = (FOCAL * focal + DICE * dice).argmin(1, keepdim=True)
    shown = present * counted
    focal = (focal.gather(1, best)[:, 0] * shown).sum()
    dice = (dice.gather(1, best)[:, 0] * shown).sum()
    with torch.no_grad():
        ious = candidate_ious(logits, target)
    iou = ((decoded.ious.float() - ious).abs().mean(1) * shown).sum()
    presence = F.binary_cross_entropy_with_logits(decoded.object_scores.float(), present, reduction="none")
    presence = (presence * counted).sum()
    return MaskLoss(FOCAL * focal + DICE * dice + IOU * iou + PRESENCE * presence, focal, dice, iou, presence)


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss (Lin et al. 2017) ``(B, M)``, the mean over pixels, of candidates ``(B, M, h, w)`` and truth ``(B, h, w)``."""
    wanted = target[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    p = torch.sigmoid(logits)
    wrong = p + wanted - 2 * p * wanted
    weight = _ALPHA * wanted + (1 - _ALPHA) * (1 - wanted)
    return (weight * wrong**_GAMMA * entropy).mean((2, 3))


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss ``(B, M)``."""
    p, wanted = torch.sigmoid(logits), target[:, None]
    return 1 - (2 * (p * wanted).sum((2, 3)) + 1) / (p.sum((2, 3)) + wanted.sum((2, 3)) + 1)
