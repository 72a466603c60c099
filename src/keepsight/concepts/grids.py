"""Masks of a frame on one grid, so that they can be compared; and small holes and specks in them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from keepsight.core import Region

REFERENCE_SIDE = 288
"""Mask side at which areas in px are stated (SAM 3's)."""

EMPTY_LOGIT = -10.0
"""Logit of a mask that was taken away."""


def on_grid(logits: Sequence[Tensor], regions: Sequence[Region], whole: Region, side: int) -> Tensor:
    """Masks of regions as masks of the whole frame.

    Args:
        logits: ``(h, w)`` each, over ``regions``.
        whole: the frame.
        side: of the square grid.

    Returns:
        Logits float32 ``(N, side, side)``; :data:`EMPTY_LOGIT` beyond a mask's region.
    """
    if not logits:
        return torch.zeros(0, side, side)
    stacked = torch.stack([item.float() for item in logits])
    if all(region == whole for region in regions):
        if stacked.shape[-2:] == (side, side):
            return stacked
        # No antialiasing: the sign of a place is what counts.
        return F.interpolate(stacked[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    places = torch.tensor([whole.placement_in(region) for region in regions], device=stacked.device)
    centres = (torch.arange(side, device=stacked.device) + 0.5) / side
    x = centres[None, None, :] * places[:, 0, None, None] + places[:, 2, None, None]
    y = centres[None, :, None] * places[:, 1, None, None] + places[:, 3, None, None]
    grid = torch.stack(torch.broadcast_tensors(x, y), dim=-1) * 2 - 1
    # What grid_sample pads with is 0.
    moved = F.grid_sample(stacked[:, None] - EMPTY_LOGIT, grid, padding_mode="zeros", align_corners=False)
    return moved[:, 0] + EMPTY_LOGIT


def without_specks(logits: Tensor, largest_px: int) -> Tensor:
    """Fills small holes and takes small specks away (SAM 3's rule).

    A hole becomes barely positive, a speck barely negative. A speck is also at most half of its mask, so that a tiny
    object does not vanish.

    Args:
        logits: ``(N, h, w)``.
        largest_px: area up to which that is done, stated for masks of 288 px a side; 0: never.
    """
    limit = int(largest_px * (logits.shape[-1] / REFERENCE_SIDE) ** 2)
    if limit < 1 or not len(logits):
        return logits
    positive = (logits > 0).to(torch.uint8).cpu().numpy()
    change = np.zeros(positive.shape, np.int8)
    for mask, out in zip(positive, change, strict=True):
        area = int(mask.sum())
        if area:
            out[_small_parts(1 - mask, limit)] = 1
            filled = np.where(out > 0, 1, mask).astype(np.uint8)
            out[_small_parts(filled, min(limit, int(filled.sum()) // 2))] = -1
    if not change.any():
        return logits
    marks = torch.from_numpy(change).to(logits.device)
    return torch.where(marks > 0, 0.1, torch.where(marks < 0, -0.1, logits))


def _small_parts(mask: np.ndarray, limit: int) -> np.ndarray:
    """Where the connected parts of at most ``limit`` px are, bool ``(h, w)``."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= limit
    small[0] = False
    return small[labels]
