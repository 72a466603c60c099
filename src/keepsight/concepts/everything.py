"""Finds everything there is: a grid of clicks through the tracker's own decoder, filtered as SAM's automatic mode does.

Kirillov et al., Segment Anything (ICCV 2023), section 5 and appendix B: candidates are kept by the estimate of their IoU
and by their stability, the IoU of the mask cut at a logit above and below 0; of those that overlap the best stays. Crops of the
picture, each with a grid of its own, find smaller things. A word given along only labels what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from keepsight.concepts.decoding import Candidate, answers, cut_off, finished
from keepsight.concepts.detector import Concept, Detections
from keepsight.concepts.overlap import boxes_of, keep_best, mask_overlaps
from keepsight.core import Options, Region, option
from keepsight.models.backbone import Backbone
from keepsight.tracking import Sight

STABILITY_WEIGHT = 0.3
"""How much stability counts beside the estimated IoU when one of several masks is chosen."""

WIDER_COST = 0.05
"""What each of a click's later candidates, which reach further, is set back: of two answers that are about as good, the narrower
one is less often two things. Recall on 8 held-out frames .38 -> .41, and a rabbit that is not one with its rocks."""

_CLICK = (1,)
_CLICKS_AT_ONCE = 64


@dataclass(frozen=True)
class EverythingRules(Options):
    """What is clicked and what is kept.

    Raises:
        InputError: a value outside its range, which is named.
    """

    name = "everything"

    clicks: int = option(
        16, "clicks along each side of the picture", effect="smaller things, slower as its square", low=1, high=128
    )
    crop_layers: int = option(
        1,
        "layers of crops: the first has 2 x 2, the second 4 x 4, each with as many fewer clicks a side",
        effect="smaller things, slower",
        low=0,
        high=3,
    )
    crop_overlap: float = option(
        0.34,
        "overlap of neighbouring crops as a share of their side",
        effect="fewer things are cut in two",
        low=0,
        high=0.9,
    )
    least_iou: float | None = option(
        None,
        "least IoU that the decoder expects of a mask; none: what suits the model (built-in 0.5, others 0.8)",
        effect="fewer, better masks",
        low=0,
        high=1,
    )
    least_stability: float | None = option(
        None,
        "least IoU of a mask cut at `delta` above and below; none: what suits the model (built-in 0.7, others 0.92)",
        effect="fewer, clearer masks",
        low=0,
        high=1,
    )
    delta: float = option(
        1.0, "logits by which the cut is moved to see whether a mask is stable", effect="stricter", low=0, low_open=True
    )
    overlap_iou: float = option(
        0.5,
        "of masks that overlap by more (IoU) the best one stays",
        effect="more variants of one thing",
        low=0,
        high=1,
    )
    inside_share: float = option(
        0.6,
        "of masks of which one lies in the other by more than this share, the better one stays; 1: parts are things too",
        effect="more parts of things",
        low=0,
        high=1,
    )
    least_share: float = option(
        0.0008, "least area as a share of the frame", effect="small things and specks go", low=0, high=1
    )
    most_share: float = option(
        0.5, "largest area as a share of the frame: more is scenery", effect="larger things, and scenery", low=0, high=1
    )
    most: int = option(
        100, "masks a frame at most; the best are taken", effect="more things, more time to follow them", low=1
    )

    def thresholds(self, family: str) -> tuple[float, float]:
        """Least IoU and stability for weights of a family."""
        iou, stability = (0.5, 0.7) if family == "builtin" else (0.8, 0.92)
        return (
            iou if self.least_iou is None else self.least_iou,
            stability if self.least_stability is None else self.least_stability,
        )


class EverythingDetector:
    """Finds everything; see the module. Keeps no state.

    Args:
        backbone: the tracker's; its decoder does the work.
    """

    name = "everything"
    understands_words = False
    frames_per_call = 1

    def __init__(self, backbone: Backbone, rules: EverythingRules | None = None) -> None:
        self.backbone = backbone
        self.rules = rules or EverythingRules()

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """See :class:`keepsight.concepts.Detector`; everything found is of the first concept."""
        return [self._one(sight, concepts[0].number) for sight in sights]

    @torch.inference_mode()
    def _one(self, sight: Sight, concept: int) -> Detections:
        found = [
            candidate for layer in range(self.rules.crop_layers + 1) for candidate in self._candidates(sight, layer)
        ]
        if not found:
            return Detections.none()
        scores = np.array([candidate.score for candidate in found], np.float32)
        ious, inside = mask_overlaps(torch.stack([candidate.compared for candidate in found]))
        # Mapped so that one limit serves both measures.
        conflict = np.maximum(ious > self.rules.overlap_iou, np.maximum(inside, inside.T) > self.rules.inside_share)
        kept = [found[index] for index in keep_best(conflict.astype(np.float32), scores, 0.5)[: self.rules.most]]
        masks = torch.stack([finished(self.backbone, sight, candidate) for candidate in kept])
        height, width = sight.size
        boxes = boxes_of(masks > 0, height, width)
        estimates = np.array([candidate.iou for candidate in kept], np.float32)
        least = self.rules.thresholds(self.backbone.info.family)[0]
        shown = 0.5 + 0.5 * (estimates - least) / max(1 - least, 1e-6)
        real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        numbers = np.full(len(kept), concept, np.int64)
        return Detections(numbers, shown.clip(0, 1).astype(np.float32), boxes, masks).only(real)

    def _candidates(self, sight: Sight, layer: int) -> list[Candidate]:
        """What passes every test that concerns a mask by itself."""
        rules, info = self.rules, self.backbone.info
        height, width = sight.size
        regions = crops(height, width, layer, rules.crop_overlap)
        side = max(rules.clicks >> layer, 1)
        clicks = np.concatenate([_grid(region, side) for region in regions])[:, None]
        looks = [region for region in regions for _ in range(side * side)]
        least_iou, least_stability = rules.thresholds(info.family)
        found = []
        for answer in answers(self.backbone, sight, clicks, _CLICK, looks, coarse=True, at_once=_CLICKS_AT_ONCE):
            logits, ious = answer.logits.flatten(0, 1), answer.ious.flatten()
            high, low = ((logits > cut).sum((1, 2)) for cut in (rules.delta, -rules.delta))
            stability = high / low.clamp(min=1)
            share = (logits > 0).float().mean((1, 2)) * answer.region.share(height, width)
            good = (ious >= least_iou) & (stability >= least_stability) & ~cut_off(logits > 0, answer.region, sight)
            good &= (share >= rules.least_share) & (share <= rules.most_share)
            for index in good.nonzero()[:, 0].tolist():
                wider = index % answer.ious.shape[1]
                score = float(ious[index] + STABILITY_WEIGHT * stability[index]) - WIDER_COST * wider
                found.append(Candidate(answer.region, logits[index].clone(), float(ious[index]), score, sight.whole))
        return found


def crops(height: int, width: int, layer: int, overlap: float) -> list[Region]:
    """The crops of a layer: ``2 ** layer`` along each side, which overlap by a share of their side; layer 0 is the frame."""
    count = 2**layer

    def spans(length: int) -> list[tuple[int, int]]:
        side = min(round(length / (count - (count - 1) * overlap)), length)
        starts = np.linspace(0, length - side, count).round().astype(int)
        return [(int(start), int(start) + side) for start in starts]

    return [Region(x1, y1, x2, y2) for y1, y2 in spans(height) for x1, x2 in spans(width)]


def _grid(region: Region, side: int) -> NDArray[np.float32]:
    """Clicks ``(side * side, 2)`` in the middles of equal cells."""
    steps = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(region.x1 + steps * region.width, region.y1 + steps * region.height)
    return np.stack((x.ravel(), y.ravel()), 1).astype(np.float32)
