"""Boxes to masks: what the engine makes of each box by itself, also closely and in shared looks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import tiny_models
from keepsight.concepts.decoding import masks_from_boxes, regions_for
from keepsight.core import Region
from keepsight.models.builtin.backbone import load_builtin
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.tracking import EngineOptions, Sight, Tracker, Zoom
from keepsight.tracking.masks import fill_holes, masks_at_size
from keepsight.video import ArrayVideo

HEIGHT, WIDTH = 240, 360
CENTRES = [(60, 60), (90, 70), (250, 150), (300, 60), (60, 190)]
RADIUS = 16


@pytest.fixture(scope="module")
def builtin():
    return load_builtin()


def picture():
    """Red discs on a meadow of noise."""
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(60, 140, (30, 45, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    rgb[..., 1] += 40
    for centre in CENTRES:
        cv2.circle(rgb, centre, RADIUS, (220, 30, 30), -1)
    return rgb


def boxes():
    return np.array([(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in CENTRES], np.float32)


@pytest.mark.parametrize("model", ["builtin", "sam2", "sam3"])
def test_a_box_gives_what_the_engine_gives(model, builtin):
    backbone = builtin
    if model != "builtin":
        backbone = HFVideoBackbone(getattr(tiny_models, {"sam2": "sam2", "sam3": "sam3_tracker"}[model])())
    rgb = picture()
    ours = masks_from_boxes(backbone, Sight(backbone, rgb), boxes(), at_once=2)
    assert ours.shape == (len(CENTRES), backbone.info.mask_size, backbone.info.mask_size)
    session = Tracker(backbone, options=EngineOptions(zoom=False)).open(ArrayVideo(rgb[None]))
    areas = []
    for number, (box, logits) in enumerate(zip(boxes(), ours, strict=True)):
        theirs = session.add(object_id=number, frame=0, box=box).mask
        mine = masks_at_size([fill_holes(logits, 8)], HEIGHT, WIDTH)[0]
        if theirs.area:  # the engine empties what the decoder believes absent
            assert mine.iou(theirs) > 0.999
        areas.append(theirs.area)
    assert any(areas)


def test_small_boxes_are_seen_closely(builtin):
    truth = np.zeros((len(CENTRES), HEIGHT, WIDTH), np.uint8)
    for mask, centre in zip(truth, CENTRES, strict=True):
        cv2.circle(mask, centre, RADIUS, 1, -1)
    logits = masks_from_boxes(builtin, Sight(builtin, picture()), boxes(), Zoom())
    found = [mask.to_array() for mask in masks_at_size(list(logits), HEIGHT, WIDTH)]
    ious = [(a & b.astype(bool)).sum() / (a | b.astype(bool)).sum() for a, b in zip(found, truth, strict=True)]
    assert min(ious) > 0.7


def test_neighbours_share_a_look_and_strangers_do_not(builtin):
    sight = Sight(builtin, picture())
    near = boxes()[:2] * 0.5 + np.float32([20, 20, 20, 20])
    big = np.array([(20, 20, 110, 110)], np.float32)
    regions = regions_for(np.concatenate((big, near, boxes()[2:3])), Zoom(), sight)
    assert regions[1] != regions[0], "a box this much smaller is seen from nearer"
    assert regions[3] != regions[0]
    shared = regions_for(np.concatenate((big, boxes()[:2], boxes()[2:3])), Zoom(), sight)
    assert shared[0] == shared[1] == shared[2] != shared[3]
    assert regions_for(boxes(), None, sight) == [Region.whole(HEIGHT, WIDTH)] * len(CENTRES)
    assert masks_from_boxes(builtin, sight, np.zeros((0, 4), np.float32)).shape == (0, 256, 256)
