"""Example boxes as tokens for SAM 3's detector.

The layers are transformers' (``Sam3GeometryEncoder``); pooling is done here, because the library takes it from a package
that is not a dependency.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from keepsight.models.sam3.vision import Sam3Vision


def roi_align(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Pools boxes of a map to one size (He et al., Mask R-CNN, 2017, section 3; not shifted by half a cell).

    Args:
        features: ``(C, h, w)``.
        boxes: ``(N, 4)``, ``x1, y1, x2, y2`` in cells.
        size: cells a side of what is pooled to.

    Returns:
        ``(N, C, size, size)``: means over a grid of bilinear samples in each cell.
    """
    return torch.stack([_pooled(features, x1, y1, x2, y2, size) for x1, y1, x2, y2 in boxes.tolist()])


def _pooled(features: Tensor, x1: float, y1: float, x2: float, y2: float, size: int) -> Tensor:
    height, width = features.shape[-2:]
    rows, row_weights = _taps(y1, max(y2 - y1, 1.0), size, height, features.device)
    columns, column_weights = _taps(x1, max(x2 - x1, 1.0), size, width, features.device)
    # Bilinear samples of a grid are a product of two small matrices, and so are their means.
    down = _matrix(rows, row_weights, height).to(features.dtype)
    across = _matrix(columns, column_weights, width).to(features.dtype)
    return down @ features @ across.T


def _taps(start: float, length: float, size: int, limit: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices and weights ``(size, samples, 2)`` of the samples of each cell along one axis."""
    samples = math.ceil(length / size)
    steps = (torch.arange(size * samples, device=device, dtype=torch.float64) + 0.5) / samples
    place = start + steps * length / size
    inside = (place >= -1) & (place <= limit)
    place = place.clamp(0, limit - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=limit - 1)
    share = place - low
    weights = torch.stack([1 - share, share], -1) * inside[:, None] / samples
    return torch.stack([low, high], -1).view(size, samples, 2), weights.view(size, samples, 2)


def _matrix(indices: Tensor, weights: Tensor, limit: int) -> Tensor:
    matrix = torch.zeros(len(indices), limit, dtype=weights.dtype, device=weights.device)
    return matrix.scatter_add_(1, indices.flatten(1), weights.flatten(1))


@torch.inference_mode()
def example_tokens(encoder: Any, boxes: Tensor, positive: Tensor, vision: Sam3Vision) -> Tensor:
    """Tokens of the examples on one frame.

    Args:
        encoder: a ``Sam3GeometryEncoder``.
        boxes: ``(N, 4)``, centre and size as shares of the frame.
        positive: int ``(N,)``, 1 what belongs to the concept, 0 what does not.
        vision: the frame.

    Returns:
        ``(1, N + 1, C)``; the last one stands for all.
    """
    image, positions = vision.fpn_hidden_states[-2], vision.fpn_position_encoding[-2]
    height, width = image.shape[-2:]
    x, y, across, down = boxes.unbind(-1)
    corners = torch.stack([x - across / 2, y - down / 2, x + across / 2, y + down / 2], -1)
    cells = corners * torch.tensor([width, height, width, height], device=boxes.device, dtype=boxes.dtype)
    normal = encoder.vision_layer_norm(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    pooled = encoder.boxes_pool_project(roi_align(normal[0], cells, encoder.roi_size)).flatten(1)
    codes = encoder.boxes_pos_enc_project(encoder._encode_box_coordinates(x, y, across, down))
    said = encoder.boxes_direct_project(boxes) + pooled + codes + encoder.label_embed(positive)
    tokens = torch.cat([said, encoder.cls_embed.weight])[None]
    tokens = encoder.prompt_layer_norm(encoder.final_proj(tokens))
    flat, flat_positions = (level.flatten(2).transpose(1, 2) for level in (image, positions))
    for layer in encoder.layers:
        tokens = layer(prompt_feats=tokens, vision_feats=flat, vision_pos_encoding=flat_positions, prompt_mask=None)
    return encoder.output_layer_norm(tokens)
