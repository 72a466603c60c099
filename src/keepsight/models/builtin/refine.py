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
    """What the filter knows of a frame of side S, all float32, a plane a channel: strided channels cost four times the time.

    colour: (3, S, S) in [0, 1]; half: the same at S/2; mean: its local mean; inverse: (6, S/2, S/2) inverse of the local
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
    pixel = np.ascontiguousarray(pixels[0].permute(1, 2, 0).float().cpu().numpy()) * np.float32(1 / 255)
    colour = np.stack(cv2.split(pixel))
    half = np.stack(cv2.split(cv2.resize(pixel, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)))
    mean = np.stack([_box(plane) for plane in half])
    r, g, b = half
    mr, mg, mb = mean
    rr, rg, rb = (_box(r * other) - mr * mean_other for other, mean_other in ((r, mr), (g, mg), (b, mb)))
    gg, gb, bb = _box(g * g) - mg * mg, _box(g * b) - mg * mb, _box(b * b) - mb * mb
    rr, gg, bb = rr + EPSILON, gg + EPSILON, bb + EPSILON
    i00, i01, i02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    det = rr * i00 + rg * i01 + rb * i02
    return Guide(colour, half, mean, np.stack((i00, i01, i02, i11, i12, i22)) / det)


def refine(logits: Tensor, guide: Guide) -> Tensor:
    """Logits (B, M, h, w) at stride 4 -> (B, M, S, S) with edges of the picture."""
    size = guide.colour.shape[-1]
    maps = logits.detach().float().cpu().numpy().reshape(-1, *logits.shape[-2:])
    out = np.stack([_refine_one(m, guide) for m in maps])
    return torch.from_numpy(out).to(logits.device).reshape(*logits.shape[:2], size, size)


def _refine_one(logits: F32, guide: Guide) -> F32:
    size, half = guide.colour.shape[-1], guide.half.shape[-1]
    if logits.max() <= 0:  # nothing to refine: absent objects stay absent
        return np.asarray(cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    up = np.asarray(cv2.resize(logits, (half, half), interpolation=cv2.INTER_LINEAR), np.float32)
    p = np.asarray(1 / (1 + np.exp(-np.clip(up, -12, 12))), np.float32)
    mean_p = _box(p)
    cr, cg, cb = (_box(plane * p) - mean * mean_p for plane, mean in zip(guide.half, guide.mean, strict=True))
    i00, i01, i02, i11, i12, i22 = guide.inverse
    ar, ag, ab = i00 * cr + i01 * cg + i02 * cb, i01 * cr + i11 * cg + i12 * cb, i02 * cr + i12 * cg + i22 * cb
    offset = mean_p - ar * guide.mean[0] - ag * guide.mean[1] - ab * guide.mean[2]
    red, green, blue, rest = (
        cv2.resize(_box(plane), (size, size), interpolation=cv2.INTER_LINEAR) for plane in (ar, ag, ab, offset)
    )
    q = red * guide.colour[0] + green * guide.colour[1] + blue * guide.colour[2] + rest
    q = np.clip(q, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(q / (1 - q)), np.float32)
