"""J and F against the definition written out slowly, and their edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.core import InputError, Mask
from keepsight.core.metrics import boundary, boundary_accuracy, region_similarity


def slow_boundary(mask):
    """seg2bmap as DAVIS writes it down, pixel by pixel."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            east = mask[y, x + 1] if x + 1 < width else False
            south = mask[y + 1, x] if y + 1 < height else False
            south_east = mask[y + 1, x + 1] if y + 1 < height and x + 1 < width else False
            here = mask[y, x]
            if y + 1 < height and x + 1 < width:
                out[y, x] = (here ^ east) | (here ^ south) | (here ^ south_east)
            elif x + 1 < width:
                out[y, x] = here ^ east
            elif y + 1 < height:
                out[y, x] = here ^ south
    return out


def slow_dilated(mask, radius):
    out = np.zeros_like(mask)
    height, width = mask.shape
    for y, x in zip(*np.nonzero(mask), strict=True):
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if dy * dy + dx * dx <= radius * radius and 0 <= y + dy < height and 0 <= x + dx < width:
                    out[y + dy, x + dx] = True
    return out


def slow_f(found, truth, tolerance=0.008):
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    ours, theirs = slow_boundary(found), slow_boundary(truth)
    if ours.sum() == 0 and theirs.sum() > 0:
        precision, recall = 1.0, 0.0
    elif ours.sum() > 0 and theirs.sum() == 0:
        precision, recall = 0.0, 1.0
    elif ours.sum() == 0 and theirs.sum() == 0:
        precision, recall = 1.0, 1.0
    else:
        precision = (ours & slow_dilated(theirs, radius)).sum() / ours.sum()
        recall = (theirs & slow_dilated(ours, radius)).sum() / theirs.sum()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def blobs(seed, height, width):
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(0, 4))):
        y, x, a, b = rng.uniform(0, height), rng.uniform(0, width), *rng.uniform(1, 12, 2)
        mask ^= ((ys - y) / a) ** 2 + ((xs - x) / b) ** 2 < 1
    return mask


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), height=st.integers(1, 40), width=st.integers(1, 40), t=st.sampled_from([0.008, 0.1])
)
def test_as_written_down_slowly(seed, height, width, t):
    found, truth = blobs(seed, height, width), blobs(seed + 1, height, width)
    assert (boundary(found) == slow_boundary(found)).all()
    assert boundary_accuracy(found, truth, t) == pytest.approx(slow_f(found, truth, t), abs=1e-12)
    union = (found | truth).sum()
    expected = 1.0 if union == 0 else (found & truth).sum() / union
    assert region_similarity(found, truth) == pytest.approx(expected)
    assert Mask.from_array(found).iou(Mask.from_array(truth)) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(360, 640), (480, 854), (1080, 1920)])
def test_tolerance_at_real_sizes(shape):
    """Contours exactly the radius apart match, one pixel more does not."""
    radius = math.ceil(0.008 * math.hypot(*shape))
    truth = np.zeros(shape, bool)
    truth[:, : shape[1] // 2] = True
    for shift, expected in ((radius, 1.0), (radius + 1, 0.0)):
        found = np.zeros(shape, bool)
        found[:, : shape[1] // 2 + shift] = True
        assert boundary_accuracy(found, truth) == expected


def test_empty_masks():
    empty, one = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    one[5:9, 6:12] = True
    for measure in (region_similarity, boundary_accuracy):
        assert measure(empty, empty) == 1.0
        assert measure(one, empty) == measure(empty, one) == 0.0
        assert measure(one, one) == 1.0
    with pytest.raises(InputError):
        boundary_accuracy(empty, np.zeros((20, 31), bool))
