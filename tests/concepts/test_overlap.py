"""Overlaps of all pairs against the plain measures of one pair, and greedy suppression."""

from __future__ import annotations

import numpy as np
import torch

from keepsight.concepts.overlap import box_overlaps, boxes_of, keep_best, mask_overlaps
from keepsight.core import Mask, box_iou, mask_box


def random_masks(count=6, height=20, width=30):
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    rng = np.random.default_rng(0)
    for mask in masks[:-1]:
        y, x = rng.integers(0, height - 5), rng.integers(0, width - 8)
        mask[y : y + rng.integers(2, 12), x : x + rng.integers(2, 20)] = True
    return masks  # the last one is empty


def test_overlaps_are_those_of_each_pair():
    masks = random_masks()
    ious, inside = mask_overlaps(masks)
    boxes = boxes_of(masks, 20, 30)
    pairs = box_overlaps(boxes, boxes[:4])
    arrays = [mask.numpy() for mask in masks]
    for i, a in enumerate(arrays[:5]):
        assert tuple(boxes[i]) == mask_box(a)
        for j, b in enumerate(arrays[:4]):
            assert np.isclose(ious[i, j], Mask.from_array(a).iou(Mask.from_array(b)))
            assert np.isclose(inside[i, j], (a & b).sum() / a.sum())
            assert np.isclose(pairs[i, j], box_iou(tuple(boxes[i]), tuple(boxes[j])))
    assert not ious[5].any()
    assert not boxes[5].any()
    np.testing.assert_allclose(boxes_of(masks, 40, 90), boxes * [3, 2, 3, 2])


def test_the_best_of_overlapping_ones_stays():
    overlaps = np.array([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1]], np.float32)
    # The middle one goes with the first, and so it takes nobody along.
    assert keep_best(overlaps, np.array([0.9, 0.8, 0.7], np.float32), 0.5).tolist() == [0, 2]
    assert keep_best(overlaps, np.array([0.8, 0.9, 0.7], np.float32), 0.5).tolist() == [1]
    assert keep_best(overlaps, np.array([0.8, 0.9, 0.7], np.float32), 1.0).tolist() == [1, 0, 2]
    groups = np.array([1, 2, 2])
    assert keep_best(overlaps, np.array([0.9, 0.8, 0.7], np.float32), 0.5, groups).tolist() == [0, 1]
    assert keep_best(np.zeros((0, 0), np.float32), np.zeros(0, np.float32), 0.5).shape == (0,)
