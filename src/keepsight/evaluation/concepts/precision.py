"""Average precision on tube IoU: pycocotools' own evaluation, with tubes in the place of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keepsight.evaluation.concepts.tubes import FloatArray, Overlaps, Tube

SIZES_PX = {"all": (0.0, 1e5**2), "small": (0.0, 128.0**2), "medium": (128.0**2, 256.0**2), "large": (256.0**2, 1e5**2)}
"""Sizes of tubes by their mean area in px (YTVIS)."""

MOST_FOUND = (1, 10, 100)
"""Tubes of one pair that count at most, best scores first (YTVIS)."""


@dataclass(frozen=True, eq=False)
class _Entry:
    image: int
    category: int
    ious: FloatArray  # (M, N), the found ones by falling score, and no more of them than count


class TubePrecision:
    """Takes in pairs of video and phrase one by one; holds IoUs, scores and sizes only."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def add(self, image: int, category: int, truth: Sequence[Tube], found: Sequence[Tube], overlaps: Overlaps) -> None:
        """Takes in a pair.

        Args:
            image: number of the video; where phrases are not told apart, of the pair.
            category: number of the phrase; precision is a mean over these.
        """
        scores = np.array([tube.score for tube in found])
        best = np.argsort(-scores, kind="stable")[: MOST_FOUND[-1]]
        crowd = np.array([tube.crowd for tube in truth], bool)
        ious = np.where(crowd[:, None], overlaps.shares_inside, overlaps.tube_ious)
        self._entries.append(_Entry(image, category, ious.T[best]))
        where = {"image_id": image, "category_id": category}
        # COCO takes 0 for "no match", so numbers begin at 1.
        self._truth += [
            {**where, "id": number, "area": tube.area_px, "iscrowd": int(tube.crowd)}
            for number, tube in enumerate(truth, len(self._truth) + 1)
        ]
        self._found += [
            {**where, "id": number, "area": found[place].area_px, "score": float(scores[place])}
            for number, place in enumerate(best, len(self._found) + 1)
        ]

    def figures(self) -> dict[str, float]:
        """AP (mean over ten thresholds), AP at .5 and .75, AP by size, AR by number of tubes; shares. What has no true tube to
        be measured on is left out."""
        with redirect_stdout(StringIO()):
            evaluation = _OnTubes(self._truth, self._found, self._entries)
            evaluation.evaluate()
            evaluation.accumulate()
        # (thresholds, recalls, categories, sizes, numbers) and the same without recalls; -1: nothing true there
        precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
        parts = {"AP": precision[:, :, :, 0, -1], "AP50": precision[0, :, :, 0, -1], "AP75": precision[5, :, :, 0, -1]}
        parts |= {f"AP {name}": precision[:, :, :, place, -1] for place, name in enumerate(SIZES_PX) if place}
        parts |= {f"AR{most}": recall[:, :, 0, place] for place, most in enumerate(MOST_FOUND)}
        known = {name: values[values > -1] for name, values in parts.items()}
        return {name: float(values.mean()) for name, values in known.items() if values.size}


class _OnTubes(COCOeval):
    """COCO's evaluation of boxes; their IoUs are those of the tubes."""

    def __init__(self, truth: list[dict[str, Any]], found: list[dict[str, Any]], entries: Sequence[_Entry]) -> None:
        self._ious = {(entry.image, entry.category): entry.ious for entry in entries}
        images = [{"id": number} for number in sorted({entry.image for entry in entries})]
        categories = [{"id": number} for number in sorted({entry.category for entry in entries})]
        super().__init__(_coco(images, categories, truth), _coco(images, categories, found), "bbox")
        self.params.maxDets = list(MOST_FOUND)
        self.params.areaRng = [list(size) for size in SIZES_PX.values()]
        self.params.areaRngLbl = list(SIZES_PX)

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """IoUs ``(M, N)`` of a video's tubes of a phrase; empty where nothing was asked."""
        ious = self._ious.get((imgId, catId))
        return [] if ious is None or not ious.size else ious


def _coco(images: list[dict[str, Any]], categories: list[dict[str, Any]], entries: list[dict[str, Any]]) -> COCO:
    made = COCO()
    made.dataset = {"images": images, "categories": categories, "annotations": entries}
    made.createIndex()
    return made
