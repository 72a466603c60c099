"""Sprites on a canvas."""

import numpy as np
import pytest

from keepsight.training.sprites import NO_BEND, line_kernel, paste, shrink, toned

# Half transparent everywhere; premultiplied, so its colour is twice what is stored.
GREY = np.full((20, 30, 4), (50, 60, 70, 128), np.uint8)


def test_a_sprite_is_blended_over_the_canvas_and_its_label_written() -> None:
    canvas, labels = np.full((64, 64, 3), 100, np.float32), np.zeros((64, 64), np.uint8)
    paste(canvas, labels, GREY, np.array([[1, 0, 5], [0, 1, 50.0]]), 3, NO_BEND, 0)
    expected = np.zeros((64, 64), bool)
    expected[50:64, 5:35] = True  # what hangs over the edge is cut
    assert np.array_equal(labels == 3, expected)
    assert canvas[expected] == pytest.approx(
        100 * (1 - 128 / 255) + np.tile((50, 60, 70), (expected.sum(), 1)), abs=1e-3
    )
    assert (canvas[~expected] == 100).all()


def test_outside_the_canvas_nothing_is_drawn() -> None:
    canvas, labels = np.full((64, 64, 3), 100, np.float32), np.zeros((64, 64), np.uint8)
    paste(canvas, labels, GREY, np.array([[1, 0, 80], [0, 1, 5.0]]), 3, NO_BEND, 0)
    assert (canvas == 100).all()
    assert not labels.any()


def test_a_bend_moves_rows_against_each_other_over_time() -> None:
    solid = np.full((20, 30, 4), 255, np.uint8)
    left = []
    for t in (0, 2):
        canvas, labels = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8)
        paste(canvas, labels, solid, np.array([[1, 0, 15], [0, 1, 20.0]]), 1, (4.0, 0.5, 0.8), t)
        left.append(labels[22:38].argmax(1))
    assert np.ptp(left[0]) >= 6
    assert not np.array_equal(left[0], left[1])


def test_light_and_the_tone_of_the_scene() -> None:
    as_it_is = toned(GREY, np.ones(3), np.array([10.0, 200, 30]), 0.0)
    assert np.array_equal(as_it_is, GREY)
    blended = toned(GREY, np.ones(3), np.array([10.0, 200, 30]), 1.0)
    assert blended[..., :3].reshape(-1, 3).mean(0) == pytest.approx(np.array([10, 200, 30]) * 128 / 255, abs=1)
    bright = toned(GREY, np.full(3, 9.0), np.zeros(3), 0.0)
    assert (bright[..., :3] == 128).all()  # never brighter than its alpha allows
    assert (bright[..., 3] == 128).all()


def test_sizes() -> None:
    assert shrink(GREY, 1.5) is GREY
    assert shrink(GREY, 0.5).shape == (10, 15, 4)
    assert shrink(GREY, 0.01).shape == (3, 3, 4)


def test_motion_blur_runs_along_the_motion() -> None:
    across, down = line_kernel(9, np.array([1.0, 0])), line_kernel(9, np.array([0, 1.0]))
    assert across.sum() == pytest.approx(1)
    assert across[4].sum() > 0.95
    assert np.allclose(down, across.T, atol=1e-3)
