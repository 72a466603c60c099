"""Optical flow: the last mask carried along by what moved between two frames.

Over one frame dense flow follows edges better than label propagation on a stride-8 grid; over many it drifts. So the
network gets both: the mask of the previous frame, warped by flow, is one more channel of the prior.

Frames are seen through views that may differ. A `placement` (scale_x, scale_y, shift_x, shift_y) maps places in [0, 1]
of the previous (or remembered) view to places in [0, 1] of the current one; identity is (1, 1, 0, 0) or None.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


def to_grey(rgb: U8) -> U8:
    """(S, S, 3) uint8 RGB -> (S, S) uint8, what `backward_flow` takes."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def backward_flow(current: U8, previous: U8, placement: Sequence[float] | None = None) -> F32:
    """Where the cells of the current frame were in the previous one, once that is moved into the current view.

    Args:
        current: (S, S) uint8 grey; previous: the same of the frame before, through its own view.
        placement: of the previous view in the current one, None if they are the same.

    Returns:
        (S/4, S/4, 2) x, y in cells of that grid. About 1.5 ms on one core at S = 256.
    """
    size = current.shape[0]
    current, previous = np.ascontiguousarray(current), np.ascontiguousarray(previous)
    if placement is not None:
        sx, sy, dx, dy = placement
        # Pixel centres: p' = s * (p + .5) + d * S - .5.
        matrix = np.array([[sx, 0, dx * size + 0.5 * sx - 0.5], [0, sy, dy * size + 0.5 * sy - 0.5]])
        previous = np.asarray(
            cv2.warpAffine(previous, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )
    # DIS (Kroeger et al., 2016) holds buffers that are no thread's own: one for each call, at 20 microseconds.
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(current, previous, None)  # type: ignore[attr-defined]
    return np.asarray(cv2.resize(flow, (size // 4, size // 4), interpolation=cv2.INTER_AREA) * np.float32(0.25))


def warp_values(values: Tensor, flow: Tensor, placement: Tensor | None = None) -> Tensor:
    """Masks of the previous frame as the flow carries them.

    Args:
        values: (G, K, 4, h, w) memory values of K objects in G groups.
        flow: (G, 2h, 2w, 2) from `backward_flow`.
        placement: (G, 4) of the previous view in the current one.

    Returns:
        (G, K, 2h, 2w) in [0, 1]; 0 where the previous view did not reach.
    """
    masks = F.pixel_shuffle(values.flatten(0, 1), 2).unflatten(0, values.shape[:2])[:, :, 0]
    h, w = masks.shape[-2:]
    y = (torch.arange(h, device=flow.device, dtype=flow.dtype) + 0.5) / h
    x = (torch.arange(w, device=flow.device, dtype=flow.dtype) + 0.5) / w
    size = torch.tensor([w, h], device=flow.device, dtype=flow.dtype)
    at = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) + flow / size
    if placement is not None:
        at = (at - placement[:, None, None, 2:]) / placement[:, None, None, :2]
    return F.grid_sample(masks, (2 * at - 1).to(masks.dtype), mode="bilinear", align_corners=False)


def warp_previous(
    current_grey: U8, previous_grey: U8, previous_values: Tensor, placement: Sequence[float] | None = None
) -> Tensor:
    """The flow channel of K objects that share two views: `backward_flow` and `warp_values` in one.

    Args:
        current_grey: (S, S) uint8; previous_grey: (S, S) uint8.
        previous_values: (K, 4, S/8, S/8) memory values of the frame before.
        placement: of the previous view in the current one.

    Returns:
        (K, S/4, S/4) in [0, 1]; `affinity.with_flow` puts it into the prior.
    """
    flow = torch.from_numpy(backward_flow(current_grey, previous_grey, placement)).to(previous_values.device)
    where = None if placement is None else torch.tensor([list(placement)], device=flow.device, dtype=flow.dtype)
    return warp_values(previous_values[None], flow[None], where)[0]
