"""From logits to masks at the frame's size and back, against the plain operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.core import Mask, Region
from keepsight.tracking.masks import HOLE_REFERENCE_SIZE, fill_holes, mask_to_model, masks_at_size, without_overlap

SIDES = st.integers(1, 90)


@st.composite
def logits(draw) -> torch.Tensor:
    """Noise with few or many positive cells, thin lines, blocks at an edge, nothing at all."""
    height, width = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    values = torch.randn(height, width, generator=generator) * 5
    kind = draw(st.sampled_from(["noise", "sparse", "line", "corner", "absent"]))
    row, column = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    if kind == "sparse":
        values -= 11
    elif kind == "absent":
        values = torch.full((height, width), -1024.0)
    elif kind != "noise":
        inside = torch.zeros(height, width, dtype=torch.bool)
        if kind == "line":
            inside[row] = True
        else:
            inside[row:, column:] = True
        values = torch.where(inside, values.abs() + 0.01, -values.abs() - 0.01)
    return values


@settings(deadline=None, max_examples=150)
@given(logits(), SIDES, SIDES)
def test_equals_interpolate_and_threshold(values, height, width):
    [mask] = masks_at_size([values], height, width)
    plain = F.interpolate(values[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    array = torch.from_numpy(mask.to_array())
    assert array.shape == (height, width)
    # The two round differently; a pixel may differ only where the value is 0 but for that.
    differs = array != (plain > 0)
    assert bool((plain[differs].abs() < 1e-4).all())


def test_a_frame_of_real_size():
    values = torch.full((256, 256), -8.0)
    values[100:140, 60:90] = 7.0
    [mask] = masks_at_size([values], 1080, 1920)
    plain = F.interpolate(values[None, None], size=(1080, 1920), mode="bilinear", align_corners=False)[0, 0] > 0
    np.testing.assert_array_equal(mask.to_array(), plain.numpy())
    assert masks_at_size([values.to(torch.bfloat16)], 1080, 1920) == [mask]


def _naive_fill(values: np.ndarray, limit: int) -> np.ndarray:
    """Background components by flood fill, diagonal neighbours included."""
    filled, seen = values.copy(), values > 0
    height, width = values.shape
    for start in zip(*np.nonzero(~seen), strict=True):
        if seen[start]:
            continue
        component, todo = [], [start]
        seen[start] = True
        while todo:
            row, column = todo.pop()
            component.append((row, column))
            for r in range(max(row - 1, 0), min(row + 2, height)):
                for c in range(max(column - 1, 0), min(column + 2, width)):
                    if not seen[r, c]:
                        seen[r, c] = True
                        todo.append((r, c))
        if len(component) <= limit:
            for cell in component:
                filled[cell] = 0.1
    return filled


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 60), st.floats(-1, 3))
def test_fill_holes_equals_a_flood_fill(seed, limit, offset):
    side = 20
    values = torch.randn(side, side, generator=torch.Generator().manual_seed(seed)) + offset
    before = values.clone()
    largest_px = round(limit * (HOLE_REFERENCE_SIZE / side) ** 2) + 1
    filled = fill_holes(values, largest_px)
    assert torch.equal(values, before)
    if bool((values > 0).any()):
        np.testing.assert_array_equal(filled.numpy(), _naive_fill(values.numpy(), limit).astype(np.float32))
    else:
        assert torch.equal(filled, values)


def test_an_absent_object_is_not_filled_in():
    absent = torch.full((8, 8), -1024.0)
    assert fill_holes(absent, 10**6) is absent
    whole = torch.ones(8, 8)
    assert fill_holes(whole, 10**6) is whole
    assert fill_holes(torch.tensor([[1.0, -1.0]]), 0)[0, 1] == -1.0


@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize(
    "draw",
    [
        lambda canvas: canvas.__setitem__((200, 300), 1),
        lambda canvas: canvas.__setitem__((slice(None), 301), 1),
        lambda canvas: canvas.__setitem__((slice(10, 13), slice(5, 600)), 1),
        lambda canvas: canvas.__setitem__((-1, -1), 1),
    ],
)
def test_thin_objects_survive_on_their_way_to_the_model(draw, size):
    canvas = np.zeros((480, 640), np.uint8)
    draw(canvas)
    small = mask_to_model(Mask.from_array(canvas), size)
    assert small.shape == (1, 1, size, size)
    assert set(small.unique().tolist()) == {0.0, 1.0}
    rows, columns = np.nonzero(canvas)
    found_rows, found_columns = np.nonzero(small[0, 0].numpy())
    assert abs((found_rows.mean() + 0.5) / size - (rows.mean() + 0.5) / 480) < 1 / size
    assert abs((found_columns.mean() + 0.5) / size - (columns.mean() + 0.5) / 640) < 1 / size


def test_thick_objects_are_cut_at_one_half():
    array = np.zeros((128, 128), np.uint8)
    array[20:90, 33:77] = 1
    pixels = torch.from_numpy(array)[None, None].float()
    plain = F.interpolate(pixels, size=(64, 64), mode="bilinear", antialias=True) >= 0.5
    assert torch.equal(mask_to_model(Mask.from_array(array), 64), plain.float())
    assert torch.equal(mask_to_model(Mask.from_array(array), 128), pixels)


@settings(deadline=None, max_examples=100)
@given(items=st.lists(logits(), min_size=1, max_size=4), height=SIDES, width=SIDES)
def test_a_contested_pixel_goes_to_the_highest_logit(items, height, width):
    masks = masks_at_size(items, height, width)
    resolved = without_overlap(masks, items, [None] * len(items))
    values = torch.cat(
        [F.interpolate(item[None, None], (height, width), mode="bilinear", align_corners=False)[0] for item in items]
    ).numpy()
    before, after = (np.stack([mask.to_array() for mask in some]) for some in (masks, resolved))
    assert (before.any(0) == after.any(0)).all()
    assert after.sum(0).max() <= 1
    assert (after <= before).all()
    # Where values are equal to rounding any of them may have it.
    lost = before & ~after
    kept = np.where(after, values, -np.inf).max(0)
    assert (values[lost] <= np.broadcast_to(kept, values.shape)[lost] + 1e-4).all()


def test_regions_are_placed_before_they_are_compared():
    left, right = torch.full((4, 4), 2.0), torch.full((4, 4), 1.0)
    right[:, 2:] = 9.0
    regions = [Region(0, 0, 12, 8), Region(4, 0, 20, 8)]
    masks = masks_at_size([left, right], 8, 20, regions)
    one, two = (mask.to_array()[4] for mask in without_overlap(masks, [left, right], regions))
    assert one.sum() + two.sum() == 20
    assert one[:9].all()
    assert two[12:].all()
    assert without_overlap(masks[:1], [left], regions[:1]) == masks[:1]
