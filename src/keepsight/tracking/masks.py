"""From logits to masks at the frame's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Box, Mask, Region
from keepsight.core.mask import mask_ious

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


def masks_at_size(
    logits: Sequence[Tensor], height: int, width: int, regions: Sequence[Region | None] | None = None
) -> list[Mask]:
    """Upsamples low-resolution logits ``(h, w)`` bilinearly to the frame and cuts at 0.

    Only the part of the frame that a mask can reach is computed: a small object in a 4K frame costs little.

    Args:
        regions: part of the frame that each of them covers, ``None`` for all of it.
    """
    places = [None] * len(logits) if regions is None else regions
    return [
        _mask_at_size(item.float(), height, width, region or Region.whole(height, width))
        for item, region in zip(logits, places, strict=True)
    ]


def _mask_at_size(logits: Tensor, frame_height: int, frame_width: int, region: Region) -> Mask:
    height, width = region.height, region.width
    low_height, low_width = logits.shape
    positive = logits > 0
    rows = positive.any(dim=1).nonzero().flatten()
    if rows.numel() == 0:
        return Mask.empty(frame_height, frame_width)
    columns = positive.any(dim=0).nonzero().flatten()
    # Bilinear samples above 0 need a positive neighbour, so one cell of margin holds all of them.
    top, bottom = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 1, low_height - 1)
    left, right = max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 1, low_width - 1)
    y1, y2 = int(top * height / low_height), min(int((bottom + 1) * height / low_height) + 1, height)
    x1, x2 = int(left * width / low_width), min(int((right + 1) * width / low_width) + 1, width)
    window = (_bilinear_window(logits, height, width, (y1, y2, x1, x2)) > 0).cpu().numpy()
    return Mask.from_window(window, frame_height, frame_width, top=region.y1 + y1, left=region.x1 + x1)


def without_overlap(masks: Sequence[Mask], logits: Sequence[Tensor], regions: Sequence[Region | None]) -> list[Mask]:
    """Gives every pixel that several masks claim to the one with the highest logit there; of equal ones the first keeps it.

    Args:
        masks: what :func:`masks_at_size` made of the logits.
        logits: ``(h, w)`` each, over its region.
    """
    claimed = [index for index, mask in enumerate(masks) if mask.area]
    overlaps = mask_ious([masks[index] for index in claimed], [masks[index] for index in claimed]) > 0
    contested = [index for index, row in zip(claimed, overlaps, strict=True) if np.count_nonzero(row) > 1]
    if not contested:
        return list(masks)
    height, width = masks[0].height, masks[0].width
    arrays = {index: masks[index].to_array() for index in contested}
    shared = np.zeros((height, width), np.uint16)
    for array in arrays.values():
        shared += array
    rows, columns = np.nonzero(shared > 1)
    y1, y2, x1, x2 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    best, owner = np.full((y2 - y1, x2 - x1), -np.inf, np.float32), np.full((y2 - y1, x2 - x1), -1)
    for index, array in arrays.items():
        values = _logits_in(logits[index].float(), regions[index] or Region.whole(height, width), (y1, y2, x1, x2))
        higher = array[y1:y2, x1:x2] & (values > best)
        best[higher], owner[higher] = values[higher], index
    resolved = list(masks)
    for index, array in arrays.items():
        array[y1:y2, x1:x2] &= owner == index
        resolved[index] = Mask.from_array(array)
    return resolved


def _logits_in(logits: Tensor, region: Region, window: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Logits over a region, upsampled in a window of the frame; the lowest value outside the region."""
    y1, y2, x1, x2 = window
    values = np.full((y2 - y1, x2 - x1), -np.inf, np.float32)
    top, bottom = max(y1, region.y1), min(y2, region.y2)
    left, right = max(x1, region.x1), min(x2, region.x2)
    if top < bottom and left < right:
        inside = (top - region.y1, bottom - region.y1, left - region.x1, right - region.x1)
        part = _bilinear_window(logits, region.height, region.width, inside)
        values[top - y1 : bottom - y1, left - x1 : right - x1] = part.cpu().numpy()
    return values


