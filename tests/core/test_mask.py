"""Masks: array <-> run lengths <-> COCO objects, against plain numpy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from keepsight.core import InputError, Mask, mask_box
from keepsight.core.mask import masks_from_coco

SIDES = st.integers(1, 40)
PIXELS = hnp.arrays(bool, st.tuples(SIDES, SIDES))
# Sparse noise, solid blocks and full frames: hypothesis alone rarely draws a long run.
BLOCKS = st.builds(
    lambda shape, a, b: np.fromfunction(
        lambda r, c: (r >= a % shape[0]) & (c >= b % shape[1]), shape, dtype=int
    ).astype(bool),
    st.tuples(SIDES, SIDES),
    st.integers(0, 40),
    st.integers(0, 40),
)
ARRAYS = PIXELS | BLOCKS


def _uncompressed(array: np.ndarray) -> list[int]:
    """COCO's uncompressed counts, written out: column-major, background first."""
    runs, current = [0], False
    for value in array.ravel(order="F"):
        if value != current:
            runs.append(0)
            current = value
        runs[-1] += 1
    return runs


@given(ARRAYS)
def test_round_trips(array):
    mask = Mask.from_array(array)
    np.testing.assert_array_equal(mask.to_array(), array)
    through_json = json.loads(json.dumps(mask.to_coco()))
    assert Mask.from_coco(through_json) == mask
    assert Mask.from_coco({"size": list(array.shape), "counts": mask.counts}) == mask
    assert Mask.from_coco({"size": list(array.shape), "counts": _uncompressed(array)}) == mask
    assert Mask.from_array(array.astype(np.float32) * 0.25) == mask


@given(ARRAYS, *[st.integers(0, 3)] * 4)
def test_a_window_of_a_frame(window, above, below, left, right):
    frame = np.pad(window, ((above, below), (left, right)))
    assert Mask.from_window(window, *frame.shape, top=above, left=left) == Mask.from_array(frame)
    with pytest.raises(InputError, match="leaves a frame"):
        Mask.from_window(window, *frame.shape, top=above + below + 1, left=left)


@given(SIDES, SIDES)
def test_an_empty_mask_is_that_of_an_empty_array(height, width):
    assert Mask.empty(height, width) == Mask.from_array(np.zeros((height, width)))


@given(ARRAYS)
def test_area_and_box(array):
    mask = Mask.from_array(array)
    assert mask.area == array.sum()
    assert mask.box == mask_box(array)


@given(st.data(), st.tuples(SIDES, SIDES))
def test_iou(data, shape):
    a, b = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    union = (a | b).sum()
    expected = 1.0 if union == 0 else (a & b).sum() / union
    first, second = Mask.from_array(a), Mask.from_array(b)
    assert first.iou(second) == pytest.approx(expected)
    assert first.iou(second) == second.iou(first)
    assert first.iou(first) == 1.0


@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_a_box_is_the_mask_of_its_pixels(data, height, width):
    left, right = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    pixels = np.zeros((height, width), bool)
    pixels[top:bottom, left:right] = True
    assert Mask.from_box(height, width, left, top, right, bottom) == Mask.from_array(pixels)


def test_masks_of_different_frames_do_not_compare():
    with pytest.raises(InputError, match="7x5 and 5x7"):
        Mask.empty(5, 7).iou(Mask.empty(7, 5))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2), (0, 4), (4, 0)])
def test_only_arrays_with_pixels_are_masks(shape):
    with pytest.raises(InputError, match="height, width"):
        Mask.from_array(np.zeros(shape))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=6,
)


def _survives(rle):
    """Reads it and uses it, or refuses it in one line."""
    refused = None
    try:
        mask = Mask.from_coco(rle)
    except InputError as error:
        refused = str(error)
    if refused is not None:
        assert "\n" not in refused
        return
    array = mask.to_array()
    assert array.shape == (mask.height, mask.width)
    assert mask.area == array.sum()
    assert mask.box == mask_box(array)


@given(JUNK)
def test_junk_is_refused_and_never_crashes(value):
    _survives(value)


@given(st.tuples(SIDES, SIDES), JUNK | st.text(st.characters(min_codepoint=48, max_codepoint=112), max_size=30))
def test_junk_run_lengths(size, counts):
    _survives({"size": list(size), "counts": counts})


@given(ARRAYS, st.data())
def test_damaged_run_lengths(array, data):
    counts = bytearray(Mask.from_array(array).counts)
    at = data.draw(st.integers(0, len(counts) - 1))
    if data.draw(st.booleans()):
        counts[at] = data.draw(st.integers(0, 255))
    else:
        del counts[at:]
    _survives({"size": list(array.shape), "counts": bytes(counts)})


@pytest.mark.parametrize(
    "rle",
    [
        {},
        {"size": [2, 2]},
        {"size": [2, 2, 1], "counts": [4]},
        {"size": [0, 4], "counts": []},
        {"size": [-2, -2], "counts": [4]},
        {"size": [float("inf"), 2], "counts": [4]},
        {"size": [float("nan"), 2], "counts": [4]},
        {"size": [2, 2], "counts": [3]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": ["4"]},
        {"size": [2, 2], "counts": [2.5, 1.5]},
        {"size": [2, 2], "counts": None},
        {"size": [2, 2], "counts": 4},
        {"size": [2, 2], "counts": "é"},
        {"size": [2, 2], "counts": ""},
        {"size": [2**16, 2**17], "counts": [2**33]},
        # A run of 4 spelt with so many digits that a C reader shifts past its word.
        {"size": [2, 2], "counts": "T" + "P" * 20 + "0"},
    ],
)
def test_refused(rle):
    with pytest.raises(InputError, match="Not a COCO run-length mask"):
        Mask.from_coco(rle)


def test_bytes_are_those_of_the_common_tool():
    array = np.random.default_rng(0).random((60, 80)) < 0.4
    assert Mask.from_array(array).counts == coco.encode(np.asfortranarray(array, dtype=np.uint8))["counts"]


def _read(rles):
    try:
        return masks_from_coco(rles)
    except InputError as error:
        return str(error)


@given(st.lists(ARRAYS, max_size=5), st.data())
def test_many_at_once_are_read_and_refused_as_one_by_one(arrays, data):
    rles = [Mask.from_array(array).to_coco() for array in arrays]
    assert masks_from_coco(rles) == [Mask.from_coco(rle) for rle in rles]
    if not rles:
        return
    broken = rles[data.draw(st.integers(0, len(rles) - 1))]
    letters = st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=12)
    at = data.draw(st.integers(0, len(broken["counts"])))
    broken["counts"] = (
        broken["counts"][:at] + data.draw(letters) + broken["counts"][at + data.draw(st.integers(0, 2)) :]
    )
    try:
        expected: object = [Mask.from_coco(rle) for rle in rles]
    except InputError as error:
        expected = str(error)
    assert _read(rles) == expected


@example([{"size": [2, 3], "counts": ""}, None])
@given(st.lists(JUNK | st.fixed_dictionaries({"size": st.just([2, 3]), "counts": JUNK}), max_size=3))
def test_junk_among_many_is_refused(values):
    try:
        expected: object = [Mask.from_coco(rle) for rle in values]
    except InputError as error:
        expected = str(error)
    assert _read(values) == expected
