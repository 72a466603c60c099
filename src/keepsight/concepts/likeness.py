"""Finds the others: everything on a frame that looks like one thing that was pointed at.

No words and no further weights: the model's dense features say where the frame looks like the example and unlike what is
around it; there the decoder is asked, and its masks are compared with the example in features, colours and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.concepts.decoding import BOX_CORNERS, Candidate, answers, cut_off, finished
from keepsight.concepts.detector import Detections
from keepsight.concepts.overlap import boxes_of, keep_best, mask_overlaps
from keepsight.core import Concept, Exemplar, Options, Region, option
from keepsight.core.errors import InputError, ModelError
from keepsight.models.backbone import Backbone
from keepsight.tracking import Sight
from keepsight.tracking.appearance import colours_of, likeness

F32 = NDArray[np.float32]

WEIGHTS = (6.5, 3.7, -2.5, 10.1, 6.9, -4.0, 3.0, -1.8)
BIAS = -20.4
"""Of the logistic regression that tells right masks from wrong ones: fitted on 3,180 candidates in 20 crowds made of training's
pictures (``benchmarks/likeness.py --fit``; masks that a tile's border cuts were among them then)."""

MATCH_SLOPE = 8.0
"""Of the logistic curve over the difference between the best cosine with the example and with what is not of it."""


@dataclass(frozen=True)
class LikenessRules(Options):
    """Where is looked and what is kept.

    Raises:
        InputError: a value outside its range, which is named.
    """

    name = "like"

    context: float = option(3.0, "side of the tiles over the example's", effect="faster, coarser", low=1.5)
    most_tiles: int = option(
        60, "tiles a frame; larger ones are taken where these would not do", effect="slower, finer", low=1
    )
    peaks: int = option(10, "places a tile that are asked", effect="slower, fewer misses", low=1)
    least_match: float = option(
        0.3,
        "how far a place must look more like the example than like what is around it",
        effect="faster, more misses",
        low=0,
        high=1,
    )
    least_score: float = option(0.2, "finds with lower scores are not given", effect="fewer finds", low=0, high=1)
    overlap_iou: float = option(
        0.2, "of finds that overlap by more (IoU) the best one stays", effect="more doubles", low=0, high=1
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """An example: features on it and around it ``(n, C)``, their mean on it, its colours, size and sides in px."""

    on: Tensor
    around: Tensor
    mean: Tensor
    colours: F32 | None
    area: float
    extent: float
    sides: tuple[float, float]


class LikenessDetector:
    """See the module. What is meant is shown with :meth:`learn`; negative examples say what is not meant.

    Args:
        backbone: one with dense features, which the built-in model has.

    Raises:
        ModelError: a model without them.
    """

    name = "like"
    understands_words = False
    frames_per_call = 1

    def __init__(self, backbone: Backbone, rules: LikenessRules | None = None) -> None:
        if type(backbone).dense is Backbone.dense:
            raise ModelError(
                f"Model '{backbone.info.name}' cannot find look-alikes; use --model builtin or sam3, or point at each of them."
            )
        self.backbone, self.rules = backbone, rules or LikenessRules()
        self._looks: dict[tuple[str, Exemplar], _Look] = {}

    @torch.inference_mode()
    def learn(self, sight: Sight, concept: Concept, exemplar: Exemplar) -> None:
        """Is shown the frame on which an example was drawn; see :class:`keepsight.concepts.TakesExemplars`."""
        boxes = np.array([exemplar.box], np.float32)
        extent = float((boxes[0, 2:] - boxes[0, :2]).max())
        region = _square(boxes[0], self._side(extent, sight), sight)
        sight = Sight(self.backbone, sight.pixels(sight.whole))
        [view] = sight.see([region])
        maps = self.backbone.dense(sight.features)
        assert maps is not None
        dense = maps[view]
        # In the same view as the frame is going to be looked at: features hang on the scale.
        corners = boxes.reshape(-1, 2, 2)
        [answer] = answers(self.backbone, sight, corners, BOX_CORNERS, [region])
        logits = answer.logits[0, answer.ious[0].argmax()].float()
        mask = logits > 0
        share = F.interpolate(mask[None, None].float(), dense.shape[-2:], mode="area")[0, 0]
        flat, weights = dense.flatten(1).T, share.flatten()
        on, around = flat[weights > 0.6], flat[weights < 0.02]
        if len(on) < 2:
            on = flat[weights.topk(2).indices]
        mean = F.normalize((flat * weights[:, None]).sum(0), dim=0)
        area = float(mask.float().mean()) * region.width * region.height
        colours = colours_of(sight.pixels(region), mask.cpu().numpy())
        size = (float(boxes[0, 2] - boxes[0, 0]), float(boxes[0, 3] - boxes[0, 1]))
        self._looks[concept.text.casefold(), exemplar] = _Look(on, around, mean, colours, area, extent, size)

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """See :class:`keepsight.concepts.Detector`.

        Raises:
            InputError: a concept without an example.
        """
        return [self._one(sight, concepts) for sight in sights]

    @torch.inference_mode()
    def _one(self, sight: Sight, concepts: Sequence[Concept]) -> Detections:
        # Its own: the tracker's sight need not hold the tiles, nor be of this model.
        own = Sight(self.backbone, sight.pixels(sight.whole))
        kept = [(concept.number, candidate) for concept in concepts for candidate in self._of(own, concept)]
        if not kept:
            return Detections.none()
        masks = torch.stack([finished(self.backbone, own, candidate) for _, candidate in kept])
        boxes = boxes_of(masks > 0, *sight.size)
        numbers, scores = [number for number, _ in kept], [candidate.score for _, candidate in kept]
        real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        found = Detections(np.array(numbers, np.int64), np.array(scores, np.float32), boxes, masks)
        return found.only(real)

    def _of(self, sight: Sight, concept: Concept) -> list[Candidate]:
        shown = [(e, self._looks.get((concept.text.casefold(), e))) for e in concept.exemplars]
        looks = [look for e, look in shown if look is not None and e.positive]
        unlike = [look for e, look in shown if look is not None and not e.positive]
        if not looks:
            raise InputError(f"The detector 'like' was shown no example of '{concept.text}': draw a box around one.")
        found = [candidate for look in looks for candidate in self._alike(sight, look, unlike)]
        if not found:
            return []
        ious, inside = mask_overlaps(torch.stack([candidate.compared for candidate in found]))
        # One that lies in another counts as half as much in the way.
        conflict = np.maximum(ious, 0.5 * np.maximum(inside, inside.T))
        scores = np.array([candidate.score for candidate in found], np.float32)
        return [found[index] for index in keep_best(conflict, scores, self.rules.overlap_iou)]

    def _alike(self, sight: Sight, look: _Look, unlike: Sequence[_Look]) -> list[Candidate]:
        """Masks that may be of the example's kind, several of the same thing among them."""
        rest = torch.cat([look.around, *(other.on for other in unlike)])
        points, regions, matches = self._places(sight, look, rest)
        if not len(points):
            return []
        half = np.array(look.sides, np.float32) / 2
        corners = np.stack((points - half, points + half), 1).astype(np.float32)
        dense = self.backbone.dense(sight.features)
        assert dense is not None
        found = []
        for prompts, labels in ((points[:, None], (1,)), (corners, BOX_CORNERS)):
            for answer in answers(self.backbone, sight, prompts, labels, regions, coarse=True):
                [view] = sight.see([answer.region])
                logits, ious = answer.logits.flatten(0, 1).float(), answer.ious.flatten()
                area = (logits > 0).float().mean((1, 2)) * answer.region.width * answer.region.height
                good = (area > look.area / 4) & (area < 4 * look.area) & (ious > 0.3)
                # Tiles overlap by the example's size, so that another one holds the whole of it.
                good &= ~cut_off(logits > 0, answer.region, sight)
                fits = good.nonzero()[:, 0]
                if not len(fits):
                    continue
                logits, ious, area = logits[fits], ious[fits], area[fits]
                place = matches[np.repeat(answer.rows, answer.logits.shape[1])[fits.cpu().numpy()]]
                measured = self._measure(logits, answer.region, dense[view], look, rest, sight)
                others = torch.stack(((area / look.area).log().abs(), ious, torch.from_numpy(place).to(ious)), 1)
                scores = self._scores(torch.cat((measured, others), 1), logits, answer.region)
                for index in (scores > self.rules.least_score).nonzero()[:, 0].tolist():
                    iou, score = float(ious[index]), float(scores[index])
                    found.append(Candidate(answer.region, logits[index].clone(), iou, score, sight.whole))
        return found

    def _places(self, sight: Sight, look: _Look, rest: Tensor) -> tuple[F32, list[Region], F32]:
        """Where to ask: points ``(N, 2)`` in px of the frame, the tile each is seen in, and how well it matches, ``(N,)``."""
        tiles = self._tiles(look.extent, sight)
        views = sight.see(tiles)
        dense = self.backbone.dense(sight.features)
        assert dense is not None
        points, regions, matches = [], [], []
        for tile, view in zip(tiles, views, strict=True):
            flat = dense[view].flatten(1).T
            match = torch.sigmoid(MATCH_SLOPE * ((flat @ look.on.T).amax(1) - (flat @ rest.T).amax(1)))
            match = match.reshape(dense.shape[-2:])
            cells = look.extent / tile.width * match.shape[-1]
            for (x, y), value in _peaks(match, cells, self.rules.peaks, self.rules.least_match):
                points.append((tile.x1 + x * tile.width, tile.y1 + y * tile.height))
                regions.append(tile)
                matches.append(value)
        return np.array(points, np.float32).reshape(-1, 2), regions, np.array(matches, np.float32)

    def _scores(self, measured: Tensor, logits: Tensor, region: Region) -> Tensor:
        """Probabilities ``(K,)`` that masks are of the example's kind, from what was measured of them ``(K, 8)``."""
        return torch.sigmoid(measured @ measured.new_tensor(WEIGHTS) + BIAS)

    def _measure(
        self, logits: Tensor, region: Region, dense: Tensor, look: _Look, rest: Tensor, sight: Sight
    ) -> Tensor:
        """How masks ``(K, h, w)`` compare with the example, ``(K, 5)``: means of features; what is on the mask found on the
        example, the same around it, what is on the example found on the mask; colours."""
        share = F.interpolate((logits > 0)[:, None].float(), dense.shape[-2:], mode="area")[:, 0].flatten(1)
        flat = dense.flatten(1).T
        means = F.normalize(share @ flat, dim=1) @ look.mean
        to_on = flat @ look.on.T
        weights = share / share.sum(1, keepdim=True).clamp(min=1e-6)
        there, elsewhere = weights @ to_on.amax(1), weights @ (flat @ rest.T).amax(1)
        back = torch.stack([to_on[row > min(0.5, float(row.max()) * 0.9)].amax(0).mean() for row in share])
        colours = [
            None if look.colours is None else colours_of(sight.pixels(region), m) for m in (logits > 0).cpu().numpy()
        ]
        alike = torch.tensor([0.0 if c is None or look.colours is None else likeness(look.colours, c) for c in colours])
        return torch.stack((means, there, elsewhere, back, alike.to(means)), 1)

    def _side(self, extent: float, sight: Sight) -> float:
        side = max(self.rules.context * extent, 64.0)
        height, width = sight.size
        while np.ceil(height / (0.67 * side)) * np.ceil(width / (0.67 * side)) > self.rules.most_tiles:
            side *= 1.1
        return float(min(side, min(height, width)))

    def _tiles(self, extent: float, sight: Sight) -> list[Region]:
        side = round(self._side(extent, sight))
        height, width = sight.size

        def starts(length: int) -> list[int]:
            count = 1 if side >= length else int(np.ceil((length - side) / (0.67 * side))) + 1
            return [round(v) for v in np.linspace(0, max(length - side, 0), count)]

        return [
            Region(x, y, min(x + side, width), min(y + side, height)) for y in starts(height) for x in starts(width)
        ]


def _square(box: F32, side: float, sight: Sight) -> Region:
    height, width = sight.size
    length = round(min(side, height, width))
    x = int(np.clip(round(float(box[0] + box[2]) / 2 - length / 2), 0, width - length))
    y = int(np.clip(round(float(box[1] + box[3]) / 2 - length / 2), 0, height - length))
    return Region(x, y, x + length, y + length)


def _peaks(match: Tensor, cells: float, most: int, least: float) -> list[tuple[tuple[float, float], float]]:
    """Places ``(x, y)`` in [0, 1] where a map ``(h, w)``, smoothed to the size of what is sought, is highest."""
    smooth = cv2.GaussianBlur(match.cpu().numpy(), (0, 0), max(cells / 5, 0.6))
    reach = max(round(cells / 3), 1)
    top = cv2.dilate(smooth, np.ones((2 * reach + 1,) * 2))
    ys, xs = np.nonzero((smooth >= top) & (smooth > least))
    order = np.argsort(-smooth[ys, xs])[:most]
    height, width = smooth.shape
    return [(((xs[i] + 0.5) / width, (ys[i] + 0.5) / height), float(smooth[ys[i], xs[i]])) for i in order]