OUTSIDE_LOGIT = -10.0
"""What is taken to be beyond the region that a mask was decoded in."""


def move_logits(logits: Tensor, source: Region, target: Region) -> Tensor:
    """Logits ``(h, w)`` over one region resampled to another one; unchanged when they are the same."""
    if source == target:
        return logits
    height, width = logits.shape
    scale_x, scale_y, shift_x, shift_y = target.placement_in(source)
    y = (torch.arange(height, device=logits.device) + 0.5) / height * scale_y + shift_y
    x = (torch.arange(width, device=logits.device) + 0.5) / width * scale_x + shift_x
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None] * 2 - 1
    raised = logits.float()[None, None] - OUTSIDE_LOGIT  # what grid_sample pads with is 0
    moved = F.grid_sample(raised, grid.float(), mode="bilinear", padding_mode="zeros", align_corners=False)
    return (moved[0, 0] + OUTSIDE_LOGIT).to(logits.dtype)


@dataclass(frozen=True)
class _Pieces:
    """Connected pieces of a mask; 0 is the background.

    inside: the mask's box, as slices; labels: of its cells; stats: a row a piece, as OpenCV has them, within the box.
    """

    inside: tuple[slice, slice]
    labels: NDArray[np.int32]
    stats: NDArray[np.int32]

    @classmethod
    def of(cls, logits: Tensor) -> _Pieces | None:
        """``None`` where there are not two of them."""
        positive = (logits > 0).to(torch.uint8).cpu().numpy()
        # Only where there is something: labelling an empty frame takes as long as labelling a full one.
        x, y, width, height = cv2.boundingRect(positive)
        if not width:
            return None
        inside = slice(y, y + height), slice(x, x + width)
        part = np.ascontiguousarray(positive[inside])
        count, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        return cls(inside, np.asarray(labels, np.int32), np.asarray(stats, np.int32)) if count > 2 else None

    @property
    def areas(self) -> NDArray[np.int32]:
        return self.stats[:, cv2.CC_STAT_AREA]

    def far_from(self, main: int, reach: float) -> NDArray[np.bool_]:
        """Pieces whose boxes are further from that of a piece than ``reach`` times its larger side."""
        limit = reach * max(self.stats[main, cv2.CC_STAT_WIDTH], self.stats[main, cv2.CC_STAT_HEIGHT])

        def gap(place: int, length: int) -> NDArray[np.int32]:
            start, end = self.stats[:, place], self.stats[:, place] + self.stats[:, length]
            return np.maximum(0, np.maximum(start - end[main], start[main] - end))

        across, down = gap(cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH), gap(cv2.CC_STAT_TOP, cv2.CC_STAT_HEIGHT)
        return np.asarray(np.hypot(across, down) > limit)

    def apart_from(self, box: Box) -> NDArray[np.bool_]:
        """Pieces whose boxes do not touch a box, in cells."""
        x1, y1, x2, y2 = self.boxes().T
        return np.asarray((x1 >= box[2]) | (y1 >= box[3]) | (x2 <= box[0]) | (y2 <= box[1]))

    def boxes(self) -> NDArray[np.float64]:
        """``(pieces, 4)``, in cells of the whole mask."""
        sides = self.stats[:, : cv2.CC_STAT_AREA].astype(np.float64)
        sides[:, :2] += self.inside[1].start, self.inside[0].start
        sides[:, 2:] += sides[:, :2]
        return sides

    def without(self, logits: Tensor, dropped: NDArray[np.bool_]) -> Tensor:
        """The mask without some of its pieces."""
        dropped[0] = False
        if not dropped.any():
            return logits
        kept = logits.clone()
        kept[self.inside].masked_fill_(torch.from_numpy(dropped[self.labels]).to(logits.device), OUTSIDE_LOGIT)
        return kept


