"""How much boxes and masks overlap, all pairs at once, and which of several overlapping ones to keep."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

F32 = NDArray[np.float32]


def box_overlaps(a: F32, b: F32) -> F32:
    """IoU of every box of ``a`` ``(N, 4)`` with every box of ``b`` ``(M, 4)``, both ``x1, y1, x2, y2``: ``(N, M)`` in [0, 1]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def mask_overlaps(masks: Tensor) -> tuple[F32, F32]:
    """IoU of every pair of masks, and the share of the first of each pair that lies in the second.

    Args:
        masks: bool ``(N, h, w)``.

    Returns:
        Two ``(N, N)`` in [0, 1].
    """
    flat = masks.flatten(1).float()
    shared = flat @ flat.T
    areas = flat.sum(1)
    union = areas[:, None] + areas[None] - shared
    inside = shared / areas[:, None].clamp(min=1)
    return (shared / union.clamp(min=1)).cpu().numpy(), inside.cpu().numpy()


def keep_best(overlaps: F32, scores: F32, limit: float, groups: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Greedy suppression: the best one stays, what overlaps it by more than ``limit`` goes, and so on.

    Args:
        overlaps: ``(N, N)``.
        scores: ``(N,)``; of equal ones the earlier wins.
        limit: overlap that is still allowed; 1 keeps all.
        groups: ``(N,)``; only members of a group suppress each other.

    Returns:
        Indices of those that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    conflict = overlaps > limit
    if groups is not None:
        conflict = conflict & (groups[:, None] == groups[None])
    gone = np.zeros(len(scores), bool)
    kept = []
    for index in order:
        if not gone[index]:
            kept.append(index)
            gone |= conflict[index]
    return np.array(kept, np.int64)


def boxes_of(masks: Tensor, height: int, width: int) -> F32:
    """Boxes ``(N, 4)`` in px of a ``height`` x ``width`` frame around bool masks ``(N, h, w)`` over it; 0 for an empty one."""
    rows, columns = masks.any(2), masks.any(1)
    high, wide = masks.shape[-2:]
    found = columns.any(1)
    x1, y1 = columns.float().argmax(1), rows.float().argmax(1)
    x2, y2 = wide - columns.flip(1).float().argmax(1), high - rows.flip(1).float().argmax(1)
    boxes = torch.stack((x1, y1, x2, y2), 1).float() * found[:, None]
    scale = torch.tensor([width / wide, height / high] * 2, device=boxes.device)
    return (boxes * scale).cpu().numpy()
