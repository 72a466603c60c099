"""Looks for phrases on pictures with a detector as it stands, the way it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as runs
from torch import Tensor

from keepsight.models.sam3.vision import vision_of
from keepsight.training.detector.album import Album, Picture
from keepsight.training.detector.boxes import corners
from keepsight.training.detector.features import Looker
from keepsight.training.detector.heads import Head
from keepsight.training.detector.scoring import MOST_FOUND, asked_of
from keepsight.training.detector.words import Words

LEAST_SCORE = 0.01
"""Finds below this are not given: they hardly change a measure and cost most of the time."""

_MASKS_AT_ONCE = 16


@torch.no_grad()
def find(
    looker: Looker,
    words: Words,
    album: Album,
    names: Sequence[str],
    numbers: dict[str, int],
    at_once: int = 4,
    seen: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """COCO results of every phrase on every picture.

    Args:
        names: under which the features of the pictures are kept.
        numbers: of phrases.
        at_once: phrases that go through the head together.
        seen: told after every picture.
    """
    detector = looker.eyes.detector
    was = detector.training
    detector.eval()
    found: list[dict[str, Any]] = []
    try:
        for image, (picture, name) in enumerate(zip(album.pictures, names, strict=True), 1):
            rgb = picture.pixels.read() if looker.needs_pixels(name, False) else None
            patches = looker.patches(name, False, rgb)
            phrases = asked_of(picture)
            for begin in range(0, len(phrases), at_once):
                some = phrases[begin : begin + at_once]
                for phrase, found_here in zip(some, _of_picture(looker, words, patches, picture, some), strict=True):
                    found += [{"image_id": image, "category_id": numbers[phrase], **entry} for entry in found_here]
            seen()
    finally:
        detector.train(was)
    return found


def _of_picture(
    looker: Looker, words: Words, patches: Tensor, picture: Picture, phrases: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    with torch.autocast(looker.device.type, torch.bfloat16, enabled=looker.amp):
        vision = vision_of(looker.eyes.detector, patches).expand(len(phrases))
        head = Head(looker.eyes.detector, vision, *words(phrases))
        layers = head.decode()
        sure = layers.logits[-1].sigmoid() * layers.presence[-1].sigmoid()[:, None]
        scores, order = sure.topk(min(MOST_FOUND, sure.shape[1]), dim=1)
        room = max(1, int((scores > LEAST_SCORE).sum(1).max()))
        scores, order = scores[:, :room], order[:, :room]
        masks = head.masks(layers.queries.gather(1, order[..., None].expand(-1, -1, layers.queries.shape[-1])))
    size = torch.tensor([picture.width, picture.height] * 2, device=looker.device)
    boxes = corners(layers.boxes[-1].gather(1, order[..., None].expand(-1, -1, 4))) * size
    boxes = torch.minimum(boxes.clamp(min=0), size).double().cpu()
    for row in range(len(phrases)):
        count = int((scores[row] > LEAST_SCORE).sum())
        yield [
            {"score": float(value), "bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": shape, "area": area}
            for value, (x1, y1, x2, y2), (shape, area) in zip(
                scores[row, :count].tolist(),
                boxes[row, :count].tolist(),
                _runs(masks[row, :count], picture),
                strict=True,
            )
        ]


def _runs(masks: Tensor, picture: Picture) -> Iterator[tuple[dict[str, Any], float]]:
    """COCO run lengths and areas of mask logits ``(N, h, w)``, on at the picture's size."""
    for begin in range(0, len(masks), _MASKS_AT_ONCE):
        part = masks[begin : begin + _MASKS_AT_ONCE, None].float()
        large = F.interpolate(part, (picture.height, picture.width), mode="bilinear", align_corners=False)[:, 0] > 0
        pixels = large.cpu().numpy().astype(np.uint8)
        for shape in runs.encode(np.asfortranarray(pixels.transpose(1, 2, 0))):
            area = float(runs.area(shape))
            yield {"size": [int(side) for side in shape["size"]], "counts": shape["counts"].decode("ascii")}, area
