"""From logits to masks at the frame's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from keepsight.core import Mask

HOLE_REFERENCE_SIZE = 256
"""Mask side at which hole sizes are stated; smaller masks fill proportionally smaller holes."""


def fill_holes(logits: Tensor, largest_px: int) -> Tensor:
    """Turns background specks of at most ``largest_px`` (stated at 256 px masks) into barely positive logits.

    Args:
        logits: ``(h, w)``; returned unchanged when there is nothing to fill.
    """
    limit = int(largest_px * (logits.shape[-1] / HOLE_REFERENCE_SIZE) ** 2)
    if limit < 1:
        return logits
    background = (logits <= 0).to(torch.uint8).cpu().numpy()
    if background.all():
        return logits
    count, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=8)
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] <= limit]
    if not small:
        return logits
    holes = torch.from_numpy(np.isin(labels, small)).to(logits.device)
    return torch.where(holes, torch.full_like(logits, 0.1), logits)


def masks_at_size(logits: Sequence[Tensor], height: int, width: int) -> list[Mask]:
    """Upsamples low-resolution logits ``(h, w)`` bilinearly to the frame and cuts at 0.

    Only the part of the frame that a mask can reach is computed: a small object in a 4K frame costs little.
    """
    return [_mask_at_size(item.float(), height, width) for item in logits]


def _mask_at_size(logits: Tensor, height: int, width: int) -> Mask:
    low_height, low_width = logits.shape
    positive = logits > 0
    rows = positive.any(dim=1).nonzero().flatten()
    if rows.numel() == 0:
        return Mask.empty(height, width)
    columns = positive.any(dim=0).nonzero().flatten()
    # Bilinear samples above 0 need a positive neighbour, so one cell of margin holds all of them.
    top, bottom = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 1, low_height - 1)
    left, right = max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 1, low_width - 1)
    y1, y2 = int(top * height / low_height), min(int((bottom + 1) * height / low_height) + 1, height)
    x1, x2 = int(left * width / low_width), min(int((right + 1) * width / low_width) + 1, width)
    full = np.zeros((height, width), dtype=np.uint8)
    full[y1:y2, x1:x2] = (_bilinear_window(logits, height, width, (y1, y2, x1, x2)) > 0).cpu().numpy()
    return Mask.from_array(full)


def _bilinear_window(logits: Tensor, height: int, width: int, window: tuple[int, int, int, int]) -> Tensor:
    """A window of ``interpolate(logits, (height, width), bilinear, align_corners=False)``."""
    y1, y2, x1, x2 = window
    low_height, low_width = logits.shape
    y_low, y_high, y_weight = _taps(y1, y2, low_height, height, logits.device)
    x_low, x_high, x_weight = _taps(x1, x2, low_width, width, logits.device)
    band = logits[y_low] * (1 - y_weight)[:, None] + logits[y_high] * y_weight[:, None]
    return band[:, x_low] * (1 - x_weight) + band[:, x_high] * x_weight


def _taps(start: int, stop: int, low: int, high: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    position = ((torch.arange(start, stop, device=device, dtype=torch.float32) + 0.5) * (low / high) - 0.5).clamp(min=0)
    lower = position.floor().long().clamp(max=low - 1)
    return lower, (lower + 1).clamp(max=low - 1), position - lower


def mask_to_model(mask: Mask, size: int) -> Tensor:
    """A mask as ``(1, 1, size, size)`` of 0/1: antialiased resize, cut at one half (Meta's ``add_new_mask``)."""
    pixels = torch.from_numpy(mask.to_array())[None, None].float()
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        small = (pixels >= 0.5).float()
        # A thin object must not vanish: fall back to its strongest cell.
        return small if small.any() else (pixels >= pixels.max()).float()
    return pixels
