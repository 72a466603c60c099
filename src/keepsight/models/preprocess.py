"""Frames to model input, in torch: no dependence on image-processing packages of the hub."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def resize_and_normalise(
    rgb: NDArray[np.uint8],
    size: int | tuple[int, int],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Squeezes a uint8 ``(H, W, 3)`` frame into a normalised ``(1, 3, size, size)`` tensor, or ``(height, width)`` if so given.

    Bilinear with antialiasing, aspect ratio not kept, as the released predictors do.
    """
    sides = (size, size) if isinstance(size, int) else size
    image = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)[None].float()
    if image.shape[-2:] != sides:
        image = F.interpolate(image, size=sides, mode="bilinear", align_corners=False, antialias=True)
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], device=device)[:, None, None]
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)[:, None, None]
    return (image * scale + shift).to(dtype)