def pieces_of(logits: Tensor, most: int) -> list[Box]:
    """Boxes, in cells, of the connected pieces of a mask, logits ``(h, w)``: at most so many, the largest first; none where there
    are not two."""
    pieces = _Pieces.of(logits)
    if pieces is None:
        return []
    largest = 1 + np.argsort(-pieces.areas[1:], kind="stable")[:most]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in pieces.boxes()[largest].tolist()]


def drop_strays(logits: Tensor, reach: float, before: Box | None = None) -> Tensor:
    """Takes away pieces of a mask that lie far from its largest piece, and are less than half of it or new.

    Args:
        logits: ``(h, w)``; returned unchanged when there is nothing to take away.
        reach: how far is far, over the larger side of the largest piece.
        before: the box, in cells, where the object was; a piece that does not touch it is new if the largest one does.
            ``None``: that is not known.
    """
    pieces = _Pieces.of(logits)
    if pieces is None:
        return logits
    main = 1 + int(pieces.areas[1:].argmax())
    stray = pieces.areas < 0.5 * pieces.areas[main]
    if before is not None:
        new = pieces.apart_from(before)
        stray |= new & ~new[main]
    return pieces.without(logits, pieces.far_from(main, reach) & stray)


def keep_clicked(logits: Tensor, cells: Sequence[tuple[float, float]], reach: float) -> Tensor:
    """Takes away pieces of a mask that were not clicked on and lie far from those that were.

    Args:
        logits: ``(h, w)``; returned unchanged when there is nothing to take away, or no click lies on the mask.
        cells: x and y of what was clicked on, in cells.
        reach: how far is far, over the larger side of a clicked piece.
    """
    pieces = _Pieces.of(logits)
    if pieces is None:
        return logits
    rows, columns = pieces.inside
    clicked = {
        int(pieces.labels[int(y) - rows.start, int(x) - columns.start])
        for x, y in cells
        if rows.start <= int(y) < rows.stop and columns.start <= int(x) < columns.stop
    } - {0}
    if not clicked:
        return logits
    return pieces.without(logits, np.logical_and.reduce([pieces.far_from(piece, reach) for piece in clicked]))


def measure(logits: Tensor, tail: float = 0.01) -> tuple[list[int], list[Box | None]]:
    """Areas and boxes of masks, in cells, of a batch of logits ``(B, h, w)``.

    Args:
        tail: share of the mask that may stick out of each side of the box, so that a stray speck does not widen it.

    Returns:
        Positive cells and ``(x1, y1, x2, y2)`` of each; ``None`` for an empty mask.
    """
    # Float all the way, exact up to 2^24 cells: making booleans and summing them takes several times as long.
    positive = torch.gt(logits, 0, out=torch.empty_like(logits, dtype=torch.float32))
    columns, rows = positive.sum(1), positive.sum(2)
    areas = columns.sum(1)
    ends = []
    for profile in (columns, rows):
        reached = profile.cumsum(1)
        least = (areas * tail).floor()[:, None]
        first = (reached <= least).sum(1)
        last = (reached < areas[:, None] - least).sum(1) + 1
        ends += [first, last]
    x1, x2, y1, y2 = torch.stack(ends).cpu().tolist()
    counts = areas.long().tolist()
    return counts, [
        (float(a), float(b), float(c), float(d)) if c > a and d > b and area else None
        for a, b, c, d, area in zip(x1, y1, x2, y2, counts, strict=True)
    ]


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


def mask_to_model(mask: Mask, size: int, region: Region | None = None) -> Tensor:
    """A mask, or its part in a region, as ``(1, 1, size, size)`` of 0/1: antialiased resize, cut at one half (Meta's
    ``add_new_mask``)."""
    array = mask.to_array()
    if region is not None:
        array = array[region.y1 : region.y2, region.x1 : region.x2]
    pixels = torch.from_numpy(np.ascontiguousarray(array))[None, None].float()
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        small = (pixels >= 0.5).float()
        # A thin object must not vanish: fall back to its strongest cell.
        return small if small.any() else (pixels >= pixels.max()).float()
    return pixels
