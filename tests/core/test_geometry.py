"""Boxes: properties that hold for any of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keepsight.core import box_area, box_iou, clip_box, mask_box, pad_box

NUMBERS = st.floats(-1e4, 1e4)
ANY_BOXES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
BOXES = st.tuples(NUMBERS, NUMBERS, st.floats(0.01, 1e4), st.floats(0.01, 1e4)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
SIDES = st.integers(1, 5000)


@given(ANY_BOXES, ANY_BOXES)
def test_iou_of_anything_lies_between_0_and_1(a, b):
    assert 0 <= box_iou(a, b) <= 1 + 1e-9
    assert box_iou(a, b) == box_iou(b, a)
    assert box_area(a) >= 0


@given(BOXES)
def test_iou_with_itself(box):
    assert box_iou(box, box) == pytest.approx(1)


@given(*[st.tuples(*[st.integers(0, 20)] * 4)] * 2)
def test_iou_counts_pixels(a, b):
    pixels = []
    for x1, y1, x2, y2 in (a, b):
        canvas = np.zeros((20, 20), dtype=bool)
        canvas[y1:y2, x1:x2] = True
        pixels.append(canvas)
    union = (pixels[0] | pixels[1]).sum()
    assert box_iou(a, b) == pytest.approx((pixels[0] & pixels[1]).sum() / union if union else 0)


@given(ANY_BOXES, SIDES, SIDES)
def test_clip_stays_inside_and_is_done_once(box, height, width):
    clipped = clip_box(box, height, width)
    assert 0 <= clipped[0] <= width
    assert 0 <= clipped[2] <= width
    assert 0 <= clipped[1] <= height
    assert 0 <= clipped[3] <= height
    assert clip_box(clipped, height, width) == clipped
    assert box_area(clipped) <= box_area(box) + 1e-6


@given(BOXES, st.floats(0, 2), st.booleans())
def test_pad_grows_about_the_centre(box, margin, square):
    x1, y1, x2, y2 = pad_box(box, margin=margin, square=square)
    longer = max(box[2] - box[0], box[3] - box[1])
    assert x1 + x2 == pytest.approx(box[0] + box[2], abs=1e-6)
    assert y1 + y2 == pytest.approx(box[1] + box[3], abs=1e-6)
    grown = (1 + 2 * margin) * longer
    assert max(x2 - x1, y2 - y1) == pytest.approx(grown, abs=1e-6)
    if square:
        assert x2 - x1 == pytest.approx(y2 - y1, abs=1e-6)
    else:
        assert x2 - x1 - (box[2] - box[0]) == pytest.approx(2 * margin * longer, abs=1e-6)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_mask_box_is_the_tightest(mask):
    box = mask_box(mask)
    if not mask.any():
        assert box is None
        return
    x1, y1, x2, y2 = (int(v) for v in box)
    inside = mask[y1:y2, x1:x2]
    assert inside.sum() == mask.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()
