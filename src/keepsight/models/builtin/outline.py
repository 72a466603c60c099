"""The outline of what is answered to a box around something tiny, decided by the pixels themselves.

An object of 20 px is a blur to the network: four or five px of its input are one of the frame. Its outline is off by a px here
and there, which is much of such an object. A graph cut on colours (Rother et al., GrabCut, 2004; OpenCV's) has learned nothing
about objects but sees every px. Of what is larger the network knows the outline better.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Box, mask_box
from keepsight.core.geometry import box_iou

LEAST_MAGNIFIED = 4.25
"""Px of the model's input over one of the frame from which an outline is cut: that of a box of 30 px. Mean J of the eight frames
after the first: +.013 (55 objects); with boxes of 30 to 60 px cut as well -.018 there (29 objects)."""

LEAST_FIT = 0.8
"""IoU of the drawn box with that of the mask in it from which the box is taken to be exact. What lies outside it is background to
the cut: with boxes a tenth too wide on each side it does harm (-.004, 52 objects) unless they are left alone (+.001)."""

BAND = 0.1
"""How far from the mask's edge the cut may decide, over the root of the mask's area. At .07 and .15 the same within .004."""

_ITERATIONS = 3
_SURE_LOGIT = 1.0
_LEAST_CELLS = 20


def cut_outline(logits: Tensor, rgb: NDArray[np.uint8], box: Box) -> Tensor:
    """A mask whose outline follows the edges of a graph cut; unchanged where the box does not fit it.

    Args:
        logits: float ``(S, S)``; above 0 is of the object.
        rgb: uint8 ``(h, w, 3)``, the part of the frame that the mask lies on, at the frame's size.
        box: what was drawn, in cells of the mask.

    Returns:
        ``(S, S)``, dtype and device as given: ``logits`` itself, or at least 1 within the new outline and at most -1 outside it.
    """
    before = logits.detach().float().cpu().numpy()
    inside = before > 0
    filled = mask_box(inside)
    if filled is None or inside.sum() < _LEAST_CELLS or box_iou(filled, box) < LEAST_FIT:
        return logits
    cut = _graph_cut(inside, rgb, box)
    after = np.where(cut, np.maximum(before, _SURE_LOGIT), np.minimum(before, -_SURE_LOGIT))
    return torch.from_numpy(after).to(logits.device, logits.dtype)


def _graph_cut(inside: NDArray[np.bool_], rgb: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
    band = BAND * float(inside.sum()) ** 0.5
    far_in, far_out = (cv2.distanceTransform(x.astype(np.uint8), cv2.DIST_L2, 5) > band for x in (inside, ~inside))
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[far_in], labels[far_out] = cv2.GC_FGD, cv2.GC_BGD
    x1, y1, x2, y2 = (max(round(side), 0) for side in box)
    labels[:y1], labels[y2:], labels[:, :x1], labels[:, x2:] = (cv2.GC_BGD,) * 4
    if len(np.unique(labels & 1)) < 2:  # GrabCut wants something of both
        return inside
    large = cv2.cvtColor(cv2.resize(rgb, inside.shape[::-1], interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2BGR)
    cv2.setRNGSeed(0)  # it begins with clusters drawn at random
    cv2.grabCut(large, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.asarray(labels & 1 > 0)
