"""Boxes and clicks to masks, by the tracker's own decoder, many at once and without memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Region
from keepsight.models.backbone import Backbone, PromptBatch, UnitReads
from keepsight.tracking import Sight, Zoom
from keepsight.tracking.masks import OUTSIDE_LOGIT, move_logits

F32 = NDArray[np.float32]

AT_ONCE = 16
"""Prompts a call of the decoder. Up: fewer calls, more peak memory."""

SHARED_VIEW = 0.35
"""A region that was made for a larger box serves a smaller one inside it that fills at least this share of what a region of
its own would let it fill: neighbours are seen in one look."""

BOX_CORNERS = (2, 3)

COMPARED_SIDE = 128
"""Side of the masks by which candidates are compared with each other."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the decoder made of a few prompts that look at one region.

    Attributes:
        rows: indices of the prompts.
        region: part of the frame that the masks cover.
        logits: ``(B, M, h, w)``, M candidates a prompt.
        ious: ``(B, M)``, the decoder's own estimate.
        presences: ``(B,)`` logits.
    """

    rows: NDArray[np.int64]
    region: Region
    logits: Tensor
    ious: Tensor
    presences: Tensor


@torch.inference_mode()
def answers(
    backbone: Backbone,
    sight: Sight,
    points: F32,
    labels: Sequence[int],
    regions: Sequence[Region],
    *,
    coarse: bool = False,
    at_once: int = AT_ONCE,
) -> Iterator[Answers]:
    """Decodes prompts that know nothing of each other, a region after the other.

    Args:
        points: ``(N, P, 2)`` in px of the frame.
        labels: of the P points of every prompt, as in :class:`~keepsight.models.backbone.PromptBatch`.
        regions: where each prompt is looked at, N of them.
        coarse: without sharp edges, see :meth:`~keepsight.models.backbone.Backbone.coarse`.
    """
    side = backbone.info.image_size
    multimask = backbone.info.multimask(len(labels), prompted=True)
    views = dict(zip(regions, sight.see(regions), strict=True))
    features = backbone.coarse(sight.features) if coarse else sight.features
    for region in dict.fromkeys(regions):
        members = np.array([index for index, other in enumerate(regions) if other == region])
        origin, scale = (region.x1, region.y1), (side / region.width, side / region.height)
        placed = torch.from_numpy(((points[members] - origin) * scale).astype(np.float32))
        for start in range(0, len(members), at_once):
            part = slice(start, start + at_once)
            rows = members[part]
            batch = PromptBatch(placed[part], torch.tensor([list(labels)] * len(rows), dtype=torch.int32))
            seen = [views[region]] * len(rows)
            conditioned = backbone.condition(features, [UnitReads()] * len(rows), seen)
            decoded = backbone.decode(features, conditioned, batch, multimask, seen)
            yield Answers(rows, region, decoded.logits, decoded.ious.float(), decoded.object_scores.float())


def masks_from_boxes(
    backbone: Backbone, sight: Sight, boxes: F32, zoom: Zoom | None = None, *, at_once: int = AT_ONCE
) -> Tensor:
    """One mask for each box.

    Args:
        boxes: ``(N, 4)``, ``x1, y1, x2, y2`` in px of the frame.
        zoom: look at small boxes closely, as the engine does when a person draws one
            (``EngineOptions.closely``); ``None``: the whole frame is seen.
        at_once: prompts a call of the decoder.

    Returns:
        Logits ``(N, mask_size, mask_size)`` over the whole frame. What a small box shows is decoded in full and stored
        coarsely: a mask in the frame's own pixels comes from prompting the tracker with the box.
    """
    size = backbone.info.mask_size
    if not len(boxes):
        return torch.zeros(0, size, size, device=backbone.device)
    regions = regions_for(boxes, zoom, sight)
    masks: list[Tensor | None] = [None] * len(boxes)
    corners = boxes.reshape(-1, 2, 2).astype(np.float32)
    for answer in answers(backbone, sight, corners, BOX_CORNERS, regions, at_once=at_once):
        best = answer.ious.argmax(1)
        for row, index in enumerate(answer.rows):
            logits = answer.logits[row, best[row]].float()
            masks[index] = move_logits(logits, answer.region, sight.whole)
    return torch.stack([mask for mask in masks if mask is not None])


def regions_for(boxes: F32, zoom: Zoom | None, sight: Sight) -> list[Region]:
    """Where to look to answer each box; boxes of about one size that lie close together share a region."""
    if zoom is None:
        return [sight.whole] * len(boxes)
    extents = (boxes[:, 2:] - boxes[:, :2]).max(1)
    chosen: dict[int, Region] = {}
    made: list[Region] = []
    for index in np.argsort(-extents, kind="stable"):
        x1, y1, x2, y2 = (float(value) for value in boxes[index])
        own = zoom.around_box((x1, y1, x2, y2), sight.size)
        # Room around the box, as far as the frame goes on there.
        margin = 0.25 * (zoom.prompt_context - 1) * float(extents[index])
        height, width = sight.size
        low_x, low_y = max(x1 - margin, 0), max(y1 - margin, 0)
        high_x, high_y = min(x2 + margin, width), min(y2 + margin, height)
        fitting = [
            other
            for other in made
            if other.x1 <= low_x and other.y1 <= low_y and other.x2 >= high_x and other.y2 >= high_y
            if max(own.width, own.height) >= SHARED_VIEW * max(other.width, other.height)
        ]
        region = min(fitting, key=lambda other: other.width * other.height, default=own)
        if region not in made:
            made.append(region)
        chosen[int(index)] = region
    return [chosen[index] for index in range(len(boxes))]


class Candidate:
    """A mask that may be kept: as decoded over a region, and small over the whole frame, to be compared with others.

    Attributes:
        region, logits: ``(h, w)``, coarse where they were decoded so.
        iou: the decoder's own estimate.
        score: what decides between candidates.
        compared: bool ``(128, 128)`` over the whole frame.
    """

    def __init__(self, region: Region, logits: Tensor, iou: float, score: float, whole: Region) -> None:
        self.region, self.logits, self.iou, self.score = region, logits, iou, score
        small = F.interpolate(logits.float()[None, None], (COMPARED_SIDE,) * 2, mode="bilinear")[0, 0]
        self.compared = move_logits(small, region, whole) > 0


def finished(backbone: Backbone, sight: Sight, candidate: Candidate) -> Tensor:
    """A candidate's logits ``(h, w)`` over the whole frame, with sharp edges and in one piece."""
    [view] = sight.see([candidate.region])
    logits = backbone.sharpen(sight.features, candidate.logits[None], view)[0].float()
    return move_logits(largest_piece(logits), candidate.region, sight.whole)


def largest_piece(logits: Tensor) -> Tensor:
    """Logits ``(h, w)`` without what does not hang together with the largest piece of the mask."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(
        (logits > 0).to(torch.uint8).cpu().numpy(), connectivity=4
    )
    if count <= 2:  # the background and one piece
        return logits
    rest = (pieces > 0) & (pieces != 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
    return logits.masked_fill(torch.from_numpy(rest).to(logits.device), OUTSIDE_LOGIT)


def cut_off(masks: Tensor, region: Region, sight: Sight) -> Tensor:
    """Which masks ``(B, h, w)`` run into a border of their crop behind which the frame goes on."""
    height, width = sight.size
    inner = (region.y1 > 0, region.y2 < height, region.x1 > 0, region.x2 < width)
    edges = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    cut = torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
    for goes_on, edge in zip(inner, edges, strict=True):
        if goes_on:
            cut |= edge.any(1)
    return cut
