"""Prompts rendered as maps.

A small model learns to look where a click is far sooner when it sees the click as a picture than when it must match
positional codes. Beside the rendered geometry the maps say how much every cell looks like the clicked spot or like the
inside of the box: the same similarity that the affinity memory uses, within one frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAP_CHANNELS = 11


def render_prompts(points: Tensor, labels: Tensor, keys: Tensor, image_size: int) -> Tensor:
    """Draws points and boxes on the stride-8 grid.

    Args:
        points: (B, P, 2) x, y in px of the square model input.
        labels: (B, P) 1 positive, 0 negative, 2 / 3 top-left / bottom-right box corner, -1 padding.
        keys: (B or 1, C, h, w) unit-length keys of the frame.
        image_size: side of the model input in px.

    Returns:
        (B, 11, h, w): narrow and wide positive blobs, narrow and wide negative blobs, inside of the box, centred box
        weight, whether there is any prompt, similarity to positive points, to negative points, to the inside and to the
        rim of the box. All within [-1, 1].
    """
    b, p, _ = points.shape
    h, w = keys.shape[-2:]
    keys = keys.expand(b, -1, -1, -1).flatten(2)
    dtype = keys.dtype
    gx = (torch.arange(w, device=keys.device, dtype=dtype) + 0.5) * (image_size / w)
    gy = (torch.arange(h, device=keys.device, dtype=dtype) + 0.5) * (image_size / h)
    xy = points.to(dtype)
    dx2 = (gx[None, None] - xy[..., 0:1]) ** 2
    dy2 = (gy[None, None] - xy[..., 1:2]) ** 2
    d2 = dy2[..., :, None] + dx2[..., None, :]
    positive, negative = (labels == 1)[..., None, None], (labels == 0)[..., None, None]
    narrow = torch.exp(-d2 / (2 * 7.0**2))
    wide = torch.exp(-d2 / (2 * 28.0**2))

    def top(maps: Tensor, which: Tensor) -> Tensor:
        return (maps * which).amax(1)

    # Similarity to the feature under each point, read with a small Gaussian so that a click is not tied to one cell.
    spot = torch.softmax(-d2.flatten(2) / (2 * 5.0**2), -1)
    feature = F.normalize(torch.einsum("bpn,bcn->bpc", spot, keys), dim=-1)
    similar = torch.einsum("bpc,bcn->bpn", feature, keys).reshape(b, p, h, w).clamp(0, 1)

    corner0, corner1 = labels == 2, labels == 3
    boxed = corner0.any(1) & corner1.any(1)
    low = (xy * corner0[..., None]).sum(1)
    high = (xy * corner1[..., None]).sum(1)
    size = (high - low).clamp(min=4.0)
    soft = 4.0
    inside_x = torch.sigmoid(torch.minimum(gx[None] - low[:, 0:1], high[:, 0:1] - gx[None]) / soft)
    inside_y = torch.sigmoid(torch.minimum(gy[None] - low[:, 1:2], high[:, 1:2] - gy[None]) / soft)
    has_box = boxed.to(dtype)[:, None, None]
    inside = inside_y[:, :, None] * inside_x[:, None, :] * has_box
    centre = (low + high) / 2
    zx = (gx[None] - centre[:, 0:1]) / (size[:, 0:1] / 2)
    zy = (gy[None] - centre[:, 1:2]) / (size[:, 1:2] / 2)
    ellipse = torch.exp(-(zy[:, :, None] ** 2 + zx[:, None, :] ** 2)) * has_box
    # The rim outside of the box is background for sure; what looks like it inside of the box is background too.
    rx = torch.sigmoid((1.35 - zx.abs()) * 8)
    ry = torch.sigmoid((1.35 - zy.abs()) * 8)
    rim = (ry[:, :, None] * rx[:, None, :]) * (1 - inside_y[:, :, None] * inside_x[:, None, :])

    def mean_similarity(weight: Tensor) -> Tensor:
        f = torch.einsum("bn,bcn->bc", weight.flatten(1), keys)
        return torch.einsum("bc,bcn->bn", F.normalize(f, dim=-1, eps=1e-4), keys).reshape(b, h, w).clamp(0, 1) * has_box

    any_prompt = (labels >= 0).any(1).to(dtype)[:, None, None].expand(b, h, w)
    return torch.stack(
        (
            top(narrow, positive),
            top(wide, positive),
            top(narrow, negative),
            top(wide, negative),
            inside,
            ellipse,
            any_prompt,
            top(similar, positive),
            top(similar, negative),
            mean_similarity(ellipse),
            mean_similarity(rim),
        ),
        1,
    )


class PromptMaps(nn.Module):
    """Rendered prompts (B, 11, S/8, S/8) -> dense embedding (B, hidden, S/16, S/16)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(MAP_CHANNELS, 48, 3, 2, 1)
        self.conv2 = nn.Conv2d(48, 48, 3, 1, 1)
        self.conv3 = nn.Conv2d(48, hidden, 1)

    def forward(self, maps: Tensor) -> Tensor:
        x = F.relu(self.conv1(maps))
        x = x + F.relu(self.conv2(x))
        return self.conv3(x)
