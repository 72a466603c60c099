"""Everything: what each filter lets through, in a world without weights, and discs found by the built-in model."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from keepsight.concepts import Concept
from keepsight.concepts.everything import EverythingDetector, EverythingRules, crops
from keepsight.core import InputError
from keepsight.models.backbone import BackboneInfo, Decoded
from keepsight.models.builtin.backbone import load_builtin
from keepsight.tracking import Sight
from keepsight.tracking.masks import masks_at_size

SIDE = 64
CONCEPTS = [Concept(4, "thing")]


class World:
    """A backbone that sees labels: a click is answered with everything of the label under it.

    Labels are the red channel; ``ious`` and ``slopes`` say how sure it is of each label and how steep its edges are. With
    ``parts``, a second candidate is the label together with its ``parts`` partner.
    """

    device = torch.device("cpu")

    def __init__(self, ious=None, slopes=None, parts=None):
        self.ious, self.slopes, self.parts = ious or {}, slopes or {}, parts or {}
        self.info = BackboneInfo("world", "world", SIDE, SIDE, 1, 0)
        self.decoded = 0

    def preprocess(self, rgb):
        small = cv2.resize(rgb[..., 0], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        return torch.from_numpy(small)[None]

    def encode_image(self, pixels):
        return pixels

    def encode_views(self, views):
        return torch.cat([self.preprocess(view) for view in views])

    def join_features(self, parts):
        return torch.cat(parts)

    def coarse(self, features):
        return features

    def sharpen(self, features, logits, view):
        return logits

    def condition(self, features, reads, views):
        return None

    def decode(self, features, conditioned, prompts, multimask, views):
        self.decoded += len(views)
        logits, ious = [], []
        for (point,), view in zip(prompts.points.long(), views, strict=True):
            label = int(features[view][point[1], point[0]])
            both = [{label}, {label, self.parts.get(label, label)}]
            logits.append(torch.stack([self._logits(features[view], labels) for labels in both]))
            ious.append([self.ious.get(label, 0.95), self.ious.get(label, 0.95) if label in self.parts else 0.0])
        presences = torch.ones(len(views))
        return Decoded(torch.stack(logits), torch.tensor(ious), presences, None)

    def _logits(self, labels, wanted):
        mask = np.isin(labels.numpy(), list(wanted)).astype(np.uint8)
        away = cv2.distanceTransform(mask, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
        return torch.from_numpy(away) * min(self.slopes.get(label, 10.0) for label in wanted)


def scene(*rectangles, height=180, width=320):
    """Labels from 1 on, drawn over each other on label 0."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for label, (x1, y1, x2, y2) in enumerate(rectangles, start=1):
        rgb[y1:y2, x1:x2, 0] = label
    return rgb


def found(world, rgb, **rules):
    rules = {"crop_layers": 0, "least_iou": 0.8, "least_stability": 0.8, **rules}
    [detections] = EverythingDetector(world, EverythingRules(**rules)).detect([Sight(world, rgb)], CONCEPTS)
    return detections


def corners(detections):
    return sorted(tuple(int(v) for v in box) for box in detections.boxes.round(-1))


BOXES = [(20, 20, 80, 80), (120, 40, 200, 160), (240, 100, 300, 160)]


def test_each_thing_is_found_once_and_scenery_is_not():
    detections = found(World(), scene(*BOXES))
    assert corners(detections) == BOXES
    assert set(detections.concepts) == {4}
    assert (detections.scores > 0.7).all()
    masks = masks_at_size(list(detections.masks), 180, 320)
    for mask, box in zip(masks, detections.boxes, strict=True):
        x1, y1, x2, y2 = box
        assert abs(mask.area / ((x2 - x1) * (y2 - y1)) - 1) < 0.1
    # The scenery is a thing, too, where it may be that large.
    assert len(found(World(), scene(*BOXES), most_share=1.0)) == 4


def test_what_the_decoder_does_not_believe_in_goes():
    world = World(ious={2: 0.7})
    assert corners(found(world, scene(*BOXES))) == [BOXES[0], BOXES[2]]
    assert len(found(world, scene(*BOXES), least_iou=0.6)) == 3
    scores = found(World(ious={1: 0.8, 2: 0.9, 3: 1.0}), scene(*BOXES)).scores
    np.testing.assert_allclose(np.sort(scores), [0.5, 0.75, 1.0], atol=1e-5)


