"""Regions: places in a grid over a part of the frame, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsight.core import Region

SIDES = st.integers(1, 300)
PLACES = st.floats(-500, 2500)


@st.composite
def regions(draw) -> Region:
    x, y = draw(st.integers(0, 2000)), draw(st.integers(0, 1000))
    return Region(x, y, x + draw(SIDES), y + draw(SIDES))


@given(regions(), st.tuples(PLACES, PLACES, PLACES, PLACES), SIDES, SIDES)
def test_a_box_comes_back_from_the_grid(region, box, rows, columns):
    cells = region.box_to_grid(box, rows, columns)
    assert region.box_from_grid(cells, rows, columns) == pytest.approx(box, abs=1e-6)
    assert region.point_to_grid(box[0], box[1], rows, columns) == cells[:2]


def test_the_corners_of_a_region_are_those_of_its_grid():
    region = Region(100, 50, 300, 150)
    assert region.box_to_grid((100, 50, 300, 150), 64, 32) == (0, 0, 32, 64)
    assert region.point_to_grid(200, 125, 64, 32) == (16, 48)


@given(regions(), regions())
def test_what_lies_within_another_region_is_what_both_hold(one, other):
    shared = one.within(other)
    assert shared == other.within(one)
    for inside, place in ((shared.x1, 0), (shared.y1, 1), (shared.x2 - 1, 0), (shared.y2 - 1, 1)):
        if shared.width > 0 and shared.height > 0:
            assert one[place] <= inside < one[place + 2]
            assert other[place] <= inside < other[place + 2]
    assert one.within(one) == one
