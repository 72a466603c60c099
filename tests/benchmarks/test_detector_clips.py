"""The clips and crowds on which detectors are measured: a function of their seed, with a truth that lies on what moves."""

from __future__ import annotations

import numpy as np
import pytest

from fixed_camera import FixedClip
from likeness import box_of, make_crowd
from motion import match
from sprites import Pictures


@pytest.fixture(scope="module")
def pictures():
    return Pictures.made_up()


def test_a_fixed_clip_is_a_function_of_its_seed(pictures):
    one, two = (FixedClip(pictures, 3, 12) for _ in range(2))
    for index in (9, 0):
        assert np.array_equal(one.read(index).rgb, two.read(index).rgb)
        assert np.array_equal(one.labels(index), two.labels(index))
    assert not np.array_equal(FixedClip(pictures, 4, 12).read(0).rgb, one.read(0).rgb)


def test_only_what_moves_changes_the_picture_much(pictures):
    clip = FixedClip(pictures, 3, 12)
    before, after = (clip.read(index).rgb.astype(int) for index in (0, 11))
    moving = (clip.labels(0) > 0) | (clip.labels(11) > 0)
    assert moving.any()
    change = np.abs(after - before).mean(2)
    assert change[moving].mean() > 2 * np.median(change[~moving])
    assert clip.truth(0, 1).area == (clip.labels(0) == 1).sum()


def test_a_crowd_has_copies_that_do_not_hide_each_other(pictures):
    crowd, again = make_crowd(pictures, 1), make_crowd(pictures, 1)
    assert np.array_equal(crowd.rgb, again.rgb)
    areas = np.array([(crowd.labels == number).sum() for number in range(1, crowd.alike + 1)])
    assert crowd.alike >= 4
    assert areas.min() > 0.3 * np.median(areas)
    x1, y1, x2, y2 = box_of(crowd.labels == 1)
    assert max(x2 - x1, y2 - y1) < 2 * crowd.side


def test_finds_and_truth_are_paired_one_to_one():
    masks = [np.zeros((4, 8), bool) for _ in range(3)]
    masks[0][:, :4] = masks[1][:, 4:] = masks[2][:, 3:] = True
    pairs, ious = match([masks[2], masks[0]], masks[:2])
    assert sorted(pairs) == [(0, 1), (1, 0)]
    assert ious.shape == (2, 2)
    assert match([], masks)[0] == []
