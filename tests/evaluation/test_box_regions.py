"""Regions as VOT writes them: read, written, compared as pixels."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keepsight.core import InputError, Mask
from keepsight.evaluation.box.regions import (
    Nothing,
    Polygon,
    Rectangle,
    box_of,
    is_empty,
    mask_of,
    read_region,
    region_overlaps,
    write_region,
)
from keepsight.evaluation.box.trajectories import read_binary

SIZE = (24, 32)


@settings(max_examples=80, deadline=None)
@given(arrays.arrays(bool, SIZE, elements=st.booleans(), fill=st.booleans()))
def test_masks_come_back(pixels):
    mask = Mask.from_array(pixels)
    line = write_region(mask)
    assert read_region(line, SIZE, "file, line 1") == (mask if mask.area else Nothing.UNKNOWN)


@pytest.mark.parametrize("region", [Rectangle(1.5, -2, 30, 4.25), Polygon(((0, 1), (8.5, 2), (7, 9))), Nothing.ABSENT])
def test_the_other_forms_come_back(region):
    assert read_region(write_region(region), SIZE, "") == region


def test_a_mask_beyond_the_frame_is_cut_to_it():
    mask = read_region("m-2,-1,4,3,0,12", SIZE, "")
    assert mask.box == (0, 0, 2, 2)
    assert mask.area == 4
    assert read_region("m40,40,4,3,0,12", SIZE, "").area == 0


_numbers = st.integers(-20, 70).map(lambda value: value / 2)
_rectangles = st.builds(Rectangle, _numbers, _numbers, _numbers, _numbers)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(_rectangles, _rectangles), min_size=1, max_size=6))
def test_rectangles_overlap_as_their_pixels_do(pairs):
    found, truth = zip(*pairs, strict=True)
    overlaps = region_overlaps(found, truth, SIZE)
    for value, pair in zip(overlaps, pairs, strict=True):
        empty = [is_empty(region) for region in pair]
        pixels = []
        for region in pair:
            x, y, w, h = (round(side) for side in (region.x, region.y, region.width, region.height))
            rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
            pixels.append((columns >= x) & (columns < x + w) & (rows >= y) & (rows < y + h))
        union = (pixels[0] | pixels[1]).sum()
        expected = (pixels[0] & pixels[1]).sum() / union if union else 0.0
        assert value == pytest.approx(1.0 if all(empty) else 0.0 if any(empty) else expected)
        # The same by way of masks.
        if not any(empty):
            masks = [mask_of(region, SIZE) for region in pair]
            assert [mask.to_array().sum() for mask in masks] == [one.sum() for one in pixels]


def test_nothing_against_nothing_is_right_and_against_something_wrong():
    something, none = Rectangle(2, 2, 5, 5), Nothing.UNKNOWN
    found, truth = [none, none, something, Rectangle(3, 3, 0, 4)], [Nothing.ABSENT, something, none, none]
    assert region_overlaps(found, truth, SIZE).tolist() == [1, 0, 0, 1]


def test_a_polygon_takes_its_outline_along():
    square = Polygon(((4, 4), (9, 4), (9, 9), (4, 9)))
    assert box_of(square) == (4, 4, 5, 5)
    assert mask_of(square, SIZE).area == 36
    assert region_overlaps([square], [Rectangle(4, 4, 6, 6)], SIZE).tolist() == [1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a,b,c,d", "no rectangle, polygon, mask or number"),
        ("1,2,3", "3 numbers"),
        ("7", "1 numbers"),
        ("1,2,3,1e9", "no place in a picture"),
        ("m1,2,x", "whole numbers"),
        ("m0,0,99999,99999,0,5", "no mask of a picture"),
        ("m0,0,2,2,0,5", "add up to 5"),
        ("m0,0,2,2,-1,5", "no mask of a picture"),
    ],
)
def test_broken_lines_are_named(line, told):
    with pytest.raises(InputError, match=told) as caught:
        read_region(line, SIZE, "truth.txt, line 3")
    assert str(caught.value).startswith("truth.txt, line 3: ")


def test_the_binary_form_of_the_toolkit(tmp_path):
    mask = Mask.from_box(*SIZE, 5, 3, 9, 6)
    parts = [
        struct.pack("<BI", 0, 1),
        struct.pack("<B4f", 1, 1.5, 2, 30, 4.25),
        struct.pack("<BH6f", 2, 3, 0, 1, 8.5, 2, 7, 9),
        struct.pack("<BhhHHH2H", 3, 5, 3, 4, 3, 2, 0, 12),
    ]
    path = tmp_path / "a.bin"
    path.write_bytes(struct.pack("<hI", 1, len(parts)) + b"".join(parts))
    expected = [Nothing.ABSENT, Rectangle(1.5, 2, 30, 4.25), Polygon(((0, 1), (8.5, 2), (7, 9))), mask]
    assert read_binary(path, SIZE) == expected
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut off|no trajectory"):
            read_binary(path, SIZE)
    path.write_bytes(struct.pack("<hIBff", 1, 1, 4, 2, 3))
    with pytest.raises(InputError, match="frame 0: a point is no region"):
        read_binary(path, SIZE)