def test_what_depends_on_where_it_is_cut_goes():
    world = World(slopes={1: 0.3})
    assert corners(found(world, scene(*BOXES))) == BOXES[1:]
    assert len(found(world, scene(*BOXES), least_stability=0.1)) == 3
    assert len(found(world, scene(*BOXES), delta=0.05)) == 3


def test_parts_are_one_thing_with_their_whole_unless_asked_for():
    # Label 2 lies inside 1; a click on it is answered with it alone, and with both.
    rgb = scene((40, 40, 140, 140), (60, 60, 110, 110))
    world = World(parts={2: 1}, ious={1: 0.5, 2: 0.95})
    assert corners(found(world, rgb)) == [(60, 60, 110, 110)]
    assert corners(found(world, rgb, inside_share=1.0)) == [(40, 40, 140, 140), (60, 60, 110, 110)]


def test_small_ones_and_too_many_go():
    rgb = scene(*BOXES, (100, 20, 106, 26))
    assert corners(found(World(), rgb, clicks=64, least_share=0.001)) == BOXES
    assert len(found(World(), rgb, clicks=64, least_share=0.0003)) == 4
    best = found(World(ious={2: 0.99}), rgb, most=1)
    assert corners(best) == [BOXES[1]]


def test_crops_find_what_lies_between_the_clicks_and_nothing_that_they_cut():
    small = (150, 80, 166, 96)
    rgb = scene((4, 20, 40, 160), (60, 60, 260, 76), small)
    coarse = found(World(), rgb, clicks=4, crop_layers=0)
    assert small not in [tuple(box) for box in coarse.boxes.round().astype(int)]
    closer = found(World(), rgb, clicks=8, crop_layers=2)
    assert any(np.abs(box - small).max() <= 3 for box in closer.boxes)
    widths = closer.boxes[:, 2] - closer.boxes[:, 0]
    # The long bar crosses crops; no piece of it is a thing of its own.
    assert not ((widths > 50) & (widths < 180)).any()


def test_crops_cover_the_frame_and_overlap():
    assert crops(100, 200, 0, 0.3) == [(0, 0, 200, 100)]
    regions = crops(100, 200, 1, 0.3)
    assert len(regions) == 4
    covered = np.zeros((100, 200), int)
    for region in regions:
        covered[region.y1 : region.y2, region.x1 : region.x2] += 1
    assert covered.min() == 1
    assert abs((regions[0].x2 - regions[1].x1) / regions[0].width - 0.3) < 0.02


def test_clicks_are_decoded_in_batches_and_counted():
    world = World()
    found(world, scene(*BOXES), clicks=10, crop_layers=1)
    assert world.decoded == 10 * 10 + 4 * 5 * 5


def test_nothing_is_no_error():
    assert len(found(World(ious={0: 0.1}), scene())) == 0


def test_the_built_in_model_finds_discs():
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(60, 140, (12, 20, 3), dtype=np.uint8), (320, 192), interpolation=cv2.INTER_CUBIC)
    centres, radius = [(60, 60), (160, 120), (260, 70)], 28
    truth = []
    for centre in centres:
        cv2.circle(rgb, centre, radius, (230, 40, 40), -1)
        truth.append(cv2.circle(np.zeros((192, 320), np.uint8), centre, radius, 1, -1).astype(bool))
    backbone = load_builtin()
    [detections] = EverythingDetector(backbone).detect([Sight(backbone, rgb)], CONCEPTS)
    shapes = [mask.to_array() for mask in masks_at_size(list(detections.masks), 192, 320)]
    for disc in truth:
        assert max((shape & disc).sum() / (shape | disc).sum() for shape in shapes) > 0.8
    assert len(shapes) < 15


@pytest.mark.parametrize("rules", [{"clicks": 0}, {"crop_layers": 9}, {"least_iou": 2.0}, {"delta": 0.0}, {"most": 0}])
def test_rules_are_checked(rules):
    with pytest.raises(InputError, match=f"everything: {next(iter(rules))} must be"):
        EverythingRules(**rules)
