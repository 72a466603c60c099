"""Edges at the size of the input: stride-4 logits are pulled to the edges of the picture.

A guided filter with a colour guide (He et al., Guided Image Filtering, 2010, section 3) fits, in every small window, the
mask as a linear function of colour; as in their Fast Guided Filter (2015) it is fitted at half the size and applied at
the full one. It has no weights. What depends on the frame alone is prepared once and shared by all objects.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RADIUS = 3
"""Half the window, in px of half the model input: together with the filter's second pass one cell of the logits and a bit."""

EPSILON = 2e-4
"""Contrast (squared, of colours in [0, 1]) below which a window is only smoothed; up: softer, less eager edges."""

F32 = NDArray[np.float32]


class Guide(NamedTuple):
    """What the filter knows of a frame of side S, all float32.

    colour: (S, S, 3) in [0, 1]; half: the same at S/2; mean: its local mean; inverse: (6, S/2, S/2) inverse of the local
    covariance, upper triangle row by row.
    """

    colour: F32
    half: F32
    mean: F32
    inverse: F32


def _box(x: F32) -> F32:
    """Mean over the window."""
    k = 2 * RADIUS + 1
    return np.asarray(cv2.blur(x, (k, k), borderType=cv2.BORDER_REFLECT), np.float32)


def prepare(pixels: Tensor) -> Guide:
    """Guide of one frame from its pixels (1, 3, S, S) in 0..255."""
    colour = np.ascontiguousarray(pixels[0].permute(1, 2, 0).float().cpu().numpy()) * np.float32(1 / 255)
    half = np.asarray(cv2.resize(colour, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    mean = _box(half)
    first, second = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
    # cv2 filters at most four channels at once.
    products = half[..., first] * half[..., second]
    blurred = np.concatenate(
        (_box(np.ascontiguousarray(products[..., :3])), _box(np.ascontiguousarray(products[..., 3:]))), 2
    )
    cov = np.ascontiguousarray((blurred - mean[..., first] * mean[..., second]).transpose(2, 0, 1))
    rr, rg, rb, gg, gb, bb = cov
    rr, gg, bb = rr + EPSILON, gg + EPSILON, bb + EPSILON
    i00, i01, i02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    det = rr * i00 + rg * i01 + rb * i02
    return Guide(colour, half, mean, np.stack((i00, i01, i02, i11, i12, i22)) / det)


def refine(logits: Tensor, guide: Guide) -> Tensor:
    """Logits (B, M, h, w) at stride 4 -> (B, M, S, S) with edges of the picture."""
    size = guide.colour.shape[0]
    maps = logits.detach().float().cpu().numpy().reshape(-1, *logits.shape[-2:])
    out = np.stack([_refine_one(m, guide) for m in maps])
    return torch.from_numpy(out).to(logits.device).reshape(*logits.shape[:2], size, size)


def _refine_one(logits: F32, guide: Guide) -> F32:
    size, half = guide.colour.shape[0], guide.half.shape[0]
    if logits.max() <= 0:  # nothing to refine: absent objects stay absent
        return np.asarray(cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    up = np.asarray(cv2.resize(logits, (half, half), interpolation=cv2.INTER_LINEAR), np.float32)
    p = 1 / (1 + np.exp(-np.clip(up, -12, 12)))
    both = _box(np.dstack((guide.half * p[..., None], p)))
    mean_p = both[..., 3]
    cr, cg, cb = (both[..., :3] - guide.mean * mean_p[..., None]).transpose(2, 0, 1)
    i00, i01, i02, i11, i12, i22 = guide.inverse
    ar, ag, ab = i00 * cr + i01 * cg + i02 * cb, i01 * cr + i11 * cg + i12 * cb, i02 * cr + i12 * cg + i22 * cb
    offset = mean_p - ar * guide.mean[..., 0] - ag * guide.mean[..., 1] - ab * guide.mean[..., 2]
    fit = _box(np.dstack((ar, ag, ab, offset)))
    full = cv2.resize(fit, (size, size), interpolation=cv2.INTER_LINEAR)
    q = (full[..., :3] * guide.colour).sum(2) + full[..., 3]
    q = np.clip(q, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(q / (1 - q)), np.float32)
